"""A verdict: why there is no path, as a code for programs and one sentence for people.

    Verdict(code, why, helps) ─► text

Which verdict it is between two peers is judged in `natd/core/peer/judgement.py`; which it is where
no server has us on its list, at the end of this file.

Rules:
- A code is never renamed or reused: tests and programs compare it.
- The sentences are read by people who have never heard of NAT: they speak of routers.
"""

from dataclasses import dataclass
from enum import StrEnum


class VerdictCode(StrEnum):
    """What is in the way."""

    BLOCKED_HERE = "blocked-here"
    """The user has blocked this peer."""
    LEFT = "left"
    """The peer said goodbye."""
    NOT_REGISTERED = "not-registered"
    """Our servers answer, and none has the peer on its list."""
    OFFLINE = "offline"
    """No packet can leave this machine."""
    UDP_BLOCKED = "udp-blocked"
    """No server answers, and nobody else has in the last minute."""
    NO_SERVER = "no-server"
    """No server answers, though another host has in the last minute."""
    OTHER_VERSION = "other-version"
    """The servers speak an older or a newer protocol."""
    SERVER_REFUSES = "server-refuses"
    """The servers answer, and none lets us register."""
    MOVED = "moved"
    """No server answers, and the peer no longer does where it did."""
    NO_COMMON_FAMILY = "no-common-family"
    """One side has IPv4 only, the other IPv6 only."""
    PEER_FULL = "peer-full"
    """The peer says that it has no place for one more, and nothing of it is heard."""
    NETWORK_FULL = "network-full"
    """We have no place for one more, and have just turned somebody away."""
    PEER_FIREWALL = "peer-firewall"
    """The peer's packets arrive here, and ours do not get through to it."""
    SERVER_SEES_PRIVATE = "server-sees-private"
    """The server sees one side, or both, at an address that means nothing elsewhere."""
    NO_HAIRPIN = "no-hairpin"
    """Both are seen at one public address, which does not send back inside."""
    BOTH_RANDOM = "both-random"
    SEQUENTIAL_RANDOM = "sequential-random"
    BLOCK_RANDOM = "block-random"
    """Two NATs that can't be connected: the ports of one, or of both, are drawn from all 65,536."""
    PERHAPS_BOTH_RANDOM = "perhaps-both-random"
    """The same, as far as a single server can tell."""
    BLOCKS_SPARED = "blocks-spared"
    """Two NATs that meet only if one fills its block of ports, which its configuration forbids."""
    NOT_PROVED = "not-proved"
    """A NAT whose port must be guessed, and no server has proved that the peer is behind it."""
    PATH_TOO_NARROW = "path-too-narrow"
    """Small packets reach the peer, and those of a session's size don't."""
    GUESS_MISSED = "guess-missed"
    """Ports were guessed, and none was the right one yet."""
    GUESSES_USED_UP = "guesses-used-up"
    """Ports must be guessed, and this hour's guesses went to other hosts."""
    SILENT = "silent"
    """Nothing of the peer's arrives, and neither NAT explains it."""


class Help(StrEnum):
    """What would help; a word for programs."""

    PORT_MAPPING = "port-mapping"
    INNER_PORT_MAPPING = "inner-port-mapping"
    FORWARDED_PORT = "forwarded-port"
    IPV6 = "ipv6"
    SAME_LAN = "same-lan"
    PUBLIC_ADDRESS = "public-address"
    PUBLIC_SERVER = "public-server"
    STUN_SERVER = "stun-server"
    FILL_BLOCKS = "fill-blocks"
    NETWORK = "network"
    FIREWALL = "firewall"
    SERVER = "server"
    START_PEER = "start-peer"
    UNBLOCK = "unblock"
    LARGER_MTU = "larger-mtu"
    UPDATE = "update"
    MORE_PLACES = "more-places"


_HELP_WORDS = {
    Help.PORT_MAPPING: "UPnP on one of the two routers",
    Help.INNER_PORT_MAPPING: "UPnP on the home router of one side",
    Help.FORWARDED_PORT: "a UDP port forwarded to one of the two machines",
    Help.IPV6: "IPv6 on both sides",
    Help.SAME_LAN: "being on the same LAN",
    Help.PUBLIC_ADDRESS: "a public IPv4 address from the provider",
    Help.PUBLIC_SERVER: "a public address for the server",
    Help.STUN_SERVER: "a STUN server in the configuration",
    Help.FILL_BLOCKS: "paths.fill_blocks: full on both sides",
    Help.NETWORK: "a cable or Wi-Fi",
    Help.FIREWALL: "a firewall that lets UDP through",
    Help.SERVER: "a server that runs",
    Help.START_PEER: "starting natd there",
    Help.UNBLOCK: "unblocking it",
    Help.LARGER_MTU: "a larger MTU of the tunnel or the router on the way",
    Help.UPDATE: "the same version of natd on both sides",
    Help.MORE_PLACES: "a higher limits.peers_per_network there",
}


OFFLINE = "this machine is offline"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why there is no path."""

    code: VerdictCode
    why: str
    """For people, without what would help; no full stop."""
    helps: tuple[Help, ...] = ()
    """Most likely first."""
    advice: str = ""
    """What to do, where that is said better than by naming what would help."""

    @property
    def is_narrow(self) -> bool:
        return self.code is VerdictCode.PATH_TOO_NARROW

    @property
    def text(self) -> str:
        """One sentence for people: why, and what would help."""
        if self.advice:
            return f"{self.why}; {self.advice}"
        if not self.helps:
            return self.why
        *others, last = [_HELP_WORDS[each] for each in self.helps]
        listed = f"{', '.join(others)} or {last}" if others else last
        return f"{self.why}; {listed} would help"


def judge_servers(
    *,
    udp_works: bool,
    is_offline: bool = False,
    family_missing: str | None = None,
    refusal: Verdict | None = None,
) -> Verdict:
    """Why no server has us on its list; `udp_works`: whether another host has answered in the last
    minute; `family_missing`: the only family of the servers, if we lack it; `refusal`: why one that
    answers does not."""
    if is_offline:
        return Verdict(VerdictCode.OFFLINE, OFFLINE, (Help.NETWORK,))
    if family_missing is not None:
        lacks_ipv6 = family_missing == "IPv6"
        return Verdict(
            VerdictCode.NO_COMMON_FAMILY,
            f"the server has only {family_missing} addresses, and this machine has none",
            (Help.IPV6,) if lacks_ipv6 else (),
            "" if lacks_ipv6 else "give the server an IPv6 address, or use another server",
        )
    if refusal is not None:
        return refusal
    if udp_works:
        return Verdict(
            VerdictCode.NO_SERVER,
            "no server answers, although UDP works here: the servers are down, or their address "
            "is wrong",
            (Help.SERVER,),
        )
    return Verdict(
        VerdictCode.UDP_BLOCKED,
        "nothing answers by UDP: a firewall here or this network blocks it, or all servers are "
        "down",
        (Help.FIREWALL, Help.SERVER),
    )
