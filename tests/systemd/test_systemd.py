"""The units: without a mistake, well locked in, and at work under a real systemd."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.requirements import requires, requires_container
from tests.systemd.container import UNITS, Container, shipped_unit

EXPOSURE_LIMIT = 2.0

SYSTEM_UNITS = ("natd.service", "natd-server.service")

WATCHDOG_S = 3
"""Shorter than shipped, so that a test of it does not take half a minute."""

WAIT_S = 30.0


@requires("command:systemd-analyze")
@pytest.mark.parametrize("name", [*SYSTEM_UNITS, "user/natd.service"])
def test_a_unit_has_nothing_that_systemd_complains_of(tmp_path: Path, name: str) -> None:
    # systemd-analyze exits 0 whatever it finds: what counts is that it says nothing.
    assert verified(tmp_path, name, shipped_unit(name, program="/bin/true")) == ""


@requires("command:systemd-analyze")
def test_a_unit_with_an_unknown_key_would_be_noticed(tmp_path: Path) -> None:
    unit = shipped_unit("natd.service", program="/bin/true").replace("UMask=", "Umask=")
    assert "Umask" in verified(tmp_path, "natd.service", unit)


@requires("command:systemd-analyze")
@pytest.mark.parametrize("name", SYSTEM_UNITS)
def test_the_exposure_of_a_system_unit_is_low(name: str) -> None:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / name)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert exposure is not None, told
    assert float(exposure[1]) <= EXPOSURE_LIMIT, told


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(tmp_path_factory.mktemp("container"), watchdog_s=WATCHDOG_S) as container:
        yield container


@pytest.fixture
def container(booted: Container) -> Iterator[Container]:
    """With neither service running nor configured, before a test and after it."""
    yield booted
    booted.run("systemctl", "stop", *SYSTEM_UNITS)
    booted.run("systemctl", "reset-failed")
    booted.run("rm", "-f", "/etc/natd/natd.yaml")


@requires_container
@pytest.mark.parametrize("unit", SYSTEM_UNITS)
def test_a_unit_starts_survives_a_hang_and_stops(container: Container, unit: str) -> None:
    container.run("systemctl", "start", unit)
    found = container.show(unit, "ActiveState", "MainPID")
    assert found["ActiveState"] == "active"
    wait_until(lambda: container.show(unit, "StatusText")["StatusText"] != "")
    pid = found["MainPID"]
    assert container.run("ps", "-o", "user=", "-p", pid).strip() != "root"

    # It feeds its watchdog: nothing happens to it for longer than the watchdog waits.
    time.sleep(WATCHDOG_S + 1.0)
    assert container.show(unit, "MainPID", "NRestarts") == {"MainPID": pid, "NRestarts": "0"}

    container.run("kill", "-STOP", pid)
    wait_until(lambda: container.show(unit, "NRestarts")["NRestarts"] == "1")
    wait_until(lambda: container.show(unit, "ActiveState")["ActiveState"] == "active")
    assert container.show(unit, "MainPID")["MainPID"] != pid
    assert "Watchdog timeout" in container.log()

    began = time.monotonic()
    container.run("systemctl", "stop", unit)
    assert time.monotonic() - began < 5.0
    found = container.show(unit, "ActiveState", "Result", "ExecMainStatus")
    assert found == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}


@requires_container
def test_the_daemon_reloads_and_a_bad_file_leaves_it_running(container: Container) -> None:
    container.run("systemctl", "start", "natd")
    pid = container.show("natd", "MainPID")["MainPID"]
    write(container, "/etc/natd/natd.yaml", "limits: {history_days: 4}")
    container.run("systemctl", "reload", "natd")
    wait_until(lambda: '"history_days":4' in shown(container))
    write(container, "/etc/natd/natd.yaml", "limits: {history_days: x}")
    container.run("systemctl", "reload", "natd")
    wait_until(lambda: "history_days: expected a whole number" in container.log())
    wait_until(lambda: container.show("natd", "ActiveState")["ActiveState"] == "active")
    assert '"history_days":4' in shown(container)
    assert container.show("natd", "MainPID")["MainPID"] == pid


@requires_container
def test_the_daemon_is_used_by_its_group_and_by_nobody_else(container: Container) -> None:
    container.run("systemctl", "start", "natd")
    socket = container.run("stat", "-c", "%U %G %a", "/run/natd/control.sock").split()
    assert socket == ["natd", "natd", "660"]
    assert container.run("stat", "-c", "%U %a", "/var/lib/natd").split() == ["natd", "700"]
    assert container.run("stat", "-c", "%U %a", "/var/lib/natd/identity.key").split() == [
        "natd",
        "600",
    ]
    assert '"ok"' in container.python(ASK, "natd", "natd")
    with pytest.raises(AssertionError, match="PermissionError"):
        container.python(ASK, "nobody", "nogroup")


@requires_container
def test_a_wrong_configuration_is_not_started_again_and_again(container: Container) -> None:
    write(container, "/etc/natd/natd.yaml", "prot: 1")
    container.run("systemctl", "start", "natd", check=False)
    wait_until(lambda: container.show("natd", "ActiveState")["ActiveState"] == "failed")
    found = container.show("natd", "NRestarts", "ExecMainStatus")
    assert found == {"NRestarts": "0", "ExecMainStatus": "78"}
    assert "natd.yaml:1: prot: unknown key (did you mean port?)" in container.log()


ASK = """
import socket, zmq
socket.socket(socket.AF_UNIX).connect("/run/natd/control.sock")
client = zmq.Context().socket(zmq.DEALER)
client.setsockopt(zmq.RCVTIMEO, 10000)
client.setsockopt(zmq.LINGER, 0)
client.connect("ipc:///run/natd/control.sock")
client.send(b'{"v":1,"id":1,"do":"config_show"}')
print(client.recv().decode())
"""


def shown(container: Container) -> str:
    return container.python(ASK)


def write(container: Container, path: str, text: str) -> None:
    container.run("sh", "-c", f"printf '%s\\n' '{text}' > {path} && chmod 644 {path}")


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.1)


def verified(directory: Path, name: str, unit: str) -> str:
    """What `systemd-analyze verify` says about a unit."""
    path = directory / Path(name).name
    path.write_text(unit)
    scope = ["--user"] if name.startswith("user/") else ["--system"]
    runtime = {"XDG_RUNTIME_DIR": str(directory)}
    return subprocess.run(
        ["systemd-analyze", *scope, "verify", "--recursive-errors=no", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | runtime,
    ).stderr
