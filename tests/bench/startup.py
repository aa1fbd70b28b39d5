"""How quick a command and how light the daemon: `python -m tests.bench.startup [--record FILE]`.

    natctl status    wall time as a multiple of `python3 -c pass`, taken in turns      <= 6
    natd ready       from exec to the first answer on its control socket               <= 600 ms
    natd idle        resident memory of a daemon that has joined nothing               <= 64 MiB

Exits 1 when a limit is passed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from natd.ipc import Connection, UnreachableError
from tests.bench.record import Figure, add_record_option, record

ROOT = Path(__file__).resolve().parents[2]

STATUS_LIMIT = 6.0
READY_LIMIT_S = 0.6
IDLE_LIMIT_BYTES = 64 << 20

TURNS = 20
STARTS = 5

SETTLE_S = 2.0
"""After its start a daemon does nothing more; then its memory is read."""


def main() -> int:
    parser = argparse.ArgumentParser(description="how quick a command, how light the daemon")
    add_record_option(parser)
    arguments = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as directory:
        ready = [start(Path(directory) / str(number), environment) for number in range(STARTS)]
        socket_path = Path(directory) / "0" / "run" / "control.sock"
        ratio, status_s, pass_s = status_ratio(socket_path, environment)
        time.sleep(SETTLE_S)
        idle_bytes = resident_bytes(ready[0][1].pid)
        for _, daemon in ready:
            daemon.terminate()
        for _, daemon in ready:
            daemon.wait(5)
    ready_s = statistics.median(seconds for seconds, _ in ready)
    rows = [
        (
            "natctl status",
            f"{ratio:.1f} x python3 -c pass ({status_s * 1e3:.0f} ms, {pass_s * 1e3:.0f} ms)",
            ratio <= STATUS_LIMIT,
        ),
        ("natd ready", f"{ready_s * 1e3:.0f} ms after exec", ready_s <= READY_LIMIT_S),
        ("natd idle", f"{idle_bytes / (1 << 20):.1f} MiB", idle_bytes <= IDLE_LIMIT_BYTES),
    ]
    for name, figure, is_good in rows:
        print(f"{'ok  ' if is_good else 'FAIL'}  {name:<14} {figure}")
    if arguments.record:
        figures = {
            "startup: natctl status, of an empty Python": Figure(ratio, "x"),
            "startup: natctl status": Figure(status_s * 1e3, "ms"),
            "startup: natd ready": Figure(ready_s * 1e3, "ms"),
            "startup: natd idle": Figure(idle_bytes / (1 << 20), "MiB"),
        }
        record(arguments.record, figures)
    return 0 if all(is_good for *_, is_good in rows) else 1


def start(home: Path, environment: dict[str, str]) -> tuple[float, "subprocess.Popen[bytes]"]:
    """Start a daemon in `home`; the seconds until it answers."""
    home.mkdir()
    command = [sys.executable, "-m", "natd", "--log-level", "error"]
    command += ["--state-dir", str(home / "state"), "--runtime-dir", str(home / "run")]
    began = time.perf_counter()
    daemon = subprocess.Popen(command, env=environment, cwd=ROOT)
    while True:
        try:
            with Connection(home / "run" / "control.sock") as connection:
                connection.request("identity")
            return time.perf_counter() - began, daemon
        except UnreachableError:
            if daemon.poll() is not None:
                raise
            time.sleep(0.002)


def status_ratio(socket_path: Path, environment: dict[str, str]) -> tuple[float, float, float]:
    """Both are run in turns, so that a busy moment of the machine meets both; the medians."""
    nothing = [sys.executable, "-c", "pass"]
    # What the installed script does.
    script = "import sys; from natctl.__main__ import main; sys.exit(main())"
    status = [sys.executable, "-c", script, "--socket", str(socket_path), "status"]
    taken = [(wall_s(nothing, environment), wall_s(status, environment)) for _ in range(TURNS)]
    pass_s = statistics.median(nothing_s for nothing_s, _ in taken)
    status_s = statistics.median(status_s for _, status_s in taken)
    return status_s / pass_s, status_s, pass_s


def wall_s(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def resident_bytes(pid: int) -> int:
    """Resident set size, by proc(5)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
