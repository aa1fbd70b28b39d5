"""Clocks that are set while the daemon runs, or are wrong when it starts: nothing hangs on them."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.disks import problems
from tests.processes import Daemon, Server, until
from tests.requirements import requires

requires_faketime = requires("command:faketime")

LIBRARY = "libfaketimeMT.so.1"


class Clock:
    """What a daemon takes for the time of day; its other clocks are true."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.set("+0")

    def set(self, offset: str) -> None:
        """`+8d`, `-10d`."""
        new = self._file.with_name("clock.new")
        new.write_text(offset + "\n")
        new.replace(self._file)

    def environ(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(FOUND[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


FOUND = sorted(Path("/usr/lib").glob(f"*/faketime/{LIBRARY}"))


@requires_faketime
@pytest.mark.parametrize("offset", ["+8d", "-8d", "+31d"])
def test_a_peer_that_is_here_gets_every_message_whatever_the_clock_does(
    tmp_path: Path, offset: str
) -> None:
    clock = Clock(tmp_path)
    with pair(tmp_path, clock) as (server, alice, bob):
        alice.request("send", network="demo", text="before", wait_s=10)
        clock.set(offset)
        sent = alice.request("send", network="demo", text="after", wait_s=10)
        assert len(sent["delivered"]) == 1
        assert bob.texts() == ["before", "after"]
        server.kill()
        alice.request("send", network="demo", text="later", wait_s=10)


@requires_faketime
@pytest.mark.parametrize(("first", "then"), [("-10d", "+0"), ("+0", "+8d"), ("+0", "-8d")])
def test_a_message_waits_for_seven_days_of_running_whatever_the_clock_says_at_a_start(
    tmp_path: Path, first: str, then: str
) -> None:
    clock = Clock(tmp_path)
    with pair(tmp_path, clock) as (_, alice, bob):
        alice.stop()
        clock.set(first)
        alice.start()
        alice.wait()
        bob.stop()
        until(lambda: alice.request("status")["networks"][0]["peers"]["connected"] == 0)
        alice.request("send", network="demo", text="waits")
        alice.stop()
        clock.set(then)
        alice.start()
        assert alice.request("status")["networks"][0]["queued"] == 1
        alice.kill()
        clock.set("+0")
        alice.start()
        assert alice.request("status")["networks"][0]["queued"] == 1
        bob.start()
        until(lambda: bob.texts() == ["waits"], 30)


@requires_faketime
def test_an_hour_in_next_month_deletes_no_history(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    with pair(tmp_path, clock) as (_, alice, _):
        alice.request("send", network="demo", text="old", wait_s=10)
        alice.stop()
        clock.set("+31d")
        alice.start()
        until(lambda: len(alice.request("history", network="demo")["messages"]) == 1)
        alice.stop()
        clock.set("+0")
        alice.start()
        assert [m["text"] for m in alice.request("history", network="demo")["messages"]] == ["old"]


@requires_faketime
def test_a_clock_that_has_gone_back_since_the_last_run_is_told(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    clock.set("+8d")
    with Daemon(tmp_path / "alice") as alice:
        alice.stop()
        alice.environ = clock.environ()
        alice.start()
        time.sleep(0.2)
        alice.stop()
        clock.set("+0")
        alice.start()
        until(lambda: "set 8 days back" in problems(alice).get("clock-jumped", ""))
        (event,) = alice.events("clock_jumped")[-1:]
        assert event["seconds"] == pytest.approx(-8 * 86_400, abs=60)
        assert "set 8 days back" in alice.log


@contextlib.contextmanager
def pair(directory: Path, clock: Clock) -> Iterator[tuple[Server, Daemon, Daemon]]:
    """Alice, whose clock it is, and bob, connected."""
    alice = Daemon(directory / "alice")
    alice.environ = clock.environ()
    with Server(directory / "server") as server, alice, Daemon(directory / "bob") as bob:
        alice.join("demo", server.address, "alice")
        bob.join("demo", server.address, "bob")
        alice.wait()
        bob.wait()
        yield server, alice, bob
