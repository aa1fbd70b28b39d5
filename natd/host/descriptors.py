"""How many files this process may have open.

The usual soft limit of 1,024 is for programs that use select(2); a daemon whose clients leak
connections reaches it.  The hard limit is the administrator's, and stays.
"""

import resource

ENOUGH_DESCRIPTORS = 65536
"""More than sockets of peers and clients ever take; a table of millions costs memory."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit as far as the hard one allows; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
