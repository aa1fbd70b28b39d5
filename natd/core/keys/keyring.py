"""The secrets that we share with one peer, one for each pair of live prekeys, found by tag.

    ours     previous   newest            what we send is under the newest of both,
    theirs   previous   newest            what comes may be under any of the four

Rules:
- Two prekeys of either side at most: one in cards, the one before it in cards on their way.
- The secrets of the session in use stay as long as it does.  They are the only ones that both
  sides are sure to hold, however long the two had no word of each other's newer cards.
"""

from collections.abc import Sequence

from natd.core.base.routes import TAG, RouteAdded, RouteDropped
from natd.core.base.types import DecodeError
from natd.core.keys.card import Card, Identity
from natd.core.keys.secrets import PairSecrets, Prekey, derive_pair_secrets

LIVE_PREKEYS = 2


class Keyring:
    """See the top of this file."""

    def __init__(self, identity: Identity, network_key: bytes, card: Card) -> None:
        self.weak = 0
        """How many combinations were refused because of a weak key in a card."""
        self._identity = identity
        self._network_key = network_key
        self._card = card
        self._theirs: tuple[bytes, ...] = (card.prekey_public,)  # newest last
        self._by_prekeys: dict[tuple[bytes, bytes], PairSecrets] = {}  # newest last
        self._kept: PairSecrets | None = None  # of the session in use; None: without one
        self._tags: dict[bytes, PairSecrets] = {}
        self._changes: list[RouteAdded | RouteDropped] = []

    # --- inputs

    def take_card(self, card: Card) -> None:
        """A newer card of the peer's; then call `renew`."""
        self._card = card
        if card.prekey_public != self._theirs[-1]:
            self._theirs = (*self._theirs, card.prekey_public)[-LIVE_PREKEYS:]

    def renew(self, ours: Sequence[Prekey]) -> None:
        """Hold the secrets of every combination with these prekeys of ours, newest last."""
        combinations: dict[tuple[bytes, bytes], PairSecrets] = {}
        for remote in self._theirs:
            for prekey in ours[-LIVE_PREKEYS:]:
                key = (prekey.public, remote)
                secrets = self._by_prekeys.get(key) or self._derive(prekey, remote)
                if secrets is not None:
                    combinations[key] = secrets
        self._by_prekeys = combinations
        self._retag()

    def keep(self, psk: bytes | None) -> None:
        """The session in use is under the secrets with this psk; None: there is none."""
        if psk != (None if self._kept is None else self._kept.psk):
            self._kept = next((s for s in self._tags.values() if s.psk == psk), None)
            self._retag()

    def clear(self) -> None:
        """We want nothing of this peer."""
        self._by_prekeys = {}
        self._kept = None
        self._retag()

    # --- outputs

    def changes(self) -> list[RouteAdded | RouteDropped]:
        """Drain: the tags of checks and first flights by which the peer is found."""
        changes, self._changes = self._changes, []
        return changes

    def by_tag(self, tag: bytes) -> PairSecrets | None:
        return self._tags.get(tag)

    @property
    def newest(self) -> PairSecrets | None:
        """Under which we send; None when a card with weak keys leaves nothing."""
        return next(reversed(self._by_prekeys.values()), None)

    @property
    def for_checks(self) -> tuple[PairSecrets, ...]:
        """The newest, and those that the peer holds for sure where they are others."""
        return tuple(dict.fromkeys(s for s in (self.newest, self._kept) if s is not None))

    # --- private

    def _derive(self, prekey: Prekey, remote: bytes) -> PairSecrets | None:
        try:
            return derive_pair_secrets(
                self._identity,
                prekey,
                self._card.static_public,
                remote,
                self._card.peer,
                self._network_key,
            )
        except DecodeError:
            self.weak += 1
            return None

    def _retag(self) -> None:
        held = [*([] if self._kept is None else [self._kept]), *self._by_prekeys.values()]
        tags = {secrets.receive_tag: secrets for secrets in held}
        self._changes += [RouteDropped(TAG + tag) for tag in self._tags if tag not in tags]
        self._changes += [RouteAdded(TAG + tag) for tag in tags if tag not in self._tags]
        self._tags = tags
