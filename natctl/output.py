"""The only place where natctl prints.

Answers go to stdout: lines for people, or JSON for programs, one object a line with `"v":1`.
Notes, warnings and errors go to stderr.

Rules:
- A line is made of spans, and every span's text goes through `safe()` here and nowhere else:
  what came from a peer or a server can't move the cursor, whichever command shows it.
- JSON is ASCII: a terminal that is shown it raw is as safe.
- Colour only on a terminal, and never with NO_COLOR (no-color.org), TERM=dumb or --no-color.
- Each answer is flushed, so that what reads a pipe sees an event as it comes, and so that an
  event is acknowledged only after it was written.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from frontends.safe import safe

Span = str | tuple[str, str]
"""A text, or a text and how it looks: one of STYLES."""

Line = Sequence[Span]

STYLES = {"bold": "1", "dim": "2", "good": "32", "bad": "31", "warn": "33", "accent": "36"}

ASCII_SIGNS = str.maketrans({"●": "*", "◌": "~", "○": "o", "✓": "+", "✗": "x", "…": ".", "·": "-"})
"""Where the terminal's encoding has none of ours."""

CLEAR_SCREEN = "\x1b[H\x1b[2J\x1b[3J"


class Output:
    """Where answers, notes and errors go; `as_json` and the rest may be set until first use."""

    def __init__(self) -> None:
        self.as_json = False
        self.is_quiet = False
        self.may_colour = True

    def answer(self, reply: Mapping[str, Any], lines: Iterable[Line] = ()) -> None:
        """One answer: the reply itself for programs, `lines` for people."""
        if self.as_json:
            self._write(sys.stdout, _json(reply))
        else:
            self.lines(lines)

    def lines(self, lines: Iterable[Line]) -> None:
        """For people only."""
        if not self.as_json:
            self._write(sys.stdout, *(self._rendered(line, sys.stdout) for line in lines))

    def redraw(self, reply: Mapping[str, Any], lines: Iterable[Line]) -> None:
        """An answer in the place of the one before, where there is a screen."""
        if not self.as_json and sys.stdout.isatty():
            sys.stdout.write(CLEAR_SCREEN)
        self.answer(reply, lines)

    def bare(self, text: str) -> None:
        """Text of our own, as it is: a completion script."""
        self._write(sys.stdout, text.rstrip("\n"))

    def note(self, text: str) -> None:
        """What is good to know, on stderr; nothing with -q."""
        if not self.is_quiet:
            self._write(sys.stderr, self._rendered([(text, "dim")], sys.stderr))

    def warn(self, text: str, hint: str | None = None) -> None:
        self._complain("warning: ", "warn", text, hint)

    def error(self, code: str, text: str, hint: str | None) -> None:
        if self.as_json:
            error = {"code": code, "text": text, "hint": hint}
            self._write(sys.stderr, _json({"error": error}))
        else:
            self._complain("", "bad", text, hint)

    def _complain(self, kind: str, style: str, text: str, hint: str | None) -> None:
        lines: list[Line] = [[("natctl: ", "bold"), (kind, style), text]]
        if hint:
            lines.append([("  " + hint, "dim")])
        self._write(sys.stderr, *(self._rendered(line, sys.stderr) for line in lines))

    def _rendered(self, line: Line, stream: TextIO) -> str:
        coloured = self._is_coloured(stream)
        parts = []
        for span in line:
            text, style = (span, "") if isinstance(span, str) else span
            text = safe(text)
            if coloured and style and text:
                text = f"\x1b[{STYLES[style]}m{text}\x1b[0m"
            parts.append(text)
        whole = "".join(parts).rstrip(" ")
        return whole if _is_unicode(stream) else whole.translate(ASCII_SIGNS)

    def _is_coloured(self, stream: TextIO) -> bool:
        return (
            self.may_colour
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
            and stream.isatty()
        )

    def _write(self, stream: TextIO, *lines: str) -> None:
        if lines:
            encoding = stream.encoding or "utf-8"
            text = "".join(f"{line}\n" for line in lines)
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps({"v": 1, **value}, separators=(",", ":"))


def _is_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")
