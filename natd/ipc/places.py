"""Where the control socket of a daemon is found.

    named explicitly  ->  $NATD_SOCKET  ->  the user's runtime directories  ->  /run/natd

A runtime directory counts only if it belongs to the caller: after `su` or `sudo -u` the
environment still names another user's, and the temp folder is open to everyone, so a user who
made a directory of the right name first could otherwise pose as our daemon.  For the same reason
who listens at a socket that was found, or that the environment names, must be this user, root, or
the system's daemon, whose socket belongs to the group natd; one named explicitly is the caller's
own choice.
"""

import os
import socket
import stat
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from natd.ipc.errors import DeniedError, UnreachableError

if TYPE_CHECKING:
    # Loading pathlib takes as long as half of Python's own start; a one-shot command does without.
    from pathlib import Path

SOCKET_NAME = "control.sock"

SYSTEM_SOCKET = f"/run/natd/{SOCKET_NAME}"

SOCKET_PATH_LIMIT_BYTES = 107
"""sizeof(sun_path) less the closing zero, unix(7)."""

CONNECT_TIMEOUT_S = 2.0
"""A daemon that is alive accepts at once; only a full backlog makes connect() wait."""

CONNECT_AGAIN_S = 0.01
"""Between attempts while too many others wait to be accepted."""

SYSTEM_GROUP = "natd"
"""Who is in it may use the system's daemon."""

SILENT_HINT = "look at its log, or stop it and start it again"

START_HINT = "start one with `natd`, or with `natctl join NETWORK --server HOST:PORT`"


def user_runtime_directories(environment: Mapping[str, str], uid: int) -> list["Path"]:
    """Where a daemon of this user may keep its socket, the first being where it will.

    `$XDG_RUNTIME_DIR` and `/run/user/UID` are left out unless they belong to `uid`; the
    private directory in the temp folder always comes last.
    """
    from pathlib import Path

    return [Path(directory) for directory in _user_directories(environment, uid)]


def socket_candidates(
    explicit: str | os.PathLike[str] | None, environment: Mapping[str, str], uid: int
) -> list[str]:
    """The paths to try, in order; only one when it was named."""
    if named := explicit or environment.get("NATD_SOCKET"):
        return [os.fspath(named)]
    users = [
        os.path.join(directory, SOCKET_NAME)
        for directory in _user_directories(environment, uid)
        if _belongs_to(directory, uid)
    ]
    return [*users, SYSTEM_SOCKET]


def connect(explicit: str | os.PathLike[str] | None = None) -> socket.socket:
    """A connection to the first candidate that a daemon listens on, timeouts in effect.

    One that the caller has not named must be ours, root's or the system's.

    Raises UnreachableError or DeniedError.
    """
    paths = socket_candidates(explicit, os.environ, os.geteuid())
    denied: str | None = None
    for path in paths:
        try:
            connection = _connect(path)
        except PermissionError:
            denied = denied or path
            continue
        except BlockingIOError:
            raise UnreachableError(f"natd at {path} does not answer", SILENT_HINT) from None
        except OSError:
            continue
        if explicit or _is_trusted(connection, path, os.geteuid()):
            return connection
        with connection:
            raise _strange(path, _peer_uid(connection))
    if denied is not None:
        raise DeniedError(
            f"permission denied on {denied}",
            "the system's daemon answers members of the group natd; "
            "`natctl join NETWORK --server HOST:PORT` starts one of your own",
        )
    is_named = bool(explicit or os.environ.get("NATD_SOCKET"))
    raise _nobody(paths[0] if is_named else None)


def live_socket(explicit: str | os.PathLike[str] | None = None) -> str:
    """The first candidate that a daemon listens on.

    Probed by a plain connect, because a ZeroMQ message to a dead daemon is kept and given
    to a later one.  Raises UnreachableError or DeniedError.
    """
    with connect(explicit) as probing:
        return str(probing.getpeername())


def _connect(path: str) -> socket.socket:
    """BlockingIOError when there is still no room after CONNECT_TIMEOUT_S."""
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    limit = time.monotonic() + CONNECT_TIMEOUT_S
    try:
        connecting.settimeout(CONNECT_TIMEOUT_S)
        while True:
            try:
                connecting.connect(path)
            except BlockingIOError:  # unlike TCP, a Unix socket with a timeout does not wait
                if time.monotonic() > limit:
                    raise
                time.sleep(CONNECT_AGAIN_S)
            else:
                return connecting
    except BaseException:
        connecting.close()
        raise


def _is_trusted(connection: socket.socket, path: str, uid: int) -> bool:
    """Whether who listens there is this user, root, or the system's daemon."""
    try:
        found = os.stat(path)
        listener = _peer_uid(connection)
    except OSError:
        return False
    if listener is None:
        listener = found.st_uid
    if listener in (uid, 0):
        return True
    return found.st_uid == listener and _is_our_group(found.st_gid, uid)


def _peer_uid(connection: socket.socket) -> int | None:
    """The user whose process listens; None where the system does not tell (unix(7), ucred)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(told[4:8], sys.byteorder)


def _is_our_group(gid: int, uid: int) -> bool:
    """Whether it is the group of those who may use the system's daemon, and we are one of them."""
    import grp

    try:
        is_natd = grp.getgrnam(SYSTEM_GROUP).gr_gid == gid
    except KeyError:
        return False
    return is_natd and (uid == 0 or gid in (os.getegid(), *os.getgroups()))


def _strange(path: str, owner: int | None) -> DeniedError:
    import pwd

    who = "another user"
    if owner is not None:
        try:
            who = f"the user {pwd.getpwuid(owner).pw_name}"
        except KeyError:
            who = f"user number {owner}"
    return DeniedError(
        f"the natd at {path} runs as {who}, not as you, root or the group {SYSTEM_GROUP}",
        "unset NATD_SOCKET; if you trust that user with what you type and read, name the socket "
        "with --socket",
    )


def _nobody(named: str | None) -> UnreachableError:
    if named is None:
        return UnreachableError("no natd is running", START_HINT)
    size = len(os.fsencode(named))
    if size > SOCKET_PATH_LIMIT_BYTES:
        return UnreachableError(
            f"the socket path has {size} bytes, "
            f"at most {SOCKET_PATH_LIMIT_BYTES} are possible: {named}",
            "use a shorter --runtime-dir for natd",
        )
    return UnreachableError(f"no natd is running at {named}", START_HINT)


def _user_directories(environment: Mapping[str, str], uid: int) -> list[str]:
    parents = [f"/run/user/{uid}"]
    if named := environment.get("XDG_RUNTIME_DIR"):
        parents.insert(0, named)
    ours = [parent for parent in dict.fromkeys(parents) if _belongs_to(parent, uid)]
    temporary = environment.get("TMPDIR") or "/tmp"
    return [*(f"{parent}/natd" for parent in ours), f"{temporary}/natd-{uid}"]


def _belongs_to(directory: str, uid: int) -> bool:
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid
