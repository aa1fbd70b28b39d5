"""At whom somebody on the path may aim members, and with how much from each of them.

- A REGISTER that the server has had, said again from elsewhere: nothing goes there.
- One withheld from it, or overtaken, said from elsewhere first: one first wave, 10 packets and
  1,200 bytes.
- An INTRODUCE forged in the server's name: the same; or, where it calls the address proved, what a
  lying server may have sent, 1,024 packets.
"""

from collections import deque
from collections.abc import Mapping
from random import Random

from natd.core.base.types import DecodeError
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import Introduce, Message, Register
from tests.internet.fabric import Packet

REMEMBERED = 40
"""The latest: most of them are of a time that is still fresh."""

WITHHELD_OF_ALL = 0.3


class Aims:
    """Keeps REGISTERs on their way to the server, and judges what members sent to those who had
    asked them nothing."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.heard: deque[Packet] = deque(maxlen=REMEMBERED)
        self.withheld: deque[Packet] = deque()
        """Not yet said from anywhere."""
        self.waves: dict[str, int] = {}
        """Host -> how many withheld ones were said from there first."""
        self.forged: set[str] = set()
        """Hosts that forged introductions call proved."""

    def is_withheld(self, packet: Packet) -> bool:
        """Whether to keep this one from the server, as it leaves."""
        is_register = isinstance(decoded(packet.data), Register)
        if not is_register or self._random.random() >= WITHHELD_OF_ALL:
            return False
        self.withheld.append(packet)
        return True

    def note_heard(self, packet: Packet) -> None:
        if isinstance(decoded(packet.data), Register):
            self.heard.append(packet)

    def take_withheld(self, host: str) -> Packet:
        """The oldest, to be said from that host; the server has heard it then."""
        packet = self.withheld.popleft()
        self.heard.append(packet)
        self.waves[host] = self.waves.get(host, 0) + 1
        return packet

    def note_forged(self, data: bytes) -> None:
        """What is said to a member in the server's name."""
        if isinstance(told := decoded(data), Introduce):
            hosts = {address.host for address in (*told.observed, *told.samples)}
            if told.is_proved:
                self.forged |= hosts
            else:
                self.waves.update({host: max(1, self.waves.get(host, 0)) for host in hosts})

    def wrong(self, spent: Mapping[tuple[str, str], tuple[int, int]]) -> list[str]:
        """`spent`: packets and bytes, by who sent them and the host that they went to."""
        wrong = []
        for (member, host), (packets, size_bytes) in spent.items():
            waves = self.waves.get(host, 0)
            fits = packets <= 10 * waves and size_bytes <= 1_200 * waves
            if not fits and not (host in self.forged and packets <= 1_024):
                wrong.append(
                    f"{member} sent {packets} packets, {size_bytes} bytes to {host}, at which "
                    f"{waves} first waves were aimed"
                )
        return wrong


def decoded(data: bytes) -> Message | None:
    """None for all that is no rendezvous datagram."""
    try:
        return rendezvous_codec.decode(data)
    except (DecodeError, rendezvous_codec.ForeignVersionError):
        return None
