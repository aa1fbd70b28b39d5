"""What a NAT does, as `status`, `peers` and `doctor` tell it: our own, or a peer's.

`router_words` is what everybody is shown, `nat_words` what `-v` adds:

    of the difficult kind: it uses a different port for each destination
    a different port for each destination; counts up by 2; 99 % sure
"""

from typing import Any, NamedTuple

from natd.core.base.types import SURE, Allocation, Filtering, Mapping, NatReport
from natd.members.recorder import nat_row


class Whose(NamedTuple):
    """The side that a NAT belongs to, in the sentences about it."""

    machine: str
    port: str
    have_sent: str


OURS = Whose("this machine", "our port number", "we have sent")
THEIRS = Whose("its machine", "its port number", "it has sent")

_MAPPING_WORDS = {
    Mapping.UNKNOWN: "not known yet",
    Mapping.OPEN: "none: {whose.machine} has a public address",
    Mapping.INDEPENDENT: "one port for all destinations",
    Mapping.ADDRESS_DEPENDENT: "a different port for each machine",
    Mapping.DEPENDENT: "a different port for each destination",
}

_ROUTER_WORDS = {
    Mapping.UNKNOWN: "not known yet",
    Mapping.OPEN: "none in the way: {whose.machine} has a public address",
    Mapping.INDEPENDENT: "of the easy kind: it uses one port for all destinations",
    Mapping.ADDRESS_DEPENDENT: "of the difficult kind: it uses a different port for each machine",
    Mapping.DEPENDENT: "of the difficult kind: it uses a different port for each destination",
}

_FILTERING_WORDS = {
    Filtering.UNKNOWN: "",
    Filtering.INDEPENDENT: "lets all senders in",
    Filtering.ADDRESS_DEPENDENT: "lets in any port of hosts that {whose.have_sent} to",
    Filtering.DEPENDENT: "lets in only addresses that {whose.have_sent} to",
}


def router_words(report: NatReport, whose: Whose = OURS) -> str:
    """A NAT report for people who have never heard of NAT."""
    return _ROUTER_WORDS[report.mapping].format(whose=whose)


def nat_words(report: NatReport, whose: Whose = OURS) -> str:
    """A NAT report in one line for people who know NATs."""
    words = [_MAPPING_WORDS[report.mapping].format(whose=whose)]
    if report.mapping is Mapping.OPEN:
        words.append(_firewall_words(report, whose))
    elif report.mapping is not Mapping.UNKNOWN:
        words += [_allocation_words(report, whose), _filtering_words(report, whose)]
        words.append(f"{min(99, round(100 * report.confidence))} % sure")
    return "; ".join(word for word in words if word)


def _filtering_words(report: NatReport, whose: Whose) -> str:
    words = _FILTERING_WORDS[report.filtering].format(whose=whose)
    if report.filtering_confidence >= SURE or not words:
        return words
    if report.filtering is Filtering.ADDRESS_DEPENDENT:
        return f"{words}, perhaps all senders"
    return f"probably {words}"


def _firewall_words(report: NatReport, whose: Whose) -> str:
    """What its firewall does, for a machine with a public address."""
    match report.filtering:
        case Filtering.UNKNOWN:
            return ""
        case Filtering.INDEPENDENT:
            return "no firewall"
        case Filtering.ADDRESS_DEPENDENT if report.filtering_confidence < SURE:
            return "no firewall, as far as a server with one address can tell"
        case _:
            return f"a firewall {_filtering_words(report, whose)}"


def _allocation_words(report: NatReport, whose: Whose) -> str:
    size = report.high - report.low + 1
    match report.allocation:
        case Allocation.PRESERVING:
            return f"keeps {whose.port}"
        case Allocation.SEQUENTIAL:
            return f"counts up by {report.stride}" if report.stride else "counts up"
        case Allocation.RANDOM:
            return f"picked at random from {report.low}-{report.high}"
        case Allocation.BLOCK:
            return f"picked at random from a block of {size} ports, {report.low}-{report.high}"
        case _:
            return ""


def nats_row(ours: NatReport, theirs: NatReport) -> dict[str, Any]:
    """The NAT reports of both ends."""
    return {"ours": _told(ours, OURS), "theirs": _told(theirs, THEIRS)}


def _told(report: NatReport, whose: Whose) -> dict[str, Any]:
    return {
        **nat_row(report),
        "router": router_words(report, whose),
        "words": nat_words(report, whose),
    }
