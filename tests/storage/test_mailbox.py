"""Messages on disk: numbers without gaps, open messages, deliveries."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from natd.core.base.events import MessageArrived
from natd.core.base.types import NetworkId, PeerId
from natd.storage.conversation import Conversation
from natd.storage.delivery import Delivery
from natd.storage.event_log import EventLog
from natd.storage.mailbox import Mailbox, new_message_id
from natd.storage.mailbox_writes import HAS_ARRIVED, NEWEST_ARRIVED
from natd.storage.store import Store, StoreError

NETWORK = NetworkId(b"n" * 16)
ALICE = PeerId(b"a" * 32)
BOB = PeerId(b"b" * 32)


def test_accepted_messages_are_numbered_for_each_recipient(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("one", [ALICE])
        await box.accept("two", [ALICE, BOB])
        assert box.outbound() == [(ALICE, 1, "one"), (ALICE, 2, "two"), (BOB, 1, "two")]
        await box.close()

    asyncio.run(scenario())


def test_numbers_and_epoch_go_on_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("one", [ALICE])
        epoch = box.conversation(ALICE).state().outbox
        await box.close()
        box = Box(tmp_path)
        await box.accept("two", [ALICE])
        assert box.outbound() == [(ALICE, 2, "two")]
        state = box.conversation(ALICE).state()
        assert state.outbox == epoch
        assert state.first_unacknowledged == 1
        assert [m.body for m in await box.mailbox.waiting(NETWORK, ALICE, 0, 9)] == ["one", "two"]
        await box.close()

    asyncio.run(scenario())


def test_a_refused_message_leaves_no_gap_in_the_numbers(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("one", [ALICE])
        box.store._writer.execute("PRAGMA query_only = 1")
        with pytest.raises(StoreError, match="readonly"):
            await box.accept("lost", [ALICE])
        box.store._writer.execute("PRAGMA query_only = 0")
        await box.accept("two", [ALICE])
        assert box.outbound() == [(ALICE, 1, "one"), (ALICE, 2, "two")]
        assert await box.texts("sent") == ["one", "two"]
        await box.close()

    asyncio.run(scenario())


def test_an_open_message_goes_to_all_that_are_met_and_before_later_ones(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("open", [], is_open=True)
        assert box.outbound() == []
        box.mailbox.begin(NETWORK, ALICE)
        await box.accept("later", [ALICE])
        assert box.outbound() == [(ALICE, 1, "open"), (ALICE, 2, "later")]
        await box.close()

    asyncio.run(scenario())


def test_an_open_message_accepted_in_the_same_breath_as_a_peer_is_met_is_not_lost(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        accepted = box.accept("open", [], is_open=True)
        box.mailbox.begin(NETWORK, ALICE)
        await box.store.flush()
        assert accepted.done()
        assert box.outbound() == [(ALICE, 1, "open")]
        await box.close()

    asyncio.run(scenario())


def test_an_open_message_is_addressed_once_to_each_peer_also_after_a_restart(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("open", [ALICE], is_open=True)
        box.outbound()
        await box.close()
        box = Box(tmp_path)
        box.mailbox.begin(NETWORK, ALICE)
        box.mailbox.begin(NETWORK, BOB)
        await box.store.flush()
        assert box.outbound() == [(BOB, 1, "open")]
        await box.close()

    asyncio.run(scenario())


def test_once_all_members_are_listed_a_newcomer_gets_no_earlier_message(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        accepted = box.accept("open", [ALICE], is_open=True)
        box.mailbox.close_open(NETWORK)
        await accepted
        box.mailbox.begin(NETWORK, BOB)
        await box.store.flush()
        assert box.outbound() == [(ALICE, 1, "open")]
        assert box.mailbox.find(NETWORK, BOB) is not None
        await box.close()

    asyncio.run(scenario())


def test_a_conversation_can_be_opened_only_when_its_epoch_is_on_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.mailbox.begin(NETWORK, ALICE)
        assert box.mailbox.find(NETWORK, ALICE) is None
        assert box.mailbox.take_begun() == []
        await box.store.flush()
        assert [conversation.peer for conversation in box.mailbox.take_begun()] == [ALICE]
        assert box.mailbox.find(NETWORK, ALICE) is not None
        await box.close()

    asyncio.run(scenario())


def test_an_arrival_is_released_for_acknowledgement_once_it_is_on_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        for seq in (1, 2, 3):
            box.arrive(ALICE, seq, outbox=2**64 - 5)
        assert box.mailbox.take_arrived() == []
        await box.store.flush()
        (conversation,) = box.mailbox.take_arrived()
        assert conversation.state().heard_outbox == 2**64 - 5
        assert conversation.state().heard_seq == 3
        assert await box.texts("message") == ["1", "2", "3"]
        await box.close()
        box = Box(tmp_path)
        assert box.conversation(ALICE).state().heard_outbox == 2**64 - 5
        assert box.conversation(ALICE).state().heard_seq == 3
        await box.close()

    asyncio.run(scenario())


def test_each_message_is_delivered_once_and_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        ids = [await box.accept(text, [ALICE]) for text in ("one", "two", "three")]
        box.give_all()
        box.mailbox.acknowledge(NETWORK, ALICE, 2, {})
        box.mailbox.acknowledge(NETWORK, ALICE, 2, {})
        box.mailbox.acknowledge(NETWORK, ALICE, 99, {})
        await box.store.flush()
        assert [e["message"] for e in await box.events("delivered")] == ids
        assert box.mailbox.queued(NETWORK) == 0
        await box.close()

    asyncio.run(scenario())


def test_an_acknowledgement_that_a_crash_forgot_is_told_after_the_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        ids = [await box.accept(text, [ALICE]) for text in ("one", "two")]
        await box.close()
        box = Box(tmp_path)
        box.mailbox.acknowledge(NETWORK, ALICE, 2, {})
        await box.store.flush()
        assert [e["message"] for e in await box.events("delivered")] == ids
        await box.close()

    asyncio.run(scenario())


def test_who_waits_for_a_delivery_is_woken_by_the_last_recipient(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        message = await box.accept("one", [ALICE, BOB])
        delivery = Delivery([ALICE, BOB])
        waiting = asyncio.ensure_future(followed(box, message, delivery))
        await asyncio.sleep(0)
        box.give_all()
        for peer, left in ((ALICE, {BOB}), (BOB, set())):
            box.mailbox.acknowledge(NETWORK, peer, 1, {})
            await box.store.flush()
            box.mailbox.tell_delivered()
            assert delivery.missing == left
        await asyncio.wait_for(waiting, 1)
        await box.close()

    asyncio.run(scenario())


def test_a_delivery_of_an_open_message_waits_for_the_peers_that_are_met(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        message = await box.accept("one", [], is_open=True)
        delivery = Delivery([])
        waiting = asyncio.ensure_future(followed(box, message, delivery))
        await asyncio.sleep(0)
        box.mailbox.begin(NETWORK, ALICE)
        await box.store.flush()
        box.give_all()
        assert delivery.missing == {ALICE}
        box.mailbox.acknowledge(NETWORK, ALICE, 1, {})
        await box.store.flush()
        box.mailbox.tell_delivered()
        await asyncio.wait_for(waiting, 1)
        assert delivery.delivered == [ALICE]
        await box.close()

    asyncio.run(scenario())


def test_who_has_nothing_to_say_does_not_look_on_the_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("one", [ALICE])
        box.give_all()
        assert len(await box.mailbox.waiting(NETWORK, ALICE, 0, 9)) == 1
        await box.close()  # a reader is told now that it can't be read
        assert await box.mailbox.waiting(NETWORK, ALICE, 1, 9) == []
        with pytest.raises(StoreError):
            await box.mailbox.waiting(NETWORK, ALICE, 0, 9)

    asyncio.run(scenario())


def test_what_waited_too_long_is_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("old", [ALICE])
        await box.store.execute("UPDATE messages SET kept_at_s = 0")
        await box.accept("new", [ALICE])
        await box.close()
        box = Box(tmp_path)
        ((conversation, seq, messages),) = await box.mailbox.give_up(lambda *_: True)
        assert (conversation.peer, seq, messages) == (ALICE, 1, 1)
        assert box.conversation(ALICE).state().first_unacknowledged == 2
        assert [m.body for m in await box.mailbox.waiting(NETWORK, ALICE, 0, 9)] == ["new"]
        await box.close()

    asyncio.run(scenario())


def test_old_history_goes_except_what_still_waits_for_its_peer(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("delivered", [ALICE])
        box.give_all()
        box.mailbox.acknowledge(NETWORK, ALICE, 1, {})
        await box.accept("waiting", [ALICE])
        await box.mailbox.prune(2**60)
        assert box.store.query("SELECT body FROM messages") == [("waiting",)]
        assert box.store.query("SELECT count(*) FROM outbox") == [(1,)]
        await box.close()

    asyncio.run(scenario())


def test_a_purge_leaves_nothing_of_the_network(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("one", [ALICE])
        box.arrive(ALICE, 1)
        await box.mailbox.purge(NETWORK)
        for table in ("messages", "outbox", "conversations"):
            assert box.store.query(f"SELECT count(*) FROM {table}") == [(0,)]
        await box.accept("again", [ALICE])
        assert [number for _, number, _ in box.outbound()][-1] == 1
        await box.close()

    asyncio.run(scenario())


def test_a_peer_is_forgotten_only_where_nothing_was_ever_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.mailbox.begin(NETWORK, ALICE)
        assert not box.mailbox.forget(NETWORK, ALICE), "its row is on its way to the disk"
        await box.store.flush()
        assert box.mailbox.forget(NETWORK, ALICE)
        box.mailbox.begin(NETWORK, BOB)
        await box.store.flush()
        acceptance = asyncio.ensure_future(box.accept("waits", [BOB]))
        await asyncio.sleep(0)
        assert not box.mailbox.forget(NETWORK, BOB), "a word of ours is on its way to the disk"
        await acceptance
        assert not box.mailbox.forget(NETWORK, BOB)
        await box.store.flush()
        assert box.store.query("SELECT peer FROM conversations") == [(BOB,)]
        assert [m.body for m in await box.mailbox.waiting(NETWORK, BOB, 0, 9)] == ["waits"]
        await box.close()

    asyncio.run(scenario())


def test_a_message_that_comes_again_under_another_number_is_known_by_its_id(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        for seq, id_ in ((1, "a"), (2, "c"), (3, "c")):
            box.arrive(ALICE, seq, id_=id_)
        await box.store.flush()
        await box.close()
        box = Box(tmp_path)
        for seq, id_ in ((1, "c"), (2, "b"), (3, "a"), (4, "d"), (5, "d")):
            box.arrive(ALICE, seq, id_=id_)
        box.arrive(BOB, 1, id_="a")
        await box.store.flush()
        assert await box.texts("message") == ["1", "2", "2", "4", "1"], "a, c, b, d and BOB's a"
        (alice, bob) = box.mailbox.take_arrived()
        assert (alice.arrived, bob.arrived) == ((9, 5), (9, 1)), "each is acknowledged all the same"
        (count,) = box.store.query("SELECT count(*) FROM messages")
        assert count == (5,)
        await box.close()

    asyncio.run(scenario())


def test_an_old_message_leaves_its_id_while_its_sender_may_say_it_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        now_s = box.store.own_time.now_s
        for seq, days in ((1, 8), (2, 6), (3, 0)):
            box.arrive(ALICE, seq)
            await box.store.flush()
            await box.grow_old(f"m{seq:03}", days)
        await box.mailbox.prune(now_s - 86_400)
        rows = box.store.query("SELECT message, body FROM messages ORDER BY message")
        assert rows == [("m001", ""), ("m002", ""), ("m003", "3")]
        box.mailbox.nothing_to_repeat(NETWORK, ALICE)
        box.arrive(ALICE, 4)
        await box.store.flush()
        await box.grow_old("m004", 8)
        await box.mailbox.prune(now_s - 86_400)
        rows = box.store.query("SELECT message, body FROM messages ORDER BY message")
        assert rows == [("m002", ""), ("m003", "3"), ("m004", "")], (
            "one goes when seven days are over and its sender is done with it"
        )
        box.arrive(ALICE, 2)
        box.arrive(ALICE, 4)
        await box.store.flush()
        assert box.store.query("SELECT count(*) FROM messages") == [(3,)]
        await box.close()

    asyncio.run(scenario())


def test_what_its_sender_is_done_with_is_known_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.arrive(ALICE, 1)
        await box.store.flush()
        box.mailbox.nothing_to_repeat(NETWORK, ALICE)
        await box.mailbox.prune(0)
        await box.close()
        box = Box(tmp_path)
        await box.grow_old("m001", 8)
        await box.mailbox.prune(box.store.own_time.now_s - 86_400)
        assert box.store.query("SELECT count(*) FROM messages") == [(0,)]
        await box.close()

    asyncio.run(scenario())


def test_a_peer_that_has_filled_its_part_of_the_disk_waits_and_others_do_not(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.mailbox.quota.peer_bytes = 50_000
        taken = [box.arrive(ALICE, seq, text="x" * 9_300) for seq in range(1, 9)]
        assert taken == [True] * 5 + [False] * 3, "10,000 bytes each, with their rows"
        assert box.arrive(BOB, 1)
        await box.store.flush()
        assert box.mailbox.take_released() == []
        assert [held.peer for held in box.mailbox.held(NETWORK)] == [ALICE]
        box.mailbox.quota.peer_bytes = 60_000
        assert [released.peer for released in box.mailbox.take_released()] == [ALICE]
        assert box.mailbox.held(NETWORK) == []
        assert box.arrive(ALICE, 6, text="x" * 9_300)
        await box.close()

    asyncio.run(scenario())


def test_what_a_peer_has_stored_is_known_after_a_restart_and_given_back_with_its_age(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        for seq in range(1, 6):
            assert box.arrive(ALICE, seq, text="x" * 9_300)
        await box.close()
        box = Box(tmp_path)
        box.mailbox.quota.peer_bytes = 50_000
        assert not box.arrive(ALICE, 6)
        for seq in range(1, 4):
            await box.grow_old(f"m{seq:03}", 31)
        await box.mailbox.prune(box.store.own_time.now_s - 30 * 86_400)
        assert [released.peer for released in box.mailbox.take_released()] == [ALICE]
        assert box.arrive(ALICE, 6)
        await box.close()

    asyncio.run(scenario())


def test_however_many_want_to_fill_the_disk_one_more_finds_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        quota = box.mailbox.quota
        quota.disk_bytes, quota.peer_bytes = 4_000_000, 4_000_000
        stored = []
        for number in range(64):
            greedy = PeerId(bytes([100 + number]) * 32)
            seq = 1
            while box.arrive(greedy, seq, text="x" * 9_300):
                seq += 1
                if seq % 8 == 0:
                    await box.store.flush()
            stored.append((seq - 1) * 10_000)
        await box.store.flush()
        assert stored[0] < 900_000, "not more than a quarter of what was free"
        assert stored[1] > 500_000
        assert box.store.used_bytes <= 4_000_000
        assert box.arrive(ALICE, 1, text="hello")
        assert await box.accept("and back", [ALICE])
        await box.close()

    asyncio.run(scenario())


def test_when_natd_has_used_up_its_part_of_the_disk_nothing_is_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.mailbox.quota.disk_bytes = 1
        with pytest.raises(StoreError, match=r"limits\.disk_mib"):
            await box.accept("one", [ALICE])
        assert not box.arrive(ALICE, 1)
        await box.close()

    asyncio.run(scenario())


def test_while_the_disk_takes_nothing_what_arrives_in_memory_is_bounded(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.store._writer.execute("PRAGMA query_only = 1")
        count = 0
        for number in range(256):
            peer, seq = PeerId(bytes([number]) * 32), 1
            while seq < 512 and box.arrive(peer, seq, text="x" * 16_000):
                seq += 1
                count += 1
        assert count * 16_000 <= 32 * 1024 * 1024
        box.store._writer.execute("PRAGMA query_only = 0")
        while box.mailbox.held(NETWORK):
            await box.store.flush()
            await asyncio.sleep(0.1)
            box.mailbox.take_released()
        assert len(await box.texts("message")) == min(999, count)
        await box.close()

    asyncio.run(scenario())


def test_a_text_stands_once_on_the_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("said-here " + "x" * 500, [ALICE, BOB])
        box.arrive(ALICE, 1, text="said-there " + "x" * 500)
        await box.store.flush()
        box.log._recent.clear()
        assert [text[:10] for text in await box.texts("sent")] == ["said-here "]
        assert [text[:11] for text in await box.texts("message")] == ["said-there "]
        await box.close()
        content = (tmp_path / "natd.db").read_bytes()
        assert content.count(b"said-here") == content.count(b"said-there") == 1

    asyncio.run(scenario())


def test_looking_for_an_id_reads_no_other_messages(tmp_path: Path) -> None:
    box = Store(tmp_path)
    for sql, values in ((HAS_ARRIVED, (1, "m")), (NEWEST_ARRIVED, (1,))):
        ((*_, plan),) = box.query(f"EXPLAIN QUERY PLAN {sql}", values)
        assert "arrived_messages" in plan


def test_message_ids_sort_by_time() -> None:
    ids = [new_message_id(ms) for ms in (1, 2, 1_700_000_000_000, 2**48 - 1)]
    assert ids == sorted(ids)
    assert {len(text) for text in ids} == {26}


async def followed(box: "Box", message: str, delivery: Delivery) -> None:
    with box.mailbox.following(message, delivery):
        await delivery.done


class Box:
    """A mailbox with its store and log."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory)
        self.log = EventLog(self.store)
        self.mailbox = Mailbox(self.store, self.log)
        self.store.start(lambda: None)

    def accept(
        self, text: str, peers: Iterable[PeerId], *, is_open: bool = False
    ) -> "asyncio.Future[str]":
        fields = {"network": "demo", "text": text}
        return self.mailbox.accept(
            NETWORK, peers, text=text, nick="me", is_open=is_open, kind="text", fields=fields
        )

    def arrive(
        self, peer: PeerId, seq: int, outbox: int = 1, id_: str = "", text: str = ""
    ) -> bool:
        text, id_ = text or str(seq), id_ or f"m{seq:03}"
        arrived = MessageArrived(NETWORK, peer, "alice", id_, 9, seq, 0, "text", text, outbox)
        return self.mailbox.arrive(arrived, "new", {"network": "demo", "text": text})

    async def grow_old(self, message: str, days: int) -> None:
        """As if it had been kept for so many days of own time."""
        sql = "UPDATE messages SET kept_at_s = kept_at_s - ? WHERE message = ?"
        await self.store.execute(sql, (days * 86_400, message))

    def conversation(self, peer: PeerId) -> Conversation:
        conversation = self.mailbox.find(NETWORK, peer)
        assert conversation is not None
        return conversation

    def outbound(self) -> list[tuple[PeerId, int, str]]:
        return [(c.peer, m.seq, m.body) for c, m in self.mailbox.take_outbound()]

    def give_all(self) -> None:
        for conversation, message in self.mailbox.take_outbound():
            self.mailbox.given(NETWORK, conversation.peer, message)

    async def events(self, type_: str) -> list[dict[str, Any]]:
        return await self.log.read_events(0, 999, frozenset({type_}))

    async def texts(self, type_: str) -> list[str]:
        return [event["text"] for event in await self.events(type_)]

    async def close(self) -> None:
        await self.store.close()
