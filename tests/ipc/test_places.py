"""Whose daemon the clients speak to: ours, root's, or the system's."""

import contextlib
import grp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from natd.ipc import Connection, DeniedError
from natd.ipc.places import connect
from tests.processes import SOURCE, started
from tests.requirements import requires_root

STRANGER, OTHER = 54_321, 54_322
"""Users that exist nowhere."""

IMPOSTOR = """
import os, socket, sys
uid, gid = int(sys.argv[2]), int(sys.argv[3])
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
os.umask(0)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("up", flush=True)
while True:
    listener.accept()
"""


@requires_root
def test_a_socket_that_the_environment_names_must_not_be_another_users(place: Path) -> None:
    with impostor(place):
        environ = {**os.environ, "NATD_SOCKET": str(place / "control.sock")}
        asked = subprocess.run(
            [sys.executable, "-m", "natctl", "status"],
            cwd=SOURCE,
            env=environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert asked.returncode == 6
        assert f"{place}/control.sock runs as user number {STRANGER}, not as you" in asked.stderr
        assert "--socket" in asked.stderr


@requires_root
def test_a_socket_that_is_found_must_not_be_another_users(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NATD_SOCKET", raising=False)
    with impostor(place):
        monkeypatch.setattr("natd.ipc.places.SYSTEM_SOCKET", str(place / "control.sock"))
        monkeypatch.setenv("TMPDIR", str(place / "nothing"))
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        with pytest.raises(DeniedError, match=f"runs as user number {STRANGER}"):
            connect()


@requires_root
def test_what_is_listened_at_counts_and_not_whose_file_it_is(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with impostor(place):
        os.chown(place / "control.sock", 0, 0)
        monkeypatch.setenv("NATD_SOCKET", str(place / "control.sock"))
        with pytest.raises(DeniedError):
            connect()


@requires_root
def test_a_socket_that_the_user_names_is_the_users_own_choice(place: Path) -> None:
    with impostor(place):
        connect(place / "control.sock").close()


@requires_root
def test_our_own_daemon_and_roots_are_spoken_to(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATD_SOCKET", str(place / "control.sock"))
    for owner, is_let in ((OTHER, True), (0, True), (STRANGER, False)):
        with impostor(place, owner), acting_as(OTHER, ()):
            if is_let:
                connect().close()
            else:
                with pytest.raises(DeniedError):
                    connect()


@requires_root
def test_the_systems_daemon_is_spoken_to_by_root_and_by_its_group_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group is natd; a group of this machine stands for it."""
    group = next(each for each in grp.getgrall() if each.gr_gid not in (0, STRANGER))
    monkeypatch.setattr("natd.ipc.places.SYSTEM_GROUP", group.gr_name)
    monkeypatch.setenv("NATD_SOCKET", str(place / "control.sock"))
    with impostor(place, STRANGER, group.gr_gid):
        connect().close()
        for groups, is_let in (((group.gr_gid,), True), ((), False)):
            with acting_as(OTHER, groups):
                if is_let:
                    connect().close()
                else:
                    with pytest.raises(DeniedError):
                        connect()


@requires_root
def test_another_user_is_refused_by_the_modes_of_directory_and_socket(place: Path) -> None:
    with started(
        [sys.executable, "-c", IMPOSTOR, str(place / "control.sock"), "0", "0"],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        (place / "control.sock").chmod(0o600)
        with acting_as(OTHER, ()), pytest.raises(DeniedError, match="permission denied"):
            Connection(place / "control.sock")


# --- helpers


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may use."""
    directory = Path(tempfile.mkdtemp(prefix="natd-place-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


@contextlib.contextmanager
def impostor(place: Path, uid: int = STRANGER, gid: int | None = None) -> Iterator[None]:
    """Somebody who listens at `control.sock` and says nothing."""
    (place / "control.sock").unlink(missing_ok=True)
    words = [str(place / "control.sock"), str(uid), str(uid if gid is None else gid)]
    with started([sys.executable, "-c", IMPOSTOR, *words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield


@contextlib.contextmanager
def acting_as(uid: int, groups: tuple[int, ...]) -> Iterator[None]:
    """This process as another user, for its next system calls."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)
