"""Whom of one network we greet, and whose greetings we look at.

    absent since an earlier run ─► greeted where they were, while no server answers
    our own link                ─► called out on, rarely (`natd/core/link.py`)
    a greeting comes            ─► opened ─► Greeted ─► answered with our own card

Rules:
- What can be told without a key is told before a card is opened: our own call that comes back,
  one too many, what is malformed.
- An answer goes to where the greeting came from, within the budget of an unproved address; it is
  never longer than the greeting.
- Neither who is blocked nor who is here already, with no newer card, gets a word.
"""

from dataclasses import dataclass
from random import Random

from natd.core.candidates import TargetBudget, is_private
from natd.core.card import Card
from natd.core.greeting import (
    Greeting,
    Greetings,
    decode_greeting,
    encode_greeting,
    network_tag,
)
from natd.core.link import GROUP, GROUP_TTL, LINK_SOCKET, Calls
from natd.core.roster import Roster
from natd.core.schedule import earliest
from natd.core.types import Address, Datagram, DecodeError, PeerId, SocketId


@dataclass(frozen=True, slots=True)
class Greeted:
    """Somebody has sent its card straight to us."""

    card: Card
    sealed: bytes
    wants_answer: bool
    is_on_link: bool
    """Whether it came over a link of ours, on which private addresses mean the same to both."""


class Greeter:
    """See the top of this file."""

    def __init__(self, network_key: bytes, budget: TargetBudget, random: Random) -> None:
        self.tag = network_tag(network_key)
        self._budget = budget
        self._absent = Greetings(random)
        self._calls = Calls(random)
        self._has_link = False
        self._datagrams: list[Datagram] = []

    # --- inputs

    def use_link(self, wanted: bool, now: float) -> None:
        """Whether there is a link to call out on, and the user wants it."""
        if wanted != self._has_link:
            self._has_link = wanted
            self.call(now)

    def call(self, now: float) -> None:
        """We have joined, or our link is another one."""
        if self._has_link:
            self._calls.start(now)
        else:
            self._calls.stop()

    def hurry(self, now: float) -> None:
        """Our network has changed: whoever is missed is greeted at once, from the new place."""
        self._absent.hurry(now)
        self.call(now)

    def expect(self, peer: PeerId, addresses: tuple[Address, ...], now: float) -> None:
        """One of an earlier run, that was at these addresses."""
        self._absent.expect(peer, addresses, now)

    def met(self, peer: PeerId) -> None:
        """Here, or not wanted: no word to it any more."""
        self._absent.met(peer)

    def open(
        self,
        data: bytes,
        address: Address,
        socket: SocketId,
        roster: Roster,
        our_card: bytes,
        now: float,
    ) -> Greeted | None:
        """What a greeting says, if it is worth an answer; else the roster counts why not."""
        try:
            greeting = decode_greeting(data)
        except DecodeError:
            roster.dropped["greeting-malformed"] += 1
            return None
        if greeting.sealed_card == our_card:
            roster.dropped["greeting-of-our-own"] += 1
            return None
        if not self._absent.may_open(now):
            roster.dropped["greetings-too-many"] += 1
            return None
        card = roster.open(greeting.sealed_card)
        if card is None or card.peer in roster.blocked:
            return None
        known = roster.peers.get(card.peer)
        if known is not None and known.is_online and card.sequence <= known.card.sequence:
            roster.dropped["greeting-of-one-who-is-here"] += 1
            return None
        if known is None and not self._absent.may_meet(now):
            roster.dropped["greetings-of-strangers"] += 1
            return None
        # An answer from the internet is one to a greeting that was sent there.
        may_answer_call = not greeting.wants_answer and is_private(address.host)
        answers_call = may_answer_call and self._calls.expects_answers(now)
        return Greeted(
            card,
            greeting.sealed_card,
            greeting.wants_answer,
            is_on_link=self._has_link and (socket == LINK_SOCKET or answers_call),
        )

    def answer(self, our_card: bytes, address: Address, now: float) -> None:
        """Our card, to whoever has sent theirs."""
        if self._calls.may_answer(address, now):
            self._greet(our_card, address, wants_answer=False, now=now)

    def handle_timer(
        self, our_card: bytes, roster: Roster, is_introduced: bool, now: float
    ) -> None:
        """`is_introduced` while a server introduces whoever is there, so that nobody far away
        need be greeted."""
        for address in self._absent.due(now):
            if not is_introduced:
                self._greet(our_card, address, wants_answer=True, now=now)
        if self._calls.is_due(now):
            self._calls.call(now, is_complete=roster.is_complete)
            data = encode_greeting(Greeting(self.tag, our_card, wants_answer=True))
            self._datagrams.append(Datagram(data, GROUP, GROUP_TTL))

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def get_timer(self) -> float | None:
        return earliest(self._absent.get_timer(), self._calls.due_at)

    # --- private

    def _greet(self, our_card: bytes, address: Address, *, wants_answer: bool, now: float) -> None:
        data = encode_greeting(Greeting(self.tag, our_card, wants_answer))
        if self._budget.allow_bulk(address, len(data), now, is_card=True):
            self._datagrams.append(Datagram(data, address))
