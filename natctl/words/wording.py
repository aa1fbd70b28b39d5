"""Durations, names and columns, as people read them.  Pure."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from frontends.safe import safe
from natctl.output import Line, Span

Json = dict[str, Any]

WIDTH = 80
"""Of a line, in cells."""

NAME_CELLS = 28
"""Longer names are cut in a table; a nick may have 64 bytes and a row has 80 cells."""


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min`, `5 h 20 min`, `9 days`; `?` when it is not known."""
    if seconds is None:
        return "?"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def milliseconds(value: float | None) -> str:
    if value is None:
        return "? ms"
    return f"{value:.0f} ms" if value >= 9.95 else f"{value:.1f} ms"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def full_name(peer: Json) -> str:
    """`bob#9x2c`: a nick, which anybody may choose, and the beginning of the peer's id."""
    tag = peer.get("tag") or str(peer.get("id", ""))[:4]
    return f"{peer.get('nick') or 'unnamed'}#{tag}"


def path_words(path: Json | None) -> str:
    """`direct 198.51.100.4:50321  31 ms`."""
    if path is None:
        return "no path"
    return f"{kind_words(path)} {path.get('address')}  {milliseconds(path.get('rtt_ms'))}"


def kind_words(path: Json) -> str:
    """`lan`, `ipv6` or `direct`: what `mapped` and `hairpin` add is for `-v` and programs."""
    kind = str(path.get("kind"))
    return "direct" if kind in ("mapped", "hairpin") else kind


def state_words(peer: Json) -> str:
    """`online`, `connecting`, `offline`, `blocked`."""
    state = str(peer.get("state"))
    return "connecting" if state == "punching" else state


def dropped_words(dropped: Json) -> list[tuple[str, str]]:
    """Part and `12 x reason, 3 x another`, of those parts in which something was dropped."""
    parts = {key: counts for key, counts in dropped.items() if key != "networks"}
    parts |= dropped.get("networks") or {}
    return [
        (part, ", ".join(f"{count} x {reason}" for reason, count in counts.items()))
        for part, counts in parts.items()
        if counts
    ]


def technique_words(path: Json) -> str:
    """For `-v`: what opened a path, and whether from a helper socket: `birthday, helper socket`."""
    helper = "helper socket" if path.get("socket") == "helper" else ""
    return ", ".join(word for word in (str(path.get("technique") or ""), helper) if word)


def next_try_words(peer: Json) -> str:
    """`next try in 12 s` for a peer that is not connected and is tried again; else empty."""
    next_try_s = peer.get("next_try_s")
    if next_try_s is None or peer.get("state") == "online":
        return ""
    return f"next try in {duration(next_try_s)}" if next_try_s >= 1.0 else "trying now"


def wrapped(text: str, indent: int) -> list[str]:
    """`text` in lines of what `indent` leaves of the width; at least one."""
    import textwrap  # takes a millisecond to load, and `status` rarely needs it

    return textwrap.wrap(text, WIDTH - indent, break_on_hyphens=False) or [""]


MARKS_A_CELL = 10
"""More characters than `safe` leaves in one cell."""


def cells(text: str) -> int:
    """How wide a terminal shows it."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)


def shortened(text: str, limit: int) -> str:
    """`text` in at most `limit` cells."""
    text = safe(text)
    if cells(text) <= limit:
        return text
    text = text[: MARKS_A_CELL * limit]  # only so that what is long is no work
    while text and cells(text) > limit - 1:
        text = text[:-1]
    return text + "…"


def table(rows: Iterable[Sequence[Span]], *, gap: int = 2) -> list[Line]:
    """Rows of spans with their columns aligned; the last column is as long as it likes."""
    shown = [[_pair(span) for span in row] for row in rows]
    columns = max((len(row) for row in shown), default=0)
    widths = [
        max((cells(row[column][0]) for row in shown if len(row) > column + 1), default=0)
        for column in range(columns)
    ]
    return [
        [
            span
            for (text, style), width in zip(row, widths, strict=False)
            for span in ((text, style), " " * (max(0, width - cells(text)) + gap))
        ]
        for row in shown
    ]


def _pair(span: Span) -> tuple[str, str]:
    text, style = (span, "") if isinstance(span, str) else span
    return safe(text), style
