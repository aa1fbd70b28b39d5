"""How many files of the source one thing enters on its way through a node.

    python -m tests.bench.journeys                 this checkout
    python -m tests.bench.journeys --root DIR      another one, an earlier commit's for example
    python -m tests.bench.journeys -v              and which, in the order in which they are entered
    python -m tests.bench.pictures                 draws them in natd/README.md

Three journeys, each from an input of `Node` until the node is drained again, in the virtual
internet between two members behind port-restricted NATs who are connected and idle:

    datagram in     a session's datagram with a chat line arrives    → MessageArrived
    line out        send_message, then the drain                     → the datagram
    introduction    a server's INTRODUCE arrives                     → the first checks

A file counts when one of its functions is called; import-time code does not.  Each journey is
counted twice: without and with the node's next timer, which the pump asks for after each drain.
"""

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

VILLAGES = ("tests.core.world.village", "tests.core.village")
NATS = ("tests.internet.nat", "tests.nat")
"""Where they are, and where they were before the wings."""

LEARNED_AFTER_S = 600.0
"""By then nobody learns for how long the path may be silent."""


class Tracer:
    """The files under natd/ whose functions are called while it is on, in order, and how deep each
    was then: by how many other files' functions it was called."""

    def __init__(self, root: Path) -> None:
        self.files: dict[str, int] = {}
        self._source = f"{root}/natd/"

    def follow(self, journey: Callable[[], Any]) -> Any:
        sys.setprofile(self._note)
        try:
            return journey()
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(self._source) and "__init__.py" not in name:
            file = name.removeprefix(self._source)
            if file not in self.files:
                self.files[file] = len(self._callers(frame) - {file})

    def _callers(self, frame: FrameType) -> set[str]:
        found, caller = set(), frame.f_back
        while caller is not None:
            name = caller.f_code.co_filename
            if name.startswith(self._source):
                found.add(name.removeprefix(self._source))
            caller = caller.f_back
        return found


def first_of(modules: tuple[str, ...]) -> Any:
    for module in modules:
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError:
            continue
    raise SystemExit(f"none of {', '.join(modules)} is there")


def drain(node: Any, asks_timer: bool = True) -> tuple[list[Any], list[Any]]:
    """As the shell's pump does it: datagrams, events until there is none, the timer."""
    datagrams, events = [], []
    while True:
        datagrams += node.datagrams_to_send()
        event = node.next_event()
        if event is None:
            break
        events.append(event)
    if asks_timer:
        node.get_timer()
    return datagrams, events


def journeys(root: Path, asks_timer: bool) -> dict[str, dict[str, int]]:
    """Of each journey, the files in the order of their first entry, and how deep each was then."""
    villages, nats = first_of(VILLAGES), first_of(NATS)
    found = {"introduction": introduction(root, villages, nats, asks_timer)}
    village, alice, bob = two_members(villages, nats)
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 10.0)
    for text in "one", "two":  # the first line of a conversation is not the rule
        bob.send(text, to=alice)
        village.internet.run(LEARNED_AFTER_S)
    found |= line(root, village, alice, bob, asks_timer)
    return {name: found[name] for name in ("datagram in", "line out", "introduction")}


def line(
    root: Path, village: Any, alice: Any, bob: Any, asks_timer: bool
) -> dict[str, dict[str, int]]:
    """Both halves of a chat line: what leaves bob is what alice is given."""
    now = village.internet.now
    kinds = importlib.import_module(type(next(iter(alice.connected.values()))).__module__)
    seq = bob.disk.next_seq[alice.peer]
    message = kinds.OutboundMessage("m3", bob.disk.epoch, seq, 1_800_000_000_000, "text", "hello")
    drain(bob.node)
    out = Tracer(root)

    def leaves() -> tuple[list[Any], list[Any]]:
        if hasattr(bob.node, "send_message"):  # the node's own, before it handed out peers
            assert bob.node.send_message(bob.network, alice.peer, message, now)
        else:
            peer = bob.node.membership(bob.network).peer(alice.peer, now)
            assert peer.dialogue.send_message(message)
        return drain(bob.node, asks_timer)

    datagrams, _ = out.follow(leaves)
    drain(alice.node)
    into = Tracer(root)
    node = alice.node
    if hasattr(node, "peers"):
        views = node.peers(alice.network, now)
    else:
        views = node.membership(alice.network).roster.views(now)
    address = next(view.path.address for view in views if view.peer == bob.peer)
    assert datagrams

    def arrives() -> tuple[list[Any], list[Any]]:
        alice.node.receive_datagram(datagrams[0].data, address, now)
        return drain(alice.node, asks_timer)

    _, events = into.follow(arrives)
    assert any(type(event).__name__ == "MessageArrived" for event in events)
    return {"line out": out.files, "datagram in": into.files}


def introduction(root: Path, villages: Any, nats: Any, asks_timer: bool) -> dict[str, int]:
    """Alice is there; bob comes, and the server's INTRODUCE reaches alice."""
    village, alice, bob = two_members(villages, nats)
    alice.start()
    village.internet.run(5.0)
    plain = type(alice.node).receive_datagram
    found: list[dict[str, int]] = []

    def receive(data: bytes, address: Any, now: float, *socket: Any) -> None:
        tracer = Tracer(root)
        sent: list[Any] = []

        def arrives() -> None:
            plain(alice.node, data, address, now, *socket)
            datagrams, events = drain(alice.node, asks_timer)
            sent.extend(datagrams)
            waiting.extend(events)

        tracer.follow(arrives)
        if any(type(event).__name__ == "PeerMet" for event in waiting):
            found.append(tracer.files)
        queue.extend(sent)

    # The internet drains the node once more: what was drained here is handed on by hand.
    queue: list[Any] = []
    waiting: list[Any] = []
    node = Stand(alice.node, receive, queue, waiting)
    alice.attached.core = node
    bob.start()
    assert village.internet.run_until(lambda: bool(found), 10.0)
    return found[0]


class Stand:
    """Stands for a node that was drained already."""

    def __init__(self, node: Any, receive: Any, datagrams: list[Any], events: list[Any]) -> None:
        self.receive_datagram = receive
        self._node, self._datagrams, self._events = node, datagrams, events

    def handle_timer(self, now: float) -> None:
        self._node.handle_timer(now)

    def datagrams_to_send(self) -> list[Any]:
        datagrams: list[Any] = self._datagrams + self._node.datagrams_to_send()
        self._datagrams.clear()
        return datagrams

    def next_event(self) -> Any:
        return self._events.pop(0) if self._events else self._node.next_event()

    def get_timer(self) -> Any:
        return self._node.get_timer()


def two_members(villages: Any, nats: Any) -> tuple[Any, Any, Any]:
    village = villages.Village(seed=1)
    members = [
        village.member(name, village.internet.add_nat(nats.PORT_RESTRICTED))
        for name in ("alice", "bob")
    ]
    return village, *members


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to be traced")
    parser.add_argument("-v", "--verbose", action="store_true", help="name the files")
    parser.add_argument("--record", type=Path, metavar="FILE", help="add the counts to this file")
    given = parser.parse_args()
    root = given.root.resolve()
    if root == ROOT:
        counts = report(root, given.verbose)
        if given.record:
            # An older checkout, whose interpreter runs this file too, has no such module.
            from tests.bench.record import Figure, record

            record(given.record, {f"journeys: {n}": Figure(c, "files") for n, c in counts.items()})
        return 0
    # A fresh interpreter: this one has loaded the modules of this checkout.
    code = (
        "import runpy, sys; report = runpy.run_path(sys.argv[1], run_name='traced')['report'];"
        "report(sys.argv[2], sys.argv[3] == 'True')"
    )
    command = [sys.executable, "-c", code, __file__, str(root), str(given.verbose)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, check=False).returncode


def report(root: str | Path, verbose: bool) -> dict[str, int]:
    """Print it, and give the files of each journey without the timer."""
    without, whole = (journeys(Path(root), asks_timer) for asks_timer in (False, True))
    for name, files in whole.items():
        print(f"{name:14} {len(without[name]):3} files, {len(files):3} with the next timer")
        if verbose:
            marks = (f"    {file}{'' if file in without[name] else '  (timer)'}" for file in files)
            print("\n".join(marks))
    return {name: len(files) for name, files in without.items()}


if __name__ == "__main__":
    sys.exit(main())
