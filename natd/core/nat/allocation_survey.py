"""A survey: samples from a few extra sockets, to learn how a hard NAT gives out ports.

Four samples of the main socket show the class, but little of the rule: from four samples a block
seems half its size in one NAT of eight, and a stride of two seems one in one of seventy.  A survey
brings that to one in a thousand, and its local ports of both parities show if the NAT keeps parity.

Rules:
- Once in each network, and again when the class has changed or a port does not fit the rule; not
  once for each server or peer.  At most `PLACES` packets from each of three sockets.
- Only behind a hard NAT, and not where ports are random over a wide range: there the first four
  samples suffice.
- A sample that is not answered within `SURVEY_S` is not repeated; the sockets are closed.
"""

from natd.core.base.local_ports import SURVEYS
from natd.core.base.timers import earliest
from natd.core.base.types import SURE, Allocation, Mapping, NatReport, SocketId

SURVEY_S = 2.0
NEAR_CERTAIN = 0.995
"""A step of one among four samples shows a stride of one: no survey is needed."""

SEQUENCE_WAIT_S = 3.0
"""Each sample moves a sequence on, while a peer that was just introduced predicts its next port.
So a sequence is surveyed later; a block at once, and what may be one."""

PLACES = 3
"""As many as a server has sampling ports."""


def is_survey_wanted(report: NatReport) -> bool:
    """Whether samples from more sockets would tell more about the rule."""
    if not report.is_hard or report.allocation in (Allocation.PRESERVING, Allocation.RANDOM):
        return False
    if report.allocation is Allocation.UNKNOWN:
        # Where it maps by address and port, the first answers are still coming.
        return report.mapping is Mapping.ADDRESS_DEPENDENT
    return report.allocation_confidence < NEAR_CERTAIN


def survey_sockets(report: NatReport, main_port: int, turn: int) -> tuple[SocketId, ...]:
    """The sockets to sample from, as ids that name local ports, the other parity first.  None of
    them was used in the last few surveys, so their mappings are new."""
    count = 2 if report.allocation is Allocation.SEQUENTIAL else 3
    first = (main_port + 4 * turn) % (len(SURVEYS) // 4) * 4 + (main_port + 1) % 2
    return tuple(SocketId(port) for port in SURVEYS[first : first + count])


def survey_places(report: NatReport) -> int:
    """How many ports of a server to ask from each socket.  Where the NAT maps by address, all ports
    of a server see the same."""
    return PLACES if report.mapping is Mapping.DEPENDENT else 1


def survey_wait_s(report: NatReport) -> float:
    """How long to wait before a survey."""
    is_sequence = report.allocation is Allocation.SEQUENTIAL
    return SEQUENCE_WAIT_S if is_sequence and report.allocation_confidence >= SURE else 0.0


class Survey:
    """The sockets of running surveys."""

    def __init__(self) -> None:
        self.sockets: dict[SocketId, float] = {}
        """Sockets to keep open, each with the instant until which."""

    def begin(self, sockets: tuple[SocketId, ...], now: float) -> None:
        self.sockets.update(dict.fromkeys(sockets, now + SURVEY_S))

    def handle_timer(self, now: float) -> None:
        self.sockets = {socket: until for socket, until in self.sockets.items() if until > now}

    def get_timer(self) -> float | None:
        return earliest(*self.sockets.values())
