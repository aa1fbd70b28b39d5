"""A few further sockets, from which a server is asked once how a hard NAT gives out ports.

Four ports of the main socket tell the class, but little of the rule: four samples take a block
for half of its size in one NAT of eight, and a stride of one for a stride of two in one of
seventy.  Some more answers leave one in a thousand, and local ports of both parities tell whether
the NAT keeps them.

Rules:
- Once in each network, and again when the class has changed or a port does not fit the rule: not
  for each server, not for each peer.  At most `PLACES` packets from each of three sockets.
- Only behind a NAT that is hard, and not where ports come at random from a wide range: there, the
  four have told all.
- What is not answered within `SURVEY_S` is not asked again; the sockets are closed.
"""

from natd.core.base.local_ports import SURVEYS
from natd.core.base.timers import earliest
from natd.core.base.types import Allocation, Mapping, NatReport, SocketId

SURVEY_S = 2.0
NEAR_CERTAIN = 0.995
"""A step of one among four samples tells a stride of one; nothing need be asked."""

SEQUENCE_WAIT_S = 3.0
"""Each sample moves a sequence on, under the eyes of a peer that guesses its next port because
we have just been introduced.  So a sequence is asked later, a block at once."""

PLACES = 3
"""A server's sampling ports."""


def is_survey_wanted(report: NatReport) -> bool:
    """Whether further sockets would tell more."""
    if not report.is_hard or report.allocation in (Allocation.PRESERVING, Allocation.RANDOM):
        return False
    if report.allocation is Allocation.UNKNOWN:
        # Where it maps by address and port, the first answers are still coming.
        return report.mapping is Mapping.ADDRESS_DEPENDENT
    return report.allocation_confidence < NEAR_CERTAIN


def survey_sockets(report: NatReport, main_port: int, turn: int) -> tuple[SocketId, ...]:
    """The sockets to ask from, as ids that name local ports, of the other parity first; none of
    them was asked from in the last few turns, so that their mappings are new."""
    count = 2 if report.allocation is Allocation.SEQUENTIAL else 3
    first = (main_port + 4 * turn) % (len(SURVEYS) // 4) * 4 + (main_port + 1) % 2
    return tuple(SocketId(port) for port in SURVEYS[first : first + count])


def survey_places(report: NatReport) -> int:
    """How many ports of a server to ask from each of them: where the NAT maps by address, all
    ports of a server see the same."""
    return PLACES if report.mapping is Mapping.DEPENDENT else 1


def survey_wait_s(report: NatReport) -> float:
    """How long to wait before asking."""
    return SEQUENCE_WAIT_S if report.allocation is Allocation.SEQUENTIAL else 0.0


class Survey:
    """The sockets of surveys that are under way."""

    def __init__(self) -> None:
        self.sockets: dict[SocketId, float] = {}
        """Those that are to stay open, each until that instant."""

    def begin(self, sockets: tuple[SocketId, ...], now: float) -> None:
        self.sockets.update(dict.fromkeys(sockets, now + SURVEY_S))

    def handle_timer(self, now: float) -> None:
        self.sockets = {socket: until for socket, until in self.sockets.items() if until > now}

    def get_timer(self) -> float | None:
        return earliest(*self.sockets.values())
