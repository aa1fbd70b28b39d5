"""The promises of natd, each with the tests that show it, and what was measured.

    python -m tests.promises            # the long versions: an hour and more
    python -m tests.promises --short    # as `make test` runs them
    python -m tests.promises --only quota
    python -m tests.promises --write    # put the tables into tests/README.md

Every promise is shown by tests of the suite.  Where a figure is asked for that takes long, the
test asks `scaled(short, long)` how much it shall do, and tells by the fixture `measured` what
came out.
"""

import os

LONG = "NATD_LONG"
"""Set to 1, each promise is shown at its full length."""

MEASURED = "NATD_MEASURED"
"""The file into which tests write what they have measured."""


def scaled(short: int, full: int) -> int:
    """How much a test shall do: in the suite, or by `python -m tests.promises`."""
    return full if os.environ.get(LONG) == "1" else short
