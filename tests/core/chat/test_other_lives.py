"""Numbers of another session, or of another life of a disk, count for nothing and are told."""

from random import Random

from natd.core.base.events import (
    ConversationState,
    MessagesMissing,
    NothingToRepeat,
    OutboxWentBack,
)
from natd.core.chat.conversation import Conversation
from natd.core.codec.frames import Ack, Hello, Message
from tests.core.chat.conversations import (
    OURS,
    THEIRS,
    SameEpoch,
    acknowledged,
    arrived,
    drained,
    hello,
    message,
    spoken,
)
from tests.core.world.talker import NETWORK, PEER, message_to_send


def test_what_was_committed_in_another_session_comes_again_for_the_disk_to_know() -> None:
    conversation = Conversation(
        ConversationState(OURS, 1, heard_outbox=THEIRS, heard_seq=3),
        NETWORK,
        PEER,
        "bob",
        SameEpoch(),
    )
    conversation.session_opened()
    assert spoken(conversation) == [
        Hello(epoch=OURS, first_seq=1, outbox=OURS, heard_outbox=THEIRS, heard_seq=3)
    ]
    conversation.receive_frame(hello(first_seq=2, epoch=77, outbox=THEIRS))
    for seq in (2, 3, 4):
        conversation.receive_frame(message(seq, epoch=77))
    assert arrived(conversation) == [2, 3, 4]
    assert spoken(conversation) == []


def test_each_session_has_an_epoch_of_its_own_and_no_other_ones_acknowledgement_counts() -> None:
    conversation = Conversation(ConversationState(OURS, 1), NETWORK, PEER, "bob", Random(1))
    conversation.session_opened()
    conversation.send_message(message_to_send(OURS, 1))
    first = spoken(conversation)
    conversation.session_opened()
    second = spoken(conversation)
    epochs = [frame.epoch for frame in first + second if isinstance(frame, Hello | Message)]
    assert epochs[0] == epochs[1] != epochs[2] == epochs[3]
    drained(conversation)
    conversation.receive_frame(Ack(epochs[0], 1))
    assert drained(conversation) == []
    conversation.receive_frame(Ack(epochs[2], 1))
    assert drained(conversation) == [acknowledged(1)]


def test_a_peer_that_has_heard_more_than_we_know_shows_once_that_our_disk_went_back() -> None:
    state = ConversationState(OURS, 3, last_seq=4)
    conversation = Conversation(state, NETWORK, PEER, "bob", SameEpoch())
    for heard_outbox, heard_seq in ((OURS, 4), (5, 99), (OURS, 9), (OURS, 9)):
        conversation.session_opened()
        conversation.receive_frame(
            Hello(epoch=7, first_seq=1, heard_outbox=heard_outbox, heard_seq=heard_seq)
        )
        conversation.session_closed()
    told = [event for event in drained(conversation) if isinstance(event, OutboxWentBack)]
    assert told == [OutboxWentBack(NETWORK, PEER, 5)]


def test_messages_that_a_peer_is_done_with_and_we_have_not_got_are_told_once() -> None:
    state = ConversationState(OURS, 1, heard_outbox=THEIRS, heard_seq=3)
    conversation = Conversation(state, NETWORK, PEER, "bob", SameEpoch())
    conversation.session_opened()
    drained(conversation)
    conversation.receive_frame(hello(first_seq=7, epoch=77, outbox=THEIRS))
    assert drained(conversation) == [
        NothingToRepeat(NETWORK, PEER),
        MessagesMissing(NETWORK, PEER, THEIRS, 6, 3),
    ]
    conversation.session_opened()
    conversation.receive_frame(hello(first_seq=7, epoch=78, outbox=THEIRS))
    assert arrived(conversation) == []
    conversation.session_opened()
    conversation.receive_frame(hello(first_seq=20, epoch=79, outbox=5))
    assert not any(isinstance(event, MessagesMissing) for event in drained(conversation))
