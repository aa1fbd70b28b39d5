"""Start a daemon for this user, detached, and wait until it answers.

It gets a session of its own, no terminal, and a log beside its control socket.  Nothing
secret is given to it: what it should join is told over the socket.
"""

import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from natd.ipc.errors import RequestError, UnreachableError
from natd.ipc.places import SOCKET_NAME, live_socket, user_runtime_directories

LOG_NAME = "natd.log"

LOG_LIMIT_BYTES = 1 << 20
"""A longer log is emptied at the next start."""

START_LIMIT_S = 10.0
"""A start takes half a second; a very busy machine needs longer."""

LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Started:
    pid: int
    log: Path


def start_daemon(
    socket_path: str | None, environment: Mapping[str, str], uid: int
) -> Started | None:
    """Start one whose socket is where we look for it; None if somebody else just did.

    Raises UnreachableError where that can't be, RequestError when it ended at once.
    """
    runtime = _runtime_directory(socket_path or environment.get("NATD_SOCKET"), environment, uid)
    _make_private(runtime, uid)
    directory = os.open(runtime, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # One start at a time: who comes second finds the daemon of the first.
        fcntl.flock(directory, fcntl.LOCK_EX)
        if _is_there(runtime / SOCKET_NAME):
            return None
        return _start(runtime, environment)
    finally:
        os.close(directory)


def _start(runtime: Path, environment: Mapping[str, str]) -> Started:
    log = runtime / LOG_NAME
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(log, flags, 0o600)
    try:
        if os.fstat(descriptor).st_size > LOG_LIMIT_BYTES:
            os.ftruncate(descriptor, 0)
        seen = os.fstat(descriptor).st_size
        daemon = subprocess.Popen(
            [sys.executable, "-m", "natd", "--runtime-dir", str(runtime)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd="/",
            env=natd_environment(environment),
            start_new_session=True,
        )
    except OSError as error:
        text = f"natd can't be started with {sys.executable}: {error.strerror}"
        raise RequestError("start", text, "install natd where this user can read it") from None
    finally:
        os.close(descriptor)
    limit = time.monotonic() + START_LIMIT_S
    while not _is_there(runtime / SOCKET_NAME):
        if daemon.poll() is not None:
            raise RequestError("start", _last_words(log, seen), f"see {log}")
        if time.monotonic() > limit:
            text = f"natd was started but has not answered within {START_LIMIT_S:g} s"
            raise UnreachableError(text, f"see {log}")
        time.sleep(LOOK_EVERY_S)
    # It is left to itself; a code of its own keeps Popen from complaining about that.
    daemon.returncode = 0
    return Started(daemon.pid, log)


def natd_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Where `python -m natd` finds the natd that we belong to, from a source tree too."""
    home = Path(__file__).resolve().parent.parent
    path = os.pathsep.join(filter(None, (str(home), environment.get("PYTHONPATH"))))
    return {**environment, "PYTHONPATH": path}


def _runtime_directory(named: str | None, environment: Mapping[str, str], uid: int) -> Path:
    if not named:
        return user_runtime_directories(environment, uid)[0]
    path = Path(named).absolute()
    if path.name != SOCKET_NAME:
        raise UnreachableError(
            f"no natd is running at {path}",
            f"to start natd there, name the socket {SOCKET_NAME}",
        )
    return path.parent


def _make_private(directory: Path, uid: int) -> None:
    """In the temp folder anybody may have made a directory of that name before us."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise RequestError(
            "directory",
            f"the directory {directory} can't be made: {error.strerror}",
            "set XDG_RUNTIME_DIR to a directory of yours",
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
        raise RequestError(
            "directory",
            f"{directory} belongs to, or is writable by, another user",
            "set XDG_RUNTIME_DIR to a directory of yours",
        )


def _is_there(socket_path: Path) -> bool:
    try:
        live_socket(socket_path)
    except UnreachableError:
        return False
    return True


def _last_words(log: Path, seen: int) -> str:
    with log.open("rb") as stream:
        stream.seek(seen)
        lines = stream.read().decode("utf-8", "replace").split("\n")
    words = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return f"natd can't start: {words.removeprefix('natd: ')}"
