"""Nothing that was accepted is lost or doubled, whatever is killed.

Every daemon here is a real process, killed with SIGKILL at a random moment while messages
flow; the seed is printed by a failure.
"""

import contextlib
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from natd.ipc import UnreachableError
from natd.storage.store import FILE_NAME
from tests.processes import Daemon, pair, until

KILLS = 6
"""A dozen more make the test longer and find nothing else; `tests/bench` can do hundreds."""

MESSAGES = 600

BURST = 20
"""Sends on their way at once: a kill in the midst leaves some before and some after a commit."""


def test_messages_survive_kills_of_the_sender(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        accepted = send_through_kills(alice, [alice], "alice", seed=1)
        # What a crash left in doubt may have come, too: their number tells nothing.
        until(lambda: set(accepted) <= set(bob.texts()), 40, lambda: len(bob.texts()))
        assert in_order(bob.texts(), accepted)


def test_messages_survive_kills_of_the_receiver(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        accepted = send_through_kills(alice, [bob], "alice", seed=2)
        until(lambda: bob.texts() == accepted, 40, lambda: len(bob.texts()))


def test_messages_survive_kills_of_both_ends_and_of_the_server(tmp_path: Path) -> None:
    with pair(tmp_path) as (server, alice, bob):
        server.kill()
        accepted = send_through_kills(alice, [alice, bob], "alice", seed=3)
        # What a crash left in doubt may have come, too: their number tells nothing.
        until(lambda: set(accepted) <= set(bob.texts()), 40, lambda: len(bob.texts()))
        assert in_order(bob.texts(), accepted)
        until(lambda: alice.request("status")["networks"][0]["queued"] == 0)


def test_an_event_of_a_named_cursor_is_not_lost_when_everything_is_killed(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        for number in range(40):
            alice.request("send", network="demo", text=f"{number}", wait_s=10)
        seen: list[str] = []
        for since in (0, None, None, None):
            with bob.connect() as connection:
                stream = connection.events(types=["message"], since=since, cursor="bot")
                for _ in range(10):
                    seen.append(stream.next(time.monotonic() + 10)["text"])
                stream.acknowledge()
            bob.kill()
            bob.start()
        assert seen == [f"{number}" for number in range(40)]


def test_a_crash_between_acceptance_and_sending_loses_nothing(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        bob.kill()
        reply = alice.request("send", network="demo", text="accepted")
        assert reply["accepted"] is True
        alice.kill()
        alice.start()
        bob.start()
        until(lambda: bob.texts() == ["accepted"], 30)
        time.sleep(0.5)
        assert bob.texts() == ["accepted"]


def test_nothing_is_acknowledged_before_the_receivers_disk_has_it(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        with disk_held(bob):
            alice.request("send", network="demo", text="one")
            time.sleep(1.0)
            assert alice.request("status")["networks"][0]["queued"] == 1
            assert bob.texts() == []
        until(lambda: alice.request("status")["networks"][0]["queued"] == 0)
        assert bob.texts() == ["one"]


def test_nothing_is_accepted_before_the_senders_disk_has_it(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        with disk_held(alice), alice.connect() as connection:
            connection.request("identity")
            connection._send("send", {"network": "demo", "text": "one"})
            with pytest.raises(TimeoutError):
                connection._receive(time.monotonic() + 1.0)
            assert bob.texts() == []
        until(lambda: bob.texts() == ["one"])


def test_ids_of_events_have_no_holes_after_kills(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        send_through_kills(alice, [bob], "alice", seed=5, messages=200, kills=3)
        until(lambda: bob.request("peers", network=None)["peers"][0]["state"] == "online", 30)
        with bob.connect() as connection:
            stream = connection.events(since=0)
            ids = [stream.next(time.monotonic() + 10)["id"] for _ in range(stream.last)]
        assert ids == list(range(1, stream.last + 1))


def send_through_kills(
    sender: Daemon,
    victims: list[Daemon],
    name: str,
    *,
    seed: int,
    messages: int = MESSAGES,
    kills: int = KILLS,
) -> list[str]:
    """Send messages in bursts, and kill a victim in the midst of some; the texts accepted.

    One whose reply a crash swallowed is not sent again, and may have been accepted or not.
    """
    chance = random.Random(seed)
    deadly = set(chance.sample(range(1, messages // BURST), kills))
    accepted: list[str] = []
    connection = sender.connect()
    for burst in range(messages // BURST):
        texts = [f"{name} {seed} {burst} {number}" for number in range(BURST)]
        try:
            connection.request("identity")
            waiting = {
                connection._send("send", {"network": "demo", "text": text}): text for text in texts
            }
            if burst in deadly:
                victim = chance.choice(victims)
                time.sleep(chance.random() * 0.03)
                victim.kill()
                victim.start()
            while waiting:
                reply = connection._receive(time.monotonic() + 15)
                assert "ok" in reply, reply
                accepted.append(waiting.pop(reply["id"]))
        except UnreachableError:
            connection.close()
            connection = sender.connect()
    connection.close()
    return accepted


@contextlib.contextmanager
def disk_held(daemon: Daemon) -> Iterator[None]:
    """Nobody else can write the daemon's file meanwhile; SQLite makes it wait up to 5 s."""
    with contextlib.closing(sqlite3.connect(daemon.directory / FILE_NAME)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()


def in_order(got: list[str], accepted: list[str]) -> bool:
    """Each accepted text once, in order; between them at most what a crash left in doubt."""
    certain = set(accepted)
    return [text for text in got if text in certain] == accepted and len(set(got)) == len(got)
