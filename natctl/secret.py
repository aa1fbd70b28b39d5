"""A network's secret, from a file or standard input; never from the command line, where every
process of the machine could read it."""

import os
import stat
import sys

from natd.ipc.errors import RequestError

SECRET_LIMIT_BYTES = 4096


def read_secret(source: str) -> str:
    """The text without the white space around it; RequestError when it can't be used."""
    if source == "-":
        return _checked(_standard_input(), "standard input")
    try:
        # Not blocking, so that a named pipe without a writer can't hold us up.
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(f"the secret file {source} can't be read: {error.strerror}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _refused(f"the secret file {source} is not a regular file")
    with open(descriptor, "rb") as stream:
        if mode & 0o077:
            raise _refused(
                f"the secret file {source} can be read by others: its mode is "
                f"{stat.S_IMODE(mode):04o}, expected 0600",
                f"chmod 600 {source}",
            )
        return _checked(stream.read(SECRET_LIMIT_BYTES + 1), source)


def _standard_input() -> bytes:
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass("Secret: ").encode("utf-8", "surrogateescape")
    return sys.stdin.buffer.read(SECRET_LIMIT_BYTES + 1)


def _checked(data: bytes, place: str) -> str:
    if len(data) > SECRET_LIMIT_BYTES:
        raise _refused(f"the secret in {place} is longer than {SECRET_LIMIT_BYTES} bytes")
    try:
        secret = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise _refused(f"the secret in {place} is not UTF-8 text") from None
    if not secret:
        raise _refused(f"the secret in {place} is empty", "leave --secret-file out for an open one")
    return secret


def _refused(text: str, hint: str | None = None) -> RequestError:
    return RequestError("secret_file", text, hint)
