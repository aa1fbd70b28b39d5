"""Lines in a window: wrapping by cells, and a place that holds still."""

from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from frontends.chatview import Line
from frontends.scrollback import Row, Scrollback, wrapped

LEAD = (("time", "12:01 "), ("nick-0", "bob"), ("text", ": "))


def test_a_line_that_fits_is_one_row() -> None:
    assert rows_of("hi", 20) == ["12:01 bob: hi"]


def test_wrapped_rows_hang_below_the_text() -> None:
    assert rows_of("a text that does not fit", 34) == [
        "12:01 bob: a text that does not ",
        "           fit",
    ]


def test_in_a_narrow_window_they_hang_by_two() -> None:
    assert rows_of("some more text", 16) == ["12:01 bob: some ", "  more text"]


def test_a_word_longer_than_a_row_is_broken_where_the_row_ends() -> None:
    rows = rows_of("x" * 60, 36)
    assert rows == [
        "12:01 bob: " + "x" * 25,
        "           " + "x" * 25,
        "           " + "x" * 10,
    ]


def test_wide_characters_take_two_cells() -> None:
    assert rows_of("你好世界你好", 34 - 13) == ["12:01 bob: 你好世界你", "  好"]


def test_what_is_drawn_in_one_cell_is_not_torn_apart() -> None:
    family = "👨\u200d👩\u200d👧"
    accents = "e\u0301" * 40
    for text in (family * 10, accents, "👍🏽" * 30, "🇩🇪" * 30):
        whole = text[: len(text) // (10 if text[0] == "👨" else 40 if text[0] == "e" else 30)]
        for row in rows_of(text, 24):
            body = row.replace("12:01 bob: ", "").strip()
            assert body == whole * (len(body) // len(whole))


def test_a_line_feed_begins_a_row_and_keeps_the_blanks_behind_it() -> None:
    assert rows_of("if x:\n    y\n\nz", 40) == [
        "12:01 bob: if x:",
        "               y",
        "           ",
        "           z",
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from("ab \n你👍\u200d\u0301\ufe0f🏽🇩é"), max_size=60),
    st.integers(2, 50),
)
def test_no_row_is_ever_wider_than_the_window(text: str, width: int) -> None:
    line = Line("k", LEAD, (("text", text),))
    for row in wrapped(line, width, get_cwidth):
        assert sum(get_cwidth(part) for _, part in row) <= width
    joined = "".join(part for row in wrapped(line, 500, get_cwidth) for _, part in row)
    assert joined.replace(" ", "") == line.plain.replace(" ", "").replace("\n", "")


def test_the_window_shows_the_newest_lines_from_below() -> None:
    scrollback = filled(10)
    assert texts(scrollback, 3) == ["line 7", "line 8", "line 9"]
    assert texts(filled(2), 5) == ["line 0", "line 1"]


def test_who_scrolled_up_stays_there_whatever_comes_in() -> None:
    scrollback = filled(50)
    scrollback.scroll_up(10, 5)
    before = texts(scrollback, 5)
    assert before == [f"line {number}" for number in range(35, 40)]
    for number in range(50, 70):
        scrollback.add(line(number))
    scrollback.add(Line("day", (), (("day", "-- a day --"),)))
    assert texts(scrollback, 5) == before
    assert scrollback.unseen == 20
    scrollback.scroll_to_end()
    assert (scrollback.unseen, texts(scrollback, 2)) == (0, ["line 69", "-- a day --"])


def test_a_change_of_width_keeps_the_lowest_line_in_sight() -> None:
    scrollback = Scrollback(get_cwidth)
    for number in range(100):
        scrollback.add(line(number, "word " * 30))
    scrollback.resize(80)
    scrollback.scroll_up(40, 10)
    last = [row for row in texts(scrollback, 10) if row.startswith("line")][-1].split()[1]
    scrollback.resize(33)
    assert any(row.startswith(f"line {last}") for row in texts(scrollback, 10))


def test_the_way_up_ends_at_the_first_row_with_a_full_window() -> None:
    scrollback = filled(20)
    scrollback.scroll_up(1000, 5)
    assert texts(scrollback, 5) == [f"line {number}" for number in range(5)]
    scrollback.scroll_down(3)
    assert texts(scrollback, 5) == [f"line {number}" for number in range(3, 8)]
    scrollback.scroll_down(1000)
    assert scrollback.is_at_end


def test_lines_that_all_fit_cannot_be_scrolled() -> None:
    scrollback = filled(3)
    scrollback.scroll_up(1, 5)
    assert scrollback.is_at_end
    Scrollback(get_cwidth).scroll_up(1, 5)


def test_up_and_down_by_the_same_rows_ends_where_it_began() -> None:
    scrollback = Scrollback(get_cwidth)
    for number in range(40):
        scrollback.add(line(number, "word " * (number % 17)))
    scrollback.resize(30)
    scrollback.scroll_up(20, 6)
    before = texts(scrollback, 6)
    scrollback.scroll_up(7, 6)
    assert texts(scrollback, 6) != before
    scrollback.scroll_down(7)
    assert texts(scrollback, 6) == before


def test_a_line_given_again_takes_its_own_place() -> None:
    scrollback = filled(5)
    scrollback.add(Line("line 2", (), (("text", "changed"),), is_again=True))
    assert texts(scrollback, 5) == ["line 0", "line 1", "changed", "line 3", "line 4"]


def test_the_oldest_lines_go_and_do_not_come_back_by_an_update() -> None:
    scrollback = Scrollback(get_cwidth, limit=10)
    for number in range(25):
        scrollback.add(line(number))
    scrollback.add(Line("line 3", (), (("text", "late tick"),), is_again=True))
    assert texts(scrollback, 99) == [f"line {number}" for number in range(15, 25)]


def test_who_reads_what_is_dropped_is_moved_to_the_oldest_line_left() -> None:
    scrollback = Scrollback(get_cwidth, limit=10)
    for number in range(10):
        scrollback.add(line(number))
    scrollback.scroll_up(7, 3)
    for number in range(10, 30):
        scrollback.add(line(number))
    assert texts(scrollback, 3) == ["line 20", "line 21", "line 22"]


def filled(count: int) -> Scrollback:
    scrollback = Scrollback(get_cwidth)
    for number in range(count):
        scrollback.add(line(number))
    return scrollback


def line(number: int, more: str = "") -> Line:
    lead = (("text", "line "),)
    return Line(f"line {number}", lead, (("text", f"{number} {more}".rstrip()),))


def texts(scrollback: Scrollback, height: int) -> list[str]:
    return [text_of(row) for row in scrollback.rows(height)]


def rows_of(text: str, width: int) -> list[str]:
    return [text_of(row) for row in wrapped(Line("k", LEAD, (("text", text),)), width, get_cwidth)]


def text_of(row: Row) -> str:
    return "".join(text for _, text in row)
