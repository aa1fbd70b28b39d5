"""Who is meant by a name, and who is not the one it was."""

import asyncio
import base64
import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings

from natd.core.base.events import PeerMet
from natd.core.base.types import Address, NetworkId, PeerId, peer_id_text
from natd.core.keys.secrets import network_id
from natd.host.errors import CommandError
from natd.storage.address_book import AddressBook, JoinedNetwork, KnownPeer, full_name
from natd.storage.store import Store
from tests.ipc.test_peer_names import adversarial_peers

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


def test_text_that_fits_a_nick_and_the_id_of_another_is_ambiguous(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        anna, _ = meet(book, ANNA, "anna")
        bert, _ = meet(book, BERT, anna.id_text[:6])
        with pytest.raises(CommandError) as caught:
            book.peer_to_write_to(NETWORK, anna.id_text[:6])
        assert caught.value.code == "ambiguous"
        assert full_name(anna) in caught.value.text
        assert full_name(bert) in caught.value.text
        for known in (anna, bert):
            name = shlex.split(book.shell_name(known))[0]
            assert name in str(caught.value.hint)
            assert book.peer_to_write_to(NETWORK, name) is known

    with_book(tmp_path, scenario)


def test_a_whole_id_means_its_owner_although_it_is_the_nick_of_another(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        anna, _ = meet(book, ANNA, "anna")
        meet(book, BERT, anna.id_text)
        meet(book, CARL, anna.id_text.upper())
        for text in (anna.id_text, anna.id_text.upper()):
            assert book.peer_named(NETWORK, text) is anna
            assert book.peer_to_write_to(NETWORK, text) is anna
            assert book.peer_in_doubt(NETWORK, text) is anna

    with_book(tmp_path, scenario)


def test_the_id_of_a_peer_who_is_not_known_is_nobodys_nick(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        absent = peer_id_text(CARL)
        meet(book, BERT, absent)
        with pytest.raises(CommandError) as caught:
            book.peer_named(NETWORK, absent)
        assert caught.value.code == "unknown_peer"

    with_book(tmp_path, scenario)


def test_a_peer_in_doubt_is_not_meant_by_what_begins_like_anothers_id(tmp_path: Path) -> None:
    def scenario(book: AddressBook) -> None:
        anna, _ = meet(book, ANNA, "anna")
        begins = anna.id_text[:6]
        carl, _ = meet(book, CARL, begins)
        book.heard(carl)
        impostor, _ = meet(book, BERT, begins)
        assert impostor.trust == "changed"
        book.forget_peer(carl)
        with pytest.raises(CommandError) as caught:
            book.peer_in_doubt(NETWORK, begins)
        assert caught.value.code == "ambiguous"

    with_book(tmp_path, scenario)


@settings(max_examples=100, deadline=None)
@given(adversarial_peers())
def test_a_name_in_a_hint_means_its_peer_whatever_nicks_the_others_have(
    peers: list[tuple[str, str]],
) -> None:
    def scenario(book: AddressBook) -> None:
        for nick, id_text in peers:
            meet(book, peer_of(id_text), nick)
        for known in book.peers(NETWORK):
            (typed,) = shlex.split(book.shell_name(known))
            assert book.peer_named(NETWORK, typed) is known
            assert book.peer_named(NETWORK, known.id_text) is known

    with TemporaryDirectory() as directory:
        with_book(Path(directory), scenario)


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
def test_a_nick_never_becomes_part_of_a_command_line_or_an_escape(
    tmp_path: Path, nick: str
) -> None:
    def scenario(book: AddressBook) -> None:
        known, _ = meet(book, ANNA, nick)
        assert book.shell_name(known).isalnum()
        assert full_name(known).isprintable()

    with_book(tmp_path, scenario)


def meet(
    book: AddressBook, peer: PeerId, nick: str, connected: Collection[PeerId] = ()
) -> tuple[KnownPeer, PeerId | None]:
    card = f"card of {nick}".encode()
    return book.meet(PeerMet(NETWORK, peer, nick, card, first_contact=True), connected)


def peer_of(id_text: str) -> PeerId:
    """The peer whose id reads so, or the next one: the last letter has four bits to spare."""
    return PeerId(base64.b32decode(id_text.upper() + "===="))


def with_book(directory: Path, scenario: Callable[[AddressBook], None]) -> None:
    async def run() -> None:
        store = Store(directory)
        book = AddressBook(store)
        store.start(lambda: None)
        try:
            scenario(book)
        finally:
            await store.close()

    asyncio.run(run())


def _assert_ids(book: AddressBook, ids: list[PeerId]) -> None:
    assert [known.peer for known in book.peers(NETWORK)] == ids
