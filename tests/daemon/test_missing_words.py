"""What is said of messages that will not come again."""

from natd.members.copy_words import missing_words


def test_one_message_that_is_missing_is_told_as_one() -> None:
    one, two = missing_words(1, "bob#abcd"), missing_words(2, "bob#abcd")
    assert one.startswith("a message of bob#abcd is not here and will not come again: it had")
    assert two.startswith("2 messages of bob#abcd are not here and will not come again: they had")
