"""Where the control socket of a daemon is found.

    named explicitly  ->  $NATD_SOCKET  ->  the user's runtime directories  ->  /run/natd

A runtime directory counts only if it belongs to the caller: after `su` or `sudo -u` the
environment still names another user's, and the temp folder is open to everyone, so whoever
made a directory of the right name first could otherwise pose as our daemon.
"""

import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

from natd.ipc.errors import DeniedError, UnreachableError

SOCKET_NAME = "control.sock"

SYSTEM_SOCKET = Path("/run/natd") / SOCKET_NAME

SOCKET_PATH_LIMIT_BYTES = 107
"""sizeof(sun_path) less the closing zero, unix(7)."""

PROBE_TIMEOUT_S = 2.0
"""A daemon that is alive accepts at once; only a full backlog makes connect() wait."""

START_HINT = "start one with `natd`, or let `natctl join` start it"


def user_runtime_directories(environment: Mapping[str, str], uid: int) -> list[Path]:
    """Where a daemon of this user may keep its socket, the first being where it will.

    `$XDG_RUNTIME_DIR` and `/run/user/UID` are left out unless they belong to `uid`; the
    private directory in the temp folder always comes last.
    """
    parents = [Path(f"/run/user/{uid}")]
    if named := environment.get("XDG_RUNTIME_DIR"):
        parents.insert(0, Path(named))
    found = [parent / "natd" for parent in dict.fromkeys(parents) if _belongs_to(parent, uid)]
    return [*found, Path(environment.get("TMPDIR") or "/tmp") / f"natd-{uid}"]


def socket_candidates(
    explicit: str | os.PathLike[str] | None, environment: Mapping[str, str], uid: int
) -> list[Path]:
    """The paths to try, in order; only one when it was named."""
    if named := explicit or environment.get("NATD_SOCKET"):
        return [Path(named)]
    users = [
        directory / SOCKET_NAME
        for directory in user_runtime_directories(environment, uid)
        if _belongs_to(directory, uid)
    ]
    return [*users, SYSTEM_SOCKET]


def live_socket(explicit: str | os.PathLike[str] | None = None) -> Path:
    """The first candidate that a daemon listens on.

    Probed by a plain connect, because a ZeroMQ message to a dead daemon is kept and given
    to a later one.  Raises UnreachableError or DeniedError.
    """
    paths = socket_candidates(explicit, os.environ, os.geteuid())
    denied: Path | None = None
    for path in paths:
        try:
            probe(path)
        except PermissionError:
            denied = denied or path
        except OSError:
            continue
        else:
            return path
    if denied is not None:
        raise DeniedError(
            f"permission denied on {denied}",
            "the system's daemon answers members of the group natd; "
            "your own is started by `natctl join`",
        )
    named = paths[0] if len(paths) == 1 else None
    if named is not None and len(os.fsencode(named)) > SOCKET_PATH_LIMIT_BYTES:
        raise UnreachableError(
            f"the socket path has {len(os.fsencode(named))} bytes, "
            f"at most {SOCKET_PATH_LIMIT_BYTES} are possible: {named}",
            "use a shorter --runtime-dir for natd",
        )
    place = f" at {named}" if named is not None else ""
    raise UnreachableError(f"no natd is running{place}", START_HINT)


def probe(path: Path) -> None:
    """Connect and hang up.  Raises the OSError of connect(2)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probing:
        probing.settimeout(PROBE_TIMEOUT_S)
        probing.connect(os.fspath(path))


def _belongs_to(directory: Path, uid: int) -> bool:
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid
