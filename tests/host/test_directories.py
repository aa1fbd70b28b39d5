"""Where things are kept, under systemd, XDG, sudo and in bare containers; and the lock."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from natd.host.directories import DirectoryLock, find_directories
from natd.host.errors import StartError
from natd.ipc.places import socket_candidates
from tests.processes import started


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    return directory


def test_a_flag_wins_over_a_variable_over_systemd_over_xdg(home: Path) -> None:
    environ = {"HOME": str(home), "XDG_STATE_HOME": str(home / "x"), "XDG_RUNTIME_DIR": str(home)}
    found = find_directories(environ)
    assert (found.state, found.runtime) == (home / "x/natd", home / "natd")
    environ |= {"STATE_DIRECTORY": "/var/lib/natd:/var/lib/more", "RUNTIME_DIRECTORY": "/run/natd"}
    environ["CONFIGURATION_DIRECTORY"] = "/etc/natd"
    found = find_directories(environ)
    assert (found.state, found.runtime) == (Path("/var/lib/natd"), Path("/run/natd"))
    assert found.config == Path("/etc/natd")
    environ |= {"NATD_STATE_DIR": "/a", "NATD_RUNTIME_DIR": "/b"}
    found = find_directories(environ)
    assert (found.state, found.runtime) == (Path("/a"), Path("/b"))
    found = find_directories(environ, state_dir="c", runtime_dir="~/d")
    assert found.state == Path.cwd() / "c"
    assert found.runtime == Path("~/d").expanduser()


def test_with_nothing_set_state_is_below_the_home_directory(home: Path) -> None:
    found = find_directories({"HOME": str(home)})
    assert found.state == home / ".local/state/natd"
    assert found.config == home / ".config/natd"


def test_what_belongs_to_another_user_is_passed_over(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"HOME": str(home), "XDG_STATE_HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    other = os.stat(home).st_uid + 4321
    monkeypatch.setattr(os, "geteuid", lambda: other)
    found = find_directories(environ | {"TMPDIR": "/tmp"})
    private = Path(f"/tmp/natd-{other}")
    assert found.runtime == private
    with pytest.raises(KeyError):
        pwd.getpwuid(other)
    assert found.state == private / "natd"


def test_a_relative_xdg_path_is_ignored(home: Path) -> None:
    found = find_directories({"HOME": str(home), "XDG_STATE_HOME": "relative"})
    assert found.state == home / ".local/state/natd"


def test_clients_look_for_the_socket_where_the_daemon_makes_it(home: Path) -> None:
    for environ in (
        {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
        {"HOME": str(home), "TMPDIR": str(home)},
        {"HOME": str(home), "XDG_RUNTIME_DIR": "/nowhere", "TMPDIR": str(home)},
    ):
        directories = find_directories(environ)
        directories.prepare()
        candidates = socket_candidates(None, environ, os.geteuid())
        assert str(directories.control_socket) == str(candidates[0])


def test_directories_are_made_private_and_made_again_harmlessly(home: Path) -> None:
    directories = find_directories({"HOME": str(home), "TMPDIR": str(home)})
    for _ in range(2):
        directories.prepare()
    for directory in (directories.state, directories.runtime):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_can_not_be_made_or_used_is_told_with_its_flag(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file/below", Path("/proc/natd")):
        directories = find_directories({}, state_dir=str(bad), runtime_dir=str(tmp_path / "run"))
        with pytest.raises(StartError) as told:
            directories.prepare()
        assert str(bad) in told.value.text
        assert "--state-dir" in str(told.value.hint)


def test_someone_elses_directory_in_a_temp_folder_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (tmp_path / "ours").mkdir()
    (shared / "link").symlink_to(tmp_path / "ours")
    (shared / "open").mkdir()
    (shared / "open").chmod(0o777)
    for bad in ("link", "open"):
        directories = find_directories(
            {}, state_dir=str(tmp_path / "state"), runtime_dir=str(shared / bad)
        )
        with pytest.raises(StartError) as told:
            directories.prepare()
        assert "--runtime-dir" in str(told.value.hint)


def test_a_directory_that_everybody_may_write_to_is_refused_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    directories = find_directories(
        {}, state_dir=str(tmp_path / "open"), runtime_dir=str(tmp_path / "run")
    )
    with pytest.raises(StartError, match="writable by everybody") as told:
        directories.prepare()
    assert "chmod 700" in str(told.value.hint)


def test_a_lock_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "natd.lock"
    hold = (
        "import sys; from pathlib import Path; from natd.host.directories import DirectoryLock; "
        "DirectoryLock(Path(sys.argv[1])).acquire(); print('up', flush=True); sys.stdin.read()"
    )
    with started(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        with pytest.raises(StartError, match=f"pid {holder.pid}"):
            DirectoryLock(path).acquire()
        holder.kill()
    lock = DirectoryLock(path)
    lock.acquire()
    assert path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(StartError):
        DirectoryLock(path).acquire()
    lock.release()
    DirectoryLock(path).acquire()


def test_a_lock_does_not_follow_a_symlink(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "natd.lock").symlink_to(victim)
    with pytest.raises(StartError):
        DirectoryLock(tmp_path / "natd.lock").acquire()
    assert victim.read_text() == "precious"
