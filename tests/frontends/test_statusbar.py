"""The status bar gives way to a narrow window, from the least to the most important."""

import pytest
from prompt_toolkit.utils import get_cwidth

from frontends.roster import Presence
from frontends.statusbar import status_bar

PEERS = (
    Presence("bob", "online", "direct", "12 ms"),
    Presence("carol", "punching", "", ""),
    Presence("dave", "offline", "", ""),
)


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (60, " demo · alice  ● bob direct, 12 ms  ◌ carol  ○ dave         "),
        (48, " demo · alice  ● bob 12 ms  ◌ carol  ○ dave     "),
        (38, " demo  ● bob 12 ms  ◌ carol  ○ dave   "),
        (32, " demo  ● bob  ◌ carol  ○ dave   "),
        (24, " demo  ● bob  +2        "),
        (10, " demo  +3 "),
        (3, "   "),
    ],
)
def test_a_narrow_window_costs_the_details_first(width: int, shown: str) -> None:
    assert text(width) == shown


def test_an_alarm_is_shown_whatever_else_must_go() -> None:
    assert text(40, ["server lost"]) == " demo  ● bob  ◌ carol  +1   server lost "
    assert text(14, ["server lost"]) == "  server lost "


def test_without_anyone_it_says_so() -> None:
    spans = status_bar("demo", "alice", (), (), 34, get_cwidth)
    assert "".join(part for _, part in spans) == " demo · alice  nobody else yet    "


@pytest.mark.parametrize("width", range(1, 90))
def test_it_is_as_wide_as_the_window(width: int) -> None:
    wide = (Presence("小明", "online", "direct", "3.1 ms"), *PEERS)
    spans = status_bar("démo", "👍", wide, (), width, get_cwidth)
    assert sum(get_cwidth(part) for _, part in spans) == width


def text(width: int, alarms: list[str] | None = None) -> str:
    spans = status_bar("demo", "alice", PEERS, alarms or [], width, get_cwidth)
    return "".join(part for _, part in spans)
