"""Whatever is dropped is counted, and every counter is read at one place, the node's."""

import ast
import gc
from collections import deque
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import natd
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED

SOURCE = Path(natd.__file__).parent

OTHER_SHELLS = {"Coordinator", "PortMapping"}
"""Cores outside a node: the server logs the one's counter, `status` adds the other's."""


def test_a_counter_of_every_core_is_in_the_nodes_view() -> None:
    alice, _, _ = _chatting()
    found = [each for each in _reachable(alice.node) if type(each).__name__ in _owners()]
    for each in found:
        each.dropped[f"planted in {type(each).__name__}"] += 1

    view = alice.node.all_dropped

    told = {reason for counter in view.values() for reason in counter}
    assert {f"planted in {name}" for name in _owners()} - told == set()


def test_what_is_of_a_network_is_told_under_it() -> None:
    alice, bob, internet = _chatting()
    before = sum(alice.node.all_dropped[None].values())
    peer = alice.membership.peers[bob.peer]
    peer.reach.dropped["of bob's"] += 1
    alice.node.receive_datagram(b"", bob.node.nat.observed()[0], internet.now)

    view = alice.node.all_dropped

    assert set(view) == {None, alice.network}
    assert view[alice.network]["of bob's"] == 1
    assert view[None]["empty"] == 1
    assert sum(view[None].values()) == before + 1


def test_what_a_session_dropped_is_still_told_when_it_has_ended() -> None:
    alice, bob, internet = _chatting()
    sessions = alice.membership.peers[bob.peer].dialogue.sessions
    sessions._in_use.dropped["of an old session"] += 1

    alice.membership.block(bob.peer, True, internet.now)
    internet.run(30.0)

    assert sessions._in_use is None
    assert alice.node.all_dropped[alice.network]["of an old session"] == 1


def test_what_a_server_dropped_is_still_told_when_we_left_it() -> None:
    alice, _, internet = _chatting()
    servers = alice.membership.servers
    [registration] = servers._registrations.values()
    registration.dropped["of an old server"] += 1

    alice.membership.set_servers((), internet.now)

    assert alice.node.all_dropped[alice.network]["of an old server"] == 1


def test_reading_the_counters_does_not_change_them() -> None:
    alice, _, _ = _chatting()
    first = alice.node.all_dropped
    for counter in first.values():
        counter["added by a reader"] += 1

    second = alice.node.all_dropped

    assert all("added by a reader" not in counter for counter in second.values())


@cache
def _owners() -> set[str]:
    """The classes of the core that have a `self.dropped`."""
    return {
        kind.name
        for path in sorted((SOURCE / "core").rglob("*.py"))
        for kind in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(kind, ast.ClassDef) and any(map(_makes_counter, ast.walk(kind)))
    } - OTHER_SHELLS


def _makes_counter(node: ast.AST) -> bool:
    """Whether this is `self.dropped: Counter[str] = Counter()`."""
    return (
        isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Attribute)
        and node.target.attr == "dropped"
        and "Counter" in ast.dump(node.annotation)
    )


def _reachable(root: object) -> Iterator[Any]:
    """Everything of the core's that is kept somewhere below `root`."""
    seen, waiting = {id(root)}, [root]
    while waiting:
        each = waiting.pop()
        yield each
        for below in gc.get_referents(each):
            if id(below) not in seen and _may_keep_cores(below):
                seen.add(id(below))
                waiting.append(below)


def _may_keep_cores(found: object) -> bool:
    return isinstance(found, (dict, list, tuple, set, deque)) or (
        type(found).__module__.startswith("natd.core.") and not isinstance(found, Enum)
    )


def _chatting():
    village = Village(7)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(PORT_RESTRICTED))
    bob = village.member("bob", internet.add_nat(PORT_RESTRICTED), port=40001)
    alice.start()
    bob.start()
    assert internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 10.0)
    return alice, bob, internet
