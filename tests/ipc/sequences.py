"""Texts that a terminal would obey, or would not show, and how to tell that none got through."""

import re
import unicodedata

CONTROL_SEQUENCES = (
    *("\x1b[2J", "\x1b[H", "\x1b[31m", "\x1b[0m", "\x1b[1;1H", "\x1b[999C", "\x1b[?1049h"),
    *("\x1b[?25l", "\x1b[6n", "\x1b[c", "\x1b[>c", "\x1b[5n", "\x1b[3J", "\x1b[K", "\x1b[1K"),
    *("\x1b[8m", "\x1b[7m", "\x1b[38;5;1m", "\x1b[38;2;1;2;3m", "\x1b[?1000h", "\x1b[?1003h"),
    *("\x1b[?1006h", "\x1b[?2004h", "\x1b[?7l", "\x1b[20h", "\x1b[4h", "\x1b[r", "\x1b[2;3r"),
    *("\x1b[S", "\x1b[T", "\x1b[L", "\x1b[M", "\x1b[P", "\x1b[@", "\x1b[X", "\x1b[10b"),
    *("\x1b[21t", "\x1b[18t", "\x1b[3;0;0t", "\x1b[!p", '\x1b[61"p', "\x1b[2 q", "\x1b[i"),
    *("\x1b]0;owned\x07", "\x1b]2;owned\x1b\\", "\x1b]4;1;?\x07", "\x1b]10;?\x07"),
    *("\x1b]52;c;cm0gLXJmIC8=\x07", "\x1b]52;c;?\x07", "\x1b]8;;http://x\x07y\x1b]8;;\x07"),
    *("\x1b]9;hi\x07", "\x1b]777;notify;a;b\x07", "\x1b]1337;File=:AAAA\x07", "\x1b]50;x\x07"),
    *("\x1b]7;file:///\x07", "\x1b]133;A\x07", "\x1b]104\x07", "\x1b]110\x07", "\x1b]99;;x\x1b\\"),
    *("\x1bP$qm\x1b\\", "\x1bP+q544e\x1b\\", "\x1bPq#0~\x1b\\", "\x1b_Gi=1;AAAA\x1b\\"),
    *("\x1b^private\x1b\\", "\x1bX start \x1b\\", "\x1bc", "\x1b7\x1b8", "\x1bD", "\x1bE"),
    *("\x1bM", "\x1bH", "\x1bN", "\x1bO", "\x1bZ", "\x1b=", "\x1b>", "\x1b#8", "\x1b(0lqk\x1b(B"),
    *("\x1b%G", "\x1b%@", "\x1b)0", "\x1b*0", "\x1b+0", "\x1bn", "\x1bo", "\x1b|", "\x1b}"),
    *("\x1bk title\x1b\\", '\x1b[0;30;"x"p', "\x1b", "\x1b\x1b", "\x1b[", "\x1b]", "\x1bP"),
    *("\x9b2J", "\x9b31m", "\x9d0;owned\x9c", "\x90q\x9c", "\x9f\x9c", "\x9e\x9c", "\x98\x9c"),
    *("\x84", "\x85", "\x88", "\x8d", "\x8e", "\x8f", "\x9a"),
    *("\r", "\n", "\r\n", "\t", "\v", "\f", "\b", "\a", "\x00", "\x0e", "\x0f", "\x05", "\x18"),
    *map(chr, (*range(0x20), *range(0x7F, 0xA0))),
    *("ok\rrm -rf /", "abc\b\b\bxyz", "a\x7fb", "x\x1ay"),
)

BIDIRECTIONAL_AND_INVISIBLE = (
    *("\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"),
    *("\u200e", "\u200f", "\u061c", "\u200b", "\u200c", "\u200d", "\u2060", "\u2061", "\u2062"),
    *("\u2063", "\u2064", "\u206a", "\u206f", "\ufeff", "\u00ad", "\u034f", "\u115f", "\u1160"),
    *("\u3164", "\uffa0", "\u17b4", "\u180e", "\u180b", "\ufe0f", "\ufe00", "\u2028", "\u2029"),
    *("\ufff9", "\ufffb", "\U000e0001", "\U000e0041", "\U000e007f", "\U000e0100", "\U000e01ef"),
    *("\U0001d173", "\U0001bca0", "\ud800", "\udbff", "\udc80", "\udfff", "\ufffe", "\U0010ffff"),
    *("\ufdd0", "\u206a", "\u2065", "\U000e0fff"),
)

WITHOUT_INK = (
    *("\u2800", "\U0001d159", "\U00016fe4", "\ufffc", "\u1160", "\u1161", "\u11a8", "\ud7b0"),
    *("\ue000", "\ue0b0", "\uf8ff", "\U000f0000", "\U00100000", "\U0010fffd"),
    *("\u0378", "\u05ff", "\u2fff", "\U0001247f", "\U000e1000", "\U000dffff"),
    *("\U00013430", "\U00013438", "\U0001d173", "\U0001d17a", "\ufff0", "\ufffa"),
)
"""Blank, private, unassigned; Hangul letters that lean on nothing; signs that only order others."""

EVERY_SEQUENCE = CONTROL_SEQUENCES + BIDIRECTIONAL_AND_INVISIBLE + WITHOUT_INK

JOINERS_AND_SELECTORS = frozenset(
    "\u200c\u200d\u180b\u180c\u180d\u180f\ufe00\ufe01\ufe02\ufe0e\ufe0f"
)


OWN_COLOURS = re.compile("\x1b\\[[0-9;]*m")


def assert_no_leak(output: str) -> None:
    """What one of our programs wrote to a terminal, colours of its own included."""
    for line in OWN_COLOURS.sub("", output.replace("\r\n", "\n")).split("\n"):
        assert_harmless(line)


def assert_harmless(shown: str) -> None:
    """By Unicode's own words, not by the tables of the code under test."""
    previous = ""
    for character in shown:
        category = unicodedata.category(character)
        assert category not in ("Cc", "Cs", "Zl", "Zp", "Co"), ascii(shown)
        assert character not in "\u2800\U0001d159\U00016fe4\ufffc\u115f\u1160\u3164\uffa0"
        assert category != "Cn" or 0x1F000 <= ord(character) < 0x40000, ascii(shown)
        assert not (ord(character) >= 0xE0000 and ord(character) < 0xE0100), ascii(shown)
        assert unicodedata.bidirectional(character) not in BIDIRECTIONAL_CONTROLS, ascii(shown)
        if character in JOINERS_AND_SELECTORS or 0xE0100 <= ord(character) <= 0xE01EF:
            assert previous, ascii(shown)
            assert not previous.isascii() or previous in "#*0123456789", ascii(shown)
            assert previous not in ("\u200c", "\u200d"), ascii(shown)
        elif category == "Cf":
            assert unicodedata.name(character).startswith(("ARABIC", "SYRIAC", "KAITHI"))
            assert character != "\u061c", ascii(shown)
        previous = character


BIDIRECTIONAL_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B"}
