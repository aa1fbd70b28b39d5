"""A disk without room: what is said waits at its sender; and a disk that gives messages up."""

from natd.core.base.events import MessageArrived, NothingToRepeat
from natd.core.codec.frames import Ack, Hello, Message
from tests.core.chat.conversations import (
    OURS,
    THEIRS,
    arrived,
    drained,
    hello,
    listening,
    message,
    opened,
    spoken,
)
from tests.core.world.talker import message_to_send
from tests.core.world.village import KEY, Member, Village


def test_a_conversation_without_room_takes_and_acknowledges_nothing_more() -> None:
    conversation = listening()
    for seq in (1, 2, 3):
        conversation.receive_frame(message(seq))
    assert arrived(conversation) == [1, 2, 3]
    conversation.message_committed(THEIRS, 1)
    conversation.hold()
    for seq in (4, 5, 2):
        conversation.receive_frame(message(seq))
    assert arrived(conversation) == []
    assert conversation.dropped["message-without-room"] == 2
    assert spoken(conversation) == [Ack(THEIRS, 1)]


def test_it_is_said_when_what_was_not_taken_must_come_in_another_session() -> None:
    conversation = listening()
    conversation.receive_frame(message(1))
    assert arrived(conversation) == [1]
    conversation.hold()
    assert conversation.release()
    conversation.session_closed()
    conversation.session_opened()
    conversation.receive_frame(hello(epoch=THEIRS + 1))
    conversation.receive_frame(message(1, epoch=THEIRS + 1))
    assert arrived(conversation) == [1]
    assert not conversation.release(), "nothing was turned away in this session"


def test_a_conversation_without_room_stays_so_in_the_next_session() -> None:
    conversation = listening()
    conversation.hold()
    conversation.session_opened()
    conversation.receive_frame(hello(epoch=THEIRS + 1))
    conversation.receive_frame(message(1, epoch=THEIRS + 1))
    assert arrived(conversation) == []
    assert conversation.release()


def test_what_the_disk_gives_up_is_not_said_and_not_promised() -> None:
    conversation = opened()
    for seq in (1, 2, 3):
        conversation.send_message(message_to_send(OURS, seq, f"{seq}"))
    conversation.session_closed()
    conversation.give_up(2)
    conversation.session_opened()
    said = spoken(conversation)
    assert isinstance(said[0], Hello)
    assert said[0].first_seq == 3
    assert [frame.seq for frame in said if isinstance(frame, Message)] == [3]


def test_what_is_given_up_during_a_session_counts_from_the_next_one() -> None:
    conversation = opened()
    for seq in (1, 2, 3):
        conversation.send_message(message_to_send(OURS, seq, f"{seq}"))
    conversation.give_up(2)
    assert [f.seq for f in spoken(conversation) if isinstance(f, Message)] == [1, 2, 3]
    conversation.session_closed()
    conversation.session_opened()
    assert [f.seq for f in spoken(conversation) if isinstance(f, Message)] == [3]


def test_a_sender_shows_that_it_is_done_with_all_that_we_have() -> None:
    conversation = listening()
    for seq in (1, 2):
        conversation.receive_frame(message(seq))
    conversation.message_committed(THEIRS, 2)
    for first_seq, is_done in ((2, False), (3, True)):
        drained(conversation)
        conversation.session_opened()
        conversation.receive_frame(hello(first_seq, epoch=90 + first_seq, outbox=THEIRS))
        told = any(isinstance(event, NothingToRepeat) for event in drained(conversation))
        assert told is is_done


def test_when_there_is_room_again_all_comes_once_and_in_order() -> None:
    village = Village()
    alice, bob = village.member("alice"), Narrow(village, "bob", None, KEY, 40000)
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 5.0)
    bob.room = 3
    for number in range(2000):
        alice.send(f"{number}")
        if number % 100 == 0:
            village.internet.run(0.05)
    village.internet.run(60.0)
    assert bob.texts() == ["0", "1", "2"]
    assert bob.is_online(alice), "the session stays"
    bob.release(100_000)
    assert village.internet.run_until(lambda: len(bob.texts()) >= 2000, 30.0)
    village.internet.run(5.0)
    assert bob.texts() == [f"{number}" for number in range(2000)]


class Narrow(Member):
    """A member whose disk has room for so many messages."""

    room = 1_000_000
    is_held = False

    def release(self, room: int) -> None:
        self.room, self.is_held = room, False
        now = self.internet.now
        for peer in tuple(self.disk.cards):
            if (found := self.membership.peer(peer, now)) is not None:
                found.dialogue.release_messages(now)
        self.node.handle_timer(now)

    def _commit(self, event: MessageArrived, now: float) -> None:
        self.room -= not self.is_held
        if self.is_held or self.room < 0:
            self.is_held = True
            found = self.membership.peer(event.peer, now)
            assert found is not None
            found.dialogue.hold_messages()
            return
        super()._commit(event, now)
