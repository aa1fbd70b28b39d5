"""The commands by name: one request frame in, one reply frame out, whatever happens between.

    {"v":1,"id":7,"do":"send",...}  ->  {"v":1,"id":7,"ok":{"v":1,...}}
                                    or  {"v":1,"id":7,"error":{"code","text","hint"}}

This is one of the two places that catch every exception: a bug in one command is told to
the client that asked and written to the log, and harms nobody else.
"""

import difflib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from natd.host.errors import CommandError
from natd.ipc.frames import PROTOCOL

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Later:
    """What a command gives once it has taken effect and only waits for something to happen, such
    as a peer's answer: requests behind it go on meanwhile."""

    answer: Awaitable[Json]


Command = Callable[[Json], Awaitable[Json | Later]]

_logger = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Json).decode


class CommandTable:
    """The commands that a request may name, each with what it does."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands

    @property
    def names(self) -> list[str]:
        return sorted(self._commands)

    def find(self, request: Json) -> Command:
        """The command that a request names; CommandError when there is no such command."""
        do = request.get("do")
        command = self._commands.get(do) if isinstance(do, str) else None
        if command is None:
            close = difflib.get_close_matches(str(do)[:40], self.names, 1)
            hint = f"did you mean {close[0]}?" if close else "`natctl --help` lists the commands"
            raise CommandError("unknown_command", f"there is no command {str(do)[:40]!a}", hint)
        return command

    async def run(
        self, request: Json, command: Command, only_waits: Callable[[], None] = lambda: None
    ) -> bytes:
        """Run the command and encode its reply or its refusal; `only_waits` is called when it has
        taken effect and waits."""
        try:
            ok = await command(request)
            if isinstance(ok, Later):
                only_waits()
                ok = await ok.answer
            return _encode({"v": PROTOCOL, "id": request.get("id"), "ok": {"v": PROTOCOL, **ok}})
        except CommandError as error:
            return refusal(request, error)
        except Exception as error:
            _logger.exception("the command %s failed because of a bug", request.get("do"))
            text = f"this is a bug in natd: {type(error).__name__}"
            return refusal(request, CommandError("internal", text, "look at natd's log"))


def decode_request(body: bytes | None) -> Json:
    """The object in a frame, unchecked; CommandError when it holds no object.

    None stands for a message of more than one frame.
    """
    try:
        return _decode(b"" if body is None else body)
    except (ValueError, RecursionError):
        text = "a request is one UTF-8 JSON object in one frame"
        raise CommandError(
            "malformed", text, "see natd/ipc/README.md in the source of natd"
        ) from None


def check_envelope(request: Json) -> None:
    """CommandError when we can't answer the request's protocol or id."""
    if request.get("v", PROTOCOL) != PROTOCOL:
        raise CommandError(
            "protocol",
            f"natd speaks control protocol {PROTOCOL}, the request uses another version",
            "install the same version of natd and natctl",
        )
    if not isinstance(request.get("id"), (int, str, type(None))):
        raise CommandError("malformed", "the id of a request is a number or a text")


def refusal(request: Json, error: CommandError) -> bytes:
    """The frame that says why not."""
    number = request.get("id")
    if not isinstance(number, (int, str)):
        number = None
    told = {"code": error.code, "text": error.text, "hint": error.hint}
    return _encode({"v": PROTOCOL, "id": number, "error": told})


def event_frame(event: Json) -> bytes:
    """The frame of one event."""
    return _encode({"v": PROTOCOL, "event": {"v": PROTOCOL, **event}})
