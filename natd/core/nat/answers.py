"""Who has answered us by UDP in the last minute: what shows that UDP gets through.

Every answer to a question of ours counts: of a server, of a STUN server, of a peer to a check; and
whatever comes by a path in use, for of two idle ends one checks and the other only answers.  An
older one shows nothing: a router may stop UDP at any time, and servers die.
"""

from collections.abc import Collection

from natd.core.base.scope import is_public

ANSWER_LIFETIME_S = 60.0
"""Longer than servers and peers in use are silent, and short enough to be true."""

TOGETHER_S = 2.0
"""Answers within this time tell of one moment."""

HOSTS_KEPT = 512


class Answers:
    """See the top of this file."""

    def __init__(self) -> None:
        self._heard_at: dict[str, float] = {}

    def heard(self, host: str, now: float) -> None:
        """An answer has come from this host."""
        self._heard_at.pop(host, None)
        self._heard_at[host] = now
        if len(self._heard_at) > HOSTS_KEPT:
            del self._heard_at[next(iter(self._heard_at))]

    def other_than(self, silent: Collection[str], now: float) -> str | None:
        """A host that has answered lately, none of `silent`, which don't answer; None: nobody.

        This machine, or one on our LAN, shows nothing of the way to servers on the internet, and
        what came no later than their own last answer nothing of what has happened since.
        """
        near = any(not is_public(host) for host in silent)
        last_at = max(
            (self._heard_at.get(host, float("-inf")) for host in silent), default=float("-inf")
        )
        since = max(now - ANSWER_LIFETIME_S, last_at + TOGETHER_S)
        for host, heard_at in reversed(self._heard_at.items()):
            if heard_at < since:
                break
            if host not in silent and (near or is_public(host)):
                return host
        return None
