"""Where others say that a peer was seen, each one's word kept apart.

    tell ─► a word for each source ─► seen          the one that leads
                                 └──► in_turn()     of each word the first address, the second …

Rules:
- Nobody's word takes the place of another's: who lies adds places to look at, within the budget,
  and takes none away.
- What servers and the peer itself say leads what mutual peers say; of the same kind the fresher
  word does.  Of those that do not lead, others come first at each attempt.
- A word is kept for `WORD_S`, and the last one until there is another.
"""

from dataclasses import dataclass
from itertools import zip_longest

from natd.core.base.types import Address, PeerId
from natd.core.prediction.anchors import MOST_ANCHORS

Source = Address | PeerId | None
"""Who says so: a server, a mutual peer, or the peer itself."""

WORD_S = 120.0
"""Longer than the longest wait between two attempts, at which the same is asked for anew."""

MOST_SOURCES = 16
"""More servers than anybody lists, and more mutual peers than are asked in that time."""

MOST_OF_A_WORD = 8
"""Samples, freshest first, and the address that the server is spoken to from."""


@dataclass(frozen=True, slots=True)
class _Word:
    addresses: tuple[Address, ...]
    said_at: float
    since: float
    """When the same was said first."""


class Sightings:
    """See the top of this file."""

    def __init__(self) -> None:
        self._words: dict[Source, _Word] = {}  # the freshest last
        self._said: dict[Source, tuple[Address, ...]] = {}
        self._turn = 0

    def tell(self, source: Source, addresses: tuple[Address, ...], now: float) -> bool:
        """The peer was seen there, freshest first; gives whether `source` has said otherwise
        since the peer was last reached: then it lives."""
        addresses = addresses[:MOST_OF_A_WORD]
        last = self._words.pop(source, None)
        since = now if last is None or last.addresses != addresses else last.since
        self._words = {s: word for s, word in self._words.items() if now - word.said_at < WORD_S}
        self._words[source] = _Word(addresses, now, since)
        if len(self._words) > MOST_SOURCES:
            del self._words[min(self._words, key=_is_first_hand)]
        before = self._said.get(source)
        self._said = {s: said for s, said in self._said.items() if s in self._words}
        self._said[source] = addresses
        return before is not None and before != self._said[source]

    def reached(self) -> None:
        """A path stands."""
        self._said.clear()

    def take_turns(self) -> None:
        """Another attempt begins."""
        self._turn += 1

    @property
    def seen(self) -> tuple[Address, ...]:
        """What leads, freshest first."""
        ranked = self._ranked()
        return ranked[0].addresses if ranked else ()

    @property
    def seen_since(self) -> float | None:
        """When that was heard first; None: nothing was."""
        ranked = self._ranked()
        return ranked[0].since if ranked else None

    def in_turn(self) -> tuple[Address, ...]:
        """What everybody says, likeliest first, each address once."""
        leading, *others = [word.addresses for word in self._ranked()] or [()]
        at = self._turn % len(others) if others else 0
        rows = zip_longest(leading, *others[at:], *others[:at])
        return tuple(dict.fromkeys(a for row in rows for a in row if a is not None))

    def _ranked(self) -> list[_Word]:
        freshest_first = reversed(self._words)
        ranked = sorted(freshest_first, key=_is_first_hand, reverse=True)
        return [self._words[source] for source in ranked]


def anchors_in(seen: tuple[Address, ...], mark: int | None) -> tuple[tuple[int, ...], int]:
    """The ports in an introduction that a peer says it has opened for us, and how many of the
    addresses that it begins with are none to be checked."""
    ports = [address.port for address in seen[: MOST_ANCHORS + 1]]
    if mark is None or mark not in ports:
        return (), 0
    marked_at = ports.index(mark)
    return tuple(ports[:marked_at]), marked_at + 1


def _is_first_hand(source: Source) -> bool:
    """Not said by a mutual peer."""
    return not isinstance(source, bytes)
