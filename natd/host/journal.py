"""Log lines on stderr: with a time for people, with a priority prefix for journald.

Under systemd the journal stamps each line itself and reads `<4>` at its start as the priority
(sd-daemon(3)); $JOURNAL_STREAM says that stderr is the journal (systemd.exec(5)).

A message is one line, whatever a peer, a server or a router wrote that is quoted in it: it is made
harmless here, and only the lines of a traceback follow it.
"""

import logging
import os
import sys
from typing import Any

from natd.ipc.terminal_text import printable, printable_lines

JOURNAL_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
"""syslog(3)'s numbers."""

DEFAULT_PRIORITY = 6


class _Formatter(logging.Formatter):
    """Quotes nothing raw."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(printable_lines(super().formatException(ei)))


class JournalFormatter(_Formatter):
    """Every line of a record gets the prefix, a traceback's too."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{JOURNAL_PRIORITIES.get(record.levelno, DEFAULT_PRIORITY)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


def start_logging(level: str) -> None:
    """Log to stderr from `level` (`debug`, `info`, ...) on; again only changes the level."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    if any(isinstance(handler.formatter, _FORMATTERS) for handler in root.handlers):
        return
    handler = logging.StreamHandler(sys.stderr)
    if stderr_is_journal():
        handler.setFormatter(JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)-7s %(message)s"))
    root.addHandler(handler)
    # asyncio tells at debug level which selector it chose, and other things that no one asked.
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class PlainFormatter(_Formatter):
    """For a terminal or a file."""


_FORMATTERS = (JournalFormatter, PlainFormatter)


def stderr_is_journal() -> bool:
    """Whether what we write to stderr goes to journald directly."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"
