"""A message is sent once, although the daemon may stop or be killed while it is asked.

asked under a name ─► answer
          └─► none ─► asked again under that name, until the time for an answer is over
"""

import time

from natctl.invocation import Invocation
from natd.ipc.errors import UnreachableError
from natd.ipc.frames import (
    ASK_AGAIN_TIMES,
    REQUEST_TIMEOUT_S,
    WAIT_AT_LEAST_S,
    Json,
    new_name,
)

AGAIN_FIRST_S = 0.1
AGAIN_LIMIT_S = 2.0


def send_once(
    natctl: Invocation,
    network: str | None,
    text: str,
    *,
    to: str | None,
    wait_s: float | None,
    name: str | None,
) -> Json:
    """The answer to `send`.  Raises what a request raises; the hint of UnreachableError says how to
    ask again where the message may have been accepted."""
    known_as = name or new_name()
    began = time.monotonic()
    limit = began + (natctl.timeout_s or ASK_AGAIN_TIMES * REQUEST_TIMEOUT_S) + (wait_s or 0.0)
    retry_s, is_asked, is_noted = AGAIN_FIRST_S, False, False
    while True:
        left_s = None
        if wait_s is not None:
            left_s = max(WAIT_AT_LEAST_S, began + wait_s - time.monotonic())
        try:
            with natctl.connect() as connection:
                is_asked = True
                return connection.request(
                    "send",
                    network=network,
                    text=text,
                    to=to,
                    wait_s=left_s,
                    id=known_as,
                    waiting_s=left_s or 0.0,
                )
        except UnreachableError as error:
            if not is_asked:
                raise
            if time.monotonic() + retry_s >= limit:
                hint = f"it may have taken the message: with --id {known_as} you can ask again"
                raise UnreachableError(error.text, f"{hint}, and it is sent once") from None
            if not is_noted:
                is_noted = True
                natctl.output.note(f"{error.text}; asking again, the message is sent once")
        time.sleep(retry_s)
        retry_s = min(AGAIN_LIMIT_S, 2 * retry_s)
