"""Our own card in one network, as it changes: prekeys, addresses, NAT report.

Rules:
- A fresh prekey at each start and each hour.  The previous one stays usable for two hours, so that
  an introduction under way still finds its secrets; then it is deleted for good.
- Each change makes a new card with the next sequence number.  Numbers never go back: they begin
  above all numbers of earlier runs.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from random import Random

from natd.core.base.events import NewerCardOfOurs
from natd.core.base.timers import earliest
from natd.core.base.types import SURE, Address, Candidate, CandidateKind, NatReport, PeerId
from natd.core.checks.candidates import local_candidates
from natd.core.keys.card import FULL, Card, Identity, seal_card
from natd.core.keys.secrets import Prekey, network_id
from natd.core.nat.model import NatModel
from natd.core.network.copies import Copies
from natd.core.network.mapped import mapped_places
from natd.core.peer.peer import Peer
from natd.core.registration.events import OwnCardSeen

PREKEY_LIFETIME_S = 3600.0
PREKEY_GRACE_S = 7200.0
"""Counted from its creation: an hour in cards, and one more for peers with the old card."""

PREKEY_BYTES = 32

PREKEYS_REMEMBERED = 1024
"""Public halves of a month, or of a day in which a copy of us takes turns with us."""

LOAD_RATIO, LOAD_NEWS_PER_S = 2.0, 16.0
"""Below this load others take one or two ports during an introduction, and every guess is wide
enough for that.  The measured load varies, because our own flows are part of it."""

SETTLES_S = 2.0
"""Observations change several times in a row; after this pause one card tells all of it."""

CONNECTED_LATER_S = 20.0
"""What the first minute shows of a NAT is known by then: one card for each of a hundred peers."""


class OwnCard:
    """Our card in one network, and the prekeys behind it."""

    def __init__(
        self,
        identity: Identity,
        network_key: bytes,
        nick: str,
        random: Random,
        *,
        sequence: int,
        now: float,
    ) -> None:
        """`random` makes prekeys: a daemon must give the system's generator."""
        self._random = random
        self._identity = identity
        self._network_key = network_key
        self._nick = nick
        self._candidates: tuple[Candidate, ...] = ()
        self._mapped: tuple[Candidate, ...] = ()
        self._reflexive: tuple[Candidate, ...] = ()
        self._told_by_router: tuple[Address, ...] = ()
        self._seen: tuple[Address, ...] = ()
        self._features: tuple[str, ...] = ()
        self._nat = self._newest_nat = NatReport()
        self.copies = Copies(network_id(network_key), network_key)
        """What servers show of cards of ours that this run has not made."""
        self._made: deque[bytes] = deque(maxlen=PREKEYS_REMEMBERED)
        self._prekey = self._fresh_prekey()
        self._rotate_at = now + PREKEY_LIFETIME_S
        self._previous: tuple[Prekey, float] | None = None  # with its expiry
        self.prekeys: tuple[Prekey, ...] = (self._prekey,)
        """The live ones, newest last."""
        self.due_at = self._rotate_at
        """When to call `handle_timer`."""
        self.sequence = sequence
        self._card = self._make()
        self._sealed: bytes | None = None  # None: to be sealed when it is wanted

    # --- inputs

    def set_nick(self, nick: str) -> bool:
        """True if there is a new card."""
        if nick == self._nick:
            return False
        self._nick = nick
        return self._renew()

    def set_addresses(self, addresses: tuple[str, ...], port: int) -> bool:
        candidates = local_candidates(addresses, port)
        if candidates == self._candidates:
            return False
        self._candidates = candidates
        return self._renew()

    def set_mapped(self, addresses: tuple[Address, ...]) -> bool:
        """The router says that it maps our port to these, best first."""
        self._told_by_router = addresses
        return self._set_places(self._reflexive)

    def learn(self, nat: NatModel) -> tuple[bool, bool]:
        """What our NAT does and where we are seen: whether there is a new card, and whether a peer
        that tries to reach us would act differently if it had it."""
        hurries = self.is_urgent(nat.report())
        kind = CandidateKind.SERVER_REFLEXIVE
        self._seen = nat.observed()
        is_elsewhere = self._set_places(
            tuple(Candidate(kind, address) for address in nat.worth_telling())
        )
        return self.set_nat(nat.report()) or is_elsewhere, hurries or is_elsewhere

    def is_urgent(self, report: NatReport) -> bool:
        """Whether peers that try to reach us would act differently if they knew this report."""
        concerns_them = report.may_be_hard or self._nat.is_hard
        return concerns_them and _what_is_acted_upon(self._nat) != _what_is_acted_upon(report)

    def set_nat(self, report: NatReport) -> bool:
        """A report that differs only in confidence makes no card, unless peers would act on it."""
        self._newest_nat = report
        if _what_counts(self._nat) == _what_counts(report) and not _is_busier(self._nat, report):
            return False
        return self._renew()

    def tell_full(self, is_full: bool) -> bool:
        """Whether newcomers find no place here; True if there is a new card."""
        features = (FULL,) if is_full else ()
        if features == self._features:
            return False
        self._features = features
        return self._renew()

    def refresh(self) -> None:
        """Before a new card is sent: include changes too small for a card of their own."""
        if self._nat != self._newest_nat:
            self._renew()

    def handle_timer(self, now: float) -> bool:
        """Rotate what is due; True if there is a new card."""
        if self._previous is not None and self._previous[1] <= now:
            self._previous = None
        rotates = self._rotate_at <= now
        if rotates:
            self._previous = (self._prekey, self._rotate_at - PREKEY_LIFETIME_S + PREKEY_GRACE_S)
            self._prekey = self._fresh_prekey()
            self._rotate_at = now + PREKEY_LIFETIME_S
        previous, ends_at = self._previous or (None, self._rotate_at)
        self.prekeys = (self._prekey,) if previous is None else (previous, self._prekey)
        self.due_at = min(self._rotate_at, ends_at)
        return self._renew() if rotates else False

    def leap(self, above: int, now: float) -> None:
        """Make a new card at the next timer, under a prekey that nobody has a session by; with a
        higher number than this one, which is of a card that this run has not made, or its own."""
        self.sequence = max(self.sequence, above)
        self._rotate_at = self.due_at = now

    def shown_by(self, peer: PeerId, sealed: bytes, now: float) -> tuple[NewerCardOfOurs, ...]:
        """A peer has sent a card that is perhaps one of ours (`copies`)."""
        return self.copies.see(OwnCardSeen(peer, sealed, (), was_accepted=False), self, now)

    # --- outputs

    @property
    def peer(self) -> PeerId:
        return self._identity.peer

    def has_made(self, card: Card) -> bool:
        """Whether this run has made that card of ours."""
        return card.prekey_public in self._made

    @property
    def sealed(self) -> bytes:
        """Our newest card.  Several answers of a server may change it before it is sent once."""
        if self._sealed is None:
            self._sealed = seal_card(self._card, self._identity, self._network_key)
        return self._sealed

    @property
    def nat(self) -> NatReport:
        """What our newest card says of our NAT."""
        return self._nat

    # --- private

    def _set_places(self, reflexive: tuple[Candidate, ...]) -> bool:
        """Name where we may be reached from outside; True if there is a new card."""
        places = mapped_places(self._told_by_router, self._seen)
        mapped = tuple(Candidate(CandidateKind.MAPPED, place) for place in places)
        if (mapped, reflexive) == (self._mapped, self._reflexive):
            return False
        self._mapped, self._reflexive = mapped, reflexive
        return self._renew()

    def _fresh_prekey(self) -> Prekey:
        prekey = Prekey(self._random.randbytes(PREKEY_BYTES))
        self._made.append(prekey.public)
        return prekey

    def _renew(self) -> bool:
        self._nat = self._newest_nat
        self.sequence += 1
        self._card, self._sealed = self._make(), None
        return True

    def _make(self) -> Card:
        return Card(
            peer=self._identity.peer,
            static_public=self._identity.static_public,
            prekey_public=self._prekey.public,
            sequence=self.sequence,
            nick=self._nick,
            candidates=self._candidates + self._mapped + self._reflexive,
            nat=self._nat,
            features=self._features,
        )


class CardAnnouncement:
    """When to send our newest card, and which peers have not got it yet.

    Changes come in rows, so a card waits until they have settled, unless a running attempt could
    use it.  A peer that is connected has no use for it before its path fails, so it is told later,
    of several changes at once.  A peer without a session when the card is sent gets it with its
    next session.
    """

    def __init__(self) -> None:
        self._due_at: float | None = None  # when to send; None: servers have our newest card
        self._later_at: float | None = None  # when connected peers are told; None: they know
        self._is_aside = False  # whether it holds nothing that an attempt could use
        self._untold: set[PeerId] = set()

    def hurry(self, now: float) -> None:
        """Our card has changed: send it at once."""
        self._due_at, self._is_aside = now, False

    def changed(self, now: float, *, hurries: bool) -> None:
        """Our NAT report has changed; `hurries` if a running attempt could use it."""
        self._due_at = now if hurries else earliest(self._due_at, now + SETTLES_S)
        self._is_aside = not hurries

    def take_due(self, now: float) -> bool:
        """Whether to send it now.  Drains."""
        if self._due_at is None or self._due_at > now:
            return False
        self._due_at = None
        return True

    def take_help(self) -> bool:
        """Whether the card that is sent now helps a running attempt.  Drains."""
        helps, self._is_aside, self._due_at = not self._is_aside, False, None
        return helps

    def recipients(self, peers: Iterable[Peer], now: float) -> list[Peer]:
        """The peers to be sent the card at once; the others get it later."""
        told = []
        for peer in peers:
            is_online = peer.presence.is_online
            if not is_online or self._is_aside:
                self._untold.add(peer.card.peer)
            if not is_online or not self._is_aside:
                told.append(peer)
            elif self._later_at is None:
                self._later_at = now + CONNECTED_LATER_S
        return told

    def take_late(self, peers: Mapping[PeerId, Peer], now: float) -> list[Peer]:
        """The connected peers that are to be sent the card now.  Drains."""
        if self._later_at is None or self._later_at > now:
            return []
        self._later_at = None
        known = (peers[peer] for peer in self._untold if peer in peers)
        late = [peer for peer in known if peer.presence.is_online]
        self._untold.difference_update(peer.card.peer for peer in late)
        return late

    def get_timer(self) -> float | None:
        return earliest(self._due_at, self._later_at)

    def take_missed(self, peer: PeerId) -> bool:
        """Whether this peer has still to get the card.  Drains."""
        is_missed = peer in self._untold
        self._untold.discard(peer)
        return is_missed


def _what_counts(report: NatReport) -> tuple[object, ...]:
    is_sure_of_filtering = report.filtering_confidence >= SURE
    return (*_what_is_acted_upon(report), report.filtering, is_sure_of_filtering)


def _is_busier(told: NatReport, report: NatReport) -> bool:
    """Whether others take twice as many ports as our card says, or half as many: a guess centred
    on one of these misses the other."""
    less, more = sorted((told.load_per_s, report.load_per_s))
    return more - less >= LOAD_NEWS_PER_S and more >= LOAD_RATIO * less


def _what_is_acted_upon(report: NatReport) -> tuple[object, ...]:
    return (
        report.mapping,
        report.allocation,
        report.stride,
        report.low,
        report.high,
        report.keeps_parity,
        report.may_be_hard,
        report.allocation_confidence >= SURE,
    )
