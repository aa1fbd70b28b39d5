"""Members that are made up from their names: the same keys whenever they are asked for."""

from random import Random

from natd.core.keys.card import Card, Identity, seal_card
from natd.core.keys.secrets import Prekey
from natd.core.nat.model import NatModel
from natd.core.network.membership import Membership
from natd.core.network.roster import NetworkSettings
from natd.core.network.shared import Shared

START = 1000.0


def identity(name: str) -> Identity:
    return Identity(Random(name).randbytes(32))


def sealed_card(name: str, key: bytes, sequence: int = 1) -> bytes:
    """With no addresses in it, for the network of that key."""
    owner = identity(name)
    prekey = Prekey(Random(f"{name} prekey").randbytes(32))
    card = Card(owner.peer, owner.static_public, prekey.public, sequence, name)
    return seal_card(card, owner, key)


def membership_of_alice(key: bytes) -> Membership:
    """In the network `demo` of that key, with nobody known and no server."""
    settings = NetworkSettings("demo", key, "alice")
    shared = Shared(identity("alice"), Random(1), NatModel())
    membership = Membership(settings, shared, card_sequence=1, now=START)
    membership.set_local_addresses(("192.168.1.4",), 40000, START)
    return membership
