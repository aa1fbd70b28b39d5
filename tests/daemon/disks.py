"""Disks that fill up, freeze or go away, for daemons to keep their state on."""

import contextlib
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.processes import Daemon

MIB = 1 << 20

EXT4_IOC_SHUTDOWN = 0x8004587D


@contextlib.contextmanager
def tmpfs(place: Path, size: str = "16m") -> Iterator[Path]:
    """A file system in memory; its root is private."""
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", place)
    try:
        yield place
    finally:
        run("umount", "--lazy", place)


def remount(place: Path, options: str) -> None:
    run("mount", "-o", f"remount,{options}", place)


@contextlib.contextmanager
def ext4(directory: Path) -> Iterator[Path]:
    """A file system in a file, which can be frozen."""
    image, place = directory / "image", directory / "disk"
    with image.open("wb") as file:
        file.truncate(32 * MIB)
    run("mkfs.ext4", "-q", "-O", "^has_journal", image)
    place.mkdir()
    run("mount", "-o", "loop", image, place)
    place.chmod(0o700)
    try:
        yield place
    finally:
        run("umount", "--lazy", place)


def shut_down(place: Path) -> None:
    """From now on each writing there is an error, as with a disk that has died (ext4's
    EXT4_IOC_SHUTDOWN)."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", 2))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def frozen(place: Path) -> Iterator[None]:
    """Nothing can be written there meanwhile, and who tries waits."""
    run("fsfreeze", "--freeze", place)
    try:
        yield
    finally:
        run("fsfreeze", "--unfreeze", place)


def problems(daemon: Daemon) -> dict[str, str]:
    """Code and text of each problem that `status` names."""
    return {row["code"]: row["text"] for row in daemon.request("status")["problems"]}


def run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    assert done.returncode == 0, (command, done.stderr.decode(errors="replace"))
