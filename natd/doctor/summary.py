"""The first sentence of `doctor`: how things are, for somebody who has never heard of NAT.

It says no more than the verdict below it, in everyday words; programs read the code instead.
"""

from natd.core.base.types import Allocation, NatReport
from natd.core.base.verdict import Verdict, VerdictCode

OWN = {
    VerdictCode.OFFLINE: "This computer is offline.",
    VerdictCode.UDP_BLOCKED: (
        "Nothing answers this computer: the server does not run, or your router or network lets "
        "nothing but the web through."
    ),
    VerdictCode.NO_SERVER: "Your computer is connected, but the server that natd needs is silent.",
    VerdictCode.OTHER_VERSION: (
        "This computer and the server that natd needs have different versions of natd."
    ),
    VerdictCode.SERVER_REFUSES: (
        "The server that natd needs refuses this computer; see below what it says."
    ),
}
"""What is wrong on our own side, whomever we want to reach."""

IDENTITY_TWICE = "Another computer seems to use this one's identity."

NARROW_HERE = "The way out of this computer lets only small pieces through, too small for natd."

FIREWALL_HERE = "This computer's own firewall stops natd."

TOWARDS_A_PEER = {
    VerdictCode.SERVER_SEES_PRIVATE: (
        "The server does not see where on the internet you or {peer} are, so it can't bring you "
        "together."
    ),
    VerdictCode.BLOCKED_HERE: "You have blocked {peer}.",
    VerdictCode.LEFT: "{peer} has left, or stopped natd.",
    VerdictCode.MOVED: (
        "{peer} no longer answers where it did, and the server that could tell why is silent."
    ),
    VerdictCode.NOT_REGISTERED: (
        "{peer} is not there: natd does not run on that computer, or something there stops it."
    ),
    VerdictCode.NOT_PROVED: (
        "The way to {peer} has to be guessed, and natd guesses only where a server says that "
        "somebody is there."
    ),
    VerdictCode.BLOCKS_SPARED: (
        "You and {peer} can be connected only if natd may use up more of your router, which your "
        "settings forbid."
    ),
    VerdictCode.PEER_FULL: "{peer} has no place for one more in this network.",
    VerdictCode.PEER_FIREWALL: (
        "You hear {peer}, but something on the other side stops what you send."
    ),
    VerdictCode.NO_HAIRPIN: (
        "You and {peer} share one internet connection, and its router does not connect the two of "
        "you."
    ),
    VerdictCode.PATH_TOO_NARROW: (
        "The way to {peer} lets only small pieces through, too small for a conversation."
    ),
    VerdictCode.NO_COMMON_FAMILY: "You and {peer} use two kinds of internet that don't meet.",
}

_CANT_MEET = {
    VerdictCode.BOTH_RANDOM,
    VerdictCode.SEQUENTIAL_RANDOM,
    VerdictCode.BLOCK_RANDOM,
    VerdictCode.PERHAPS_BOTH_RANDOM,
}

_CARRIER = (Allocation.BLOCK, Allocation.RANDOM)
"""How mobile carriers, which share an address among many, give out ports."""


def own_summary(
    found: Verdict | None, failed: list[str], networks: int, *, is_nameless: bool = False
) -> str:
    """About this machine; `failed`: the checks that did; `is_nameless`: no server's name is
    found."""
    if "identity" in failed and not (found is not None and found.code is VerdictCode.OFFLINE):
        return IDENTITY_TWICE
    if found is not None and found.code in OWN:
        return OWN[found.code]
    if found is not None and found.code is VerdictCode.PATH_TOO_NARROW:
        return NARROW_HERE
    for check, words in (
        ("socket", FIREWALL_HERE),
        ("width", NARROW_HERE),
        ("store", "This computer's disk takes nothing more from natd."),
    ):
        if check in failed:
            return words
    if found is not None and found.code is VerdictCode.SERVER_SEES_PRIVATE:
        return (
            "The server does not see where on the internet this computer is, so nobody elsewhere "
            "can find it."
        )
    if is_nameless:
        return (
            "The server that natd needs is not found by its name: the name is misspelt, or this "
            "computer's internet does not work."
        )
    if not networks:
        return "natd runs, and has joined no network yet."
    if failed == ["nat"]:
        return "All works, but your router makes it hard to reach some people."
    return "Something does not work; see below." if failed else "All works on this computer."


def peer_summary(
    name: str,
    found: Verdict | None,
    nats: tuple[NatReport, NatReport] | None,
    *,
    online: bool,
    has_path: bool = False,
) -> str:
    """About the way to a peer; `nats`: ours and the peer's, None where nothing is known.
    `has_path`: checks get through, also while no session does."""
    if online:
        return f"You and {name} are connected directly."
    if found is None and has_path:
        return f"There is a way to {name}, and the two sides are agreeing on keys."
    if found is None:
        return f"natd has not found a way to {name} yet."
    if found.code in OWN:
        return OWN[found.code]
    if found.code in TOWARDS_A_PEER:
        return TOWARDS_A_PEER[found.code].format(peer=name)
    if found.code in _CANT_MEET:
        carriers = nats is not None and all(
            nat.is_hard and nat.allocation in _CARRIER for nat in nats
        )
        kind = "a mobile carrier, or a router like one" if carriers else "a difficult router"
        are = "both seem to be" if found.code is VerdictCode.PERHAPS_BOTH_RANDOM else "are both"
        return f"You and {name} {are} behind {kind}; two such can hardly be connected directly."
    if found.code is VerdictCode.GUESSES_USED_UP:
        return f"The way to {name} has to be guessed, and natd waits until it may guess again."
    if found.code is VerdictCode.GUESS_MISSED:
        return f"The way to {name} has to be guessed, and natd goes on guessing."
    return f"Nothing from {name} arrives here."
