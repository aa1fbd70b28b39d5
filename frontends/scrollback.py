"""The lines of a chat in a window: bounded, wrapped by cell width, scrolled.

Pure: it is told the width of the window and how to measure text.

Rules that a change must not break:

- No more than `limit` lines are kept; adding one costs the same however many there are.
- Who has scrolled up stays where he is: lines that come in, lines whose tick grows, and a
  change of the window's width leave the lowest visible line in its place.
- A row is never wider than the window (of at least two cells), and never tears what stands
  in one cell apart: an accent, a joiner or a skin tone stays with its character.
- Wrapped rows hang below the text, so that no text can pass for the beginning of a line.

    12:01 bob: a text that does not
               fit into one row
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from frontends.chatview import Line, Span

Row = list[Span]

LINES_LIMIT = 2_000
"""Lines kept.  Everything older is in `natctl history`."""

HANGING_SHARE = 3
"""Wrapped rows hang at most this fraction of the width deep (one third), or else by two: in a
narrow window the room is needed for the text."""

NARROW_INDENT = 2

_JOINER = "\u200d"


@dataclass(slots=True)
class _Kept:
    line: Line
    rows: list[Row] | None = None
    """None until it is needed at the present width."""


class Scrollback:
    """Lines in, the rows of a window out."""

    def __init__(self, width_of: Callable[[str], int], *, limit: int = LINES_LIMIT) -> None:
        self._width_of = width_of
        self._limit = limit
        self._width = 80
        self._kept: list[_Kept] = []
        self._numbers: dict[str, int] = {}
        self._first = 0  # number of the oldest line kept; numbers grow by one a line
        self._anchor: int | None = None  # number of the lowest line in sight; None: the end
        self._hidden = 0  # rows of the anchor line that are below the window
        self._unseen = 0

    @property
    def unseen(self) -> int:
        """Lines that came in below the window since it was scrolled up; 0 at the end.

        The line that begins a day, which has no lead, is none to come down for.
        """
        return self._unseen

    @property
    def is_at_end(self) -> bool:
        return self._anchor is None

    def add(self, line: Line) -> None:
        """Append it, or put it in the place of the one with its key."""
        number = self._numbers.get(line.key)
        if number is not None:
            self._kept[number - self._first] = _Kept(line)
        elif not line.is_again:
            self._numbers[line.key] = self._first + len(self._kept)
            self._kept.append(_Kept(line))
            if self._anchor is not None and line.lead:
                self._unseen += 1
            self._drop_oldest()

    def resize(self, width: int) -> None:
        width = max(2, width)
        if width != self._width:
            self._width = width
            self._hidden = 0
            for kept in self._kept:
                kept.rows = None

    def rows(self, height: int) -> list[Row]:
        """The rows in sight, at most `height`; fewer when there are not so many lines."""
        self._settle(height)
        found: list[Row] = []
        for row in self._upwards():
            if len(found) >= height:
                break
            found.append(row)
        return found[::-1]

    def scroll_up(self, count: int, height: int) -> None:
        """Move the window `count` rows towards the past, and no further than the first row."""
        if not self._kept:
            return
        number = self._first + len(self._kept) - 1 if self._anchor is None else self._anchor
        hidden = self._hidden + count
        while hidden >= (size := len(self._rows_of(number))):
            if number == self._first:
                hidden = size - 1
                break
            hidden -= size
            number -= 1
        self._anchor, self._hidden = number, hidden
        self._settle(height)

    def scroll_down(self, count: int) -> None:
        """Move it towards the present; at the end it follows what comes in."""
        if self._anchor is None:
            return
        self._hidden -= count
        while self._hidden < 0 and self._anchor < self._first + len(self._kept) - 1:
            self._anchor += 1
            self._hidden += len(self._rows_of(self._anchor))
        if self._hidden <= 0 and self._anchor == self._first + len(self._kept) - 1:
            self.scroll_to_end()
        self._hidden = max(0, self._hidden)

    def scroll_to_end(self) -> None:
        self._anchor, self._hidden, self._unseen = None, 0, 0

    def _settle(self, height: int) -> None:
        """Never show less than a full window while there are lines to fill it."""
        if self._anchor is None:
            return
        above = 0
        for _ in self._upwards():
            above += 1
            if above >= height:
                return
        self.scroll_down(height - above)

    def _drop_oldest(self) -> None:
        while len(self._kept) > self._limit:
            del self._numbers[self._kept.pop(0).line.key]
            self._first += 1
        if self._anchor is not None and self._anchor < self._first:
            self._anchor, self._hidden = self._first, 0

    def _upwards(self) -> Iterator[Row]:
        """The rows from the lowest in sight to the oldest."""
        number = self._first + len(self._kept) - 1 if self._anchor is None else self._anchor
        skipped = self._hidden
        for current in range(number, self._first - 1, -1):
            rows = self._rows_of(current)
            yield from reversed(rows[: max(1, len(rows) - skipped)])
            skipped = 0

    def _rows_of(self, number: int) -> list[Row]:
        kept = self._kept[number - self._first]
        if kept.rows is None:
            kept.rows = wrapped(kept.line, self._width, self._width_of)
        return kept.rows


def wrapped(line: Line, width: int, width_of: Callable[[str], int]) -> list[Row]:
    """The rows of one line in a window of `width` cells (at least two).

    Broken at blanks where possible; a word longer than a row, and writing that has no blanks
    (Chinese, Japanese, emoji), is broken where the row ends.
    """
    indent = sum(width_of(text) for _, text in line.lead)
    if indent * HANGING_SHARE > width:
        indent = NARROW_INDENT if width > 3 * NARROW_INDENT else 0
    rows: list[Row] = [[]]
    used = 0
    for style, word in _words((*line.lead, *line.body)):
        if word == "\n":
            rows.append(_indented(indent))
            used = indent
            continue
        cells = width_of(word)
        moves = not _is_wide(word[0]) and cells <= width - indent
        if moves and used + cells > width and used > indent:
            rows.append(_indented(indent))
            used = indent
            if word.isspace():
                continue
        for piece in [word] if used + cells <= width else _clusters(word):
            cells = width_of(piece)
            if used + cells > width and used > indent:
                rows.append(_indented(indent))
                used = indent
            if cells > width - used:
                style, piece, cells = "note", "…", 1
            _append(rows[-1], style, piece)
            used += cells
    return rows


def _words(spans: Sequence[Span]) -> Iterator[Span]:
    """Runs of blanks, of wide characters, of others, and single line feeds."""
    for style, text in spans:
        run, kind = "", ""
        for character in text:
            new = kind if run and _continues(run, character) else _kind(character)
            if run and (new != kind or new == "\n"):
                yield style, run
                run = ""
            run += character
            kind = new
        if run:
            yield style, run


def _kind(character: str) -> str:
    if character in " \n":
        return character
    return "wide" if _is_wide(character) else "narrow"


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _clusters(text: str) -> list[str]:
    """What is drawn together stays together: close to UAX 29, without its tables."""
    clusters: list[str] = []
    for character in text:
        if clusters and _continues(clusters[-1], character):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _continues(cluster: str, character: str) -> bool:
    if character in " \n":
        return False
    if unicodedata.category(character) in ("Mn", "Me", "Mc", "Cf"):
        return True
    if cluster.endswith(_JOINER) or "\U0001f3fb" <= character <= "\U0001f3ff":
        return True
    return _is_flag_letter(character) and len(cluster) == 1 and _is_flag_letter(cluster)


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _indented(indent: int) -> Row:
    return [("", " " * indent)] if indent else []


def _append(row: Row, style: str, text: str) -> None:
    if row and row[-1][0] == style:
        row[-1] = (style, row[-1][1] + text)
    else:
        row.append((style, text))
