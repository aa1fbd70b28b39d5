"""The JSON frames of the control socket, and what every client makes of an answer.

-> {"v":1,"id":1,"do":"hello","client":"natctl/0.3"}
<- {"v":1,"id":1,"ok":{"protocol":1,"version":"0.3.0","features":[...]}}
-> {"v":1,"id":2,"do":"send","network":"demo","text":"hi"}
<- {"v":1,"id":2,"ok":{...}}    or    {"v":1,"id":2,"error":{"code","text","hint"}}
-> {"v":1,"id":3,"do":"subscribe","types":null,"since":4711,"cursor":"bot","credit":256}
<- {"v":1,"event":{"v":1,"id":4712,"type":"message",...}}
-> {"v":1,"id":4,"do":"credit","n":1,"ack":4712}
"""

import json
import os
from typing import Any

from natd.ipc.errors import RequestError, UnreachableError
from natd.ipc.places import SILENT_HINT, START_HINT

PROTOCOL = 1

CLIENT_NAME = "natd.ipc/0.3"

REQUEST_TIMEOUT_S = 10.0
"""No command takes the daemon this long, unless it was asked to wait for something."""

ASK_AGAIN_TIMES = 12
"""A message whose request got no answer is asked for again under its name, for as many times as an
answer may take: two minutes, longer than a daemon is stopped for."""

WAIT_AT_LEAST_S = 0.1
"""Asked again about a message whose `wait_s` is over: it may have been delivered meanwhile."""

NAME_BYTES = 16
"""Of chance, in a name that we give a message."""

CREDIT = 256
"""Events that may be under way to us; the daemon keeps the rest on disk."""

ACKNOWLEDGE_EVERY = 32
"""At most so many handled events are unacknowledged while more are waiting to be handled."""

Json = dict[str, Any]


def new_name() -> str:
    """A name for a message that no other will have: 32 hex digits."""
    return os.urandom(NAME_BYTES).hex()


def encode_request(number: int | str, do: str, fields: Json) -> bytes:
    request = {"v": 1, "id": number, "do": do, **fields} | {"id": number}
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def decode_reply(data: bytes) -> Json:
    try:
        reply = json.loads(data)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise RequestError("protocol", "natd sent something that is not a JSON object")
    return reply


def outcome(reply: Json) -> Json:
    """What stands under `ok`; RequestError for an error."""
    error = reply.get("error")
    if error is not None and not isinstance(error, dict):
        raise RequestError("protocol", "natd sent an error that is not a JSON object")
    if error is not None:
        raise RequestError(
            str(error.get("code", "failed")), str(error.get("text", "")), error.get("hint")
        )
    ok = reply.get("ok")
    return ok if isinstance(ok, dict) else {}


def check_hello(answer: Json) -> None:
    if answer.get("protocol") != PROTOCOL:
        raise RequestError(
            "protocol",
            f"natd speaks control protocol {answer.get('protocol')}, this client {PROTOCOL}",
            "install the same version of natd and natctl",
        )


def gone() -> UnreachableError:
    return _in_doubt(UnreachableError("natd went away", START_HINT))


def silent() -> UnreachableError:
    return _in_doubt(UnreachableError("natd does not answer", SILENT_HINT))


def _in_doubt(error: UnreachableError) -> UnreachableError:
    error.is_in_doubt = True
    return error
