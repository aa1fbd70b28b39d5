"""Who is meant by a name, and who is not the one it was."""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from natd.core.base.events import PeerMet
from natd.core.base.types import Address, NetworkId, PeerId
from natd.core.keys.secrets import network_id
from natd.host.errors import CommandError
from natd.storage.address_book import AddressBook, JoinedNetwork, KnownPeer, full_name, shell_name
from natd.storage.store import Store

KEY = b"k" * 32
NETWORK = network_id(KEY)
ANNA = PeerId(bytes([1]) * 32)
BERT = PeerId(bytes([2]) * 32)
CARL = PeerId(bytes([3]) * 32)


def test_a_peer_is_found_by_nick_tag_and_prefix_of_its_id(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        anna, _ = meet(book, ANNA, "anna")
        meet(book, BERT, "bert")
        for text in ("anna", full_name(anna), anna.id_text, anna.id_text[:4], anna.id_text.upper()):
            assert book.peer_named(NETWORK, text) is anna

    with_book(tmp_path, scenario)


def test_a_nick_goes_before_an_id_that_begins_like_it(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        anna, _ = meet(book, ANNA, "anna")
        bert, _ = meet(book, BERT, anna.id_text[:6])
        assert book.peer_named(NETWORK, anna.id_text[:6]) is bert

    with_book(tmp_path, scenario)


def test_a_nick_of_two_peers_is_ambiguous_and_the_error_lists_them(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        first, _ = meet(book, ANNA, "sam")
        second, _ = meet(book, BERT, "sam")
        with pytest.raises(CommandError) as caught:
            book.peer_named(NETWORK, "sam")
        assert caught.value.code == "ambiguous"
        assert full_name(first) in caught.value.text
        assert full_name(second) in caught.value.text
        assert book.peer_named(NETWORK, full_name(second)) is second

    with_book(tmp_path, scenario)


@pytest.mark.parametrize("text", ["nobody", "ae", "anna#zzzz", "", None, 7])
def test_a_name_of_nobody_is_refused(tmp_path: Path, text: object) -> None:
    def scenario(book: AddressBook) -> None:
        meet(book, ANNA, "anna")
        with pytest.raises(CommandError) as caught:
            book.peer_named(NETWORK, text)
        assert caught.value.code in ("unknown_peer", "usage")

    with_book(tmp_path, scenario)


def test_a_known_nick_under_another_key_is_in_doubt(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        anna, _ = meet(book, ANNA, "anna")
        book.heard(anna, Address("192.0.2.1", 5))
        impostor, previous = meet(book, BERT, "anna")
        assert previous == ANNA
        assert impostor.trust == "changed"
        assert not impostor.may_hear_us
        with pytest.raises(CommandError) as caught:
            book.peer_to_write_to(NETWORK, "anna")
        assert caught.value.code == "identity_changed"
        assert "--accept-new-key" in (caught.value.hint or "")
        assert book.peer_in_doubt(NETWORK, "anna") is impostor

    with_book(tmp_path, scenario)


def test_two_peers_with_one_nick_that_are_here_together_are_both_trusted(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        anna, _ = meet(book, ANNA, "anna")
        book.heard(anna)
        other, previous = meet(book, BERT, "anna", connected={ANNA})
        assert previous is None
        assert other.trust == "new"

    with_book(tmp_path, scenario)


def test_a_nick_that_never_connected_is_nobodys_yet(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        meet(book, ANNA, "anna")
        _, previous = meet(book, BERT, "anna")
        assert previous is None

    with_book(tmp_path, scenario)


def test_a_known_peer_that_takes_an_absent_peers_nick_is_in_doubt(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        anna, _ = meet(book, ANNA, "anna")
        bert, _ = meet(book, BERT, "bert")
        book.heard(anna)
        book.heard(bert)
        meet(book, BERT, "anna")
        assert bert.trust == "changed"

    with_book(tmp_path, scenario)


def test_a_peer_that_comes_back_under_its_own_key_is_never_in_doubt(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        anna, _ = meet(book, ANNA, "anna")
        book.heard(anna)
        assert meet(book, ANNA, "anna") == (anna, None)
        assert anna.trust == "new"

    with_book(tmp_path, scenario)


def test_accepting_the_new_key_forgets_the_old_one(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        anna, _ = meet(book, ANNA, "anna")
        book.heard(anna)
        fresh, _ = meet(book, BERT, "anna")
        assert book.accept_new_key(fresh) == [ANNA]
        assert book.peer_to_write_to(NETWORK, "anna") is fresh
        assert book.accept_new_key(fresh) == []

    with_book(tmp_path, scenario)
    with_book(tmp_path, lambda book: _assert_ids(book, [BERT]))


def test_peers_and_networks_survive_a_restart(tmp_path: Path) -> None:
    network = JoinedNetwork(NETWORK, "demo", KEY, "me", ("h:1", "[::1]:2"), is_open=True)

    async def write() -> None:
        store = Store(tmp_path)
        book = AddressBook(store)
        store.start(lambda: None)
        anna, _ = meet(book, ANNA, "anna")
        book.heard(anna, Address("2001:db8::1", 5))
        book.heard(anna, Address("192.0.2.1", 6))
        await book.keep_network(network)
        await store.close()

    def read(book: AddressBook) -> None:
        assert book.network_named("demo") == network
        (anna,) = book.peers(NETWORK)
        assert anna.card == b"card of anna"
        assert list(anna.last_good) == [Address("192.0.2.1", 6), Address("2001:db8::1", 5)]
        assert anna.last_heard_unix_s > 0

    asyncio.run(write())
    with_book(tmp_path, read)


def test_the_only_network_needs_no_name(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        with pytest.raises(CommandError) as caught:
            book.network_named(None)
        assert caught.value.code == "no_network"
        for number, name in enumerate(("one", "two")):
            id_ = NetworkId(bytes([number]) * 16)
            book.networks[name] = JoinedNetwork(id_, name, b"", "me", (), True)
            if number == 0:
                assert book.network_named(None).name == "one"
        with pytest.raises(CommandError) as caught:
            book.network_named(None)
        assert caught.value.code == "which_network"
        assert "one, two" in caught.value.text
        assert "--network one" in str(caught.value.hint)
        with pytest.raises(CommandError) as caught:
            book.network_named("three")
        assert caught.value.code == "unknown_network"

    with_book(tmp_path, scenario)


@pytest.mark.parametrize("nick", ["a'; rm -rf ~; '", "\x1b[31mred", "two words", "\u202eevil"])
def test_a_nick_never_becomes_part_of_a_command_line_or_an_escape(nick: str) -> None:
    known = KnownPeer(NETWORK, ANNA, nick, "new", False, b"")
    assert shell_name(known).isalnum()
    assert full_name(known).isprintable()


def meet(
    book: AddressBook, peer: PeerId, nick: str, connected: Collection[PeerId] = ()
) -> tuple[KnownPeer, PeerId | None]:
    card = f"card of {nick}".encode()
    return book.meet(PeerMet(NETWORK, peer, nick, card, first_contact=True), connected)


def with_book(directory: Path, scenario: Callable[[AddressBook], None]) -> None:
    async def run() -> None:
        store = Store(directory)
        book = AddressBook(store)
        store.start(lambda: None)
        scenario(book)
        await store.close()

    asyncio.run(run())


def _assert_ids(book: AddressBook, ids: list[PeerId]) -> None:
    assert [known.peer for known in book.peers(NETWORK)] == ids
