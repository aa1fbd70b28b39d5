"""What one network of many members costs: `python -m tests.bench.mesh [--members N]`.

    meet      from the first join until each is connected with each            <= 60 s
    CPU       of a member for that, its start apart                            <= 0.8 s
    idle      share of a core, a minute later                                  <= 0.5 %
    message   of one member to all: from `send` to their events, p95 of 20     <= 400 ms
    memory    of a member, resident                                            <= 96 MiB

Real daemons and a server on loopback.  `--virtual` counts instead what whole nodes send on the
virtual internet, where nothing waits for a core: handshakes and packets of a pair, idle packets.
Times mean something only on a machine that does nothing else, so its load is told with them.

Exits 1 when a limit is passed.
"""

import argparse
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from tests.bench.record import Figure, add_record_option, record
from tests.core.world.crowd import Crowd
from tests.internet.nat import PORT_RESTRICTED
from tests.processes import Daemon, Server, until

MEMBERS = 100
MEET_S, CPU_S, IDLE_SHARE, MESSAGE_S, RESIDENT_MIB = 60.0, 0.8, 0.005, 0.4, 96.0

START_TOGETHER = 4
START_LIMIT_S, MEET_LIMIT_S = 120.0, 600.0
SETTLE_S = 60.0
IDLE_S = 60.0
MESSAGES = 20

VIRTUAL_MINUTES = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--virtual", action="store_true", help="count packets, in virtual time")
    add_record_option(parser)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # no daemon is left behind
    if arguments.virtual:
        tell_virtual(arguments.members)
        return 0
    figures = measure(arguments.members)
    limits = {
        "meet": MEET_S,
        "CPU": CPU_S,
        "idle": IDLE_SHARE * 100,
        "message p95": MESSAGE_S * 1e3,
        "resident": RESIDENT_MIB,
    }
    for name, figure in figures.items():
        limit = limits.get(name)
        mark = "    " if limit is None else "ok  " if figure.value <= limit else "FAIL"
        print(f"{mark}  {name:<16} {figure.value:10.2f} {figure.unit}")
    print(f"      load of the machine, before and after: {_load_before} and {_load()}")
    told = (f"{name} {figures[name].value:.3g} {figures[name].unit}" for name in limits)
    print(", ".join(told))
    if arguments.record:
        members = arguments.members
        record(arguments.record, {f"mesh of {members}: {n}": f for n, f in figures.items()})
    return int(any(figures[name].value > limit for name, limit in limits.items()))


def measure(members: int) -> dict[str, Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="natd-mesh-") as directory,
        mesh(Path(directory), members) as (server, daemons),
    ):
        time.sleep(2.0)
        started = [cpu_s(daemon.pid) for daemon in daemons]
        server_started = cpu_s(server.pid)
        began = time.monotonic()
        join_all(server, daemons)
        wait_for_all(daemons)
        meet_s = time.monotonic() - began
        met = [cpu_s(daemon.pid) for daemon in daemons]
        server_s = cpu_s(server.pid) - server_started
        time.sleep(SETTLE_S)
        rested, rested_at = [cpu_s(daemon.pid) for daemon in daemons], time.monotonic()
        time.sleep(IDLE_S)
        idle_s = sum(map(cpu_s, (d.pid for d in daemons))) - sum(rested)
        idle = idle_s / (time.monotonic() - rested_at) / members
        delays = sorted(message_delays(daemons))
        resident = [daemon.memory_mib() for daemon in daemons]
        proportional = [proportional_mib(daemon.pid) for daemon in daemons]
    spent = [after - before for before, after in zip(started, met, strict=True)]
    return {
        "start": Figure(statistics.mean(started), "s of CPU a member"),
        "meet": Figure(meet_s, "s"),
        "CPU": Figure(statistics.mean(spent), "s a member"),
        "CPU, dearest": Figure(max(spent), "s"),
        "CPU, server": Figure(server_s, "s"),
        "idle": Figure(100 * idle, "% of a core"),
        "message p50": Figure(1e3 * delays[len(delays) // 2], "ms"),
        "message p95": Figure(1e3 * delays[int(0.95 * len(delays))], "ms"),
        "resident": Figure(max(resident), "MiB, the largest"),
        "proportional": Figure(statistics.mean(proportional), "MiB, shared pages by share"),
    }


@contextlib.contextmanager
def mesh(directory: Path, members: int) -> Iterator[tuple[Server, list[Daemon]]]:
    """A server, and daemons that have started and joined nothing."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(directory / "server"))
        daemons = [Daemon(directory / f"m{number}") for number in range(members)]
        for daemon in daemons:
            stack.callback(daemon.kill)
        for first in range(0, members, START_TOGETHER):
            together = daemons[first : first + START_TOGETHER]
            for daemon in together:
                daemon.spawn()
            for daemon in together:
                until(daemon.is_ready, START_LIMIT_S, lambda daemon=daemon: daemon.log)  # type: ignore[misc]
        yield server, daemons


def join_all(server: Server, daemons: Sequence[Daemon]) -> None:
    for number, daemon in enumerate(daemons):
        with daemon.connect(timeout_s=MEET_LIMIT_S) as connection:
            nick = f"m{number}"
            connection.request("join", network="mesh", servers=[server.address], nick=nick)


def wait_for_all(daemons: Sequence[Daemon]) -> None:
    """Until each is connected with each: what one waits for, the next may have already."""
    peers = len(daemons) - 1
    for daemon in daemons:
        with daemon.connect(timeout_s=MEET_LIMIT_S + 60.0) as connection:
            connection.request("wait", network="mesh", peers=peers, timeout_s=MEET_LIMIT_S)


def message_delays(daemons: Sequence[Daemon]) -> list[float]:
    """From the request to each event, in seconds: all of them by the clock of this machine."""
    sent: dict[str, float] = {}
    for number in range(MESSAGES):
        text = f"message {number}"
        sent[text] = time.time()
        daemons[number % len(daemons)].request("send", network="mesh", text=text)
        time.sleep(1.0)
    time.sleep(2.0)
    delays = []
    for daemon in daemons:
        for event in daemon.events("message"):
            if event["text"] in sent:
                at = datetime.fromisoformat(event["ts"]).timestamp()
                delays.append(at - sent[event["text"]])
    if len(delays) != MESSAGES * (len(daemons) - 1):
        raise AssertionError(f"{len(delays)} of {MESSAGES * (len(daemons) - 1)} arrived")
    return delays


def cpu_s(pid: int) -> float:
    """User and system time, by proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def proportional_mib(pid: int) -> float:
    """Proportional set size: each shared page by its share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no Pss in smaps_rollup")


def tell_virtual(members: int) -> None:
    crowd = Crowd(members, PORT_RESTRICTED)
    began = time.process_time()
    crowd.join(every_s=0.01)
    if not crowd.meet(limit_s=120.0):
        raise AssertionError("they have not met in two minutes")
    spent_s = (time.process_time() - began) / members
    print(f"handshakes             {crowd.handshakes() / crowd.pairs:10.2f}  a pair")
    print(f"packets to meet        {crowd.between_peers():10.1f}  a pair, both ways")
    print(f"CPU, the internet's too{spent_s:10.2f}  s a member")
    for minute in range(1, VIRTUAL_MINUTES + 1):
        crowd.sent.clear()
        crowd.run(60.0)
        print(f"minute {minute:<2} after that   {crowd.between_peers():10.1f}  packets a pair")


def _load() -> str:
    return " ".join(Path("/proc/loadavg").read_text().split()[:3])


_load_before = _load()


if __name__ == "__main__":
    sys.exit(main())
