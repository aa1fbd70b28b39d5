"""Log lines: what a peer, a server or a router wrote is quoted in them, and nothing more."""

import logging
import sys

import pytest

from natd.host.journal import JournalFormatter, PlainFormatter
from tests.ipc.sequences import EVERY_SEQUENCE, assert_harmless

FORMATTERS = [JournalFormatter("%(message)s"), PlainFormatter("%(levelname)s %(message)s")]


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["journal", "plain"])
def test_no_sequence_gets_into_the_log(formatter: logging.Formatter) -> None:
    for sequence in EVERY_SEQUENCE:
        line = formatter.format(record("the server says: %s", f"a{sequence}b"))
        assert_harmless(line)


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["journal", "plain"])
def test_no_text_makes_a_line_of_its_own(formatter: logging.Formatter) -> None:
    forged = "no\n<0>natd: the disk is full\u2028<0>again\x85<0>and again\r<0>once more"
    assert formatter.format(record("the server says: %s", forged)).count("\n") == 0


def test_a_traceback_has_lines_and_nothing_raw() -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        caught = record("a bug: %s", "\x1b[2J", exc_info=sys.exc_info())
    lines = JournalFormatter("%(message)s").format(caught).split("\n")
    assert len(lines) >= 4
    assert all(line.startswith("<4>") for line in lines)
    for line in lines:
        assert_harmless(line)


def record(text: str, *values: str, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord("natd", logging.WARNING, "", 0, text, values, exc_info)  # type: ignore[arg-type]
