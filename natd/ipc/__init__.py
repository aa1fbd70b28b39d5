"""The daemon's public face: its client, and the errors that a client meets.

    from natd.ipc import Client, printable

    async with Client() as natd:
        await natd.send("demo", "hi")
        async for event in natd.events(cursor="bot"):
            print(printable(event.get("text", "")))

Programs that are not asynchronous use `Connection`.  Nothing here imports anything else of
ours, and names are loaded when first used, so that a one-shot command never pays for asyncio.

    client ───────┬─► places     where the control socket is, and whose it is
    connection ───┼─► frames     requests and answers in JSON
                  └─► zmtp       the wire of ZeroMQ; a client has libzmq for that
    peer_names       who is meant by a nick, a tag or an id
    terminal_text    text of others, made harmless
    errors           what a client meets

Others import: connection, errors, frames, peer_names, places, terminal_text, zmtp.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from natd.ipc.client import Client as Client
    from natd.ipc.connection import Connection as Connection
    from natd.ipc.errors import DeniedError as DeniedError
    from natd.ipc.errors import IpcError as IpcError
    from natd.ipc.errors import RequestError as RequestError
    from natd.ipc.errors import UnreachableError as UnreachableError
    from natd.ipc.terminal_text import printable as printable
    from natd.ipc.terminal_text import printable_lines as printable_lines

_HOMES = {
    "Client": "natd.ipc.client",
    "Connection": "natd.ipc.connection",
    "DeniedError": "natd.ipc.errors",
    "UnreachableError": "natd.ipc.errors",
    "IpcError": "natd.ipc.errors",
    "RequestError": "natd.ipc.errors",
    "printable": "natd.ipc.terminal_text",
    "printable_lines": "natd.ipc.terminal_text",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
