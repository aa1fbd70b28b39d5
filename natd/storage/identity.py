"""The daemon's identity on disk.

One file, `identity.key` in the state directory: 32 random bytes, mode 0600, owned by us.

Rules that a change must not break:

- It is made once, complete or not at all, and never over another: a temporary file is
  written, synced and then linked to its name, which fails when the name is taken.
- A file that is there but can't be trusted (mode, owner, size, kind) is refused and left as
  it is.  A new identity would make us a stranger to every peer that knows us.
- It is never without its database, which is made before it: one of the two alone is refused.
"""

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from natd.core.keys.card import SEED_BYTES, Identity
from natd.host.errors import StartError
from natd.storage.store import FILE_NAME

IDENTITY_FILE = "identity.key"


def load_identity(state_dir: Path) -> Identity:
    """The identity kept in `state_dir`, made there when there is none.

    StartError, whose text names the file and whose hint says what to do, when it can't be
    read, made or trusted.
    """
    path, database = state_dir / IDENTITY_FILE, state_dir / FILE_NAME
    try:
        seed = _read_seed(path)
        _require_both(path, database, has_seed=seed is not None)
        if seed is None:
            _make_room(database)
            _create_seed(path)
            seed = _read_seed(path)
        elif database.stat().st_size == 0:
            _make_room(database)
    except OSError as error:
        raise StartError(
            f"{path}: {error.strerror or error}",
            "the state directory must be readable and writable by the user that runs natd",
        ) from error
    if seed is None:
        raise StartError(f"{path}: vanished while it was being made", "start natd again")
    return Identity(seed)


def _require_both(path: Path, database: Path, *, has_seed: bool) -> None:
    """Neither may be missing where the other has been used."""
    size = database.stat().st_size if database.exists() else None
    if not has_seed and size:
        raise StartError(
            f"{path} is missing, and {database} belongs to it",
            f"put it back from a backup; moving {database.name} away, too, makes a new identity, "
            "which your peers will not know",
        )
    if has_seed and size is None:
        raise StartError(
            f"{database} is missing: the networks, peers and messages of this identity",
            f"put it back from a backup; or, to begin without them: touch {database}",
        )


def _make_room(database: Path) -> None:
    """An empty file in the place of the database; an empty one is no lost one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(database, flags, 0o600)
    try:
        if os.fstat(descriptor).st_size == 0:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _read_seed(path: Path) -> bytes | None:
    """The seed; None when there is no file of that name."""
    try:
        # O_NONBLOCK: opening a FIFO of that name must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _not_a_file(path) from error
        raise
    try:
        _check_file(path, os.fstat(descriptor))
        return os.read(descriptor, SEED_BYTES)
    finally:
        os.close(descriptor)


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _not_a_file(path)
    if found.st_uid != os.geteuid():
        raise StartError(
            f"{path}: belongs to user id {found.st_uid}, natd runs as {os.geteuid()}",
            "run natd as its owner, or give it another --state-dir",
        )
    if found.st_mode & 0o077:
        raise StartError(
            f"{path}: others have access to our identity (mode {stat.S_IMODE(found.st_mode):04o})",
            f"if no one else had access to it: chmod 600 {path}",
        )
    if found.st_size != SEED_BYTES:
        raise StartError(
            f"{path}: {found.st_size} bytes; an identity has {SEED_BYTES}",
            "restore it from a backup; moving it away makes a new identity, "
            "which your peers will not know",
        )


def _not_a_file(path: Path) -> StartError:
    return StartError(f"{path}: not a regular file", "move it away, or put the identity there")


def _create_seed(path: Path) -> None:
    """Make the file.  When another process is quicker, its file stays and ours goes."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(secrets.token_bytes(SEED_BYTES))
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path, follow_symlinks=False)
    finally:
        temporary.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """The name is on disk, too: without it the file is lost with the power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
