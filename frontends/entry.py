"""How a front end begins and ends: a client, a network, an exit code.

0 left as asked   1 failed   3 no daemon   6 not allowed   130 interrupted
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from frontends.chatroom import chosen_network
from frontends.leaving import drop_output
from frontends.safe import safe
from natd.ipc import Client, DeniedError, IpcError, UnreachableError
from natd.ipc.frames import REQUEST_TIMEOUT_S


def run_frontend(
    front_end: Callable[[Client, str], Awaitable[int]],
    network: str | None,
    socket_path: str | None,
    timeout_s: float | None = None,
) -> int:
    """Run it against the daemon at `socket_path`, in `network` or the only one joined.

    `timeout_s`: how long an answer may take; None is what the client has."""

    async def opened() -> int:
        async with Client(socket_path, timeout_s=timeout_s or REQUEST_TIMEOUT_S) as natd:
            return await front_end(natd, await chosen_network(natd, network))

    try:
        return asyncio.run(opened())
    except BrokenPipeError:
        drop_output()
        return 0
    except UnreachableError as error:
        return _failed(error, 3)
    except DeniedError as error:
        return _failed(error, 6)
    except IpcError as error:
        return _failed(error, 1)
    except KeyboardInterrupt:
        return 130


def _failed(error: IpcError, code: int) -> int:
    hint = f"\n  {safe(error.hint)}" if error.hint else ""
    print(f"natctl: {safe(error.text)}{hint}", file=sys.stderr)
    return code
