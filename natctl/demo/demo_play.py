"""The play of `natctl demo`: from the first packet to a chat that outlives its server.

    alice joins                                     registered
    bob joins and sends a message at once (t = 0)   introduced, first flight, first message
    both speak                                      answered
    the server is killed                            chat goes on

Instants come from two independent witnesses: the distance between the sites sees datagrams
(`natctl/demo/delay_line.py`), and each daemon's event log tells what arrived.  Where there is no
distance there are no round trips to count, and only the event logs speak.

Nothing is printed here: steps are told to the caller.
"""

import asyncio
import contextlib
import json
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from natctl.demo.demo_stage import (
    CROSSING_MS,
    NAT_ADDRESS,
    PEERS,
    SERVER_ADDRESS,
    LoopbackStage,
    NamespaceStage,
    Stage,
)
from natctl.demo.own_world import WorldError
from natctl.demo.witness import NotToldError, Witness
from natd.ipc import Client, RequestError, UnreachableError

NETWORK = "demo"

MEET_LIMIT_S = 8.0
STEP_LIMIT_S = 6.0
"""Every step is a matter of milliseconds; who waits this long has failed."""

LINES_AFTER_SERVER = (
    "Is anybody still there?",
    "I am.",
    "And the server?",
    "Gone. We don't need it.",
)

QUIET_S = 0.3
"""Between the server's death and the next line, so that nothing of it is still under way."""

LOOK_AGAIN_S = 0.02


class DemoError(Exception):
    """The play can't go on; the text says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the timeline."""

    name: str
    at_ms: float
    """Since the first datagram of who registers; for a line of chat, since it was given."""
    round_trips: float | None
    """None where there is no distance to measure by."""
    text: str


def run_demo(
    tell: Callable[[Step], None],
    note: Callable[[str], None],
    chat: Callable[[Path], None] | None = None,
) -> bool:
    """Play it from beginning to end, and leave nothing behind.

    `note` is told in a sentence when this is not the real stage, and the answer is whether it
    was.  `chat` is called with the control socket of the first peer when the timeline is over,
    and the second one answers until it returns.  Raises DemoError.
    """
    with _terminated_as_interrupted():
        stage, why_not = _set_up()
        try:
            if why_not is not None:
                note(f"running on loopback, without routers: this user can't make them ({why_not})")
            afterwards = None if chat is None else partial(chat, stage.control_socket(PEERS[0]))
            asyncio.run(perform(stage, tell, afterwards))
        except (NotToldError, RequestError, UnreachableError) as error:
            raise DemoError(f"{error}; a log ends with: {stage.last_words()}") from error
        finally:
            stage.close()
    return why_not is None


def _set_up() -> tuple[Stage, str | None]:
    """The best stage that this machine allows, and why it is not the real one (None when it is)."""
    try:
        return NamespaceStage(), None
    except WorldError as error:
        return LoopbackStage(), str(error)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the demo like Ctrl-C, so that everything is cleaned up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def perform(
    stage: Stage,
    tell: Callable[[Step], None],
    afterwards: Callable[[], Any] | None = None,
) -> None:
    """Play it.  `afterwards` is called in a thread while bob answers what alice says; it is
    for the interactive part.  Raises DemoError, NotToldError."""
    stage.start_server()
    for name in PEERS:
        stage.start_peer(name)
    await _all_ready(stage)
    async with contextlib.AsyncExitStack() as stack:
        alice, bob = [
            await stack.enter_async_context(Client(stage.control_socket(name))) for name in PEERS
        ]
        witnesses = {name: Witness(name) for name in PEERS}
        listeners = []
        for name, client in zip(PEERS, (alice, bob), strict=True):
            listeners.append(await witnesses[name].start(client))
        try:
            await _meet(stage, alice, bob, witnesses, tell)
            await _outlive(stage, alice, bob, witnesses, tell)
            if afterwards is not None:
                answering = asyncio.create_task(_answer(bob))
                await asyncio.to_thread(afterwards)
                await _ended(answering)
        finally:
            for listener in listeners:
                await _ended(listener)


async def _meet(
    stage: Stage,
    alice: Client,
    bob: Client,
    witnesses: dict[str, Witness],
    tell: Callable[[Step], None],
) -> None:
    def step(name: str, at: float, origin: float, text: str) -> None:
        tell(_step(stage, name, at - origin, text))

    secret = secrets.token_hex(16)
    joining: dict[str, Any] = {"network": NETWORK, "servers": [stage.server], "secret": secret}
    asked_at = time.monotonic()
    await alice.request("join", nick="alice", **joining)
    at, event = await witnesses["alice"].wait_for("server_up", STEP_LIMIT_S)
    asked_at = _seen(stage, "REGISTER", NAT_ADDRESS["alice"], SERVER_ADDRESS) or asked_at
    step("registered", at, asked_at, f"the server knows alice as {event.get('observed')}")

    asked_at = time.monotonic()
    await bob.request("join", nick="bob", **joining)
    hello = await bob.send(NETWORK, "Hello alice, I am new here.")
    said = {"message": hello["message"]}
    arrived_at, event = await witnesses["alice"].wait_for("message", STEP_LIMIT_S, **said)
    delivered_at, _ = await witnesses["bob"].wait_for("delivered", STEP_LIMIT_S, **said)
    opened_at, opened = await witnesses["bob"].wait_for("peer_online", STEP_LIMIT_S)

    # What the distance saw: an instant there is half a crossing after the one who sent, and a
    # whole crossing before the one who receives.
    crossing_s = CROSSING_MS / 1000.0
    origin = _seen(stage, "REGISTER", NAT_ADDRESS["bob"], SERVER_ADDRESS)
    introduced = _seen(stage, "INTRODUCE", SERVER_ADDRESS, NAT_ADDRESS["bob"])
    flight = _seen(stage, "QUIC", NAT_ADDRESS["bob"], NAT_ADDRESS["alice"])
    if origin is not None:
        asked_at = origin
        step("asked", origin, origin, "bob's first datagram leaves for the server")
    else:
        step("asked", asked_at, asked_at, "bob joins and sends a message at once")
    if introduced is not None:
        step("introduced", introduced + crossing_s, asked_at, "bob has alice's card and address")
    if flight is not None:
        step("first flight", flight, asked_at, "bob's first datagram to alice, message inside")
    step("first message", arrived_at, asked_at, f"alice reads: {event['text']}")
    path = opened.get("path") or {}
    step(
        "opened",
        opened_at,
        asked_at,
        f"{path.get('technique') or 'a path'} to alice at {path.get('address')}",
    )
    step("delivered", delivered_at, asked_at, "bob knows that alice has it on disk")
    await _say(stage, alice, witnesses["bob"], "alice", "Hello bob. That was quick.", tell)


async def _outlive(
    stage: Stage,
    alice: Client,
    bob: Client,
    witnesses: dict[str, Witness],
    tell: Callable[[Step], None],
) -> None:
    stage.kill_server()
    tell(Step("server killed", 0.0, None, "kill -9, nobody has told the peers"))
    await asyncio.sleep(QUIET_S)
    for index, text in enumerate(LINES_AFTER_SERVER):
        speaker, listener = ("alice", "bob") if index % 2 == 0 else ("bob", "alice")
        client = alice if speaker == "alice" else bob
        await _say(stage, client, witnesses[listener], speaker, text, tell)


async def _say(
    stage: Stage,
    client: Client,
    listener: Witness,
    speaker: str,
    text: str,
    tell: Callable[[Step], None],
) -> None:
    said_at = time.monotonic()
    sent = await client.send(NETWORK, text)
    at, event = await listener.wait_for("message", STEP_LIMIT_S, message=sent["message"])
    tell(_step(stage, "chat", at - said_at, f"{speaker}: {event['text']}"))


def _step(stage: Stage, name: str, took_s: float, text: str) -> Step:
    at_ms = round(took_s * 1000.0, 1)
    trips = round(at_ms / stage.round_trip_ms, 2) if stage.round_trip_ms else None
    return Step(name, at_ms, trips, text)


async def _answer(bob: Client) -> None:
    """Bob's part in the interactive chat."""
    async for event in bob.events(types=["message"]):
        if event["from"]["nick"] == "alice":
            await bob.send(NETWORK, f"I hear you: {event['text']}")


async def _all_ready(stage: Stage) -> None:
    """Wait until every program has said that it is ready.  Raises DemoError."""
    deadline = time.monotonic() + MEET_LIMIT_S
    for name in ("server", *PEERS):
        while not stage.is_ready(name):
            if stage.any_ended() or time.monotonic() > deadline:
                raise DemoError(f"{name} did not start: {stage.last_words()}")
            await asyncio.sleep(LOOK_AGAIN_S)


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _seen(stage: Stage, kind: str, source: str, target: str) -> float | None:
    """When the distance saw the first datagram of this kind on this way; None if it did not."""
    for line in stage.wire().splitlines():
        seen = json.loads(line)
        if (seen["kind"], seen["from"], seen["to"]) == (kind, source, target):
            at: float = seen["at"]
            return at
    return None
