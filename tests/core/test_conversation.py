from tests.core.lossy_link import START, LossyLink, Weather, pair_of_secrets
from tests.core.talker import OUTBOUND_EPOCHS, Talker

BAD_WEATHER = Weather(delay_s=0.02, jitter_s=0.02, loss=0.1, duplicates=0.05, bit_flips=0.02)


def test_ten_thousand_messages_each_way_survive_bad_weather_once_and_in_order() -> None:
    one, other = talkers()
    link = LossyLink(one, other, BAD_WEATHER)
    for number in range(10_000):
        one.say(f"from one {number}", START)
        other.say(f"from other {number}", START)
    one.dial(START)
    assert link.run(600.0, lambda: one.acknowledged == other.acknowledged == 10_000)
    assert [message.body for message in other.inbox] == [f"from one {n}" for n in range(10_000)]
    assert [message.body for message in one.inbox] == [f"from other {n}" for n in range(10_000)]


def talkers() -> tuple[Talker, Talker]:
    one, other = pair_of_secrets()
    return (
        Talker(one, epoch=OUTBOUND_EPOCHS[0], nick="alice"),
        Talker(other, epoch=OUTBOUND_EPOCHS[1], nick="bob"),
    )
