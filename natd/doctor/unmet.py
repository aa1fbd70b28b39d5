"""What `doctor` says of a peer that was never met: only a server, or that peer, could tell of it.

    the answer about this machine ─► the same, with what is known of the peer

It is asked by who waits for a friend, so it says what the friend has to do, too.
"""

from natd.core.base.verdict import Help, Verdict, VerdictCode
from natd.doctor.rows import Row, check, sentence

NOBODY = "nobody has been met yet"


def with_unmet(own: Row, name: str, silence: Verdict, summary: str) -> Row:
    """`silence`: why no server can be asked."""
    return _with_check(own, name, "see below") | {
        "summary": summary,
        "verdict": f"natd has never met {name}, so only a server could tell where it is. "
        f"{sentence(silence.why)}",
        "verdict_code": str(silence.code),
        "why": silence.why,
    }


def with_absent(own: Row, name: str, network: str, known: str, *, has_server: bool) -> Row:
    """The server answers, or there is none to ask; `known`: the peers that were met."""
    others = f"peers known here: {known}" if known else NOBODY
    where = "" if has_server else "it is not on this LAN, "
    needed = "name, server and secret" if has_server else "name and secret"
    why = (
        f"nobody called {name} has been met in {network}: natd does not run there, {where}"
        f"or it has joined another network; {needed} must be the same on both sides"
    )
    return _with_check(own, name, others) | {
        "summary": f"natd has never met {name}: ask whether it runs there, and what it has joined.",
        "verdict": sentence(why),
        "verdict_code": str(VerdictCode.NOT_REGISTERED) if has_server else None,
        "why": why,
    }


HELPS = (Help.START_PEER,)
"""Where our own side is well."""


def _with_check(own: Row, name: str, hint: str) -> Row:
    checks = [*own["checks"], check("peer", False, f"natd has never met {name}", hint)]
    return {**own, "checks": checks, "peer": None, "path": None}
