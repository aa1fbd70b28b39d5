from random import Random

import pytest

from natd.core.base.events import (
    ConversationState,
    MessageArrived,
    MessagesMissing,
    OutboxWanted,
)
from natd.core.chat.conversation import Conversation
from natd.core.chat.inbox import UNCOMMITTED_MESSAGES
from natd.core.chat.outbox import WAITING_MESSAGES, WINDOW_BYTES, WINDOW_MESSAGES
from natd.core.codec.frames import Ack, Hello, Message
from tests.core.chat.conversations import (
    OURS,
    THEIRS,
    SameEpoch,
    acknowledged,
    all_acknowledged,
    arrived,
    bodies,
    drained,
    hello,
    listening,
    message,
    opened,
    spoken,
    talkers,
    wanted,
)
from tests.core.world.lossy_link import START, LossyLink, Weather
from tests.core.world.talker import NETWORK, PEER, message_to_send

BAD_WEATHER = Weather(delay_s=0.02, jitter_s=0.02, loss=0.1, duplicates=0.05, bit_flips=0.02)


# --- over sessions


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
    for talker in (one, other):
        assert talker.session is not None
        assert talker.session.dropped["not-authentic-or-not-new"] > 10


def test_a_first_message_is_in_the_diallers_first_flight_and_its_ack_in_the_answer() -> None:
    one, other = talkers()
    one.say("hello", START)
    for data in one.dial(START).datagrams_to_send():
        other.receive_datagram(data, START)
    assert bodies(other) == ["hello"]
    for data in other.datagrams_to_send():
        one.receive_datagram(data, START)
    assert one.acknowledged == 1


def test_a_replayed_first_flight_delivers_nothing_twice() -> None:
    one, other = talkers()
    one.say("hello", START)
    flight = one.dial(START).datagrams_to_send()
    for data in flight:
        other.receive_datagram(data, START)
    link = LossyLink(one, other)
    assert link.run(1.0, lambda: one.acknowledged == 1)
    for _ in range(3):
        other.session = None
        for data in flight * 2:
            other.receive_datagram(data, link.now)
        assert other.session is not None
        assert not other.session.established
    assert bodies(other) == ["hello"]


def test_messages_survive_sessions_that_end_and_processes_that_are_killed() -> None:
    for seed in range(10):
        random = Random(seed)
        one, other = talkers()
        link = LossyLink(one, other, Weather(loss=0.05, jitter_s=0.01), seed)
        said = {one: 0, other: 0}
        for round_number in range(30):
            link.run(0.0)
            one.dial(link.now, salt=round_number.to_bytes(4, "big"))
            for _ in range(random.randrange(40)):
                talker = random.choice((one, other))
                said[talker] += 1
                talker.say(f"{said[talker]}", link.now)
                link.run(random.random() * 0.02)
            for talker in (one, other):
                if random.random() < 0.3:
                    talker.restart(link.now)
        one.dial(link.now, salt=b"last")
        assert link.run(60.0, all_acknowledged(said)), seed
        assert bodies(other) == [f"{number + 1}" for number in range(said[one])]
        assert bodies(one) == [f"{number + 1}" for number in range(said[other])]


# --- outbound


def test_a_session_begins_with_hello_then_everything_unacknowledged_in_order() -> None:
    conversation = opened(first_unacknowledged=4)
    for seq in (4, 5, 6):
        assert conversation.send_message(message_to_send(OURS, seq))
    sent = spoken(conversation)
    assert sent[0] == Hello(epoch=OURS, first_seq=4, outbox=OURS)
    assert [frame.seq for frame in sent[1:] if isinstance(frame, Message)] == [4, 5, 6]
    assert spoken(conversation) == []

    conversation.receive_frame(Ack(OURS, 4))
    conversation.session_opened()
    sent = spoken(conversation)
    assert sent[0] == Hello(epoch=OURS, first_seq=5, outbox=OURS)
    assert [frame.seq for frame in sent[1:] if isinstance(frame, Message)] == [5, 6]


def test_nothing_is_said_without_a_session() -> None:
    conversation = Conversation(ConversationState(OURS, 1), NETWORK, PEER, "bob", SameEpoch())
    assert conversation.send_message(message_to_send(OURS, 1))
    assert spoken(conversation) == []
    conversation.session_opened()
    assert len(spoken(conversation)) == 2
    conversation.session_closed()
    assert spoken(conversation) == []


def test_a_message_given_twice_is_sent_once() -> None:
    conversation = opened()
    for seq in (1, 1, 2, 1, 2):
        assert conversation.send_message(message_to_send(OURS, seq))
    assert [type(frame) for frame in spoken(conversation)] == [Hello, Message, Message]


def test_a_message_out_of_turn_waits_on_disk_until_it_is_asked_for() -> None:
    conversation = opened()
    assert drained(conversation) == [wanted(0, WINDOW_MESSAGES)]
    assert not conversation.send_message(message_to_send(OURS, 3))
    for seq in (1, 2):
        assert conversation.send_message(message_to_send(OURS, seq))
    assert drained(conversation) == []
    spoken(conversation)
    conversation.receive_frame(Ack(OURS, 2))
    assert drained(conversation) == [acknowledged(2), wanted(2, WINDOW_MESSAGES)]


def test_a_long_outbox_is_asked_for_in_long_runs_and_never_all_in_memory() -> None:
    conversation = opened()
    outbox = [message_to_send(OURS, seq) for seq in range(1, 5001)]
    asked: list[OutboxWanted] = []
    sent = acknowledged = 0
    while acknowledged < len(outbox):
        for event in drained(conversation):
            if isinstance(event, OutboxWanted):
                asked.append(event)
                for message in outbox[event.after_seq : event.after_seq + event.count]:
                    assert conversation.send_message(message)
        sent += sum(isinstance(frame, Message) for frame in spoken(conversation))
        assert sent - acknowledged <= WINDOW_MESSAGES
        acknowledged = min(acknowledged + 100, sent)
        conversation.receive_frame(Ack(OURS, acknowledged))
    assert sent == 5000
    assert len(asked) <= 12


def test_large_messages_fill_the_window_by_their_size() -> None:
    conversation = opened()
    taken = 0
    while conversation.send_message(message_to_send(OURS, taken + 1, "x" * 16_000)):
        taken += 1
    assert WINDOW_BYTES <= taken * 16_000 < WINDOW_BYTES + 32_000


def test_for_an_absent_peer_only_a_first_flight_is_kept_ready() -> None:
    conversation = Conversation(ConversationState(OURS, 1), NETWORK, PEER, "bob", SameEpoch())
    taken = [conversation.send_message(message_to_send(OURS, seq)) for seq in range(1, 101)]
    assert taken.count(True) == WAITING_MESSAGES
    assert drained(conversation) == []
    conversation.session_opened()
    assert drained(conversation) == [wanted(32, WINDOW_MESSAGES - WAITING_MESSAGES)]
    for seq in range(33, 101):
        conversation.send_message(message_to_send(OURS, seq))
    conversation.session_closed()
    conversation.session_opened()
    assert drained(conversation) == [wanted(32, WINDOW_MESSAGES - WAITING_MESSAGES)]
    assert len(spoken(conversation)) == 1 + WAITING_MESSAGES


def test_an_acknowledgement_of_what_this_session_has_not_sent_is_dropped() -> None:
    conversation = opened()
    conversation.send_message(message_to_send(OURS, 1))
    drained(conversation)
    conversation.receive_frame(Ack(OURS, 1))
    spoken(conversation)
    conversation.receive_frame(Ack(OURS, 2))
    conversation.receive_frame(Ack(THEIRS, 1))
    assert drained(conversation) == []
    assert conversation.dropped["ack-of-unknown"] == 3
    conversation.receive_frame(Ack(OURS, 1))
    conversation.receive_frame(Ack(OURS, 1))
    assert drained(conversation) == [acknowledged(1)]


def test_frames_are_given_out_whole_and_only_as_far_as_there_is_room() -> None:
    conversation = opened()
    for seq in range(1, 11):
        conversation.send_message(message_to_send(OURS, seq, "x" * 100))
    sent = 0
    while frames := conversation.frames_to_send(300):
        assert sum(map(len, frames)) <= 300
        sent += len(frames)
    assert sent == 11
    assert conversation.frames_to_send(3) == []


def test_what_no_peer_could_read_is_refused_at_once() -> None:
    conversation = opened()
    with pytest.raises(ValueError, match="16384"):
        conversation.send_message(message_to_send(OURS, 1, "ü" * 10_000))
    with pytest.raises(ValueError, match="outbox"):
        conversation.send_message(message_to_send(THEIRS, 1))


# --- inbound


def test_a_message_is_acknowledged_only_once_it_is_committed() -> None:
    conversation = listening()
    for seq in (1, 2, 3):
        conversation.receive_frame(message(seq))
    assert arrived(conversation) == [1, 2, 3]
    assert spoken(conversation) == []
    conversation.message_committed(THEIRS, 1)
    conversation.message_committed(THEIRS, 2)
    assert spoken(conversation) == [Ack(THEIRS, 2)]
    conversation.message_committed(THEIRS, 3)
    assert spoken(conversation) == [Ack(THEIRS, 3)]


def test_a_message_is_told_with_all_that_it_says_and_under_the_peers_newest_nick() -> None:
    conversation = listening()
    conversation.peer_nick = "robert"
    conversation.receive_frame(message(1))
    sent_at_unix_ms = 1_700_000_000_000
    assert drained(conversation) == [
        MessageArrived(
            NETWORK, PEER, "robert", "m1", THEIRS, 1, sent_at_unix_ms, "text", "hello", THEIRS
        )
    ]


def test_a_message_that_comes_again_is_dropped_and_acknowledged_again() -> None:
    conversation = listening()
    conversation.receive_frame(message(1))
    conversation.receive_frame(message(1))
    assert arrived(conversation) == [1]
    assert spoken(conversation) == []
    conversation.message_committed(THEIRS, 1)
    spoken(conversation)
    conversation.receive_frame(message(1))
    assert arrived(conversation) == []
    assert spoken(conversation) == [Ack(THEIRS, 1)]


def test_messages_are_delivered_in_order_however_they_come() -> None:
    conversation = listening()
    for seq in (3, 2, 5):
        conversation.receive_frame(message(seq))
        assert arrived(conversation) == []
    conversation.receive_frame(message(1))
    assert arrived(conversation) == [1, 2, 3]
    conversation.receive_frame(message(4))
    assert arrived(conversation) == [4, 5]


def test_a_hello_skips_what_the_sender_is_done_with() -> None:
    conversation = listening()
    conversation.receive_frame(message(8))
    conversation.session_opened()
    conversation.receive_frame(hello(first_seq=7))
    assert arrived(conversation) == []
    conversation.receive_frame(message(7))
    assert arrived(conversation) == [7, 8]


def test_an_old_hello_takes_nothing_back() -> None:
    conversation = listening()
    for seq in (1, 2, 3):
        conversation.receive_frame(message(seq))
    conversation.message_committed(THEIRS, 3)
    conversation.session_opened()
    conversation.receive_frame(hello(first_seq=1))
    for seq in (1, 2, 3, 4):
        conversation.receive_frame(message(seq))
    assert arrived(conversation) == [1, 2, 3, 4]


def test_a_new_epoch_begins_where_its_hello_says() -> None:
    conversation = listening()
    conversation.receive_frame(message(1))
    conversation.receive_frame(message(1, epoch=77))
    assert conversation.dropped["message-of-unknown-epoch"] == 1
    conversation.session_opened()
    conversation.receive_frame(hello(first_seq=5, epoch=77))
    conversation.receive_frame(message(5, epoch=77))
    conversation.message_committed(THEIRS, 1)
    assert arrived(conversation) == [1, 5]
    conversation.message_committed(77, 5)
    assert [frame for frame in spoken(conversation) if isinstance(frame, Ack)] == [Ack(77, 5)]


def test_a_sender_that_goes_back_to_an_epoch_is_not_in_the_way_of_what_is_being_committed() -> None:
    conversation = listening()
    for seq in range(1, 6):
        conversation.receive_frame(message(seq))
    for epoch in (77, THEIRS):
        conversation.session_opened()
        conversation.receive_frame(hello(epoch=epoch))
    conversation.message_committed(THEIRS, 5)
    conversation.receive_frame(message(1))
    conversation.message_committed(THEIRS, 1)
    assert spoken(conversation)[-1] == Ack(THEIRS, 1)


def test_a_sender_that_changes_its_epoch_within_a_session_gets_no_second_window() -> None:
    conversation = listening()
    for seq in range(1, UNCOMMITTED_MESSAGES + 1):
        conversation.receive_frame(message(seq))
    drained(conversation)
    conversation.receive_frame(hello(epoch=77))
    conversation.receive_frame(message(1, epoch=77))
    assert drained(conversation) == []
    assert conversation.dropped["hello-again"] == 1


def test_a_sender_that_floods_is_taken_from_only_as_far_as_we_commit() -> None:
    conversation = listening()
    for seq in range(1, 3 * UNCOMMITTED_MESSAGES):
        conversation.receive_frame(message(seq))
    assert len(arrived(conversation)) == UNCOMMITTED_MESSAGES
    assert conversation.dropped["message-beyond-window"] > 0
    large = listening()
    for seq in range(1, 1000):
        large.receive_frame(message(seq, body="x" * 16_000))
    assert len(arrived(large)) * 16_000 <= 2 * WINDOW_BYTES
    early = listening()
    for seq in range(2, 3 * UNCOMMITTED_MESSAGES):
        early.receive_frame(message(seq))
    early.receive_frame(message(1))
    assert len(arrived(early)) == UNCOMMITTED_MESSAGES


def test_committing_what_never_arrived_is_refused_at_once() -> None:
    conversation = listening()
    with pytest.raises(ValueError, match="committed"):
        conversation.message_committed(THEIRS, 1)


def test_a_peer_that_moves_its_first_number_on_and_on_has_us_hold_one_window_at_most() -> None:
    conversation = listening()
    taken, alarms, seq = 0, 0, 1
    for _ in range(5):
        for _ in range(UNCOMMITTED_MESSAGES):
            conversation.receive_frame(message(seq))
            seq += 1
        seq += 1
        conversation.receive_frame(hello(first_seq=seq, outbox=THEIRS))
        events = drained(conversation)
        taken += sum(isinstance(event, MessageArrived) for event in events)
        alarms += sum(isinstance(event, MessagesMissing) for event in events)
    assert taken <= UNCOMMITTED_MESSAGES
    assert alarms <= 1
