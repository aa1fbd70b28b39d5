"""Cards: what is sealed opens, for the right network and its own peer only."""

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from natd.core.base.types import (
    Address,
    Allocation,
    Candidate,
    CandidateKind,
    DecodeError,
    Filtering,
    Mapping,
    NatReport,
    PeerId,
)
from natd.core.codec.fields import TAKEN_PORTS_LIMIT
from natd.core.keys import card as cards
from natd.core.keys.card import Card, Identity, open_card, seal_card, verify_signature

NETWORK_KEY = bytes(range(32))
ALICE = Identity(b"a" * 32)
BOB = Identity(b"b" * 32)

CARD = Card(
    peer=ALICE.peer,
    static_public=ALICE.static_public,
    prekey_public=b"p" * 32,
    sequence=1_700_000_000_000,
    nick="alice",
    candidates=(
        Candidate(CandidateKind.LAN, Address("192.168.1.20", 40000)),
        Candidate(CandidateKind.LAN, Address("10.0.0.7", 40000)),
        Candidate(CandidateKind.IPV6, Address("2001:db8::20", 40000)),
        Candidate(CandidateKind.SERVER_REFLEXIVE, Address("203.0.113.9", 61234)),
    ),
    nat=NatReport(
        Mapping.INDEPENDENT,
        Filtering.DEPENDENT,
        Allocation.PRESERVING,
        1.0,
        allocation_confidence=0.8,
        keeps_parity=True,
        load_per_s=2.5,
        taken_ports=(50001, 50400),
        filtering_confidence=0.6,
    ),
    features=("files",),
)

HEAD = (
    b"\x01"
    + ALICE.peer
    + ALICE.static_public
    + b"p" * 32
    + bytes(7)
    + b"\x07"
    + bytes(5)
    + b"\x04\x00\xff\xff"
)
TEXTS = b"\x05alice\x00"
"""A body's beginning: sequence 7, a NAT of which nothing is known, a nick, no features."""


def test_a_card_opens_to_what_was_sealed() -> None:
    assert open_card(seal_card(CARD, ALICE, NETWORK_KEY), NETWORK_KEY) == CARD


def test_a_usual_card_takes_at_most_300_bytes() -> None:
    assert len(seal_card(CARD, ALICE, NETWORK_KEY)) <= 300


def test_a_card_at_every_limit_is_sealed_in_896_bytes_and_opens() -> None:
    full = replace(
        CARD,
        nick="ä" * 32,
        features=("f" * cards.FEATURE_LIMIT_BYTES,) * cards.FEATURES_LIMIT,
        candidates=tuple(
            Candidate(kind, Address(f"2001:db8:{kind_number + 1}::{port}", port))
            for kind_number, kind in enumerate(CandidateKind)
            for port in range(2000, 2000 + 4)
        ),
    )
    sealed = seal_card(full, ALICE, NETWORK_KEY)

    assert len(sealed) + 40 <= 896, "with room for a prekey of mail"
    assert open_card(sealed, NETWORK_KEY) == replace(full, candidates=full.candidates[:16])


def test_the_layout_is_the_one_written_down() -> None:
    sealed = seal_card(CARD, ALICE, NETWORK_KEY)
    seal_key, binding = network_keys(NETWORK_KEY)
    body = ChaCha20Poly1305(seal_key).decrypt(sealed[:12], sealed[12:], b"natd/1 card")
    signed = body[:-64]

    assert signed.hex() == (
        "01" + ALICE.peer.hex() + ALICE.static_public.hex() + (b"p" * 32).hex()
        + "0000018bcfe56800" + "020201ff" + "00" + "0400ffff"
        + "05616c696365" + "010566696c6573"
        + "04" + "0004c0a801149c40" + "00040a0000079c40"
        + "010620010db80000000000000000000000209c40" + "0304cb007109ef32"
        + "cc010028" + "02c351c4e0" + "99"
    )  # fmt: skip
    Ed25519PublicKey.from_public_bytes(ALICE.peer).verify(
        body[-64:], b"\x0bnatd/1 card" + binding + signed
    )


def test_the_seed_gives_the_same_keys_for_ever() -> None:
    assert ALICE.peer.hex() == PINNED_PEER
    assert ALICE.static_public.hex() == PINNED_STATIC


def test_the_same_card_seals_to_the_same_bytes_and_another_to_other_nonces() -> None:
    sealed = seal_card(CARD, ALICE, NETWORK_KEY)
    newer = seal_card(replace(CARD, sequence=CARD.sequence + 1), ALICE, NETWORK_KEY)
    elsewhere = seal_card(CARD, ALICE, b"k" * 32)

    assert seal_card(CARD, ALICE, NETWORK_KEY) == sealed
    assert len({sealed[:12], newer[:12], elsewhere[:12]}) == 3


def test_a_card_shows_nothing_to_one_without_the_network_key() -> None:
    sealed = seal_card(CARD, ALICE, NETWORK_KEY)

    for part in (CARD.peer, CARD.static_public, CARD.prekey_public, b"alice"):
        assert part not in sealed
    with pytest.raises(DecodeError, match="not sealed for this network"):
        open_card(sealed, b"k" * 32)


def test_one_flipped_bit_anywhere_undoes_a_card() -> None:
    sealed = seal_card(CARD, ALICE, NETWORK_KEY)
    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            open_card(bytes(flipped), NETWORK_KEY)


def test_a_member_cannot_change_anothers_card() -> None:
    body = open_seal(seal_card(CARD, ALICE, NETWORK_KEY), NETWORK_KEY)
    for at in range(len(body)):
        forged = bytearray(body)
        forged[at] ^= 1
        with pytest.raises(DecodeError):
            open_card(seal_raw(bytes(forged), NETWORK_KEY), NETWORK_KEY)


def test_a_member_of_two_networks_cannot_carry_a_card_from_one_to_the_other() -> None:
    body = open_seal(seal_card(CARD, ALICE, NETWORK_KEY), NETWORK_KEY)

    with pytest.raises(DecodeError, match="not signed for this network"):
        open_card(seal_raw(body, b"k" * 32), b"k" * 32)


def test_a_peer_cannot_seal_a_card_for_another() -> None:
    with pytest.raises(ValueError, match="signed by the peer"):
        seal_card(CARD, BOB, NETWORK_KEY)


def test_a_card_signed_by_another_is_refused() -> None:
    body = open_seal(seal_card(CARD, ALICE, NETWORK_KEY), NETWORK_KEY)

    with pytest.raises(DecodeError, match="not signed"):
        open_card(sign_and_seal(body[:-64], BOB), NETWORK_KEY)


def test_a_signature_for_one_purpose_is_worth_nothing_for_another() -> None:
    signature = ALICE.sign(b"register", b"data")

    assert verify_signature(ALICE.peer, b"register", b"data", signature)
    assert not verify_signature(ALICE.peer, b"registe", b"rdata", signature)
    assert not verify_signature(ALICE.peer, b"card", b"data", signature)
    assert not verify_signature(BOB.peer, b"register", b"data", signature)
    assert not verify_signature(ALICE.peer, b"register", b"data", signature[:-1])
    assert not verify_signature(PeerId(ALICE.peer[:-1]), b"register", b"data", signature)


@pytest.mark.parametrize("sign_bit", [0, 0x80])
@pytest.mark.parametrize("point", sorted(cards._SMALL_ORDER_PEERS), ids=bytes.hex)
def test_a_peer_id_that_anyone_can_sign_for_is_nobody(point: bytes, sign_bit: int) -> None:
    peer = PeerId(point[:-1] + bytes((point[-1] | sign_bit,)))

    assert not verify_signature(peer, b"card", b"data", FORGED_SIGNATURE)


def test_without_the_refusal_the_neutral_point_would_sign_everything() -> None:
    neutral = bytes.fromhex("01" + "00" * 31)

    Ed25519PublicKey.from_public_bytes(neutral).verify(FORGED_SIGNATURE, b"whatever")


@given(st.binary(max_size=40), st.binary(max_size=80))
def test_any_bytes_are_a_peer_and_a_signature_or_not_but_nothing_is_raised(
    peer: bytes, signature: bytes
) -> None:
    assert not verify_signature(PeerId(peer), b"card", b"data", signature)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_an_identity_needs_a_whole_seed(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Identity(bytes(length))


def test_an_identity_does_not_show_its_secrets() -> None:
    assert repr(ALICE).startswith("Identity(")
    assert not hasattr(ALICE, "__dict__")


@pytest.mark.parametrize(
    "changed",
    [
        replace(CARD, nick="ä" * 33),
        replace(CARD, features=("f" * 25,)),
        replace(CARD, features=("f",) * 17),
        replace(CARD, features=("ä",)),
        replace(CARD, prekey_public=b"short"),
        replace(CARD, static_public=b"p" * 32),
    ],
    ids=["nick", "feature", "features", "feature not ascii", "prekey", "static"],
)
def test_a_card_beyond_a_limit_is_not_sealed(changed: Card) -> None:
    with pytest.raises(ValueError, match=r"."):
        seal_card(changed, ALICE, NETWORK_KEY)


def test_candidates_beyond_four_of_a_kind_and_doubles_are_left_out() -> None:
    lan = [Candidate(CandidateKind.LAN, Address("10.0.0.1", port)) for port in range(2000, 2009)]
    mapped = Candidate(CandidateKind.MAPPED, Address("203.0.113.9", 2000))
    again = Candidate(CandidateKind.LAST_GOOD, mapped.address)

    assert cards.limit_candidates([*lan, mapped, mapped, again]) == (*lan[:4], mapped)


def test_a_reader_limits_candidates_too() -> None:
    many = bytes((40,)) + b"".join(
        bytes((number % 6, 4, 10, 0, 0, number)) + b"\x9c\x40" for number in range(40)
    )

    candidates = open_card(sign_and_seal(HEAD + TEXTS + many, ALICE), NETWORK_KEY).candidates

    assert len(candidates) == 16
    assert [candidate.address.host for candidate in candidates[:2]] == ["10.0.0.0", "10.0.0.1"]


def test_a_scope_id_means_nothing_elsewhere_and_is_left_out() -> None:
    local = replace(
        CARD, candidates=(Candidate(CandidateKind.LAN, Address("fe80::1%eth0", 40000)),)
    )
    opened = open_card(seal_card(local, ALICE, NETWORK_KEY), NETWORK_KEY)

    assert opened.candidates == (Candidate(CandidateKind.LAN, Address("fe80::1", 40000)),)


@pytest.mark.parametrize("mapping", list(Mapping))
def test_every_mapping_class_survives_the_card(mapping: Mapping) -> None:
    card = replace(CARD, nat=replace(CARD.nat, mapping=mapping))
    assert open_card(seal_card(card, ALICE, NETWORK_KEY), NETWORK_KEY).nat.mapping is mapping


def test_a_card_that_ends_with_its_candidates_tells_nothing_more_of_its_nat() -> None:
    card = open_card(sign_and_seal(HEAD + TEXTS + b"\0", ALICE), NETWORK_KEY)
    assert card.nat == NatReport()


def test_a_card_tells_the_newest_taken_ports_and_no_more_than_its_limit() -> None:
    nat = replace(CARD.nat, taken_ports=tuple(range(50000, 50040)))
    opened = open_card(seal_card(replace(CARD, nat=nat), ALICE, NETWORK_KEY), NETWORK_KEY)
    assert opened.nat.taken_ports == tuple(range(50040 - TAKEN_PORTS_LIMIT, 50040))


def test_a_load_beyond_what_a_card_can_tell_is_the_most_that_it_can() -> None:
    card = replace(CARD, nat=replace(CARD.nat, load_per_s=1e9))
    opened = open_card(seal_card(card, ALICE, NETWORK_KEY), NETWORK_KEY)
    assert opened.nat.load_per_s == 0xFFFF / 16


def test_each_filtering_class_keeps_its_number_on_the_wire() -> None:
    for number, filtering in enumerate(
        (
            Filtering.UNKNOWN,
            Filtering.INDEPENDENT,
            Filtering.DEPENDENT,
            Filtering.ADDRESS_DEPENDENT,
        )
    ):
        head = bytearray(HEAD)
        head[len(HEAD) - 8] = number
        card = open_card(sign_and_seal(bytes(head) + TEXTS + b"\0", ALICE), NETWORK_KEY)
        assert card.nat == NatReport(filtering=filtering), "a card that ends there is an old one"


def test_a_later_versions_additions_are_passed_over() -> None:
    later = HEAD[:-9] + b"\xff\xff\xff\x80" + HEAD[-5:] + TEXTS
    later += bytes((2, 99, 4, 10, 0, 0, 1, 1, 1, 0, 4, 10, 0, 0, 2, 0x9C, 0x40)) + bytes(4)
    later += bytes((0, 51)) + b"what comes"

    card = open_card(sign_and_seal(later, ALICE), NETWORK_KEY)

    assert card.nat == NatReport(confidence=128 / 255, filtering_confidence=0.2)
    assert card.candidates == (Candidate(CandidateKind.LAN, Address("10.0.0.2", 40000)),)


def test_a_sealed_card_of_896_bytes_is_opened_and_a_longer_one_is_not() -> None:
    body = HEAD + TEXTS + b"\0"
    overhead = 12 + 64 + 16

    assert open_card(sign_and_seal(body.ljust(896 - overhead), ALICE), NETWORK_KEY).sequence == 7
    with pytest.raises(DecodeError):
        open_card(sign_and_seal(body.ljust(897 - overhead), ALICE), NETWORK_KEY)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        HEAD,
        b"\x02" + HEAD[1:] + b"\0\0\0",
        HEAD + b"\x05ali",
        HEAD + b"\x41" + b"n" * 65 + b"\0\0",
        HEAD + b"\x02\xff\xfe\0\0",
        HEAD + TEXTS,
        HEAD + b"\x05alice\x11" + b"\x01f" * 17 + b"\0",
        HEAD + b"\x05alice\x01\x02\xc3\xa4\0",
        HEAD + TEXTS + b"\x01\x00\x04\x0a\x00\x00",
        HEAD + TEXTS + b"\x01\x00\x05\x0a\x00\x00\x01\x9c\x40",
    ],
    ids=[
        "empty",
        "head alone",
        "other version",
        "nick cut",
        "nick too long",
        "nick not utf-8",
        "no candidates",
        "too many features",
        "feature not ascii",
        "candidate cut",
        "address of no family",
    ],
)
def test_a_malformed_body_is_refused_though_its_peer_has_signed_it(body: bytes) -> None:
    with pytest.raises(DecodeError):
        open_card(sign_and_seal(body, ALICE), NETWORK_KEY)


@settings(max_examples=500)
@given(st.binary(max_size=300) | st.binary(min_size=1024, max_size=1100))
def test_any_bytes_give_a_card_or_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        open_card(data, NETWORK_KEY)


@settings(max_examples=500)
@given(st.binary(max_size=200), st.booleans())
def test_any_signed_body_gives_a_card_or_a_decode_error(rest: bytes, with_head: bool) -> None:
    body = HEAD + rest if with_head else rest
    try:
        card = open_card(sign_and_seal(body, ALICE), NETWORK_KEY)
    except DecodeError:
        return
    assert len(card.candidates) <= cards.CANDIDATES_LIMIT
    assert len(card.nick.encode()) <= cards.NICK_LIMIT_BYTES
    assert open_card(seal_card(card, ALICE, NETWORK_KEY), NETWORK_KEY) == card


PINNED_PEER = "78b41ab6346f4964ad60d50f28302bdc22bb77a6166e212554d03884e15878f9"
PINNED_STATIC = "9cc92600d6dde06ec9348a78da2d0381fb3f605c2407dfea73502e9455a1bb7c"

FORGED_SIGNATURE = bytes.fromhex("58" + "66" * 31 + "01" + "00" * 31)
"""R = B (the base point) and S = 1: right under the neutral point, for every message."""


def network_keys(network_key: bytes) -> tuple[bytes, bytes]:
    info = b"natd/1 card seal and binding"
    derived = HKDF(SHA256(), 64, salt=None, info=info).derive(network_key)
    return derived[:32], derived[32:]


def open_seal(sealed: bytes, network_key: bytes) -> bytes:
    seal_key, _ = network_keys(network_key)
    return ChaCha20Poly1305(seal_key).decrypt(sealed[:12], sealed[12:], b"natd/1 card")


def seal_raw(body: bytes, network_key: bytes) -> bytes:
    """What a member of the network could make of any body."""
    seal_key, _ = network_keys(network_key)
    nonce = hashlib.blake2s(body, digest_size=12).digest()
    return nonce + ChaCha20Poly1305(seal_key).encrypt(nonce, body, b"natd/1 card")


def sign_and_seal(signed: bytes, signer: Identity) -> bytes:
    """What a peer with a program of its own could put into its card."""
    _, binding = network_keys(NETWORK_KEY)
    return seal_raw(signed + signer.sign(b"natd/1 card", binding + signed), NETWORK_KEY)
