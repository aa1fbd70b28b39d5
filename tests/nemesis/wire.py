"""The virtual internet with somebody on the path: who hears all, cuts, and says things again."""

from collections import deque
from random import Random

from tests.fuzz.mutate import mutate
from tests.internet.fabric import Attachment, Packet
from tests.internet.net import Internet

REMEMBERED = 3000
"""Datagrams that the one on the path remembers."""


class TappedInternet(Internet):
    """See the top of this file."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.tap: deque[tuple[Attachment, Packet]] = deque(maxlen=REMEMBERED)
        self.cuts: set[frozenset[Attachment]] = set()
        """Pairs of attachments between which nothing passes."""

    def replay(self, random: Random, count: int, *, changes: float = 0.0) -> None:
        """Say datagrams of the past again, as from where they came, some of them changed."""
        heard = list(self.tap)
        for attachment, packet in random.choices(heard, k=count) if heard else ():
            if random.random() < changes:
                other = random.choice(heard)[1].data
                packet = packet._replace(data=mutate(packet.data, random, [other]))
            super()._cross(attachment, packet, self.now)

    def _cross(self, attachment: Attachment, packet: Packet, now: float) -> None:
        target = self._attachments[None].get(packet.destination.host)
        if target is not None and frozenset((attachment, target)) in self.cuts:
            self.dropped["cut"] += 1
            return
        self.tap.append((attachment, packet))
        super()._cross(attachment, packet, now)


def at_the_edge(attachment: Attachment) -> Attachment:
    """Itself, or the outermost NAT that it is behind."""
    while attachment.behind is not None:
        attachment = attachment.behind
    return attachment
