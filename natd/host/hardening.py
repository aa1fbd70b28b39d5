"""What this process gives up at its start, as a service or by hand.

    core dumps         RLIMIT_CORE 0, which a file obeys, and PR_SET_DUMPABLE 0, which handlers such
                       as systemd-coredump obey, too: memory holds keys and messages
    being looked into  the same PR_SET_DUMPABLE: programs of the same user can't read its memory
                       or environment or trace it (ptrace(2), proc(5)); root can, by `py-spy` too
    new privileges     PR_SET_NO_NEW_PRIVS (prctl(2)): no program that it runs, and it runs none, is
                       set-user-ID

The units in `systemd/` ask for some of this; by hand, and from natctl, nobody does.

Rules:
- What the system refuses is told at debug level and keeps nobody from starting.
- Our own /proc/self stays readable to us, and /proc/PID/status to everybody.
"""

import logging
import os
import resource
import sys

logger = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
"""linux/prctl.h."""


def harden() -> None:
    """Before any secret is read."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        logger.debug("core dumps stay as they are: %s", error)
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        for option, value in ((_PR_SET_DUMPABLE, 0), (_PR_SET_NO_NEW_PRIVS, 1)):
            if libc.prctl(option, value, 0, 0, 0) != 0:
                logger.debug("prctl %d: %s", option, os.strerror(ctypes.get_errno()))
