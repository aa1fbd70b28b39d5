"""Messages on disk: numbers without gaps, open messages, deliveries."""

import asyncio
from pathlib import Path

import pytest

from natd.storage.delivery import Delivery
from natd.storage.mailbox import new_message_id
from natd.storage.mailbox_writes import HAS_ARRIVED, NEWEST_ARRIVED
from natd.storage.store import Store, StoreError
from tests.storage.box import ALICE, BOB, NETWORK, Box


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
