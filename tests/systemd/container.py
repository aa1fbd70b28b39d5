"""A real systemd as pid 1, in a container that lives for one test module.

systemd-nspawn boots this machine's own /usr, read-only, over an empty root in memory, with no
network but loopback.  The interpreter, its packages and the source are bound below /opt,
where the services' sandbox (ProtectHome, PrivateTmp) does not hide them.
"""

import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

SOURCE = Path(__file__).parents[2]
UNITS = SOURCE / "systemd"

PROGRAM = "/opt/natd/natd"

BOOT_LIMIT_S = 60.0
"""It takes 3 s on a machine with nothing else to do."""

NOT_WANTED = (
    "systemd-firstboot",
    "systemd-journald-audit",
    "systemd-networkd",
    "systemd-resolved",
    "systemd-timesyncd",
    "systemd-udevd",
    "console-getty",
    "nftables",
)
"""Services of this machine that a container has no use for, or that would wait for a key."""


class Container:
    """`with Container(directory) as container: container.run("systemctl", "start", "natd")`."""

    def __init__(self, directory: Path, *, watchdog_s: int) -> None:
        self._directory = directory
        self._watchdog_s = watchdog_s
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init_pid = 0

    def __enter__(self) -> Self:
        binds = [f"--bind-ro=/dev/null:/etc/systemd/system/{name}.service" for name in NOT_WANTED]
        for source, target in self._files():
            binds.append(f"--bind-ro={source}:{target}")
        with (self._directory / "console").open("wb") as console:
            self._nspawn = subprocess.Popen(
                [
                    *("systemd-nspawn", "-D", "/", "--volatile=yes", "--register=no"),
                    *("--keep-unit", "--private-network", f"--machine=natd-test-{os.getpid()}"),
                    *("--boot", "--console=pipe", *binds, "--", "--unit=basic.target"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_for_boot()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def run(self, *command: str, check: bool = True) -> str:
        """A command inside; its output."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._init_pid), "-a", *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: {done.stdout}{done.stderr}{self.log()}")
        return done.stdout

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit, as `systemctl show` names them."""
        lines = self.run("systemctl", "show", unit, f"--property={','.join(names)}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def log(self) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat", "-n", "60", check=False)

    def python(self, program: str, user: str = "root", group: str = "root") -> str:
        """Run a Python program inside, as that user, with our packages."""
        return self.run(
            *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "env"),
            *(*self._environment(), self._interpreter(), "-c", program),
        )

    def _files(self) -> list[tuple[Path, str]]:
        made = self._directory / "made"
        (made / "etc").mkdir(parents=True)
        program = made / "natd"
        interpreter = f"{self._interpreter()} -m natd"
        program.write_text(
            f'#!/bin/sh\nexec env {" ".join(self._environment())} {interpreter} "$@"\n'
        )
        program.chmod(0o755)
        files = [(SOURCE, "/opt/source"), (program, PROGRAM)]
        for package_path in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            files.append((Path(package_path), f"/opt/packages{package_path}"))
        if not sys.base_prefix.startswith("/usr"):
            files.append((Path(sys.base_prefix), "/opt/python"))
        for name in ("natd.service", "natd-server.service"):
            unit = made / name
            unit.write_text(shipped_unit(name, self._watchdog_s))
            files.append((unit, f"/etc/systemd/system/{name}"))
        files.append((UNITS / "sysusers.conf", "/etc/sysusers.d/natd.conf"))
        files.append((UNITS / "tmpfiles.conf", "/etc/tmpfiles.d/natd.conf"))
        return files

    def _interpreter(self) -> str:
        prefix = sys.base_prefix if sys.base_prefix.startswith("/usr") else "/opt/python"
        return f"{prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"

    def _environment(self) -> list[str]:
        paths = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        packages = ":".join(f"/opt/packages{path}" for path in paths)
        return [
            "LD_LIBRARY_PATH=/opt/python/lib",
            f"PYTHONPATH=/opt/source:{packages}",
            "PYTHONDONTWRITEBYTECODE=1",
        ]

    def _wait_for_boot(self) -> None:
        assert self._nspawn is not None
        limit = time.monotonic() + BOOT_LIMIT_S
        while time.monotonic() < limit and self._nspawn.poll() is None:
            children = psutil.Process(self._nspawn.pid).children()
            if children:
                self._init_pid = children[0].pid
                state = self.run("systemctl", "is-system-running", check=False).strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.1)
        console = (self._directory / "console").read_text(errors="replace")
        raise AssertionError(f"the container did not boot: {console}")

    def _end(self) -> None:
        assert self._nspawn is not None
        if self._init_pid and psutil.pid_exists(self._init_pid):
            os.kill(self._init_pid, signal.SIGKILL)
        try:
            self._nspawn.wait(10)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()


def shipped_unit(name: str, watchdog_s: int | None = None, program: str = PROGRAM) -> str:
    """The unit as it is shipped, but for where natd is, and how patient the watchdog."""
    lines = []
    for line in (UNITS / name).read_text().splitlines():
        if line.startswith("ExecStart="):
            arguments = line.split(" ", 1)[1:]
            line = " ".join([f"ExecStart={program}", *arguments])
        elif line.startswith("WatchdogSec=") and watchdog_s is not None:
            line = f"WatchdogSec={watchdog_s}"
        lines.append(line)
    return "\n".join(lines) + "\n"
