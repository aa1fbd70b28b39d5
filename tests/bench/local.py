"""How fast two daemons on this machine are: `python -m tests.bench.local`.

    latency     `send` at one daemon to the event at the other, 1,000 messages one by one
    throughput  messages one way, each a request of its own, until every one is acknowledged
                after the receiver's commit
    size        resident memory of an idle daemon, and time from exec to the control socket

Both stores are the durable ones (synchronous=FULL), on the disk that $TMPDIR is on.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from natd.ipc import Connection
from tests.bench.record import Figure, add_record_option, record
from tests.processes import Daemon, pair

OUTSTANDING = 512
"""Requests on their way at once: a busy program, not a queue without end."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1000, help="for the latency")
    parser.add_argument("--burst", type=int, default=20_000, help="for the throughput")
    add_record_option(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = start_figures(Path(directory) / "alone")
        with pair(Path(directory)) as (_, alice, bob):
            figures |= latency(alice, bob, given.messages)
            figures |= throughput(alice, bob, given.burst)
            figures["rss_after_mib"] = round(max(alice.memory_mib(), bob.memory_mib()), 1)
    print(json.dumps(figures, indent=1))
    if given.record:
        record(given.record, recorded(figures))
    return 0


def recorded(figures: dict[str, float]) -> dict[str, Figure]:
    """With units, by the endings of the names."""
    units = {"_ms": ("ms", "less"), "_mib": ("MiB", "less"), "_per_s": ("a second", "more")}
    found = {}
    for name, value in figures.items():
        ending = next(ending for ending in units if ending in name)
        unit, better = units[ending]
        found[f"local: {name}"] = Figure(value, unit, "more" if better == "more" else "less")
    return found


def start_figures(directory: Path) -> dict[str, float]:
    """A daemon that has joined nothing."""
    started = time.monotonic()
    with Daemon(directory) as daemon:
        ready_s = time.monotonic() - started
        time.sleep(1.0)
        return {"ready_ms": round(ready_s * 1000), "rss_idle_mib": round(daemon.memory_mib(), 1)}


def latency(alice: Daemon, bob: Daemon, count: int) -> dict[str, float]:
    waits = []
    with alice.connect() as sender, bob.connect() as receiver:
        stream = receiver.events(types=["message"])
        for number in range(count):
            started = time.perf_counter()
            sender.request("send", network="demo", text=f"latency {number}", to=None, wait_s=None)
            event = stream.next(time.monotonic() + 20)
            waits.append((time.perf_counter() - started) * 1000)
            assert event["text"] == f"latency {number}"
    waits.sort()
    return {
        "latency_p50_ms": round(statistics.median(waits), 2),
        "latency_p99_ms": round(waits[int(len(waits) * 0.99)], 2),
        "latency_worst_ms": round(waits[-1], 2),
    }


def throughput(alice: Daemon, bob: Daemon, count: int) -> dict[str, float]:
    with alice.connect(timeout_s=60) as sender:
        sender.request("status")
        started = time.perf_counter()
        send_many(sender, count)
        accepted_s = time.perf_counter() - started
        while queued(sender):
            time.sleep(0.02)
        delivered_s = time.perf_counter() - started
    texts = [text for text in bob.texts() if text.startswith("burst ")]
    assert texts == [f"burst {number}" for number in range(count)]
    return {
        "accepted_per_s": round(count / accepted_s),
        "acknowledged_per_s": round(count / delivered_s),
    }


def send_many(sender: Connection, count: int) -> None:
    """Requests one after the other, `OUTSTANDING` of them without waiting for the reply."""
    waiting: deque[int | str] = deque()
    for number in range(count):
        fields = {"network": "demo", "text": f"burst {number}", "to": None, "wait_s": None}
        waiting.append(sender._send("send", fields))
        if len(waiting) >= OUTSTANDING:
            receive(sender, waiting)
    while waiting:
        receive(sender, waiting)


def receive(sender: Connection, waiting: deque[int | str]) -> None:
    reply = sender._receive(time.monotonic() + 30)
    assert "ok" in reply, reply
    waiting.remove(reply["id"])


def queued(sender: Connection) -> int:
    networks = sender.request("status")["networks"]
    return int(networks[0]["queued"])


if __name__ == "__main__":
    sys.exit(main())
