"""What is said between two peers, over one session after the other."""

from random import Random

import pytest

from natd.core.base.events import (
    ConversationState,
    MessageArrived,
    MessagesAcknowledged,
    OutboxWanted,
)
from natd.core.base.routes import RouteAdded, RouteDropped
from natd.core.chat.dialogue import Dialogue
from natd.core.codec import frames
from natd.core.keys.secrets import CHECK_TAG_BYTES
from natd.core.session.events import HandshakeCompleted, SessionEnded
from natd.core.session.quic_header import destination_connection_id
from tests.core.world.lossy_link import LossyLink, Weather, pair_of_secrets
from tests.core.world.talker import NETWORK, PEER, message_to_send

RTT_S = 0.05


def test_the_first_flight_carries_what_waits_and_the_answer_carries_what_waits_there():
    link, one, other = _pair()
    one.open()
    other.open()
    one.say("hello")
    other.say("hello yourself")
    one.dial(link.now)
    assert link.run(RTT_S / 2 + 0.001, lambda: other.heard == ["hello"])
    assert link.run(RTT_S / 2 + 0.001, lambda: one.heard == ["hello yourself"])


def test_a_dial_that_nobody_allowed_waits_for_the_conversation_and_carries_its_messages():
    link, one, other = _pair()
    other.open()
    one.dial(link.now)
    assert one.datagrams_to_send() == []
    one.open()
    one.say("hello")
    assert link.run(RTT_S / 2 + 0.001, lambda: other.heard == ["hello"])


def test_a_handshake_that_is_allowed_does_not_wait_for_the_disk_and_what_is_said_does():
    link, one, other = _pair()
    other.open()
    one.dial(link.now)
    assert one.datagrams_to_send() == []
    one.dialogue.allow_session(link.now)
    one.drain()
    link.run(0.003)  # so long the disk takes
    assert not one.dialogue.send_message(message_to_send(one.epoch, 1))
    one.open()
    one.say("hello")
    assert link.run(RTT_S / 2 + 0.001, lambda: other.heard == ["hello"])
    assert not one.dialogue.sessions.is_established  # it went as 0-RTT


def test_a_disk_that_takes_nothing_keeps_what_is_said_and_not_the_session():
    link, one, other = _pair()
    other.open()
    other.say("hello yourself")
    one.dial(link.now)
    one.dialogue.allow_session(link.now)
    one.drain()
    assert link.run(1.0, lambda: _are_in_session(one, other))
    assert one.heard == []
    one.open()
    one.say("hello")
    assert link.run(1.0, lambda: (one.heard, other.heard) == (["hello yourself"], ["hello"]))


def test_who_says_more_than_is_kept_before_the_conversation_is_open_is_heard_whole_later():
    """The middle was cut out, and a message could go on with a part of another."""
    link, one, other = _pair()
    one.open()
    one.dial(link.now)
    other.drain()
    assert link.run(1.0, lambda: _are_in_session(one, other))
    texts = [f"{number:05}" * 2000 for number in range(40)]
    for text in texts:
        one.say(text)
        link.run(RTT_S)
    assert other.dialogue.all_dropped["too-much-before-it-is-open"] == 1
    other.open()
    one.use(2)
    other.use(2)
    one.dial(link.now)
    assert link.run(10.0, lambda: len(other.heard) >= len(texts))
    assert other.heard == texts


def test_nothing_is_said_or_lost_before_the_conversation_is_open():
    link, one, other = _pair()
    one.open()
    one.say("hello")
    one.dial(link.now)
    link.run(1.0)
    assert other.heard == []
    assert one.acknowledged == 0
    other.open()
    assert other.heard == ["hello"]
    assert link.run(1.0, lambda: one.acknowledged == 1)


def test_a_message_is_taken_only_when_there_is_a_conversation_for_it():
    _, one, _ = _pair()
    assert not one.dialogue.send_message(message_to_send(one.epoch, 1))
    one.open()
    assert one.dialogue.send_message(message_to_send(one.epoch, 1))


def test_a_conversation_is_opened_once():
    link, one, other = _chatting()
    one.dialogue.open_conversation(ConversationState(99, 1), link.now)
    one.drain()
    one.say("under the old epoch")
    assert link.run(1.0, lambda: other.heard == ["under the old epoch"])


def test_on_the_next_session_everything_unacknowledged_is_said_again_once():
    link, one, other = _chatting()
    link.weather.is_cut = True
    for number in range(5):
        one.say(str(number))
    link.run(3.0)
    one.use(2)
    other.use(2)
    link.weather.is_cut = False
    one.dialogue.redial(one.secrets, link.now)
    one.drain()
    other.dialogue.sessions.close(link.now)
    other.drain()
    assert link.run(5.0, lambda: one.acknowledged == 5)
    link.run(5.0)
    assert other.heard == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("seed", range(5))
def test_sessions_replaced_at_random_lose_and_double_nothing(seed):
    weather = Weather(loss=0.1, jitter_s=0.03, duplicates=0.1)
    link, one, other = _pair(weather, seed)
    one.open()
    other.open()
    random = Random(seed)
    for number in range(120):
        random.choice((one, other)).say(str(number))
        link.run(0.05)
        if random.random() < 0.1:
            one.use(number)
            other.use(number)
            random.choice((one, other)).dial(link.now)
    link.weather.loss = 0.0
    one.use(1000)
    other.use(1000)
    one.dial(link.now)
    done = link.run(
        60.0, lambda: one.acknowledged == len(one.said) and other.acknowledged == len(other.said)
    )
    assert done
    assert other.heard == one.said
    assert one.heard == other.said


def test_a_peer_that_sends_what_is_no_frame_loses_its_session_and_no_message():
    link, one, other = _chatting()
    one.dialogue.sessions.send(b"\xff" * 40, link.now)
    link.run(1.0)
    assert other.dialogue.dropped["no-frame"] == 1
    assert not other.dialogue.sessions.is_open
    one.say("said on the next")
    one.use(2)
    other.use(2)
    one.dial(link.now)
    assert link.run(2.0, lambda: other.heard == ["said on the next"])


def test_half_a_frame_of_the_last_session_does_not_spoil_the_next():
    link, one, other = _chatting()
    half = frames.encode_frame(frames.Bye("never finished"))[:-3]
    one.dialogue.sessions.send(half, link.now)
    link.run(0.2)
    one.use(2)
    other.use(2)
    one.dial(link.now)
    link.run(1.0)
    one.say("whole")
    assert link.run(1.0, lambda: other.heard == ["whole"])
    assert other.dialogue.dropped["no-frame"] == 0


def test_a_card_is_told_where_a_session_is_established_and_forgotten_elsewhere():
    link, one, other = _pair()
    one.open()
    other.open()
    one.dialogue.send_frame(frames.NewerCard(b"too early"), link.now)
    one.dial(link.now)
    link.run(1.0)
    one.dialogue.send_frame(frames.NewerCard(b"card"), link.now)
    link.run(1.0)
    assert [e for e in other.events if isinstance(e, frames.NewerCard)] == [
        frames.NewerCard(b"card")
    ]


def test_what_a_peer_says_besides_messages_goes_up_as_it_is_and_in_its_place():
    link, one, other = _chatting()
    said = [
        frames.NewerCard(b"card"),
        frames.Introduce(bytes(32), b"card", None),
        frames.Seek(None),
    ]
    for frame in said:
        one.dialogue.send_frame(frame, link.now)
    one.say("and a message")
    one.dialogue.say_bye(link.now)
    (data,) = one.datagrams_to_send()[:1]
    connection_id = destination_connection_id(data)
    other.dialogue.sessions.receive_datagram(data, connection_id, None, link.now)
    other.dialogue.settle(link.now)
    told = [*other.dialogue.events]
    assert told[:3] == said
    assert [type(event) for event in told[3:]] == [MessageArrived, frames.Bye]


def test_frames_of_types_that_are_not_known_here_are_counted_and_change_nothing():
    link, one, other = _chatting()
    for kind in (4, 7, 10, 13, 127):
        one.dialogue.sessions.send(bytes((0, 0, 0, 3, 0x92, kind, 1)), link.now)
    one.say("still here")
    assert link.run(1.0, lambda: other.heard == ["still here"])
    assert other.dialogue.all_dropped["frame-of-unknown-type"] == 5


def test_a_goodbye_is_heard_before_the_session_ends():
    link, one, other = _chatting()
    one.dialogue.say_bye(link.now)
    one.drain()
    link.run(0.2)
    kinds = [type(event) for event in other.events]
    assert kinds.index(frames.Bye) < kinds.index(SessionEnded)
    assert not other.dialogue.sessions.is_open


def test_hanging_up_says_nothing_and_redialling_meets_again():
    link, one, other = _chatting()
    one.dialogue.sessions.close(link.now)
    one.drain()
    link.run(1.0)
    assert not [event for event in other.events if isinstance(event, frames.Bye)]
    other.say("still there?")
    other.dialogue.redial(other.secrets, link.now)
    other.drain()
    assert link.run(1.0, lambda: one.heard == ["still there?"])


def test_a_long_outbox_passes_through_a_small_window_of_memory():
    link, one, other = _chatting()
    for number in range(5000):
        one.say(f"{number} " + "x" * 50)
    assert link.run(60.0, lambda: one.acknowledged == 5000)
    assert other.heard == one.said


class Speaker:
    """One end, with a disk that never fails and commits at once."""

    def __init__(self, number):
        self.number = number
        self.epoch = 100 + number
        self.dialogue = Dialogue(NETWORK, PEER, "bob", Random(number), ours_stay=number == 0)
        self.said = []
        self.heard = []
        self._ids = set()
        self.acknowledged = 0
        self.events = []
        self.now = 1000.0
        self._by_tag = {}
        self.use(1)

    def use(self, seed):
        self.secrets = pair_of_secrets(seed=seed)[self.number]
        self._by_tag[self.secrets.receive_tag] = self.secrets

    def open(self):
        self.dialogue.open_conversation(ConversationState(self.epoch, 1), self.now)
        self.drain()

    def say(self, text):
        self.said.append(text)
        message = message_to_send(self.epoch, len(self.said), text)
        self.dialogue.send_message(message)
        self.drain()

    def dial(self, now):
        self.now = now
        self.dialogue.dial(self.secrets, now)
        self.drain()

    def receive_datagram(self, data, now):
        self.now = now
        connection_id = destination_connection_id(data) or b""
        secrets = self._by_tag.get(connection_id[:CHECK_TAG_BYTES])
        genuine = self.dialogue.sessions.receive_datagram(data, connection_id, secrets, now)
        self.drain()
        return genuine

    def handle_timer(self, now):
        self.now = now
        self.dialogue.sessions.handle_timer(now)
        self.drain()

    def datagrams_to_send(self):
        return self.dialogue.sessions.datagrams_to_send()

    def get_timer(self):
        return self.dialogue.sessions.get_timer()

    def drain(self):
        self.dialogue.settle(self.now)
        while self.dialogue.events:
            match event := self.dialogue.events.popleft():
                case MessageArrived():
                    if event.message_id not in self._ids:
                        self._ids.add(event.message_id)
                        self.heard.append(event.body)
                    self.dialogue.message_committed(event.epoch, event.seq)
                    self.dialogue.settle(self.now)
                case MessagesAcknowledged(seq=seq):
                    self.acknowledged = seq
                case OutboxWanted(after_seq=after_seq, count=count):
                    for seq in range(after_seq + 1, min(after_seq + count, len(self.said)) + 1):
                        said = message_to_send(self.epoch, seq, self.said[seq - 1])
                        self.dialogue.send_message(said)
                    self.dialogue.settle(self.now)
                case RouteAdded() | RouteDropped() | HandshakeCompleted():
                    pass
                case _:
                    self.events.append(event)


def _pair(weather=None, seed=1):
    one, other = Speaker(0), Speaker(1)
    return LossyLink(one, other, weather, seed), one, other


def _chatting():
    link, one, other = _pair()
    one.open()
    other.open()
    one.dial(link.now)
    sessions = one.dialogue.sessions, other.dialogue.sessions
    assert link.run(1.0, lambda: all(each.is_established for each in sessions))
    link.run(1.0)
    return link, one, other


def _are_in_session(*speakers):
    return all(speaker.dialogue.sessions.is_established for speaker in speakers)
