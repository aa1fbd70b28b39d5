"""Which verdict it is when there is no path to a peer.

    findings ─► judge ─► Verdict

Rules:
- The first that explains the failure is told: that we block the peer, then what is true of our own
  side (no way out, no server answers or lets us in), then what is true of the peer (gone, not
  registered), then what was heard, then where the servers see both, then what the two NATs do.  So
  nobody reconfigures a router for a peer that is switched off.
- Only what was seen is claimed; what follows from the word of one server is told as *seems*.
- Help is named only where it would help: no port mapping where there is one, no IPv6 where both
  sides have it and fail all the same.
"""

from dataclasses import dataclass, field

from natd.core.base.scope import is_public
from natd.core.base.types import Allocation, Mapping, NatReport
from natd.core.base.verdict import Help, Verdict, VerdictCode, judge_servers

TOLD_FROM = 0.5
"""From this confidence on people are told how a router picks its ports."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of both ends when there is no path between them."""

    ours: NatReport = field(default_factory=NatReport)
    theirs: NatReport = field(default_factory=NatReport)
    our_hosts: frozenset[str] = frozenset()
    """The addresses at which servers see us; `their_hosts`: at which they see the peer."""
    their_hosts: frozenset[str] = frozenset()
    server_hosts: frozenset[str] = frozenset()
    """Where our servers are."""
    is_translated: bool = False
    """Whether servers see us at none of our own interfaces' addresses."""
    meets_inside: bool = False
    """Whether another peer of this network is connected at a private address: a LAN is enough."""
    heard: bool = False
    """Whether anything of the peer's has arrived in this attempt."""
    we_are_mapped: bool = False
    """Whether a router maps a port to us, or to the peer."""
    they_are_mapped: bool = False
    behind_carrier: bool = False
    """Whether the router that maps our port has no public address itself."""
    both_have_ipv6: bool = False
    may_guess: bool = True
    """Whether the peer is surely where it is said to be, so that it may get more than plain
    checks."""
    lacks_place: bool = False
    """Whether other hosts have used up the guesses of this hour."""
    spares_blocks: bool = False
    """Whether our own block of ports may not be filled."""
    servers_are_silent: bool = False
    """Whether all servers have been asked for long enough, none answers, and no other peer has
    introduced this one since."""
    refusal: Verdict | None = None
    """Why servers that answer don't have us on their list, where that keeps us from the peer."""
    is_offline: bool = False
    """Whether no packet can leave this machine."""
    family_missing: str | None = None
    """The only family of the servers' addresses, if this machine lacks it."""
    was_lost: bool = False
    """Whether a path to the peer fell silent, and it was not online since."""
    udp_works: bool = True
    """Whether another server or peer has answered us lately."""
    is_alive: bool = False
    """Whether the peer itself was surely at a server in the last seconds."""
    is_listed: bool = True
    """False: our server answers, and does not have the peer on its list."""
    has_left: bool = False
    is_full: bool = False
    """Whether the peer's card says that it has no place for newcomers."""
    is_blocked: bool = False


def judge(found: Findings) -> Verdict:
    """The first thing that explains why there is no path."""
    if found.is_blocked:
        return Verdict(VerdictCode.BLOCKED_HERE, "you have blocked this peer", (Help.UNBLOCK,))
    if found.servers_are_silent or found.is_offline:
        may_be_there = not (found.is_offline or found.has_left)
        if found.was_lost and may_be_there and not found.heard:
            return _judge_moved(found)
        return judge_servers(
            udp_works=found.udp_works,
            is_offline=found.is_offline,
            family_missing=found.family_missing,
        )
    if found.refusal is not None and not (found.heard or found.has_left):
        return found.refusal
    if found.has_left:
        return Verdict(
            VerdictCode.LEFT,
            "the peer has left the network, or its natd was stopped",
            (Help.START_PEER,),
        )
    if not found.is_listed:
        return Verdict(
            VerdictCode.NOT_REGISTERED,
            "the server does not know the peer: natd is not running there, or its network blocks "
            "UDP",
            (Help.START_PEER, Help.FIREWALL),
        )
    if found.heard:
        return Verdict(
            VerdictCode.PEER_FIREWALL,
            "the peer's packets arrive here but yours do not reach it: its router or a firewall "
            "there refuses them",
            (Help.FIREWALL, *_usual(found)),
        )
    if found.is_full and not found.was_lost:
        return Verdict(
            VerdictCode.PEER_FULL,
            "the peer lets nobody else in: it says that all places which it has for this network "
            "are taken",
            (Help.MORE_PLACES,),
        )
    if found.our_hosts and found.their_hosts:
        if (blind := _judge_server(found)) is not None:
            return blind
        if any(map(is_public, found.our_hosts & found.their_hosts)):
            return _judge_neighbours(found)
        if not _families(found.our_hosts) & _families(found.their_hosts):
            return Verdict(
                VerdictCode.NO_COMMON_FAMILY,
                "one side has only IPv4 and the other only IPv6",
                (Help.IPV6,),
            )
    return _judge_nats(found)


def _judge_moved(found: Findings) -> Verdict:
    """Where nothing else answers either, this network may have begun to block UDP."""
    blocks = "" if found.udp_works else "this network blocks UDP, "
    return Verdict(
        VerdictCode.MOVED,
        f"no server answers, and the peer no longer answers where it did: {blocks}it has gone "
        "offline, or the routers of both sides have restarted and use other ports, which only a "
        "server could tell",
        (Help.SERVER, Help.START_PEER, *(() if found.udp_works else (Help.FIREWALL,))),
    )


def _judge_server(found: Findings) -> Verdict | None:
    """Whether a server sees too little of one side.  Of two sides inside, both may be in the
    server's own network, where nothing is wrong with that."""
    [we_are_inside, they_are_inside] = (
        not any(map(is_public, hosts)) for hosts in (found.our_hosts, found.their_hosts)
    )
    shared = found.our_hosts & found.their_hosts
    if found.is_translated and shared & found.server_hosts and not found.meets_inside:
        we_are_inside = True  # a balancer, or our own router: the server sees its own address
    elif we_are_inside and they_are_inside:
        if found.meets_inside or not (shared or found.is_translated):
            return None
    elif not we_are_inside and not they_are_inside:
        return None
    seen, whose = ("you", "your") if we_are_inside else ("the peer", "the peer's")
    host = min(found.our_hosts if we_are_inside else found.their_hosts)
    there = "" if we_are_inside else " there"
    return Verdict(
        VerdictCode.SERVER_SEES_PRIVATE,
        f"the server sees {seen} at {host}: it stands behind a proxy or in {whose} own network",
        (Help.PUBLIC_SERVER, Help.STUN_SERVER),
        advice=f"give it a public address, or name a STUN server{there}",
    )


def judge_width(*, is_ipv6: bool) -> Verdict:
    """Why there is no session on a path that carries checks: QUIC's datagrams have 1,200 bytes
    (RFC 9000, section 14), and the headers of UDP and IP are added to them."""
    size = 1_248 if is_ipv6 else 1_228
    return Verdict(
        VerdictCode.PATH_TOO_NARROW,
        f"the path to the peer carries no packets of {size:,} bytes, which natd needs: smaller "
        "ones arrive",
        (Help.LARGER_MTU,),
    )


def _judge_neighbours(found: Findings) -> Verdict:
    host = min(filter(is_public, found.our_hosts & found.their_hosts))
    return Verdict(
        VerdictCode.NO_HAIRPIN,
        f"both sides share the public address {host}: its router does not connect machines behind "
        "it, and no local address answers",
        (Help.INNER_PORT_MAPPING, Help.SAME_LAN, *_ipv6(found)),
    )


def _judge_nats(found: Findings) -> Verdict:
    ours, theirs = found.ours, found.theirs
    if ours.is_hard and theirs.is_hard:
        return _judge_two_hard(found)
    if (ours.is_hard and theirs.may_be_hard) or (ours.may_be_hard and theirs.is_hard):
        if found.may_guess and Allocation.SEQUENTIAL not in (ours.allocation, theirs.allocation):
            return _perhaps_both_random(found)
        return _judge_guess(found)
    if ours.may_be_hard and theirs.may_be_hard:
        return _perhaps_both_random(found)
    either_is_hard = ours.is_hard or theirs.is_hard
    either_may_be = not found.may_guess and (ours.may_be_hard or theirs.may_be_hard)
    if Mapping.INDEPENDENT in (ours.mapping, theirs.mapping) and (either_is_hard or either_may_be):
        return _judge_guess(found)
    if found.is_alive:
        return Verdict(
            VerdictCode.SILENT,
            "the peer was there a moment ago, but no packet from it arrives here: "
            f"{_unknown_nat(found)}a firewall between the two blocks UDP",
            (Help.FIREWALL, *_usual(found)),
        )
    return Verdict(
        VerdictCode.SILENT,
        f"no packet from the peer arrives here: it is offline, {_unknown_nat(found)}or a firewall "
        "between the two blocks UDP",
        (Help.START_PEER, Help.FIREWALL, *_usual(found)),
    )


def _unknown_nat(found: Findings) -> str:
    """With one hard NAT and one unknown NAT, the unknown one may be hard too."""
    for hard, other, unknown, known in (
        (found.ours, found.theirs, "the peer's router", "yours"),
        (found.theirs, found.ours, "your router", "the peer's"),
    ):
        if hard.is_hard and other.mapping is Mapping.UNKNOWN:
            why = f"{unknown}, which is not known yet, can't be connected with {known}, "
            return f"{why}or " if found.is_alive else f"or {why}"
    return ""


def _judge_two_hard(found: Findings) -> Verdict:
    kinds = {_kind(found.ours), _kind(found.theirs)}
    if Allocation.RANDOM in kinds:
        return _judge_hopeless(found, kinds)
    if not found.may_guess:
        return _judge_guess(found)
    if found.spares_blocks and _kind(found.ours) is Allocation.BLOCK:
        return Verdict(
            VerdictCode.BLOCKS_SPARED,
            "both routers use a different port for each destination, and the two can be connected "
            "only by using up your router's ports, which your configuration forbids "
            "(paths.fill_blocks: none)",
            (Help.FILL_BLOCKS, *_usual(found)),
        )
    if found.lacks_place:
        return _judge_guess(found)
    more = (Help.FILL_BLOCKS,) if Allocation.BLOCK in kinds else ()
    return Verdict(
        VerdictCode.GUESS_MISSED,
        "both routers use a different port for each destination, and natd has not guessed the "
        "right ones yet: that takes luck, and is tried again from time to time",
        (*more, *_usual(found)),
    )


def _judge_hopeless(found: Findings, kinds: set[Allocation]) -> Verdict:
    if kinds == {Allocation.RANDOM}:
        return Verdict(
            VerdictCode.BOTH_RANDOM,
            "both routers use a different port for each destination, picked at random, so neither "
            "side can tell the other where to send",
            _usual(found),
        )
    other, code = "counts its ports up", VerdictCode.SEQUENTIAL_RANDOM
    if Allocation.BLOCK in kinds:
        other, code = "picks them from a small block", VerdictCode.BLOCK_RANDOM
    ours_are_random = _kind(found.ours) is Allocation.RANDOM
    random, counted = ("yours", "the peer's") if ours_are_random else ("the peer's", "yours")
    return Verdict(
        code,
        f"both routers use a different port for each destination: {counted} {other}, but {random} "
        "picks at random from all ports, too many to guess",
        _usual(found),
    )


def _perhaps_both_random(found: Findings) -> Verdict:
    return Verdict(
        VerdictCode.PERHAPS_BOTH_RANDOM,
        "both routers seem to use a different port for each machine, so neither side can tell "
        f"the other where to send{_or_offline(found)}",
        _usual(found),
    )


def _judge_guess(found: Findings) -> Verdict:
    what = "them" if found.ours.is_hard and found.theirs.is_hard else "it"
    if found.ours.is_hard and found.theirs.is_hard:
        whose = "both routers use a different port for each destination"
    elif found.ours.is_hard:
        whose = "your router uses a different port for each destination"
    elif found.theirs.is_hard:
        whose = "the peer's router uses a different port for each destination"
    else:
        name = "your router" if found.ours.may_be_hard else "the peer's router"
        whose = f"{name} seems to use a different port for each machine"
    if not found.may_guess:
        return Verdict(
            VerdictCode.NOT_PROVED,
            f"{whose}, and guessing {what} takes more packets than natd sends where neither a "
            "server nor an answer of the last week shows that the peer is there",
            (Help.SERVER, *_usual(found)),
        )
    if found.lacks_place:
        return Verdict(
            VerdictCode.GUESSES_USED_UP,
            f"{whose}, and natd guesses ports at only a few hosts an hour that have never "
            "answered: other peers have used these up, and it goes on by itself within the hour",
            _usual(found),
        )
    return Verdict(
        VerdictCode.GUESS_MISSED,
        f"{whose}, and natd has not guessed the right one yet: that takes luck, and is tried again "
        f"from time to time{_or_offline(found)}",
        _usual(found),
    )


def _or_offline(found: Findings) -> str:
    return "" if found.is_alive else " (or the peer has just gone offline)"


def _kind(report: NatReport) -> Allocation:
    """How a hard NAT picks ports, as far as guessing them goes.  A few random ones may look
    like a sequence: what is likelier wrong than right is not told."""
    is_seen = report.allocation_confidence >= TOLD_FROM
    if is_seen and report.allocation in (Allocation.SEQUENTIAL, Allocation.BLOCK):
        return report.allocation
    return Allocation.RANDOM


def _usual(found: Findings) -> tuple[Help, ...]:
    """Help for two sides that are kept apart only by their NATs."""
    carrier = (Help.PUBLIC_ADDRESS,) if found.behind_carrier else ()
    mapping = () if found.we_are_mapped and found.they_are_mapped else (Help.PORT_MAPPING,)
    return (*mapping, Help.FORWARDED_PORT, *carrier, *_ipv6(found), Help.SAME_LAN)


def _ipv6(found: Findings) -> tuple[Help, ...]:
    return () if found.both_have_ipv6 else (Help.IPV6,)


def _families(hosts: frozenset[str]) -> set[bool]:
    return {":" in host for host in hosts}
