"""Text of a peer, a server or a router, made fit for a terminal.

Texts, nicks, file names and reasons are kept as they came; who prints them does so through
`printable()`, as all our own programs do.

Rules that a change must not break:

- What comes out moves no cursor, changes no colour, title or clipboard, reorders nothing and
  hides nothing: no C0, DEL, C1, bidirectional control, zero-width, blank or otherwise invisible
  character, line or paragraph separator, tag, lone surrogate, noncharacter, private or unassigned
  character is left in it.  (A space is none of these: one sees where it ends.)
- It is one line, always.  A caller that wants lines splits first: `printable_lines()`.
- Ordinary Unicode stays as it is, with the invisible characters that its spelling needs:
  joiners inside emoji and in the scripts that know them, variation selectors behind a
  character that has variants.
- `printable(printable(text)) == printable(text)`, and nothing is dropped: what isn't shown is
  named.
- It is cheap: ASCII costs one look, anything else about a tenth of a microsecond a character.

    0x00-0x1F, 0x7F     the control picture: ESC is shown as U+241B, DEL as U+2421
    everything else     its number: <U+009B>, <U+202E>, <U+D800>
    a leading accent    behind U+25CC, so that it can't sit on what was printed before it
"""

import unicodedata
from enum import Enum, auto
from functools import lru_cache

_CONTROL_PICTURES = 0x2400
_DELETE = 0x7F
_DELETE_PICTURE = "\u2421"
_DOTTED_CIRCLE = "\u25cc"
_ZERO_WIDTH_NON_JOINER = 0x200C
_ZERO_WIDTH_JOINER = 0x200D

MARKS_IN_A_ROW = 8
"""Combining marks kept on one character.  Living scripts need up to about five; hundreds
(\"zalgo\") paint over the lines above and below."""

_VIRAMA = 9
"""Canonical combining class of the signs behind which a joiner is spelling (RFC 5892, A.1)."""

_INVISIBLE = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers: letters with nothing to see
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2D7F, 0x2D7F),  # joiners of Tifinagh and Brahmi, Duployan's selector
    (0x1107F, 0x1107F),
    (0x1BC9D, 0x1BC9D),
    (0x13441, 0x13442),  # blank hieroglyphs
    (0x1DA7F, 0x1DA80),  # spaces of sign writing
    (0x2065, 0x2065),  # unassigned, ignorable by default, as are the next three
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
    (0x1BCA0, 0x1BCA3),
    (0x2800, 0x2800),  # the braille pattern without a dot
    (0x3164, 0x3164),  # Hangul fillers again
    (0xFFA0, 0xFFA0),
    (0xFFFC, 0xFFFC),  # stands for an object that isn't there
    (0x16FE4, 0x16FE4),  # Khitan filler
    (0x1D159, 0x1D159),  # a note without a head
    (0xFDD0, 0xFDEF),  # noncharacters
    (0xFE00, 0xFE0F),  # variation selectors
)
"""What no general category gives away: Unicode's Default_Ignorable_Code_Point that is neither
a control nor a format character, what has no ink, and the noncharacters."""

_LETTERS_BEFORE = {
    0x2D7F: (0x2D30, 0x2D6F),
    0x1107F: (0x11052, 0x1106F),
    0x1BC9D: (0x1BC00, 0x1BC9C),
}
"""Signs without ink that are spelling behind letters or digits of their own script."""

_LATER = ((0x1F000, 0x1FAFF), (0x20000, 0x3FFFD))
"""Where new versions of Unicode put emoji and ideographs: what this Python doesn't know there, the
terminal may, and shows a box otherwise."""

_JAMO_BEHIND = ((0x1161, 0x11FF), (0xD7B0, 0xD7FB))
_JAMO_BEFORE = ((0x1100, 0x11FF), (0xA960, 0xA97F), (0xAC00, 0xD7FB))
"""Hangul letters that join the syllable before them: elsewhere they have no width."""

KINDS_KEPT = 4096
"""Characters whose kind is remembered: more than a conversation in Chinese has."""

_VISIBLE_FORMATS = frozenset(
    (*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD)
)
"""Signs that enclose a number in Arabic and its kin: format characters that one does see."""

_PICTOGRAPHS = (
    (0x00A9, 0x00A9),
    (0x00AE, 0x00AE),
    (0x203C, 0x203C),
    (0x2049, 0x2049),
    (0x2122, 0x2122),
    (0x2139, 0x2139),
    (0x2190, 0x21FF),
    (0x2300, 0x23FF),
    (0x24C2, 0x24C2),
    (0x25A0, 0x27BF),
    (0x2900, 0x297F),
    (0x2B00, 0x2BFF),
    (0x3030, 0x303D),
    (0x3297, 0x3299),
    (0x1F000, 0x1FAFF),
)
"""Generous outline of Extended_Pictographic (UTS 51): what may stand in an emoji."""


class _Kind(Enum):
    PLAIN = auto()
    MARK = auto()
    """Stands on the character before it."""
    JAMO = auto()
    """Joins the Hangul syllable before it."""
    JOINER = auto()
    SELECTOR = auto()
    """Invisible, unless it selects a variant of the character before it."""
    NAMED = auto()
    """Never shown."""


_PLAIN, _MARK, _JAMO = _Kind.PLAIN, _Kind.MARK, _Kind.JAMO
_JOINER, _SELECTOR, _NAMED = _Kind.JOINER, _Kind.SELECTOR, _Kind.NAMED
"""Looked up once: they are asked for with every character."""


def printable(text: str) -> str:
    """`text` as one harmless line that shows all that is in it."""
    if text.isascii() and text.isprintable():
        return text
    kinds = list(map(_kind, text))
    if kinds.count(_PLAIN) == len(kinds):
        return text
    shown: list[str] = []
    marks = 0
    for index, (character, kind) in enumerate(zip(text, kinds, strict=True)):
        if kind is _PLAIN:
            marks = 0
            shown.append(character)
            continue
        if kind is _MARK or kind is _JAMO:
            marks += 1
        elif kind is not _JOINER:
            marks = 0
        joins = kind is _JAMO and bool(shown) and _precedes_jamo(shown[-1])
        if marks > MARKS_IN_A_ROW or not (joins or _may_stand(kind, text, index)):
            shown.append(_named(character))
        elif kind is _MARK and not shown:
            shown.append(_DOTTED_CIRCLE + character)
        else:
            shown.append(character)
    return "".join(shown)


def printable_lines(text: str) -> list[str]:
    """The same for a text of several lines: split where its writer pressed Enter.

    Only the line feed (and CR LF) ends a line.  Always at least one line.
    """
    return [printable(line) for line in text.replace("\r\n", "\n").split("\n")]


@lru_cache(KINDS_KEPT)
def _kind(character: str) -> _Kind:
    code, category = ord(character), unicodedata.category(character)
    if code in (_ZERO_WIDTH_JOINER, _ZERO_WIDTH_NON_JOINER):
        return _JOINER
    if _among(code, _INVISIBLE) or code & 0xFFFE == 0xFFFE:
        return _SELECTOR
    if category in ("Cc", "Cs", "Zl", "Zp", "Co"):
        return _NAMED
    if category == "Cf":
        return _PLAIN if code in _VISIBLE_FORMATS else _NAMED
    if category == "Cn":
        return _PLAIN if _among(code, _LATER) else _NAMED
    if category in ("Mn", "Me"):
        return _MARK
    return _JAMO if _among(code, _JAMO_BEHIND) else _PLAIN


def _may_stand(kind: _Kind, text: str, index: int) -> bool:
    if kind is _JOINER:
        return _joiner_is_spelling(text, index)
    if kind is _SELECTOR:
        return _selects_a_variant(text, index)
    return kind is _MARK


def _precedes_jamo(shown: str) -> bool:
    return len(shown) == 1 and _among(ord(shown), _JAMO_BEFORE)


def _joiner_is_spelling(text: str, index: int) -> bool:
    """Inside an emoji, behind a virama, or between letters of a script that joins them."""
    if index == 0 or index + 1 == len(text):
        return False
    before, after = text[index - 1], text[index + 1]
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if ord(text[index]) == _ZERO_WIDTH_JOINER:
        base = text[index - 2] if before == "\ufe0f" and index > 1 else before
        return _is_pictograph(base) and _is_pictograph(after)
    return unicodedata.bidirectional(before) == "AL" == unicodedata.bidirectional(after)


def _selects_a_variant(text: str, index: int) -> bool:
    """A variation selector behind a character that has variants, and nothing else invisible."""
    if index == 0:
        return False
    code, base = ord(text[index]), ord(text[index - 1])
    if code in (0xFE0E, 0xFE0F):
        return _is_pictograph(chr(base)) or chr(base) in "#*0123456789"
    if 0xE0100 <= code <= 0xE01EF or 0xFE00 <= code <= 0xFE02:
        return 0x3400 <= base <= 0x9FFF or 0xF900 <= base <= 0xFAFF or 0x20000 <= base <= 0x323AF
    if 0x180B <= code <= 0x180D or code == 0x180F:
        return 0x1820 <= base <= 0x18AA
    first, last = _LETTERS_BEFORE.get(code, (1, 0))
    return first <= base <= last


@lru_cache(KINDS_KEPT)
def _is_pictograph(character: str) -> bool:
    return _among(ord(character), _PICTOGRAPHS)


def _among(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


@lru_cache(KINDS_KEPT)
def _named(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    if code == _DELETE:
        return _DELETE_PICTURE
    return f"<U+{code:04X}>"
