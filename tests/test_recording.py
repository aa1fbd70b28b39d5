"""The picture of a terminal is an SVG that shows what stood on the screen."""

from xml.etree import ElementTree

import pyte
from pyte.screens import Char

from tests.recording import COLUMNS, GROUND, INK, ROWS, Scene, svg

SVG = "{http://www.w3.org/2000/svg}"


def test_a_scene_shows_the_text_and_the_colours_of_the_screen() -> None:
    drawn = ElementTree.fromstring(svg([Scene(screen("\x1b[1;31m  a & b\x1b[0m"), "it's", 1.0)]))

    first, caption = drawn.findall(f".//{SVG}text")

    assert first.text == "a & b"
    assert first.get("font-weight") == "bold"
    assert first.get("fill") not in (None, INK)
    assert caption.text == "it's"


def test_a_bar_in_reverse_is_one_rectangle_behind_its_texts() -> None:
    drawn = ElementTree.fromstring(svg([Scene(screen("\x1b[7mbar \x1b[1mbold"), "", 1.0)]))

    grounds = drawn.findall(f".//{SVG}g/{SVG}rect")

    assert [ground.get("fill") for ground in grounds] == [INK]
    assert [text.text for text in drawn.findall(f".//{SVG}g/{SVG}text")][:2] == ["bar", "bold"]
    assert drawn.find(f".//{SVG}g/{SVG}text").get("fill") == GROUND  # type: ignore[union-attr]


def test_only_the_last_scene_shows_where_nothing_moves() -> None:
    scenes = [Scene(screen(text), "", 1.0) for text in ("first", "last")]

    first, last = ElementTree.fromstring(svg(scenes)).findall(f"./{SVG}g")

    assert (first.get("visibility"), last.get("visibility")) == ("hidden", None)


def screen(text: str) -> list[list[Char]]:
    shown = pyte.Screen(COLUMNS, ROWS)
    pyte.Stream(shown).feed(text)
    return [[shown.buffer[y][x] for x in range(COLUMNS)] for y in range(ROWS)]
