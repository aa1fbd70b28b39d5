"""The one door between text that came from a peer or a server and a terminal.

Texts, nicks, file names and reasons are kept as they came and are shown through `safe()`.

Rules that a change must not break:

- What comes out moves no cursor, changes no colour, title or clipboard, reorders nothing and
  hides nothing: no C0, DEL, C1, bidirectional control, zero-width or otherwise invisible
  character, line or paragraph separator, tag, lone surrogate or noncharacter is left in it.
- It is one line, always.  A caller that wants lines splits first: `safe_lines()`.
- Ordinary Unicode stays as it is, with the invisible characters that its spelling needs:
  joiners inside emoji and in the scripts that know them, variation selectors behind a
  character that has variants.
- `safe(safe(text)) == safe(text)`, and nothing is dropped: what isn't shown is named.

    0x00-0x1F, 0x7F     the control picture: ESC is shown as U+241B, DEL as U+2421
    everything else     its number: <U+009B>, <U+202E>, <U+D800>
    a leading accent    behind U+25CC, so that it can't sit on what we printed before it
"""

import unicodedata

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
    (0x2065, 0x2065),  # unassigned, ignorable by default, as are the next three
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
    (0x1BCA0, 0x1BCA3),
    (0x3164, 0x3164),  # Hangul fillers again
    (0xFFA0, 0xFFA0),
    (0xFDD0, 0xFDEF),  # noncharacters
    (0xFE00, 0xFE0F),  # variation selectors
)
"""What no general category gives away: Unicode's Default_Ignorable_Code_Point that is neither
a control nor a format character, and the noncharacters."""

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


def safe(text: str) -> str:
    """`text` as one harmless line that shows all that is in it."""
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for index, character in enumerate(text):
        is_mark = unicodedata.category(character) in ("Mn", "Me")
        if is_mark:
            marks += 1
        elif ord(character) not in (_ZERO_WIDTH_JOINER, _ZERO_WIDTH_NON_JOINER):
            marks = 0
        if marks > MARKS_IN_A_ROW or not _may_stand(text, index):
            shown.append(_named(ord(character)))
        elif is_mark and not shown:
            shown.append(_DOTTED_CIRCLE + character)
        else:
            shown.append(character)
    return "".join(shown)


def safe_lines(text: str) -> list[str]:
    """The same for a text of several lines: split where its writer pressed Enter.

    Only the line feed (and CR LF) ends a line.  Always at least one line.
    """
    return [safe(line) for line in text.replace("\r\n", "\n").split("\n")]


def _may_stand(text: str, index: int) -> bool:
    code = ord(text[index])
    if code in (_ZERO_WIDTH_JOINER, _ZERO_WIDTH_NON_JOINER):
        return _joiner_is_spelling(text, index)
    if _among(code, _INVISIBLE) or code & 0xFFFE == 0xFFFE:
        return _selects_a_variant(text, index)
    category = unicodedata.category(text[index])
    if category == "Cf":
        return code in _VISIBLE_FORMATS
    return category not in ("Cc", "Cs", "Zl", "Zp")


def _joiner_is_spelling(text: str, index: int) -> bool:
    """Inside an emoji, behind a virama, or between letters of a script that joins them."""
    if index == 0 or index + 1 == len(text):
        return False
    before, after = text[index - 1], text[index + 1]
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if ord(text[index]) == _ZERO_WIDTH_JOINER:
        base = text[index - 2] if before == "\ufe0f" and index > 1 else before
        return _among(ord(base), _PICTOGRAPHS) and _among(ord(after), _PICTOGRAPHS)
    return unicodedata.bidirectional(before) == "AL" == unicodedata.bidirectional(after)


def _selects_a_variant(text: str, index: int) -> bool:
    """A variation selector behind a character that has variants, and nothing else invisible."""
    if index == 0:
        return False
    code, base = ord(text[index]), ord(text[index - 1])
    if code in (0xFE0E, 0xFE0F):
        return _among(base, _PICTOGRAPHS) or chr(base) in "#*0123456789"
    if 0xE0100 <= code <= 0xE01EF or 0xFE00 <= code <= 0xFE02:
        return 0x3400 <= base <= 0x9FFF or 0xF900 <= base <= 0xFAFF or 0x20000 <= base <= 0x323AF
    if 0x180B <= code <= 0x180D or code == 0x180F:
        return 0x1820 <= base <= 0x18AA
    return False


def _among(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def _named(code: int) -> str:
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    if code == _DELETE:
        return _DELETE_PICTURE
    return f"<U+{code:04X}>"
