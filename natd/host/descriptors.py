"""How many files this process may have open, and who gets how many of them.

    left at the start ─► 36 for ourselves ─► half of the rest, if so many are wanted: connections
                                        └──► the others: helper sockets for hard NATs

The usual soft limit of 1,024 is for programs that use select(2); a daemon whose clients leak
connections reaches it.  The hard limit is the administrator's, and stays.
"""

import contextlib
import errno
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass

from natd.host.errors import StartError

ENOUGH_DESCRIPTORS = 65536
"""More than sockets of peers and clients ever take; a table of millions costs memory."""

OWN_DESCRIPTORS = 36
"""A daemon has some fifteen open, and six more where it looks for members on its link and asks the
router; the others are opened for a moment, to look up a name or search the history."""

LEAST_DESCRIPTORS = OWN_DESCRIPTORS + 12
"""With fewer there is hardly room for programs and helper sockets."""

SHORTAGE_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What the system says when there is nothing left, of ours or of its own: it may be otherwise in a
moment, so nothing follows from it."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Who may have how many descriptors open."""

    limit: int
    connections: int
    helper_sockets: int
    lacks_connections: bool
    """Whether there are fewer than were asked for."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit as far as the hard one allows; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return ENOUGH_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def require_descriptors(limit: int, count: int) -> int:
    """How many are left of the limit; StartError where there are fewer than `count`."""
    left = descriptors_left(limit)
    if left < count:
        raise StartError(
            f"natd may open only {max(left, 0)} files here, and needs {count}",
            "start it with a higher limit: `ulimit -n 1024`, or LimitNOFILE= of its service",
        )
    return left


def share_descriptors(limit: int, left: int, connections: int) -> Shares:
    """The shares of a daemon that may open `left` more files, LEAST_DESCRIPTORS or more, and to
    which so many `connections` may be made, if there is room."""
    free = left - OWN_DESCRIPTORS
    granted = min(connections, free // 2)
    return Shares(limit, granted, free - granted, granted < connections)


def is_shortage(error: OSError) -> bool:
    return error.errno in SHORTAGE_ERRNOS


@contextlib.contextmanager
def passing_over_refusals() -> Iterator[None]:
    """OSError ends the block and no more; one that tells of a shortage goes on, since what can't be
    looked at for lack of a descriptor may be there all the same."""
    try:
        yield
    except OSError as error:
        if is_shortage(error):
            raise


def descriptors_left(limit: int) -> int:
    """How many more could be opened now; 0 as well where that can't be told for lack of one."""
    try:
        return limit - len(os.listdir("/proc/self/fd")) + 1
    except OSError as error:
        return 0 if is_shortage(error) else limit
