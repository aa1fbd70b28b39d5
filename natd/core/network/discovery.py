"""Finding members of one network without a server: sending and answering greetings.

    peers known from before  ─► greeted at their last addresses, while no server answers
    our own link             ─► multicast calls, rarely (`natd/core/network/multicast.py`)
    a greeting comes         ─► opened ─► GreetingReceived ─► answered with our own card

Rules:
- Greetings are dropped before a card is opened where no key is needed to tell: our own call that
  comes back, too many at once, malformed ones.
- An answer goes to the source of the greeting, within the budget of an unproved address; it is
  never longer than the greeting.
- Anybody can record a greeting and replay it from any address.  So an address gets nothing but
  that answer unless something confirms it: the card names it, it carried a path before, we sent a
  greeting there, or it is link-local.  The real peer gets our card with the answer, and
  checks us.
- A card that was opened recently is not opened again.
- Blocked peers, and connected ones without a newer card, get no answer.
"""

from dataclasses import dataclass
from random import Random

from natd.core.base.scope import is_private
from natd.core.base.timers import TokenBucket, earliest
from natd.core.base.types import MAIN_SOCKET, Address, Datagram, DecodeError, PeerId, SocketId
from natd.core.checks.budget import TargetBudget
from natd.core.keys.card import Card, is_sealed_for
from natd.core.network.greeting import (
    Greeting,
    GreetingSchedule,
    decode_greeting,
    encode_greeting,
    network_tag,
)
from natd.core.network.multicast import GROUP, GROUP_TTL, LINK_SOCKET, MulticastCalls
from natd.core.network.roster import Roster
from natd.core.peer.peer import Peer

MOST_OPENED = 64
"""Opened cards that are remembered: enough for a link, or for many that come back together."""

GREETINGS_BACK_RATE, GREETINGS_BACK_BURST = 1.0, 4.0
"""Greetings a second and at once to peers that can't read our checks: guesses hit a few sockets of
such a peer, and one card is enough."""

MOST_GREETED = 512
GREETED_WITHIN_S = 10.0
"""The longest that an answer takes (as for `checks`)."""


@dataclass(frozen=True, slots=True)
class GreetingReceived:
    """A member has sent its card directly to us."""

    card: Card
    sealed: bytes
    is_answered: bool
    """Whether it is to be answered: it asks for that, and its turn has come."""
    is_on_link: bool
    """Whether it came over a link of ours, where private addresses mean the same to both."""
    is_there: bool
    """Whether something confirms the source address: then the peer may be checked there."""


class Discovery:
    """Greets absent members, and opens and answers the greetings of others."""

    def __init__(self, network_key: bytes, budget: TargetBudget, random: Random) -> None:
        self.tag = network_tag(network_key)
        self._network_key = network_key
        self._budget = budget
        self._absent = GreetingSchedule(random)
        self._calls = MulticastCalls(random)
        self._greetings_back = TokenBucket(GREETINGS_BACK_RATE, GREETINGS_BACK_BURST)
        self._has_link = False
        self._opened: dict[bytes, Card] = {}  # sealed -> what it says, oldest first
        self._greeted: dict[Address, float] = {}  # when greeted, oldest first
        self._datagrams: list[Datagram] = []
        self.due_at: float | None = None
        """When to call `handle_timer`; None: never."""

    # --- inputs

    def use_link(self, wanted: bool, now: float) -> None:
        """Whether there is a link to call out on, and the user wants it."""
        if wanted != self._has_link:
            self._has_link = wanted
            self.call(now)

    def call(self, now: float) -> None:
        """Call out now: we have joined, or our link has changed."""
        if self._has_link:
            self._calls.start(now)
        else:
            self._calls.stop()
        self._rearm()

    def hurry(self, now: float) -> None:
        """Our network has changed: greet absent peers at once, from the new address."""
        self._absent.hurry(now)
        self.call(now)

    def expect(self, peer: PeerId, addresses: tuple[Address, ...], now: float) -> None:
        """Greet an absent peer that was last at these addresses."""
        self._absent.expect(peer, addresses, now)
        self._rearm()

    def met(self, peer: PeerId) -> None:
        """The peer is connected or blocked: stop greeting it."""
        self._absent.met(peer)
        self._rearm()

    def open(
        self,
        data: bytes,
        address: Address,
        socket: SocketId,
        roster: Roster,
        our_card: bytes,
        now: float,
    ) -> GreetingReceived | None:
        """Open a greeting if it deserves an answer; else None, and the reason is counted."""
        try:
            greeting = decode_greeting(data)
        except DecodeError:
            roster.dropped["greeting-malformed"] += 1
            return None
        if greeting.sealed_card == our_card:
            roster.dropped["greeting-of-our-own"] += 1
            return None
        is_call = socket == LINK_SOCKET
        card = self._open_card(greeting.sealed_card, address, roster, now, is_call=is_call)
        if card is None or card.peer in roster.blocked:
            return None
        known = roster.peers.get(card.peer)
        if known is not None and known.presence.is_online and card.sequence <= known.card.sequence:
            roster.dropped["greeting-of-one-who-is-here"] += 1
            return None
        if known is None and not self._absent.may_meet(address.host, now):
            roster.dropped["greetings-of-strangers"] += 1
            return None
        places = () if known is None else known.reach.remote.places
        is_there = (
            address.ip.is_link_local
            or address.host in {place.host for place in places}
            or self._was_greeted(address, now)
        )
        if known is not None and card.sequence < known.card.sequence and not is_there:
            roster.dropped["greeting-of-an-older-card"] += 1
            return None
        is_answered = greeting.wants_answer and self._may_answer(card.peer, address, now)
        is_news = known is None or card.sequence > known.card.sequence
        if greeting.wants_answer and not is_answered and not is_news:
            roster.dropped["greetings-again"] += 1
            return None
        # An answer from the internet counts only if we sent a greeting there.
        may_answer_call = not greeting.wants_answer and is_private(address.host)
        answers_call = may_answer_call and self._calls.expects_answers(now)
        return GreetingReceived(
            card,
            greeting.sealed_card,
            is_answered,
            is_on_link=self._has_link and (is_call or answers_call),
            is_there=is_there or address.host in {c.address.host for c in card.candidates},
        )

    def answer(self, our_card: bytes, address: Address, socket: SocketId, now: float) -> None:
        """Send our card to a peer that has sent its own to this socket."""
        socket = MAIN_SOCKET if socket == LINK_SOCKET else socket
        self._greet(our_card, address, socket, wants_answer=False, now=now)

    def greet_back(
        self, our_card: bytes, address: Address, socket: SocketId, roster: Roster, now: float
    ) -> None:
        """A check came that we can't read.  If a peer that we look for has proved to be at this
        host before, one of us two was restarted and has another card: send ours."""
        if not self._greetings_back.take(now):
            return
        reaches = [peer.reach for peer in roster.peers.values() if not peer.reach.has_left]
        if any(reach.search.is_wanted_at(address.host, now) for reach in reaches):
            data = encode_greeting(Greeting(self.tag, our_card, wants_answer=True))
            self._datagrams.append(Datagram(data, address, None, socket))
            self._note_greeted(address, now)
            self.due_at = now  # to be drained

    def handle_timer(
        self, our_card: bytes, roster: Roster, is_introduced: bool, now: float
    ) -> list[PeerId]:
        """`is_introduced` while a server introduces the members: then only our link is called.
        Gives the peers that have not answered at their last addresses."""
        for address in self._absent.due(now):
            if not is_introduced:
                self._greet(our_card, address, MAIN_SOCKET, wants_answer=True, now=now)
        if self._calls.is_due(now):
            self._calls.call(now, is_complete=roster.is_complete)
            data = encode_greeting(Greeting(self.tag, our_card, wants_answer=True))
            self._datagrams.append(Datagram(data, GROUP, GROUP_TTL))
        self._rearm()
        missed = self._absent.take_missed()
        return [] if is_introduced else missed

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    # --- private

    def _may_answer(self, peer: PeerId, address: Address, now: float) -> bool:
        may = self._calls.may_answer(peer, address, now)
        self._rearm()
        return may

    def _rearm(self) -> None:
        self.due_at = earliest(self._absent.get_timer(), self._calls.due_at)

    def _greet(
        self,
        our_card: bytes,
        address: Address,
        socket: SocketId,
        *,
        wants_answer: bool,
        now: float,
    ) -> None:
        data = encode_greeting(Greeting(self.tag, our_card, wants_answer))
        if self._budget.allow_bulk(address, len(data), now, is_card=True):
            self._datagrams.append(Datagram(data, address, None, socket))
            if wants_answer:
                self._note_greeted(address, now)

    def _note_greeted(self, address: Address, now: float) -> None:
        self._greeted.pop(address, None)
        self._greeted[address] = now
        if len(self._greeted) > MOST_GREETED:
            del self._greeted[next(iter(self._greeted))]

    def _was_greeted(self, address: Address, now: float) -> bool:
        at = self._greeted.get(address)
        return at is not None and now - at <= GREETED_WITHIN_S

    def _open_card(
        self, sealed: bytes, address: Address, roster: Roster, now: float, *, is_call: bool
    ) -> Card | None:
        if (card := self._opened.get(sealed)) is not None:
            return card
        if not self._absent.may_look(now, is_call=is_call):
            if is_call:
                self._calls.flooded(now)
                self._rearm()
            roster.dropped["greetings-too-many"] += 1
            return None
        if not is_sealed_for(sealed, self._network_key):
            roster.dropped["greeting-of-another-key"] += 1
            return None
        if not self._absent.may_open(address.host, now):
            roster.dropped["greetings-too-many"] += 1
            return None
        card = roster.open(sealed)
        if card is None:
            return None
        self._opened[sealed] = card
        if len(self._opened) > MOST_OPENED:
            del self._opened[next(iter(self._opened))]
        return card


def meet(
    peer: Peer, greeted: GreetingReceived, address: Address, *, ours: PeerId, now: float
) -> None:
    """The peer has greeted us from this address; `ours`: our own id."""
    if not greeted.is_there:
        return
    we_dial = ours < greeted.card.peer
    if greeted.is_on_link:
        peer.found_on_link(address, we_dial=we_dial, now=now)
    else:
        peer.introduced((address,), we_dial=we_dial, start_in_s=0.0, now=now)
