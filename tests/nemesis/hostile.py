"""Who means harm: a member of the network, and a server that lies.

Mallory has the network's key and an identity of her own.  She says in sessions what no honest
daemon says, and to addresses what is not hers to say.  `Liar` passes on what a server says,
changed.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from natd.core.base.types import Address, Datagram, DecodeError, PeerId
from natd.core.codec import rendezvous_codec
from natd.core.codec.frames import (
    Ack,
    Bye,
    Hello,
    Introduce,
    Message,
    NewerCard,
    Seek,
    encode_frame,
)
from natd.core.codec.rendezvous import Introduce as Introduction
from natd.core.codec.rendezvous import Refreshed, Registered
from natd.core.keys.secrets import network_key
from natd.core.network import greeting
from tests.core.world.village import Member, Village
from tests.fuzz.mutate import mutate
from tests.internet.fabric import Host, Packet

FORGED = "mallory's"
"""Begins what she says."""

BURST = 12


class Mallory:
    """See the top of this file."""

    def __init__(
        self, village: Village, key: bytes, random: Random, known: Callable[[], list[str]]
    ):
        """`known`: ids of messages that others have said."""
        self.member: Member = village.member("mallory", key=key, port=40666)
        self._internet = village.internet
        self._key = key
        self._random = random
        self._known = known
        self._said = 0

    def start(self) -> None:
        if self.member.host not in self._internet._attached:
            self.member.start()

    def speak(self) -> int:
        """Write frames into her sessions; gives how many."""
        spoken = 0
        now = self._internet.now
        for peer in list(self.member.membership.peers.values()):
            sessions = peer.dialogue.sessions
            for _ in range(self._random.randint(1, BURST)):
                frame = self._frame()
                if not sessions.is_open or sessions.send_room < len(frame):
                    break
                sessions.send(frame, now)
                spoken += 1
        return spoken

    def pose(self, places: list[Address], cards: list[bytes]) -> None:
        """Greet with the cards of others, whole and changed, from her own address."""
        for place in places:
            for card in cards:
                whole = self._random.random() < 0.5
                sealed = card if whole else mutate(card, self._random, cards)
                asks = self._random.random() < 0.5
                said = greeting.Greeting(greeting.network_tag(self._key), sealed[:896], asks)
                self._send(greeting.encode_greeting(said), place)

    def shout(self, places: list[Address]) -> None:
        """Junk of each kind of first byte."""
        for place in places:
            for first in (0x00, 0x01, 0x05, 0x06, 0x40, 0xC3, 0xE0, 0x80):
                size = self._random.choice((0, 1, 19, 60, 600, 1199, 1400))
                self._send(bytes([first]) + self._random.randbytes(size), place)

    def _send(self, data: bytes, to: Address) -> None:
        host: Host = self.member.host
        packet = Packet(Address(host.address, self.member.port), to, data)
        self._internet.send(host, packet, self._internet.now)

    def _frame(self) -> bytes:
        random = self._random
        large = random.choice((0, 1, 7, 2**31, 2**63 - 1))
        epoch = random.getrandbits(64)
        match random.randrange(9):
            case 0:
                outbox, heard = random.getrandbits(64), random.getrandbits(64)
                frame: Any = Hello(
                    epoch=epoch,
                    first_seq=max(1, large),
                    outbox=outbox,
                    heard_outbox=heard,
                    heard_seq=large,
                )
            case 1:
                frame = Ack(epoch, large)
            case 2 | 3:
                known = self._known()
                name = random.choice(known) if known else "0" * 26
                self._said += 1
                text = f"{FORGED} {self._said}"
                frame = Message(name, epoch, max(1, large), 0, "text", text)
            case 4:
                cards = list(self.member.disk.cards.values()) or [b""]
                frame = NewerCard(mutate(random.choice(cards), random, cards)[:1024])
            case 5:
                peer = PeerId(random.randbytes(32))
                seen = Address("203.0.113.9", random.randint(1, 65535))
                frame = Introduce(peer, random.randbytes(200), seen)
            case 6:
                frame = Seek(random.choice((None, random.randbytes(32))), (random.randbytes(8),))
            case 7:
                frame = Bye("because")
            case _:
                return random.randbytes(random.randint(1, 64))
        data = encode_frame(frame)
        return data if random.random() < 0.8 else mutate(data, random, [data])


class Liar:
    """A server that lies about a part of what it tells."""

    def __init__(self, core: Any, random: Random, share: float, victim: str) -> None:
        self._core = core
        self.honest = core
        """Who speaks when the lies end."""
        self._random = random
        self._share = share
        self._victim = victim
        self._cards: dict[PeerId, bytes] = {}
        self.lies = 0

    def datagrams_to_send(self) -> list[Datagram]:
        sent = (self._twisted(datagram) for datagram in self._core.datagrams_to_send())
        return [datagram for datagram in sent if datagram is not None]

    def _twisted(self, datagram: Datagram) -> Datagram | None:
        random = self._random
        try:
            message = rendezvous_codec.decode(datagram.data)
        except (DecodeError, rendezvous_codec.ForeignVersionError):
            return datagram
        if isinstance(message, Introduction):
            self._cards.setdefault(message.peer, message.card)
        if random.random() >= self._share:
            return datagram
        self.lies += 1
        lie: Any = None
        if isinstance(message, Introduction):
            elsewhere = (Address(self._victim, random.randint(1024, 65535)),)
            other = random.choice(list(self._cards))
            lie = random.choice(
                (
                    None,
                    replace(message, observed=elsewhere, samples=()),
                    replace(message, card=self._cards[message.peer]),
                    replace(message, card=self._cards[other]),
                    replace(message, peer=other),
                    replace(message, card=mutate(message.card, random, [])[:896] or b"x"),
                    replace(message, you_dial=not message.you_dial),
                )
            )
        elif isinstance(message, Registered | Refreshed):
            place = Address(self._victim, random.randint(1024, 65535))
            lie = random.choice((None, replace(message, observed=place, missing=200)))
        return None if lie is None else datagram._replace(data=rendezvous_codec.encode(lie))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


def secret_key(name: str, secret: str) -> bytes:
    return network_key(name, secret.encode())
