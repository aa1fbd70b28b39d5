"""Raw DEALER clients of a control socket in the same event loop."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from natd.control.command_table import Later
from natd.control.control import Control
from tests.ipc.memory_log import MemoryLog

Json = dict[str, Any]

WAIT_S = 10.0
"""Far more than anything here takes; only a failure waits for so long."""


@asynccontextmanager
async def running(
    directory: Path,
    log: MemoryLog | None = None,
    **commands: Callable[[Json], Coroutine[Any, Any, Json | Later]],
) -> AsyncIterator[tuple[Control, Callable[..., zmq.asyncio.Socket]]]:
    """A control socket, and a function that gives a new raw client."""

    async def echo(request: Json) -> Json:
        return {"text": request.get("text", "")}

    table = {"echo": echo, **commands}
    control = Control(directory / "control.sock", table, log or MemoryLog(), version="9.9")
    await control.start()
    context = zmq.asyncio.Context()
    clients: list[zmq.asyncio.Socket] = []

    def dial(**options: int) -> zmq.asyncio.Socket:
        clients.append(dealer(context, directory, **options))
        return clients[-1]

    try:
        yield control, dial
    finally:
        for client in clients:
            client.close(linger=0)
        context.term()
        await control.stop()


def dealer(
    context: zmq.asyncio.Context, directory: Path, receive_limit: int = 1000, heartbeat_ms: int = 0
) -> zmq.asyncio.Socket:
    client = context.socket(zmq.DEALER)
    client.setsockopt(zmq.HEARTBEAT_IVL, heartbeat_ms)
    client.setsockopt(zmq.LINGER, 0)
    client.setsockopt(zmq.RCVHWM, receive_limit)
    client.setsockopt(zmq.RECONNECT_IVL, -1)
    client.connect(f"ipc://{directory}/control.sock")
    return client


async def ask(client: zmq.asyncio.Socket, request: Json) -> Json:
    await client.send(encode(request))
    answer: Json = json.loads(await receive(client))
    return answer


async def event_id(client: zmq.asyncio.Socket) -> int:
    frame = json.loads(await receive(client))
    return int(frame["event"]["id"])


async def receive(client: zmq.asyncio.Socket) -> bytes:
    return await asyncio.wait_for(client.recv(), WAIT_S)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.005)


def encode(request: Json) -> bytes:
    return json.dumps(request).encode()


def fill(log: MemoryLog, count: int) -> None:
    for _ in range(count):
        log.append("message")
