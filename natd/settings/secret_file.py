"""The file that holds a network's secret.

A file that somebody else can read is refused, with the command that mends it: a secret that
leaked keeps nobody out.  The text is never put into an error, a log line or `repr`.
"""

import os
import pwd
import stat
from pathlib import Path

from natd.host.errors import ConfigError

SECRET_LIMIT_BYTES = 4096
"""More than any passphrase: a larger file is not a secret."""


def read_secret_file(path: Path) -> str:
    """The secret's text without the white space around it.

    ConfigError when the file is absent, not ours, open to others, too large, empty or no text.
    """
    place = str(path)
    try:
        # Not blocking, so that a named pipe in its place can't hold the daemon up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigError("there is no such secret file", file=place) from None
    except PermissionError:
        text = f"user {_user()} may not read this secret file: chown {_user()} it"
        raise ConfigError(text, file=place) from None
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", file=place) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError("expected a regular file with a secret in it", file=place)
        if found.st_uid not in (os.geteuid(), 0):
            text = f"a secret file must belong to {_user()} or root: chown {_user()} it"
            raise ConfigError(text, file=place)
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            text = f"a secret file must be readable by its owner only, its mode is {mode:04o}"
            raise ConfigError(f"{text}: chmod 600 it", file=place)
        data = os.read(descriptor, SECRET_LIMIT_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > SECRET_LIMIT_BYTES:
        raise ConfigError(f"expected at most {SECRET_LIMIT_BYTES} bytes", file=place)
    try:
        secret = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigError("expected a secret as UTF-8 text", file=place) from None
    if not secret:
        raise ConfigError("a secret file must not be empty: write a secret into it", file=place)
    return secret


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
