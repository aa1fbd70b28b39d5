"""Each violation is noticed, and what a rollback excuses is not taken for one."""

from typing import Any

from tests.nemesis.ledger import Asked, Books, Ledger

ALICE, BOB = "alice-id", "bob-id"


def test_a_message_that_arrived_and_was_told_is_no_violation() -> None:
    books, _, _ = chatting("one", "two")
    assert books.wrong() == []
    assert books.is_settled()


def test_a_message_that_is_not_there_is_lost_and_one_that_is_not_told_is_untold() -> None:
    books, alice, bob = chatting("one")
    say(alice, "two")
    say(alice, "three")
    hear(bob, "three")
    assert kinds(books) == ["lost", "untold"]
    assert not books.is_settled()


def test_a_message_told_as_delivered_that_no_disk_had_is_untrue() -> None:
    books, alice, _ = chatting()
    say(alice, "one")
    tell(alice, "one")
    assert kinds(books) == ["lost", "untrue"]


def test_a_message_twice_in_a_log_is_doubled_also_under_another_id() -> None:
    books, alice, bob = chatting("one")
    hear(bob, "one")
    assert kinds(books) == ["doubled"]
    books, alice, bob = chatting("one")
    say(alice, "one", message="another")
    hear(bob, "one", message="another")
    tell(alice, "another")
    assert set(kinds(books)) == {"doubled"}


def test_messages_in_another_order_than_their_senders_are_reordered() -> None:
    books, alice, bob = chatting()
    say(alice, "one")
    say(alice, "two")
    hear(bob, "two")
    hear(bob, "one")
    tell(alice, "one")
    tell(alice, "two")
    assert kinds(books) == ["reordered"]


def test_a_message_that_its_sender_never_said_or_refused_or_said_to_another_is_forged() -> None:
    books, alice, bob = chatting()
    hear(bob, "never said")
    assert kinds(books) == ["forged"]
    books, alice, bob = chatting("one")
    alice.refused["one"] = "storage"
    assert kinds(books) == ["forged"]
    books, alice, bob = chatting("one", to="carol-id")
    assert kinds(books) == ["forged"]


def test_what_was_accepted_and_is_not_in_the_log_is_lost_unless_the_disk_went_back() -> None:
    books, alice, _ = chatting("one")
    alice.accepted["two"] = "two"
    alice.asked["two"] = alice.asked["one"]
    assert kinds(books) == ["lost"]
    read_anew(alice, "one")
    assert "lost" not in kinds(books)


def test_a_member_who_was_met_and_is_left_out_of_a_message_to_all_is_a_loss() -> None:
    books, alice, _ = chatting("one", to=None, online=(BOB,))
    assert kinds(books) == []
    say(alice, "two", to=None, recipients=(), online=(BOB,))
    alice.accepted["two"] = "two"
    assert kinds(books) == ["lost"]


def test_what_a_receivers_disk_lost_after_its_sender_was_told_is_excused_and_nothing_else() -> None:
    books, alice, bob = chatting("one", "two")
    bob.rewind(1)
    hear(bob, "one")
    assert kinds(books) == []
    read_anew(alice, "one", "two")
    assert kinds(books) == ["lost", "untold"], "the sender's disk does not know of a delivery"


def test_order_counts_among_what_stands_in_the_senders_log() -> None:
    books, alice, bob = chatting()
    say(alice, "one")
    say(alice, "undone")
    read_anew(alice, "one")
    say(alice, "two")
    for text in ("undone", "one", "two"):
        hear(bob, text)
    for text in ("one", "two"):
        tell(alice, text)
    assert kinds(books) == []


def test_a_hole_in_the_events_is_told() -> None:
    books, alice, _ = chatting()
    alice.take([{"id": 3, "type": "joined"}])
    assert books.wrong() == ["alice: event 3 follows 0"]


# --- helpers


def chatting(
    *texts: str, to: str | None = BOB, online: tuple[str, ...] = ()
) -> tuple[Books, Ledger, Ledger]:
    """Alice has said these texts, Bob has them, and Alice knows."""
    books, alice, bob = Books(), Ledger("alice", ALICE), Ledger("bob", BOB)
    books.all += [alice, bob]
    for text in texts:
        say(alice, text, to=to, online=online)
        alice.accepted[text] = text
        hear(bob, text)
        tell(alice, text)
    return books, alice, bob


def say(
    ledger: Ledger,
    text: str,
    *,
    message: str | None = None,
    to: str | None = BOB,
    recipients: tuple[str, ...] = (BOB,),
    online: tuple[str, ...] = (),
) -> None:
    ledger.asked[text] = Asked(to, frozenset(online))
    ledger.accepted.setdefault(text, message or text)
    happens(ledger, "sent", message=message or text, text=text, to=list(recipients))


def read_anew(ledger: Ledger, *texts: str) -> None:
    """The disk is another one, whose log has these messages sent and none delivered."""
    ledger.rewind(len(texts))
    for text in texts:
        say(ledger, text)


def hear(ledger: Ledger, text: str, *, message: str | None = None) -> None:
    sender = {"id": ALICE, "nick": "alice"}
    happens(ledger, "message", message=message or text, text=text, **{"from": sender})


def tell(ledger: Ledger, message: str) -> None:
    happens(ledger, "delivered", message=message, peer={"id": BOB})


def happens(ledger: Ledger, type_: str, **fields: Any) -> None:
    ledger.take([{"id": ledger.cursor + 1, "type": type_, **fields}])


def kinds(books: Books) -> list[str]:
    return sorted(wrong.partition(":")[0] for wrong in books.wrong())
