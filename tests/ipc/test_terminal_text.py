"""What a peer wrote reaches the terminal as text, never as an instruction to it."""

import time

import pyte
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from natd.ipc import printable, printable_lines
from tests.ipc.sequences import EVERY_SEQUENCE, assert_harmless

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
    "각 하\u1100\u1161\u11a8",
    "\U0001fae8 \U0001f6d8 \U0002ebf0",  # newer than this Python, perhaps not than the terminal
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋",
)


def test_there_are_two_hundred_sequences_to_try() -> None:
    assert len(set(EVERY_SEQUENCE)) >= 200


@pytest.mark.parametrize("sequence", EVERY_SEQUENCE, ids=ascii)
def test_a_sequence_is_shown_and_not_carried_out(sequence: str) -> None:
    for text in (sequence, "a" + sequence + "b", sequence * 3):
        assert_harmless(printable(text))


@pytest.mark.parametrize("sequence", EVERY_SEQUENCE, ids=ascii)
def test_a_terminal_writes_one_row_and_nothing_else_happens_to_it(sequence: str) -> None:
    screen = pyte.Screen(120, 5)
    stream = pyte.Stream(screen)
    stream.feed("untouched\r\n")
    stream.feed("<" + printable(sequence) + ">")
    assert screen.display[0].rstrip() == "untouched"
    assert screen.display[1].startswith("<")
    assert screen.display[1].rstrip().endswith(">")
    assert [row.strip() for row in screen.display[2:]] == ["", "", ""]
    assert screen.title == ""
    assert screen.cursor.attrs == pyte.screens.Char(" ")


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


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
        ("a\u2800b", "a<U+2800>b"),
        ("\U0001d159", "<U+1D159>"),
        ("\ue0b0", "<U+E0B0>"),
        ("ali\u2d7fce", "ali<U+2D7F>ce"),
        ("ali\U0001107fce", "ali<U+1107F>ce"),
        ("ali\U0001bc9dce", "ali<U+1BC9D>ce"),
        ("\u2d3d\u2d7f\u2d30", "\u2d3d\u2d7f\u2d30"),
        ("alice\U0001da7f", "alice<U+1DA7F>"),
        ("alice\U00013441", "alice<U+13441>"),
        ("a\u1161", "a<U+1161>"),
        ("\u1161\u1161", "<U+1161><U+1161>"),
    ],
)
def test_what_is_not_shown_is_named(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_tower_of_accents_ends_before_it_reaches_the_next_line() -> None:
    shown = printable("a" + "\u0301" * 30)
    assert shown.count("\u0301") == 8
    assert shown.count("<U+0301>") == 22


def test_hangul_letters_do_not_pile_up_either() -> None:
    assert printable("가" + "\u1161" * 30).count("\u1161") == 8


def test_a_long_line_costs_a_few_milliseconds() -> None:
    began = time.process_time()
    for text in (64 * 1024 * "x", 16 * 1024 * "Ü", 16 * 1024 * "\x1b", 4096 * "👨\u200d👩e\u0301"):
        printable(text)
    assert time.process_time() - began < 0.25


def test_joiners_do_not_begin_a_new_tower() -> None:
    tower = "क" + ("\u0301" * 7 + "\u094d\u200d") * 5
    assert printable(tower).count("\u0301") == 7


def test_lines_end_only_where_the_writer_pressed_enter() -> None:
    assert printable_lines("one\r\ntwo\nthree\rfour\u2028five") == [
        "one",
        "two",
        "three\u240dfour<U+2028>five",
    ]
    assert printable_lines("") == [""]


CHARACTERS = st.one_of(
    st.characters(),
    st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Mn", "Me"]),
    st.sampled_from("\u200c\u200d\ufe0f\u094d\u0301क👨❤ا1\x1b[]m;\u1100\u1161\u2800가"),
    st.integers(0, 0x10FFFF).map(chr),
)


@settings(max_examples=500, deadline=None)
@given(st.text(CHARACTERS, max_size=40))
@example("क" + "\u094d\u200d" * 20)
@example("❤" + "\ufe0f\u200d" * 20 + "❤")
def test_no_text_at_all_gets_through(text: str) -> None:
    shown = printable(text)
    assert_harmless(shown)
    assert printable(shown) == shown
    shown.encode()


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=40))
def test_letters_digits_and_signs_are_never_lost(text: str) -> None:
    shown = printable(text)
    assert len(shown) >= len(text)
    if "<U+" not in shown:
        assert shown == text
