"""Strangers by the thousand and a real store: who is let in, who stays, who is forgotten."""

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from natd.core.base.events import MessageArrived, PeerMet
from natd.core.base.types import PeerId
from natd.core.checks.strangers import Guessed
from natd.core.keys.card import Card, Identity, seal_card
from natd.core.keys.secrets import Prekey, network_id, network_key
from natd.core.network.standing import Acquaintance
from natd.ipc import RequestError
from natd.members.crowd import surplus_of
from natd.members.guesses import guesses_text, read_guesses
from natd.storage.address_book import AddressBook, KnownPeer
from natd.storage.event_log import EventLog
from natd.storage.mailbox import Mailbox
from natd.storage.store import Store
from tests.processes import Daemon, Server, pair, until

KEY = network_key("demo", b"")
NETWORK = network_id(KEY)
DAY_S = 86_400


def test_a_thousand_strangers_on_disk_keep_no_newcomer_out(tmp_path: Path) -> None:
    with Server(tmp_path / "server") as server, Daemon(tmp_path / "alice") as alice:
        alice.join("demo", server.address, "alice")
        alice.stop()
        fill(tmp_path / "alice" / "natd.db", 1_000)
        alice.start()
        until(lambda: registered(alice))
        with Daemon(tmp_path / "bob") as bob:
            began = time.monotonic()
            bob.join("demo", server.address, "bob")
            bob.request("send", network="demo", text="room for me?", wait_s=20)
            took_s = time.monotonic() - began
            assert alice.texts() == ["room for me?"]
            assert took_s < 15.0, "the promise of 5 s is for an idle machine"
        assert problems(alice) == set()


def test_who_finds_no_place_is_named_in_status_and_in_an_event_and_learns_why(
    tmp_path: Path,
) -> None:
    (tmp_path / "natd.yaml").write_text("limits: {peers_per_network: 1}\n")
    with (
        Server(tmp_path / "server") as server,
        Daemon(tmp_path / "alice", "--config", str(tmp_path / "natd.yaml")) as alice,
        Daemon(tmp_path / "bob") as bob,
        Daemon(tmp_path / "carol") as carol,
    ):
        for daemon in (alice, bob):
            daemon.join("demo", server.address, daemon.directory.name)
        bob.wait()
        carol.join("demo", server.address, "carol")
        until(lambda: "network-full" in problems(alice))
        until(lambda: alice.events("network_full") != [])
        [event] = alice.events("network_full")
        assert (event["peer"]["nick"], event["places"]) == ("carol", 1)
        [problem] = [p for p in alice.request("status")["problems"] if p["code"] == "network-full"]
        assert "carol" in problem["text"]
        assert "limits.peers_per_network" in problem["hint"]

        def verdict() -> Any:
            with contextlib.suppress(RequestError):
                return carol.request("doctor", peer="alice")["verdict_code"]
            return None

        until(lambda: verdict() == "peer-full", 30.0, verdict)


def test_a_forgotten_peer_is_new_when_it_comes_back_and_history_stays(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        bob.request("send", network="demo", text="before", wait_s=10)
        bob.stop()
        until(lambda: online(alice) == [])
        alice.request("send", network="demo", to="bob", text="never to be sent")
        alice.request("send", network="demo", text="nor this")
        reply = alice.request("forget", peer="bob")
        assert (reply["queued"], reply["was_connected"], reply["forgotten"]) == (2, False, True)
        assert alice.request("peers")["peers"] == []
        assert alice.request("status")["networks"][0]["queued"] == 0
        with pytest.raises(RequestError) as caught:
            alice.request("forget", peer="bob")
        assert caught.value.code == "unknown_peer"
        assert [m["text"] for m in history(alice)] == ["before", "never to be sent", "nor this"]
        assert history(alice)[0]["from"]["id"] == reply["peer"]["id"]
        alice.stop()
        alice.start()
        assert alice.request("peers")["peers"] == []
        bob.start()
        alice.wait()
        bob.request("send", network="demo", text="after", wait_s=10)
        alice.request("send", network="demo", text="welcome", wait_s=10)
        assert alice.texts() == ["before", "after"]
        assert bob.texts() == ["welcome"]


def test_who_is_connected_can_be_forgotten_and_met_again(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        reply = alice.request("forget", peer="bob")
        assert reply["was_connected"] is True
        assert online(alice) == []
        [gone] = [e for e in alice.events("peer_offline", "peer_forgotten") if "queued" not in e]
        assert gone["reason"] == "you have forgotten this peer"
        bob.stop()
        bob.start()
        alice.wait()
        until(lambda: [e["peer"]["nick"] for e in alice.events("peer_met")] == ["bob", "bob"])


def test_of_many_who_came_once_some_stay_on_disk_the_longest_gone_go_first(tmp_path: Path) -> None:
    async def scenario(world: "World") -> None:
        strangers = [world.met(number, days=1, gone_s=DAY_S + number) for number in range(64)]
        assert world.surplus(places=4) == strangers[:15:-1]

    with_world(tmp_path, scenario)


@pytest.mark.parametrize("why", ["a friend", "blocked", "marked", "here", "a message"])
def test_who_is_more_than_a_stranger_is_not_dropped(tmp_path: Path, why: str) -> None:
    async def scenario(world: "World") -> None:
        first = world.met(0, days=3 if why == "a friend" else 1, gone_s=10 * DAY_S)
        for number in range(1, 64):
            world.met(number, days=1, gone_s=DAY_S + number)
        first.is_blocked = why == "blocked"
        if why == "marked":
            first.trust = "verified"
        if why == "a message":
            await world.accept("for you", [first], kind="private")
        here = [first.peer] if why == "here" else []
        dropped = world.surplus(places=4, here=here)
        assert first not in dropped
        assert len(dropped) == 48

    with_world(tmp_path, scenario)


def test_what_waits_for_many_is_kept_as_long_as_there_are_not_too_many(tmp_path: Path) -> None:
    async def scenario(world: "World") -> None:
        everybody = [world.met(number, days=1, gone_s=DAY_S + number) for number in range(64)]
        await world.accept("for all", everybody)
        assert world.surplus(places=4) == []
        assert world.surplus(places=3) == everybody[:47:-1], "48 are as many as stay"

    with_world(tmp_path, scenario)


def test_who_was_put_aside_is_met_again_and_what_it_said_is_known(tmp_path: Path) -> None:
    async def scenario(world: "World") -> None:
        known = world.met(1, days=1, gone_s=DAY_S)
        await world.accept("one", [known])
        world.arrive(known, seq=1)
        await world.store.flush()
        assert world.mailbox.put_aside(NETWORK, known.peer) == 1
        assert world.mailbox.queued(NETWORK) == 0
        assert world.mailbox.find(NETWORK, known.peer) is None
        world.mailbox.begin(NETWORK, known.peer)
        world.arrive(known, seq=1)
        world.arrive(known, seq=2)
        await world.store.flush()
        rows = world.store.query("SELECT message, conversation FROM messages WHERE is_outbound = 0")
        after = world.mailbox.find(NETWORK, known.peer)
        assert after is not None
        assert rows == [("m1", after.id), ("m2", after.id)]
        assert (after.next_seq, after.queued) == (1, 0)
        assert world.store.query("SELECT id FROM conversations") == [(after.id,)]

    with_world(tmp_path, scenario)


def test_how_long_a_peer_is_known_outlives_a_restart(tmp_path: Path) -> None:
    async def first(world: "World") -> None:
        world.met(1, days=5, gone_s=DAY_S, first_s=9 * DAY_S)
        world.met(2, days=0, gone_s=DAY_S)

    async def second(world: "World") -> None:
        known, old = (world.book.peer(NETWORK, _id(number)) for number in (1, 2))
        assert known is not None
        assert old is not None
        met = known.acquaintance(world.store.own_time.now_s)
        assert met is not None
        assert met.days == 5
        assert abs(met.first_s_ago - 9 * DAY_S) < 10
        assert abs(met.heard_s_ago - DAY_S) < 10
        before = old.acquaintance(world.store.own_time.now_s)
        assert before is not None
        assert before.days == 1, "in a file of an earlier version"

    with_world(tmp_path, first)
    with_world(tmp_path, second)


def test_at_which_hosts_ports_were_guessed_outlives_the_daemon() -> None:
    guessed = [
        Guessed("198.51.100.7", 90.0, (30.0, 3.5), True),
        Guessed("2001:db8::1", 2.0, (), False),
    ]
    assert read_guesses(guesses_text(guessed, 5_000), 5_000) == guessed
    assert read_guesses(guesses_text(guessed, 5_000), 5_060) == [g.after(60.0) for g in guessed]


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[[1]]", '[["h", "x", [], 0]]', None, 7])
def test_what_can_not_be_read_of_them_is_forgotten(text: object) -> None:
    assert read_guesses(text, 5_000) == []


# --- means


class World:
    """An address book and a mailbox on disk."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory)
        self.store.start(lambda: None)
        self.book = AddressBook(self.store)
        self.mailbox = Mailbox(self.store, EventLog(self.store))

    def met(self, number: int, *, days: int, gone_s: int, first_s: int = DAY_S) -> KnownPeer:
        known, _ = self.book.meet(PeerMet(NETWORK, _id(number), f"n{number}", b"card", True), ())
        known.heard_at_s = self.store.own_time.now_s - gone_s
        self.book.keep_peer(known)
        if days:
            self.book.keep_acquaintance(known, Acquaintance(days, first_s, gone_s, gone_s))
        self.mailbox.begin(NETWORK, known.peer)
        return known

    async def accept(self, text: str, peers: list[KnownPeer], kind: str = "text") -> None:
        ids = [known.peer for known in peers]
        await self.mailbox.accept(
            NETWORK, ids, text=text, nick="me", is_open=False, kind=kind, fields={}
        )

    def arrive(self, known: KnownPeer, seq: int) -> None:
        arrived = MessageArrived(NETWORK, known.peer, "n", f"m{seq}", 9, seq, 0, "text", "hi", 1)
        self.mailbox.arrive(arrived, "new", {"network": "demo", "text": "hi"})

    def surplus(self, *, places: int, here: list[PeerId] | None = None) -> list[KnownPeer]:
        own_now_s = self.store.own_time.now_s
        return surplus_of(self.book, self.mailbox, NETWORK, here or (), places, own_now_s)


def with_world(directory: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World(directory)
        await scenario(world)
        await world.store.close()

    asyncio.run(run())


def _id(number: int) -> PeerId:
    return PeerId(number.to_bytes(2, "big") * 16)


def fill(database: Path, count: int) -> None:
    """As if so many strangers had come once within the last day."""
    now_s = int(time.time())
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for number in range(count):
            identity = Identity(Random(f"stranger {number}").randbytes(32))
            prekey = Prekey(Random(f"prekey {number}").randbytes(32)).public
            card = Card(identity.peer, identity.static_public, prekey, 1, f"s{number}")
            places = json.dumps([("198.51.100.7", 40_000 + number, now_s - number)])
            row = (NETWORK, identity.peer, f"s{number}", "new", 0)
            sealed = seal_card(card, identity, KEY)
            connection.execute(
                "INSERT INTO peers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, sealed, places, now_s - number, now_s - number),
            )
        connection.commit()


def problems(daemon: Daemon) -> set[str]:
    return {problem["code"] for problem in daemon.request("status")["problems"]}


def registered(daemon: Daemon) -> bool:
    [network] = daemon.request("status")["networks"]
    return any(server["state"] == "registered" for server in network["servers"])


def online(daemon: Daemon) -> list[str]:
    return [p["nick"] for p in daemon.request("peers")["peers"] if p["state"] == "online"]


def history(daemon: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.request("history", network="demo")["messages"]
    return found
