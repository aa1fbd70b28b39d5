"""Draws the journeys in natd/README.md anew, as `tests.bench.journeys` finds them.

    python -m tests.bench.pictures

A room stands deeper to the right than the one that called it.  The words behind a room are kept
from the picture as it was; a room that is new there takes them from another picture, or `?`, which
is to be replaced by hand.
"""

import re
from pathlib import Path

from tests.bench.journeys import ROOT, journeys

FILE = ROOT / "natd" / "README.md"

HEADINGS = {
    "datagram in": "### A datagram in",
    "line out": "### A line out",
    "introduction": "### An introduction",
}

WORDS_AT = 44

DEEPEST = 8
"""Further to the right there would be no room for words."""

ROOM = re.compile(r"^ *([a-z_/]+\.py) *(.*)$", re.MULTILINE)


def picture(files: dict[str, int], words: dict[str, str], others: dict[str, str]) -> str:
    """One journey; `words` and `others` are by room, as `rooms` gives them."""
    lines = []
    for file, depth in files.items():
        room = file.removeprefix("core/")
        told = words.get(room) or others.get(room) or "?"
        lines.append(f"{'  ' * min(depth, DEEPEST) + room:{WORDS_AT}}{told}")
    return "\n".join(lines)


def rooms(drawn: str) -> dict[str, str]:
    """The rooms of a picture in order, and the words behind each."""
    return dict(ROOM.findall(drawn))


def find(text: str, journey: str) -> str:
    """The picture of a journey in a document, without its fences."""
    return text.partition(f"{HEADINGS[journey]}\n")[2].split("```\n")[1]


def draw(file: Path, found: dict[str, dict[str, int]]) -> None:
    text = file.read_text(encoding="utf-8")
    known = {journey: rooms(find(text, journey)) for journey in HEADINGS}
    others = {room: words for each in known.values() for room, words in each.items()}
    for journey, files in found.items():
        drawn = picture(files, known[journey], others)
        text = text.replace(find(text, journey), f"{drawn}\n")
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    draw(FILE, journeys(ROOT, asks_timer=False))
