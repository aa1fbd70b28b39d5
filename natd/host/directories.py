"""Where the daemon keeps what: state, the control socket, the configuration.

Each directory is the first of
    1. the flag, or NATD_STATE_DIR and NATD_RUNTIME_DIR
    2. systemd's $STATE_DIRECTORY, $RUNTIME_DIRECTORY, $CONFIGURATION_DIRECTORY
    3. XDG: $XDG_STATE_HOME/natd, $XDG_RUNTIME_DIR/natd, $XDG_CONFIG_HOME/natd
    4. ~/.local/state/natd, /run/user/<uid>/natd or <temp>/natd-<uid>, ~/.config/natd

Clients look for the socket by the same rules, which stand in `natd.ipc.places`.

Under `sudo -u` and su the environment speaks of somebody else's directories: what belongs to
another user is passed over.  Without any home (a bare container) the state is kept in the
private directory in the temp folder.  Directories are made 0700; one that everybody may write
to is refused, and one in the temp folder is used only if it is ours and no symlink.

A lock file in each of state and runtime directory keeps a second daemon out, and names the
first one's pid.
"""

import contextlib
import fcntl
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from natd.host.errors import StartError
from natd.ipc.places import SOCKET_NAME, user_runtime_directories

RUNTIME_LOCK_NAME = "natd.lock"
STATE_LOCK_NAME = "state.lock"
"""Another name than the runtime directory's, so that one directory can serve as both."""


@dataclass(frozen=True, slots=True)
class Directories:
    """Absolute paths; `prepare` makes the first two."""

    state: Path
    runtime: Path
    config: Path

    @property
    def control_socket(self) -> Path:
        return self.runtime / SOCKET_NAME

    def prepare(self) -> None:
        """Make state and runtime directory, private; StartError where that can't be."""
        for directory, flag in ((self.state, "--state-dir"), (self.runtime, "--runtime-dir")):
            prepare_directory(directory, flag)


class DirectoryLock:
    """Keeps a second daemon out of a directory for as long as this process lives.

    The file stays when the lock goes: removing it would let a third daemon lock a new file
    of that name while a second one still waits on the old.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # None while the lock is not held.
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """StartError names the pid of the daemon that holds it."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StartError(
                f"the lock file {self._path} can't be opened: {error.strerror}",
                "check who owns that directory",
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f"pid {holder}" if holder.isdigit() else "pid unknown"
            raise StartError(
                f"another natd ({who}) already uses {self._path.parent}",
                "stop it with `natctl shutdown`, or give this one another --state-dir "
                "and --runtime-dir",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._descriptor = descriptor

    @property
    def is_in_place(self) -> bool:
        """False where the file that we hold was removed: another daemon may lock a new one."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor or -1))
        except OSError:
            return False

    def renew(self) -> None:
        """Hold a new file instead of one that was removed; StartError where another daemon does."""
        held = self._descriptor
        self.acquire()
        if held is not None:
            os.close(held)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def find_directories(
    environ: Mapping[str, str], *, state_dir: str | None = None, runtime_dir: str | None = None
) -> Directories:
    """Choose the directories by the rules above; nothing is made yet."""
    home = _home(environ)
    runtime, *_, temporary = 2 * user_runtime_directories(environ, os.geteuid())
    state_home = temporary if home is None else home / ".local/state"
    config_home = temporary if home is None else home / ".config"
    return Directories(
        state=_first(
            state_dir or environ.get("NATD_STATE_DIR"),
            environ.get("STATE_DIRECTORY"),
            _xdg(environ, "XDG_STATE_HOME") or state_home / "natd",
        ),
        runtime=_first(
            runtime_dir or environ.get("NATD_RUNTIME_DIR"),
            environ.get("RUNTIME_DIRECTORY"),
            runtime,
        ),
        config=_first(
            None,
            environ.get("CONFIGURATION_DIRECTORY"),
            _xdg(environ, "XDG_CONFIG_HOME") or config_home / "natd",
        ),
    )


def require_private(path: Path, content: str) -> None:
    """StartError when others may read or write the file, which holds `content`."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise StartError(
            f"{path}: others have access to {content} (mode {mode:04o})",
            f"if no one else had access to it: chmod 600 {path}",
        )


def prepare_directory(directory: Path, flag: str) -> None:
    """Make it, private, where it is not there; StartError where it can't be or is not ours.  `flag`
    names another."""
    hint = f"make it yours, or give another with {flag} DIR"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat() if _is_in_temp(directory) else directory.stat()
    except OSError as error:
        raise StartError(
            f"the directory {directory} can't be made: {error.strerror}", hint
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise StartError(f"{directory} is not a directory", hint)
    if _is_in_temp(directory) and (found.st_uid != os.geteuid() or found.st_mode & 0o022):
        raise StartError(f"{directory} belongs to, or is writable by, another user", hint)
    if found.st_mode & stat.S_IWOTH:
        raise StartError(f"{directory} is writable by everybody", f"chmod 700 {directory}")
    if not os.access(directory, os.W_OK | os.X_OK):
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            text = f"the directory {directory} is on a read-only file system"
            raise StartError(text, f"make that writable, or give another with {flag} DIR")
        raise StartError(f"the directory {directory} is not writable", hint)


def _first(flag: str | None, systemd: str | None, ours: Path) -> Path:
    if flag:
        return Path(flag).expanduser().absolute()
    if systemd:
        return Path(systemd.split(":")[0]).absolute()
    return ours


def _xdg(environ: Mapping[str, str], name: str) -> Path | None:
    """XDG's specification: a relative path is invalid and is to be ignored."""
    value = environ.get(name, "")
    if not value.startswith("/") or not _is_ours(Path(value)):
        return None
    return Path(value) / "natd"


def _home(environ: Mapping[str, str]) -> Path | None:
    """Our home; None when this user has none that it could write to."""
    candidates = [environ.get("HOME", "")]
    with contextlib.suppress(KeyError):
        candidates.append(pwd.getpwuid(os.geteuid()).pw_dir)
    for candidate in candidates:
        if candidate.startswith("/") and candidate != "/" and _is_ours(Path(candidate)):
            return Path(candidate)
    return None


def _is_ours(directory: Path) -> bool:
    """Ours, or not there yet: then it will be ours, or say why not, when it is made."""
    try:
        return directory.stat().st_uid == os.geteuid()
    except FileNotFoundError:
        return os.access(_nearest_existing(directory), os.W_OK)
    except OSError:
        return False


def _nearest_existing(directory: Path) -> Path:
    return next(parent for parent in directory.parents if parent.exists())


def _is_in_temp(directory: Path) -> bool:
    """Whether any user could have made a directory of that name before us."""
    return bool(directory.parent.stat().st_mode & stat.S_ISVTX)
