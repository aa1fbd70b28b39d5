"""What `doctor` says of a peer that was never met: only a server, or that peer, could tell of it.

    the answer about this machine ─► the same, with what is known of the peer

It is asked by who waits for a friend, so it says what the friend has to do, too.
"""

from collections.abc import Iterable

from natd.core.base.verdict import Help, VerdictCode
from natd.doctor.rows import NAMES_SHOWN, Row, check, sentence

NOBODY = "nobody has been met yet"


def with_unmet(own: Row, name: str, why: str, code: VerdictCode | None, summary: str) -> Row:
    """`why` no server can be asked, and its code if it has one."""
    return _with_check(own, name, "see below") | {
        "summary": summary,
        "verdict": f"natd has never met {name}, so only a server could tell where it is; {why}.",
        "verdict_code": code and str(code),
        "why": why,
    }


def with_absent(
    own: Row, name: str, network: str, known: Iterable[str], *, has_server: bool
) -> Row:
    """The server answers, or there is none to ask; `known`: the peers that were met."""
    names = ", ".join(sorted(known)[:NAMES_SHOWN])
    others = f"peers known here: {names}" if names else NOBODY
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
