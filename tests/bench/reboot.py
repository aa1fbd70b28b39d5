"""How long two members are apart after a router reboots while every server is dead.

    python -m tests.bench.reboot [--seeds 100] [CELL …]                  in the virtual internet
    python -m tests.bench.reboot --real 10 --kernel 10 [CELL …]          with real daemons, as root

Both know each other and were connected; then the server is killed, and
later a router loses its table.  Two figures of each run, in seconds: from the end of the reboot
until both have a path that answers, and the same from the moment when both had noticed (a side
that is idle notices by its next keepalive).  A run in which they don't meet within `PATIENCE_S`
counts as that long.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from natd.core.base.events import VerdictReached
from natd.core.base.verdict import VerdictCode
from tests.bench.record import Figure, add_record_option, record
from tests.core.world.chat import NAMES, Chat
from tests.internet.nat import LINUX, LINUX_RANDOM, PORT_RESTRICTED, NatPolicy, Ports

RANDOM_PORTS = replace(PORT_RESTRICTED, ports=Ports.RANDOM)
"""One port for each socket, drawn at random and drawn anew after a reboot."""

SEEDS = 100
PATIENCE_S = 60.0
WITHIN_S = 30.0
MINUTES_S = 300.0
HOUR_S = 3600.0

BOTH, ALICE, BOB, NOBODY = NAMES, NAMES[:1], NAMES[1:], NAMES[:0]


@dataclass(frozen=True, slots=True)
class Cell:
    """What happens.  Alice's router is the one that reboots, if only one does."""

    name: str
    policy: NatPolicy = RANDOM_PORTS
    speakers: tuple[str, ...] = BOTH
    dead_for_s: float = 10.0
    """How long the server has been dead by then."""
    outage_s: float = 0.0
    """How long the router is gone."""
    both_routers: bool = False
    restarts: bool = False
    """Whether alice's daemon is started anew, too."""
    wakes: str | None = None
    """Who begins to speak when the reboot is over, after a long silence; None: nobody."""


CELLS = (
    Cell("random ports, both speak"),
    Cell("random ports, she speaks", speakers=ALICE),
    Cell("random ports, the other speaks", speakers=BOB),
    Cell("random ports, both idle", speakers=NOBODY),
    Cell("random ports, 5 s dark", outage_s=5.0),
    Cell("random ports, 40 s dark", outage_s=40.0),
    Cell("random ports, 40 s dark, both idle", outage_s=40.0, speakers=NOBODY),
    Cell("random ports, server dead for minutes, both idle", speakers=NOBODY, dead_for_s=MINUTES_S),
    Cell("random ports, other side idle", speakers=NOBODY, dead_for_s=MINUTES_S, wakes="alice"),
    Cell("random ports, her side idle", speakers=NOBODY, dead_for_s=MINUTES_S, wakes="bob"),
    Cell("random ports, server dead for an hour, both idle", speakers=NOBODY, dead_for_s=HOUR_S),
    Cell("random ports, daemon restarted, other speaks", speakers=BOB, restarts=True),
    Cell("random ports, daemon restarted, both idle", speakers=NOBODY, restarts=True),
    Cell("kept ports, both speak", PORT_RESTRICTED),
    Cell("kept ports, both idle", PORT_RESTRICTED, NOBODY),
    Cell("kept ports, both routers", PORT_RESTRICTED, both_routers=True),
    Cell("kept ports, daemon restarted", PORT_RESTRICTED, restarts=True),
    Cell("masquerade, she speaks", LINUX, ALICE),
    Cell("masquerade, both routers", LINUX, both_routers=True),
    Cell("masquerade random, both speak", LINUX_RANDOM),
    Cell("random ports, both routers", both_routers=True),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run."""

    from_reboot_s: float
    from_noticed_s: float
    wrong: int
    """Lines lost, doubled or out of order, one a direction at most."""
    verdict_s: float | None
    """Until both had told why there is no path; None: not both did."""
    codes: frozenset[VerdictCode]
    """What both have told last."""


def run(cell: Cell, seed: int) -> Outcome:
    """One run in the virtual internet."""
    policies = (cell.policy, replace(PORT_RESTRICTED, ports=cell.policy.ports))
    if cell.policy.conntrack:
        policies = (cell.policy, LINUX)
    chat = Chat(seed, policies, speakers=cell.speakers)
    internet = chat.internet
    chat.begin()
    chat.run(20.0)
    chat.kill_server()
    chat.run(cell.dead_for_s + chat.random.uniform(0.0, 15.0))
    for name in NAMES if cell.both_routers else ALICE:
        router = chat.gateway(name)
        router.connected = False
        router.reboot()
        internet.at(internet.now + cell.outage_s, partial(setattr, router, "connected", True))
    if cell.restarts:
        alice = chat.members["alice"]
        alice.kill()
        chat.run(cell.outage_s + 0.5)
        alice.start()
    else:
        chat.run(cell.outage_s)
    back_at = internet.now
    if cell.wakes is not None:
        chat.speak(cell.wakes)
    noticed: dict[str, float] = {"alice": back_at} if cell.restarts else {}

    def have_met() -> bool:
        for name in NAMES:
            if name not in noticed and not _healthy(chat, name):
                noticed[name] = internet.now
        return all(_is_heard_since(chat, name, back_at) for name in NAMES)

    for member in chat.members.values():
        member.verdicts.clear()
    internet.run_until(have_met, PATIENCE_S)
    met_at = internet.now if have_met() else back_at + PATIENCE_S
    both_noticed_at = max(noticed.values()) if len(noticed) == len(NAMES) else met_at
    wrong = 0
    if have_met():
        for name in NAMES:
            chat.say(name)
        chat.end()
        wrong = len(chat.wrong())
    told_at = [_told_at(chat, name, back_at) for name in NAMES]
    verdict_s = None if None in told_at else max(at for at in told_at if at is not None) - back_at
    codes = {code for member in chat.members.values() for code in member.verdict_codes.values()}
    from_noticed_s = max(0.0, met_at - both_noticed_at)
    return Outcome(met_at - back_at, from_noticed_s, wrong, verdict_s, frozenset(codes))


def _told_at(chat: Chat, name: str, since: float) -> float | None:
    """When this one told why there is no path; None: it did not."""
    told = chat.members[name].attached.events
    at = (at for at, event in told if at >= since and isinstance(event, VerdictReached))
    return next(at, None)


def _healthy(chat: Chat, name: str) -> bool:
    other = chat.members[NAMES[1 - NAMES.index(name)]]
    peer = chat.members[name].membership.peers.get(other.peer)
    return peer is not None and peer.reach.paths.healthy


def _is_heard_since(chat: Chat, name: str, since: float) -> bool:
    other = chat.members[NAMES[1 - NAMES.index(name)]]
    peer = chat.members[name].membership.peers.get(other.peer)
    path = None if peer is None else peer.reach.paths.current
    return path is not None and path.heard_at > since + 0.12 and not path.suspected


def line(name: str, outcomes: Sequence[Outcome]) -> str:
    """A row of the table."""
    from_reboot = sorted(outcome.from_reboot_s for outcome in outcomes)
    from_noticed = sorted(outcome.from_noticed_s for outcome in outcomes)
    within = sum(took_s <= WITHIN_S for took_s in from_reboot)
    told = sorted(o.verdict_s for o in outcomes if o.verdict_s is not None)
    verdicts = f"{len(told)} by {told[-1]:.0f} s" if told else "-"
    return (
        f"{name:54} {median(from_reboot):6.2f} {from_reboot[-1]:6.2f} "
        f"{median(from_noticed):6.2f} {from_noticed[-1]:6.2f} "
        f"{within:4} of {len(outcomes):3}  {sum(o.wrong for o in outcomes):5}  {verdicts}"
    )


HEAD = (
    f"{'':54} from the reboot  from noticing\n"
    f"{'':54} {'median':>6} {'worst':>6} {'median':>6} {'worst':>6} "
    f"{f'in {WITHIN_S:.0f} s':>11}  wrong  both told why not"
)


def _played(given: argparse.Namespace) -> Iterator[tuple[str, Cell, Sequence[Outcome]]]:
    """By laboratory and cell; real ones one after the other, as each has the whole machine."""

    def wanted(cells: Sequence[Cell]) -> list[Cell]:
        return [c for c in cells if not given.cells or any(part in c.name for part in given.cells)]

    if given.real or given.kernel:
        from tests.bench import real_reboot

        for cell in wanted(real_reboot.REAL_CELLS if given.real else ()):
            yield "real", cell, real_reboot.play("real", cell, given.real)
        for cell in wanted(real_reboot.KERNEL_CELLS if given.kernel else ()):
            yield "kernel", cell, real_reboot.play("kernel", cell, given.kernel)
        return
    with ProcessPoolExecutor(max_workers=2) as pool:
        for cell in wanted(CELLS):
            yield "", cell, list(pool.map(partial(run, cell), range(given.seeds), chunksize=5))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each cell")
    parser.add_argument("--real", type=int, metavar="N", help="N runs with real daemons")
    parser.add_argument("--kernel", type=int, metavar="N", help="the same, the kernel's NATs")
    parser.add_argument("cells", nargs="*", help="only cells whose names contain one of these")
    add_record_option(parser)
    given = parser.parse_args()
    print(HEAD)
    figures: dict[str, Figure] = {}
    for laboratory, cell, outcomes in _played(given):
        name = f"{laboratory}: {cell.name}" if laboratory else cell.name
        print(line(name, outcomes), flush=True)
        middle = median(outcome.from_reboot_s for outcome in outcomes)
        figures[f"reboot: {name}"] = Figure(round(middle, 2), "s")
    if given.record:
        record(given.record, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
