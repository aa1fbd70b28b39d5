"""The clients of the control socket, against a ROUTER that speaks the documented IPC."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from natd.ipc import Client, Connection, DeniedError, RequestError, UnreachableError
from natd.ipc.places import SYSTEM_SOCKET, socket_candidates, user_runtime_directories
from tests.ipc.fake_daemon import FakeDaemon, Refusal


@pytest.fixture
def natd(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path / "control.sock") as daemon:
        yield daemon


def test_a_request_returns_what_stands_under_ok(natd: FakeDaemon) -> None:
    natd.answers["status"] = {"uptime_s": 3}
    with Connection(natd.path) as connection:
        assert connection.request("status") == {"uptime_s": 3}
    assert [request["do"] for request in natd.requests] == ["hello", "status"]
    assert all(request["v"] == 1 for request in natd.requests)


def test_a_refusal_carries_code_text_and_hint(natd: FakeDaemon) -> None:
    natd.answers["send"] = Refusal("unknown_peer", "no peer is called bob", "natctl peers")
    with Connection(natd.path) as connection, pytest.raises(RequestError) as caught:
        connection.request("send", text="hi")
    assert (caught.value.code, caught.value.text) == ("unknown_peer", "no peer is called bob")
    assert caught.value.hint == "natctl peers"


def test_a_missing_daemon_is_told_apart_from_one_that_may_not_be_asked(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="no natd is running at"):
        Connection(tmp_path / "control.sock")


def test_a_socket_left_behind_by_a_killed_daemon_counts_as_no_daemon(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(os.fspath(path))
    with pytest.raises(UnreachableError, match="no natd is running"):
        Connection(path)


def test_a_socket_of_another_user_is_permission_denied(tmp_path: Path) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("natd.ipc.places._connect", refused)
        with pytest.raises(DeniedError, match="permission denied on"):
            Connection(tmp_path / "control.sock")


def test_a_path_too_long_for_a_socket_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="at most 107 are possible"):
        Connection(tmp_path / ("x" * 120))


def test_a_daemon_that_does_not_answer_is_given_up_after_the_timeout(natd: FakeDaemon) -> None:
    natd.silent = True
    with (
        Connection(natd.path, timeout_s=0.05) as connection,
        pytest.raises(UnreachableError, match="does not answer"),
    ):
        connection.request("status")


def test_a_daemon_that_goes_away_is_noticed_at_once(natd: FakeDaemon) -> None:
    with Connection(natd.path) as connection:
        connection.request("hello", client="test")
        natd.__exit__(None, None, None)
        with pytest.raises(UnreachableError, match="went away"):
            connection.request("status")


def test_another_control_protocol_is_refused_by_name(natd: FakeDaemon) -> None:
    natd.hello = {"protocol": 2}
    with Connection(natd.path) as connection, pytest.raises(RequestError, match="protocol 2"):
        connection.request("status")


def test_events_come_in_order_and_credit_is_given_back(natd: FakeDaemon) -> None:
    for number in range(1000):
        natd.publish("message", text=str(number))
    with Connection(natd.path) as connection:
        stream = connection.events(since=0)
        events = [event for _, event in zip(range(1000), stream, strict=False)]
    assert [event["text"] for event in events] == [str(number) for number in range(1000)]
    assert max(request["n"] for request in natd.asked("credit")) <= 32


def test_an_event_is_acknowledged_only_when_the_next_one_is_asked_for(natd: FakeDaemon) -> None:
    for number in range(3):
        natd.publish("message", text=str(number))
    with Connection(natd.path) as connection:
        events = connection.events(since=0, cursor="bot")
        events.next(None)
        events.next(None)
        connection.request("hello", client="test")
        assert natd.cursors.get("bot", 0) < 2
        events.next(None)
        with pytest.raises(TimeoutError):
            events.next(time.monotonic() + 0.01)
    assert natd.cursors == {"bot": 3}


def test_the_last_event_is_acknowledged_before_a_clean_end(natd: FakeDaemon) -> None:
    natd.publish("message", text="hi")
    with Connection(natd.path) as connection:
        events = connection.events(since=0, cursor="bot")
        assert events.last == 1
        events.next(None)
        events.acknowledge()
        assert natd.cursors == {"bot": 1}


def test_a_frame_larger_than_any_buffer_arrives_whole(natd: FakeDaemon) -> None:
    natd.answers["echo"] = lambda request: {"text": request["text"]}
    with Connection(natd.path) as connection:
        for size in (0, 200, 255, 256, 300_000):
            assert connection.request("echo", text="x" * size) == {"text": "x" * size}


def test_a_stranger_on_the_socket_counts_as_a_daemon_that_went_away(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(os.fspath(path))
        stranger.listen()

        stranger.settimeout(20.0)  # or a test that fails would leave a thread that waits

        def greet() -> None:
            with contextlib.suppress(TimeoutError):
                connection, _ = stranger.accept()
                with connection:
                    connection.settimeout(20.0)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n".ljust(64))
                    connection.recv(1000)

        greeter = threading.Thread(target=greet)
        greeter.start()
        try:
            with pytest.raises(UnreachableError, match="went away"):
                Connection(path)
        finally:
            greeter.join()


def test_the_asyncio_client_makes_requests_concurrently(natd: FakeDaemon) -> None:
    natd.answers["ping"] = lambda request: {"rtt_ms": request["timeout_s"]}

    async def scenario() -> list[Any]:
        async with Client(natd.path) as client:
            answers = await asyncio.gather(
                *(client.ping("bob", timeout_s=float(number)) for number in range(20))
            )
        return [answer["rtt_ms"] for answer in answers]

    assert asyncio.run(scenario()) == [float(number) for number in range(20)]


def test_the_asyncio_client_gives_events_while_requests_are_made(natd: FakeDaemon) -> None:
    natd.answers["send"] = {"accepted": True}

    async def scenario() -> list[int]:
        seen = []
        async with Client(natd.path) as client:
            for number in range(600):
                natd.publish("message", text=str(number))
            async for event in client.events(since=0, cursor="bot"):
                seen.append(event["id"])
                if event["id"] % 100 == 0:
                    assert await client.send("demo", "hi") == {"accepted": True}
                if event["id"] == 600:
                    break
        return seen

    assert asyncio.run(scenario()) == list(range(1, 601))
    assert natd.cursors["bot"] >= 550


def test_the_asyncio_client_goes_on_after_a_restart_without_missing_an_event(
    tmp_path: Path,
) -> None:
    path = tmp_path / "control.sock"
    log: list[dict[str, Any]] = []

    async def scenario() -> list[Any]:
        seen: list[Any] = []
        with FakeDaemon(path, log=log) as first:
            first.publish("message", text="before")
            client = Client(path)
            await client.open()
            events = client.events(since=0, report_restarts=True)
            seen.append((await anext(events))["text"])
        first.publish("message", text="meanwhile")
        seen.append((await anext(events))["type"])
        with FakeDaemon(path, log=log, answers={"status": {"pid": 2}}):
            seen.append((await anext(events))["type"])
            seen.append((await anext(events))["text"])
            seen.append(await client.status())
            await events.aclose()
            await client.close()
        return seen

    assert asyncio.run(scenario()) == [
        "before",
        "daemon_lost",
        "daemon_back",
        "meanwhile",
        {"pid": 2},
    ]


def test_the_asyncio_client_fails_its_requests_when_the_daemon_goes_away(
    natd: FakeDaemon,
) -> None:
    async def scenario() -> None:
        async with Client(natd.path) as client:
            natd.silent = True
            waiting = asyncio.create_task(client.status())
            await asyncio.sleep(0.05)
            natd.__exit__(None, None, None)
            with pytest.raises(UnreachableError, match="went away"):
                await waiting
            with pytest.raises(UnreachableError, match="no natd is running"):
                await client.status()

    asyncio.run(scenario())


def test_an_asyncio_client_that_closes_ends_subscriptions_that_would_begin_again(
    natd: FakeDaemon,
) -> None:
    program = """
import asyncio, sys
from natd.ipc import Client

async def follow(client):
    async for _ in client.events(since=0):
        pass

async def main():
    async with Client(sys.argv[1]) as client:
        following = [asyncio.create_task(follow(client)) for _ in range(5)]
        await asyncio.sleep(0.2)
    for outcome in await asyncio.gather(*following, return_exceptions=True):
        print(type(outcome).__name__)

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(natd.path)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.stdout.split() == ["UnreachableError"] * 5, ended.stderr


def test_the_asyncio_client_refuses_with_the_daemons_own_words(natd: FakeDaemon) -> None:
    natd.answers["peers"] = Refusal("unknown_network", "no network is called x")

    async def scenario() -> None:
        async with Client(natd.path) as client:
            with pytest.raises(RequestError, match="no network is called x"):
                await client.peers("x")

    asyncio.run(scenario())


def test_the_socket_is_looked_for_where_the_interface_says(tmp_path: Path) -> None:
    uid = os.geteuid()
    (tmp_path / "natd").mkdir()
    environment = {"XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
    found = socket_candidates(None, environment, uid)
    assert found[0] == str(tmp_path / "natd" / "control.sock")
    assert found[-1] == SYSTEM_SOCKET
    named = {**environment, "NATD_SOCKET": "/x/y"}
    assert socket_candidates(None, named, uid) == ["/x/y"]
    assert socket_candidates("/a/b", named, uid) == ["/a/b"]


def test_a_runtime_directory_of_another_user_is_passed_over(tmp_path: Path) -> None:
    """After `su` the environment still names the directory of the user before."""
    other = os.geteuid() + 1
    environment = {"XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    assert user_runtime_directories(environment, other) == [tmp_path / f"natd-{other}"]
    (tmp_path / f"natd-{other}").mkdir()
    assert socket_candidates(None, environment, other) == [SYSTEM_SOCKET]


def test_a_one_shot_command_loads_no_library_that_it_can_do_without() -> None:
    script = (
        "import sys, natd.ipc.connection\n"
        "heavy = {'asyncio', 'zmq', 'pathlib', 'msgspec', 'natd.core'}\n"
        "print(sorted(heavy.intersection(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {os.getcwd()!r})\n{script}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert shown.stdout.strip() == "[]"


def test_a_cancellation_that_comes_together_with_the_answer_is_heeded(natd: FakeDaemon) -> None:
    async def ask_and_cancel() -> None:
        async with Client(natd.path) as client:
            link = await client._main_link()
            for _ in range(20):
                asking = asyncio.create_task(link.request("status", {}, 5.0))
                while not link._replies:
                    await asyncio.sleep(0)
                ((answer,),) = link._replies.values()
                answer.set_result({"v": 1, "ok": {}})
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking

    asyncio.run(ask_and_cancel())
