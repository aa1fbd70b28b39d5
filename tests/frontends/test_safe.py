"""What a peer wrote reaches the terminal as text, never as an instruction to it."""

import unicodedata

import pyte
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from frontends.safe import MARKS_IN_A_ROW, safe, safe_lines

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

ORDINARY = (
    "plain text, 42 %",
    "Grüße, señor — “naïve” façade…",
    "Привет, мир",
    "你好，世界",
    "こんにちは",
    "안녕하세요",
    "שלום",
    "مرحبا",
    "می\u200cخواهم",  # Persian: the non-joiner is spelling
    "क्\u200dष क्\u200cष",  # Devanagari: behind a virama, so are both joiners
    "ਪੰਜਾਬੀ ไทย ភាសា",
    "e\u0301 a\u0308 q\u0307\u0323",
    "👍 🎉 👩🏽 🇩🇪",
    "👨\u200d👩\u200d👧\u200d👦",
    "🏳\ufe0f\u200d🌈 ❤\ufe0f\u200d🔥 🐈\u200d⬛",
    "1\ufe0f\u20e3 ❤\ufe0f ☎\ufe0e ©\ufe0f",
    "葛\U000e0100",
    "\u00a0\u3000",
    "\ue0b0",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋",
)


def test_there_are_two_hundred_sequences_to_try() -> None:
    assert len(CONTROL_SEQUENCES) + len(BIDIRECTIONAL_AND_INVISIBLE) >= 200


@pytest.mark.parametrize("sequence", CONTROL_SEQUENCES + BIDIRECTIONAL_AND_INVISIBLE, ids=ascii)
def test_a_sequence_is_shown_and_not_carried_out(sequence: str) -> None:
    for text in (sequence, "a" + sequence + "b", sequence * 3):
        assert_harmless(safe(text))


@pytest.mark.parametrize("sequence", CONTROL_SEQUENCES, ids=ascii)
def test_a_terminal_writes_one_row_and_nothing_else_happens_to_it(sequence: str) -> None:
    screen = pyte.Screen(120, 5)
    stream = pyte.Stream(screen)
    stream.feed("untouched\r\n")
    stream.feed("<" + safe(sequence) + ">")
    assert screen.display[0].rstrip() == "untouched"
    assert screen.display[1].startswith("<")
    assert screen.display[1].rstrip().endswith(">")
    assert [row.strip() for row in screen.display[2:]] == ["", "", ""]
    assert screen.title == ""
    assert screen.cursor.attrs == pyte.screens.Char(" ")


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert safe(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\u241b[31mred"),
        ("a\nb", "a\u240ab"),
        ("\x7f", "\u2421"),
        ("\x9b2J", "<U+009B>2J"),
        ("user\u202egnp.exe", "user<U+202E>gnp.exe"),
        ("ali\u200bce", "ali<U+200B>ce"),
        ("ali\u200dce", "ali<U+200D>ce"),
        ("ali\u200cce", "ali<U+200C>ce"),
        ("x\u2028y", "x<U+2028>y"),
        ("\ud800", "<U+D800>"),
        ("\U000e0041", "<U+E0041>"),
        ("👍\U000e0100", "👍<U+E0100>"),
        ("❤\ufe0f\ufe0f", "❤\ufe0f<U+FE0F>"),
        ("👨\u200d", "👨<U+200D>"),
        ("\u0301a", "\u25cc\u0301a"),
    ],
)
def test_what_is_not_shown_is_named(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_a_tower_of_accents_ends_before_it_reaches_the_next_line() -> None:
    shown = safe("a" + "\u0301" * 30)
    assert shown.count("\u0301") == MARKS_IN_A_ROW
    assert shown.count("<U+0301>") == 30 - MARKS_IN_A_ROW


def test_joiners_do_not_begin_a_new_tower() -> None:
    tower = "क" + ("\u0301" * (MARKS_IN_A_ROW - 1) + "\u094d\u200d") * 5
    assert safe(tower).count("\u0301") == MARKS_IN_A_ROW - 1


def test_lines_end_only_where_the_writer_pressed_enter() -> None:
    assert safe_lines("one\r\ntwo\nthree\rfour\u2028five") == [
        "one",
        "two",
        "three\u240dfour<U+2028>five",
    ]
    assert safe_lines("") == [""]


CHARACTERS = st.one_of(
    st.characters(),
    st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Mn", "Me"]),
    st.sampled_from("\u200c\u200d\ufe0f\u094d\u0301क👨❤ا1\x1b[]m;"),
    st.integers(0, 0x10FFFF).map(chr),
)


@settings(max_examples=500, deadline=None)
@given(st.text(CHARACTERS, max_size=40))
@example("क" + "\u094d\u200d" * 20)
@example("❤" + "\ufe0f\u200d" * 20 + "❤")
def test_no_text_at_all_gets_through(text: str) -> None:
    shown = safe(text)
    assert_harmless(shown)
    assert safe(shown) == shown
    shown.encode()


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=40))
def test_letters_digits_and_signs_are_never_lost(text: str) -> None:
    shown = safe(text)
    assert len(shown) >= len(text)
    if "<U+" not in shown:
        assert shown == text


JOINERS_AND_SELECTORS = frozenset(
    "\u200c\u200d\u180b\u180c\u180d\u180f\ufe00\ufe01\ufe02\ufe0e\ufe0f"
)


def assert_harmless(shown: str) -> None:
    """By Unicode's own words, not by the tables of the code under test."""
    previous = ""
    for character in shown:
        category = unicodedata.category(character)
        assert category not in ("Cc", "Cs", "Zl", "Zp"), ascii(shown)
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
