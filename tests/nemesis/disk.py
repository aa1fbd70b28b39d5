"""A member's state directory in the virtual internet."""

import os
import shutil
from pathlib import Path

from natd.storage.identity import IDENTITY_FILE
from natd.storage.store import FILE_NAME

_LEFTOVERS = ("-wal", "-shm")


class Disk:
    """A state directory, of which copies can be made and put back."""

    def __init__(self, directory: Path, seed: bytes) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700)
        key = directory / IDENTITY_FILE
        key.touch(mode=0o600)
        key.write_bytes(seed)
        (directory / FILE_NAME).touch(mode=0o600)

    @property
    def _files(self) -> tuple[Path, Path]:
        file = self.directory / FILE_NAME
        return file, file.with_name(file.name + "-wal")

    def copy(self) -> tuple[bytes, bytes]:
        """The database and its log of what is not in it yet."""
        file, log = self._files
        return file.read_bytes(), log.read_bytes() if log.exists() else b""

    def put_back(self, copy: tuple[bytes, bytes]) -> None:
        """Nobody has it open."""
        file, log = self._files
        for ending in _LEFTOVERS:
            file.with_name(file.name + ending).unlink(missing_ok=True)
        for path, data in zip((file, log), copy, strict=True):
            if data or path == file:
                path.touch(mode=0o600)
                path.write_bytes(data)


def copy_directory(disk: Disk, to: Path) -> Disk:
    """Another disk with the same files, as they are at this moment."""
    copied = Disk.__new__(Disk)
    copied.directory = to
    to.mkdir(mode=0o700)
    shutil.copy2(disk.directory / IDENTITY_FILE, to / IDENTITY_FILE)
    os.chmod(to / IDENTITY_FILE, 0o600)
    copied.put_back(disk.copy())
    return copied
