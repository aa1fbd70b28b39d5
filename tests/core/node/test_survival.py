"""Two peers chat while the network below them changes, and nothing that they say is lost.

Each cell is run with the server alive and with the server killed before it happens, with both
speaking and with one of them only, from seeds: in the middle of these runs no line is later than
the cell's limit, in the worst of them hardly, and in none is anything lost.  "Late" is from a
line's being said to its being on the other's disk; on these NATs that takes 56 ms.

    python -m tests.core.node.test_survival 20      every cell from so many seeds, as a table

What nobody can survive stands here, too: behind filters that let in only what has been sent to,
somebody has to tell each side where the other is, and with every server dead there is nobody.  A
NAT of blocks or one that counts up begins elsewhere when it has forgotten, and only a server sees
where; among all ports a peer can be guessed without one.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import pytest

from tests.core.world.chat import NAMES, Chat
from tests.internet.fabric import Weather
from tests.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    NatPolicy,
    Ports,
)

SEEDS = 2
"""Here; the table is made from twenty."""

RANDOM_PORTS = replace(PORT_RESTRICTED, ports=Ports.RANDOM)
"""Endpoint-independent, but a mapping that is made again has another port."""

SEQUENTIAL = replace(SYMMETRIC_SEQUENTIAL, taken_share=0.3)
"""Others take ports, too."""

REPAIRED_S = 3.0
GUESSED_S = 15.0
"""Two rounds of checks, and then a birthday attempt by both sides against all ports."""

BACK_S = 15.0

GUESSES_MISSED_S = 6.0
"""A guess between two sequences misses in one of five cases, and the pauses between guesses grow:
of 90 runs four were later than `REPAIRED_S`, the worst by 0.6 s."""

RETURNED_S = 8.0
"""After the end of an outage: introduced anew, and then a birthday attempt."""

_NAMES = {
    None: "open",
    FULL_CONE: "full-cone",
    ADDRESS_RESTRICTED: "address-restricted",
    PORT_RESTRICTED: "port-restricted",
    LINUX: "Linux",
    RANDOM_PORTS: "random ports",
    SYMMETRIC_RANDOM: "random",
    SYMMETRIC_BLOCK: "block",
    SEQUENTIAL: "sequential",
}

OUTAGE_S = 5.0
"""How long a router takes to come back."""

IMPATIENT_S = 0.5
LONG_OUTAGE_S = 60.0
AFTER_LONG_OUTAGE_S = 60.0
AGE_S = 60.0
IDLE_S = 30.0

AGING_RANDOM = replace(SYMMETRIC_RANDOM, absolute_age_s=AGE_S)
AGING_CARRIER = replace(RANDOM_PORTS, absolute_age_s=AGE_S)

BOTH, ALICE, BOB = NAMES, NAMES[:1], NAMES[1:]

Strike = Callable[[Chat], None]


def rebinding(chat: Chat) -> None:
    """Alice's NAT forgets its mappings."""
    chat.gateway("alice").nat.reboot()


def rebinding_of_both(chat: Chat) -> None:
    """Bob's does the same a few seconds later."""
    rebinding(chat)
    later = chat.internet.now + chat.random.uniform(1.0, 5.0)
    chat.internet.at(later, chat.gateway("bob").nat.reboot)


def renumbering(chat: Chat) -> None:
    """Alice's provider gives her another address."""
    chat.internet.renumber(chat.gateway("alice"))


def renumbering_of_both(chat: Chat) -> None:
    for name in NAMES:
        chat.internet.renumber(chat.gateway(name))


def reboot(chat: Chat, outage_s: float = OUTAGE_S) -> None:
    """Alice's router is gone for a while, and comes back with an empty table."""
    router = chat.gateway("alice")
    router.connected = False
    router.reboot()
    chat.internet.at(chat.internet.now + outage_s, lambda: setattr(router, "connected", True))


def filter_narrows(chat: Chat) -> None:
    chat.gateway("alice").nat.policy = PORT_RESTRICTED


def mapping_becomes_random(chat: Chat) -> None:
    chat.gateway("alice").nat.policy = SYMMETRIC_RANDOM


@dataclass(frozen=True)
class Cell:
    """What strikes whom, and how late a line may be."""

    strike: Strike
    nats: tuple[NatPolicy | None, NatPolicy | None]
    limit_s: float
    needs_server: bool = False
    """Whether nobody could mend it without one."""
    alone_s: float | None = None
    """How late a line may be without a server, where that is another matter: the port that nobody
    names has to be guessed."""
    rarely_s: float = 1.0
    """How much later than that in the worst of the runs: a guess may miss."""

    @property
    def name(self) -> str:
        nats = " x ".join(_NAMES[policy] for policy in self.nats)
        return f"{self.strike.__name__.replace('_', ' ')}, {nats}"


CELLS = (
    Cell(rebinding, (PORT_RESTRICTED, PORT_RESTRICTED), REPAIRED_S),
    Cell(rebinding, (LINUX, LINUX), REPAIRED_S),
    Cell(rebinding, (RANDOM_PORTS, ADDRESS_RESTRICTED), REPAIRED_S),
    Cell(rebinding, (RANDOM_PORTS, PORT_RESTRICTED), REPAIRED_S, alone_s=GUESSED_S),
    Cell(rebinding_of_both, (PORT_RESTRICTED, PORT_RESTRICTED), REPAIRED_S),
    Cell(rebinding_of_both, (LINUX, LINUX), REPAIRED_S),
    Cell(renumbering, (PORT_RESTRICTED, FULL_CONE), REPAIRED_S),
    Cell(renumbering, (PORT_RESTRICTED, None), REPAIRED_S),
    Cell(renumbering, (PORT_RESTRICTED, PORT_RESTRICTED), REPAIRED_S, needs_server=True),
    Cell(renumbering_of_both, (PORT_RESTRICTED, PORT_RESTRICTED), BACK_S, needs_server=True),
    Cell(reboot, (PORT_RESTRICTED, PORT_RESTRICTED), OUTAGE_S + REPAIRED_S),
    Cell(reboot, (LINUX, LINUX), OUTAGE_S + REPAIRED_S),
    Cell(rebinding, (SYMMETRIC_RANDOM, PORT_RESTRICTED), RETURNED_S),
    Cell(rebinding, (SYMMETRIC_BLOCK, PORT_RESTRICTED), REPAIRED_S, alone_s=GUESSED_S),
    Cell(rebinding, (SEQUENTIAL, PORT_RESTRICTED), REPAIRED_S, alone_s=GUESSED_S),
    Cell(
        rebinding,
        (SEQUENTIAL, SEQUENTIAL),
        REPAIRED_S,
        needs_server=True,
        rarely_s=GUESSES_MISSED_S,
    ),
    Cell(reboot, (SYMMETRIC_RANDOM, PORT_RESTRICTED), OUTAGE_S + RETURNED_S),
    Cell(reboot, (PORT_RESTRICTED, SYMMETRIC_RANDOM), OUTAGE_S + RETURNED_S),
    Cell(
        reboot,
        (SYMMETRIC_BLOCK, PORT_RESTRICTED),
        OUTAGE_S + REPAIRED_S,
        alone_s=OUTAGE_S + GUESSED_S,
    ),
    Cell(
        reboot, (SEQUENTIAL, PORT_RESTRICTED), OUTAGE_S + REPAIRED_S, alone_s=OUTAGE_S + GUESSED_S
    ),
    Cell(filter_narrows, (FULL_CONE, PORT_RESTRICTED), REPAIRED_S),
    Cell(mapping_becomes_random, (PORT_RESTRICTED, FULL_CONE), REPAIRED_S),
    Cell(mapping_becomes_random, (PORT_RESTRICTED, ADDRESS_RESTRICTED), REPAIRED_S),
    Cell(mapping_becomes_random, (FULL_CONE, None), REPAIRED_S),
    Cell(mapping_becomes_random, (FULL_CONE, PORT_RESTRICTED), BACK_S, alone_s=GUESSED_S),
    Cell(mapping_becomes_random, (PORT_RESTRICTED, PORT_RESTRICTED), BACK_S, alone_s=GUESSED_S),
)


@pytest.mark.parametrize("server", ["server alive", "server dead"])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_what_strikes_a_chat_is_mended_in_time_and_nothing_is_lost(cell, server):
    if cell.needs_server and server == "server dead":
        _assert_it_waits_for_a_server(cell)
        return
    late_s: list[float] = []
    for speakers in (BOTH, ALICE, BOB):
        for seed in range(SEEDS):
            chat, since = _struck(cell, seed, speakers, has_server=server == "server alive")
            chat.run(20.0)
            chat.end()
            assert chat.wrong() == [], f"seed {seed}, {speakers}"
            late_s.append(chat.latest_s(since))
    limit_s = cell.limit_s if server == "server alive" else cell.alone_s or cell.limit_s
    assert median(late_s) <= limit_s
    assert max(late_s) <= limit_s + cell.rarely_s


def test_after_a_minute_without_its_router_a_peer_is_found_again_though_early_packets_spoil_ports():
    """Each tries at instants of its own, and what comes first spoils the other's port: only fresh
    ones, in every round, get two out of that."""
    for seed in range(6):
        chat = Chat(seed, (LINUX_ACCEPTING, LINUX_ACCEPTING))
        chat.internet.weather = Weather(loss=0.05, jitter_s=0.002)
        chat.begin()
        chat.run(20.0)
        chat.kill_server()
        chat.run(chat.random.uniform(5.0, 15.0))
        reboot(chat, LONG_OUTAGE_S)
        chat.run(LONG_OUTAGE_S)
        assert not any(map(chat.is_online_for, NAMES))
        back_again = chat.internet.run_until(chat.are_online, AFTER_LONG_OUTAGE_S)
        assert back_again, f"seed {seed}"
        chat.end()
        assert chat.wrong() == []


@pytest.mark.parametrize("has_server", [True, False])
@pytest.mark.parametrize("other", [PORT_RESTRICTED, replace(PORT_RESTRICTED, absolute_age_s=AGE_S)])
def test_of_mappings_that_end_of_age_one_side_loses_one_and_learns_from_it(other, has_server):
    """Afterwards each is replaced before it ends, and no line is late."""
    ages = (replace(PORT_RESTRICTED, absolute_age_s=AGE_S), other)
    for seed in range(SEEDS):
        chat = Chat(seed, ages, speakers=(BOTH, BOB)[seed % 2])
        _age(chat, has_server=has_server)
        assert chat.wrong() == []
        assert chat.latest_s() <= REPAIRED_S
        aged = sum(policy.absolute_age_s is not None for policy in ages)
        assert len(_losses(chat)) <= aged, f"seed {seed}"


def test_a_mapping_of_another_port_is_replaced_before_its_age_with_a_servers_help():
    """A peer that filters must learn the new port before it is used, and a server sees it."""
    policy = replace(RANDOM_PORTS, absolute_age_s=AGE_S)
    for seed in range(SEEDS):
        chat = Chat(seed, (policy, PORT_RESTRICTED))
        _age(chat, has_server=True)
        assert chat.wrong() == []
        assert chat.latest_s() <= REPAIRED_S
        assert len(_losses(chat)) <= 1


@pytest.mark.parametrize(
    ("policy", "has_server"),
    [
        (AGING_RANDOM, True),
        (AGING_RANDOM, False),
        (AGING_CARRIER, False),
    ],
    ids=["random", "random, server dead", "random ports, server dead"],
)
def test_a_mapping_whose_next_port_nobody_knows_is_succeeded_by_one_that_is_guessed(
    policy, has_server
):
    """The first loss teaches it; from then on many flows are opened before the age is reached,
    and the peer, asked over the path that still stands, guesses one of them."""
    for seed in range(SEEDS):
        chat = Chat(seed, (policy, PORT_RESTRICTED), speakers=(BOTH, BOB)[seed % 2])
        begun_at = chat.internet.now
        _age(chat, has_server=has_server)
        assert chat.wrong() == []
        assert chat.latest_s() <= (GUESSED_S if policy is AGING_CARRIER else REPAIRED_S)
        assert all(at - begun_at < 2 * AGE_S for at in _losses(chat)), f"seed {seed}"


@pytest.mark.parametrize("has_server", [True, False])
@pytest.mark.parametrize("inbound_refreshes", [True, False])
def test_timeouts_of_30_s_are_not_noticed_in_long_silences(inbound_refreshes, has_server):
    policy = replace(PORT_RESTRICTED, timeout_s=IDLE_S, inbound_refreshes=inbound_refreshes)
    for seed in range(2 * SEEDS):
        speakers = (BOTH, BOB)[seed % 2]
        chat = Chat(seed, (policy, policy), speakers=speakers, every_s=(5.0, 200.0))
        chat.begin()
        if not has_server:
            chat.kill_server()
        chat.run(1200.0)
        chat.end()
        assert chat.wrong() == []
        assert chat.latest_s() <= IMPATIENT_S


def test_a_rebinding_is_not_taken_for_an_age_for_long():
    """The mapping that was replaced outlives every age that is known of, and that is that."""
    chat = Chat(1, (PORT_RESTRICTED, PORT_RESTRICTED), speakers=BOB, every_s=(1.0, 2.0))
    chat.begin()
    for _ in range(3):
        chat.run(10.0)
        rebinding(chat)
    chat.run(150.0)
    alice = chat.members["alice"]
    ports = set(alice.attached.ports)
    opened: list[int] = []
    for _ in range(30):
        chat.run(20.0)
        opened += set(alice.attached.ports) - ports
        ports |= set(alice.attached.ports)
    assert len(opened) <= 4, "the lessons of the keepalive, and no replacements"


def _assert_it_waits_for_a_server(cell: Cell) -> None:
    chat, _ = _struck(cell, 0, BOTH, has_server=False)
    chat.run(40.0)
    assert not any(chat.is_online_for(name) for name in NAMES)
    assert any(member.verdicts for member in chat.members.values()), "and it is said why"
    chat.village.start_server()
    returned_at = chat.internet.now
    chat.end()
    assert chat.wrong() == []
    assert chat.internet.now - returned_at <= 60.0


def _struck(
    cell: Cell, seed: int, speakers: tuple[str, ...], *, has_server: bool
) -> tuple[Chat, float]:
    """A chat that has just been struck, and the instant from which lines count."""
    chat = Chat(seed, cell.nats, speakers=speakers)
    chat.begin()
    chat.run(20.0)
    if not has_server:
        chat.kill_server()
        chat.run(8.0)
    chat.run(chat.random.uniform(0.0, 6.0))
    since = chat.internet.now - REPAIRED_S
    cell.strike(chat)
    return chat, since


def _age(chat: Chat, *, has_server: bool) -> None:
    chat.begin()
    chat.run(5.0)
    if not has_server:
        chat.kill_server()
    chat.run(480.0)
    chat.end()


def _losses(chat: Chat) -> list[float]:
    """The instants from which on lines were late, each outage once."""
    late = sorted(at for at, delay_s in chat.delays() if delay_s > IMPATIENT_S)
    return [at for before, at in zip([0.0, *late], late, strict=False) if at - before > REPAIRED_S]


def main(seeds: int) -> None:
    """Print the table."""
    for cell in CELLS:
        for has_server in (True, False):
            if cell.needs_server and not has_server:
                continue
            worst: list[float] = []
            for speakers in (BOTH, ALICE, BOB):
                for seed in range(seeds):
                    chat, since = _struck(cell, seed, speakers, has_server=has_server)
                    chat.run(20.0)
                    chat.end()
                    assert chat.wrong() == []
                    worst.append(chat.latest_s(since))
            worst.sort()
            state = "alive" if has_server else "dead"
            middle, top = median(worst), worst[-1]
            print(f"{cell.name:58} server {state:5}  median {middle:5.2f}  worst {top:5.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
