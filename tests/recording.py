"""The picture of the README: alice's terminal while the server is killed and the chat goes on.

    python -m tests.recording [FILE.svg]      where `make recording` puts it: .github/chat.svg

Nothing in it is drawn by hand.  The server and both daemons run behind two NATs of the kernel
(`natctl/demo/demo_stage.py`); alice and bob each have a shell in a pseudo-terminal, in which the
lines below are typed; what their terminals show is kept by pyte, and each scene of the picture
is alice's screen at that moment.  The server is ended with SIGKILL.

An SVG shows one scene after the other by CSS alone, so that it moves in a README, too; where
nothing moves, it shows the last one.
"""

import os
import pty
import select
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import ioctl
from html import escape
from itertools import groupby
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ

import pyte
from pyte.screens import Char

from natctl.demo.demo_stage import PEERS, NamespaceStage

FILE = Path(__file__).resolve().parents[1] / ".github" / "chat.svg"

COLUMNS, ROWS = 80, 24

LIMIT_S = 40.0
"""For what has to appear on a screen; a dead server is noticed within 15 s and told then."""

QUIET_S = 0.3
"""A screen that has not changed for this long shows what it is going to show."""

TYPED_AT_ONCE = 6
"""Characters of a typed line between two scenes."""


def play() -> list["Scene"]:
    """The whole run, on real NATs.  Raises WorldError where there can be none."""
    stage = NamespaceStage()
    try:
        stage.start_server()
        for name in PEERS:
            stage.start_peer(name)
        wait_until(lambda: all(stage.is_ready(name) for name in ("server", *PEERS)))
        with Terminal(stage, "alice") as alice, Terminal(stage, "bob") as bob:
            return perform(stage, alice, bob)
    finally:
        stage.close()


def perform(stage: NamespaceStage, alice: "Terminal", bob: "Terminal") -> list["Scene"]:
    scenes: list[Scene] = []

    def show(caption: str, seconds: float) -> None:
        alice.settle()
        bob.settle(0.0)
        scenes.append(Scene(alice.rows(), caption, seconds))

    def alice_types(line: str, caption: str) -> None:
        for at in range(0, len(line), TYPED_AT_ONCE):
            alice.type(line[at : at + TYPED_AT_ONCE])
            show(caption, 0.2)
        alice.type("\r")

    behind = "alice and bob sit behind two routers (NATs); a small server introduces them"
    join = f"natctl join demo --server {stage.server} --name {{}} --interactive"
    show(behind, 1.0)
    alice_types(join.format("alice"), behind)
    alice.sees("alice ")
    show(behind, 1.5)
    bob.type(join.format("bob") + "\r")
    alice.sees("bob direct")
    show("bob joins: they are connected directly, and encrypted", 2.5)
    bob.type("hi alice, are you there?\r")
    alice.sees("bob: hi alice")
    show("bob says something", 1.5)
    alice_types("yes. I am going to kill the server now.", "alice answers")
    alice.sees("✓")
    show("the tick says that bob has it on his disk", 2.0)
    stage.kill_server()
    dead = "the server is killed (kill -9)"
    show(dead, 2.0)
    bob.type("is the server still up?\r")
    alice.sees("bob: is the server")
    show(dead, 1.5)
    alice_types("no, it is gone. Nothing else has changed.", dead)
    alice.sees("has changed. ✓")
    show(dead, 1.5)
    alice.sees("server lost")
    after = "the server is dead, and the chat goes on"
    show(after, 2.0)
    bob.type("so we don't need it any more.\r")
    alice.sees("so we don't need it")
    show(after, 1.5)
    alice_types("only to meet somebody new :)", after)
    alice.sees("somebody new :) ✓")
    show(after, 4.0)
    return scenes


class Terminal:
    """A shell in a pseudo-terminal of 80 columns and 24 rows, whose natctl speaks to one daemon."""

    def __init__(self, stage: NamespaceStage, name: str) -> None:
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._home = tempfile.mkdtemp(prefix="natd-recording-")
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": self._home,
            "LC_ALL": "C.UTF-8",
            "NATD_SOCKET": str(stage.control_socket(name)),
            "PS1": f"{name}$ ",
            "TERM": "xterm-256color",
        }
        self._pid, self._file = pty.fork()
        if self._pid == 0:
            os.execvpe("sh", ["sh", "-i"], environment)
        ioctl(self._file, TIOCSWINSZ, pack("HHHH", ROWS, COLUMNS, 0, 0))

    def __enter__(self) -> "Terminal":
        self.sees("$")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)  # a hang-up ends the shell and what runs in it
        os.waitpid(self._pid, 0)
        shutil.rmtree(self._home)

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def sees(self, text: str) -> None:
        """Wait until it is on the screen; AssertionError if it does not come."""
        wait_until(lambda: text in "\n".join(self._read_screen()), self._read_screen)

    def settle(self, quiet_s: float = QUIET_S) -> None:
        while self._read(quiet_s):
            pass

    def rows(self) -> list[list[Char]]:
        return [[self._screen.buffer[y][x] for x in range(COLUMNS)] for y in range(ROWS)]

    def _read_screen(self) -> list[str]:
        self.settle(0.0)
        return list(self._screen.display)

    def _read(self, wait_s: float) -> bool:
        """Take what the terminal was sent; False if nothing came within `wait_s`."""
        if not select.select([self._file], [], [], wait_s)[0]:
            return False
        self._stream.feed(os.read(self._file, 65536))
        return True


@dataclass(frozen=True)
class Scene:
    rows: list[list[Char]]
    caption: str
    seconds: float


# The SVG: characters stand on a grid, so that every font with fixed widths fits.

CELL, LINE, FONT_SIZE = 8.4, 17.0, 14
MARGIN, TITLE, CAPTION = 14.0, 30.0, 40.0
GROUND, INK, FAINT, ACCENT = "#16181d", "#d8dee9", "#6b7280", "#e5c07b"

AT_REST = "@media(prefers-reduced-motion){g{animation:none!important}}"

NAMED = {
    "black": "#16181d",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": "#d8dee9",
}


def svg(scenes: list[Scene]) -> str:
    width = COLUMNS * CELL + 2 * MARGIN
    height = TITLE + ROWS * LINE + CAPTION
    whole_s = sum(scene.seconds for scene in scenes)
    styles, pictures, at_s = [], [], 0.0
    for number, scene in enumerate(scenes):
        begin, end = (100.0 * at / whole_s for at in (at_s, at_s + scene.seconds))
        at_s += scene.seconds
        is_last = scene is scenes[-1]
        styles.append(
            f"@keyframes s{number}{{0%{{visibility:hidden}}{begin:.2f}%{{visibility:visible}}"
            + ("" if is_last else f"{end:.2f}%{{visibility:hidden}}")
            + f"100%{{visibility:{'visible' if is_last else 'hidden'}}}}}"
            f"#s{number}{{animation:s{number} {whole_s:.1f}s step-end infinite}}"
        )
        shown = "" if is_last else ' visibility="hidden"'
        pictures.append(f'<g id="s{number}"{shown}>\n{_scene(scene, width, height)}\n</g>')
    lights = "".join(
        f'<circle cx="{MARGIN + 6 + 18 * place}" cy="15" r="5" fill="{colour}"/>'
        for place, colour in enumerate(("#e06c75", "#e5c07b", "#98c379"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img"'
        ' xml:space="preserve"'
        f' font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace"'
        f' font-size="{FONT_SIZE}">\n'
        "<title>A chat in a terminal: the server is killed, and the chat goes on</title>\n"
        f"<style>{''.join(styles)}{AT_REST}</style>\n"
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{GROUND}"/>{lights}\n'
        + "\n".join(pictures)
        + "\n</svg>\n"
    )


def _scene(scene: Scene, width: float, height: float) -> str:
    found = []
    for number, row in enumerate(scene.rows):
        top = TITLE + number * LINE
        for ground, cells in groupby(enumerate(row), lambda cell: _style(cell[1])[1]):
            found += _ground(ground, list(cells), top)
        for style, cells in groupby(enumerate(row), lambda cell: _style(cell[1])):
            found += _ink(style, list(cells), top)
    middle = f'x="{width / 2:g}" y="{height - 14:g}" text-anchor="middle"'
    found.append(f'<text {middle} fill="{ACCENT}">{escape(scene.caption)}</text>')
    return "\n".join(found)


def _style(cell: Char) -> tuple[str, str | None, bool]:
    """Ink, ground (None: the window's) and whether it is bold."""
    ink, ground = _colour(cell.fg, INK), _colour(cell.bg, GROUND)
    if cell.reverse:
        ink, ground = ground, ink
    return ink, None if ground == GROUND else ground, bool(cell.bold)


def _ground(colour: str | None, cells: list[tuple[int, Char]], top: float) -> list[str]:
    if colour is None:
        return []
    left, wide = MARGIN + cells[0][0] * CELL, len(cells) * CELL
    at = f'x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{LINE:g}"'
    return [f'<rect {at} fill="{colour}"/>']


def _ink(
    style: tuple[str, str | None, bool], cells: list[tuple[int, Char]], top: float
) -> list[str]:
    """The text of neighbours of one style, without the blanks around it."""
    ink, _, bold = style
    text = "".join(cell.data for _, cell in cells)
    first = cells[0][0] + len(text) - len(text.lstrip())
    text = text.strip()
    if not text:
        return []
    at = f'x="{MARGIN + first * CELL:.1f}" y="{top + 13:g}" textLength="{len(text) * CELL:.1f}"'
    weight = ' font-weight="bold"' if bold else ""
    return [f'<text {at} fill="{ink}"{weight}>{escape(text)}</text>']


def _colour(name: str, default: str) -> str:
    """pyte's name or six hex digits, as SVG has it."""
    if name == "default":
        return default
    plain = name.removeprefix("bright")
    return NAMED.get(plain, f"#{name}")


def wait_until(
    condition: Callable[[], bool], explain: Callable[[], object] = lambda: "not ready"
) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {LIMIT_S:g} s: {explain()}")
        time.sleep(0.02)


def main() -> None:
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(svg(play()), encoding="utf-8")
    print(f"{file}: {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
