"""Networks, peers and servers by name, as events and sentences show them."""

from typing import Any

from natd.core.base.types import Address, NetworkId, PeerId, peer_id_text, peer_tag
from natd.storage.address_book import AddressBook


def network_name(book: AddressBook, network: NetworkId) -> str:
    """Empty where it was left."""
    joined = book.network_of(network)
    return "" if joined is None else joined.name


def peer_ref(book: AddressBook, network: NetworkId, peer: PeerId) -> dict[str, Any]:
    """The `peer` of an event; without a nick if it is not in the book."""
    known = book.peer(network, peer)
    if known is None:
        return {"nick": "", "id": peer_id_text(peer), "tag": peer_tag(peer), "trust": "new"}
    return {"nick": known.nick, "id": known.id_text, "tag": known.tag, "trust": known.trust}


def name_of(book: AddressBook, network: NetworkId, source: Address | PeerId) -> str:
    """For people: a server's address, or a peer's nick with its tag."""
    if isinstance(source, Address):
        return str(source)
    ref = peer_ref(book, network, source)
    return f"{ref['nick']}#{ref['tag']}"
