"""A network's keys, and the secrets of each pair, against the formulas as written down."""

from itertools import product

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import given
from hypothesis import strategies as st

from natd.core.base.types import DecodeError
from natd.core.keys.card import Identity
from natd.core.keys.secrets import (
    PairSecrets,
    Prekey,
    derive_pair_secrets,
    initial_connection_id,
    network_id,
    network_key,
    verify_initial_connection_id,
)

NETWORK_KEY = bytes(range(32))
LO, HI = sorted((Identity(b"a" * 32), Identity(b"b" * 32)), key=lambda identity: identity.peer)
LO_PREKEY = Prekey(b"l" * 32)
HI_PREKEY = Prekey(b"h" * 32)

SMALL_ORDER_KEYS = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
"""X25519 points that agree on zero with everyone (RFC 7748, section 6.1)."""


def test_a_random_secret_is_read_as_its_128_bits() -> None:
    secret = b"00112233445566778899aabbCCDDEEFF"

    assert network_key("demo", secret) == hkdf(bytes.fromhex(secret.decode()), b"demo")


def test_an_open_networks_key_follows_from_its_name_alone() -> None:
    assert network_key("demo", b"") == network_key("demo", b" \n") == hkdf(b"", b"demo")
    assert network_key("demo", b"") != network_key("demo2", b"")


def test_a_passphrase_goes_through_scrypt_with_the_name_in_its_salt() -> None:
    passphrase = b"correct horse battery staple"
    salt = b"natd/1 passphrase" + "dëmo".encode()
    stretched = Scrypt(salt=salt, length=32, n=2**16, r=8, p=1).derive(passphrase)

    assert network_key("dëmo", passphrase + b"\n") == hkdf(stretched, "dëmo".encode())


@pytest.mark.parametrize("secret", [b"0" * 31, b"0" * 33, b"0" * 31 + b"g", b"00 " * 10 + b"00"])
def test_what_only_resembles_a_random_secret_is_a_passphrase(secret: bytes) -> None:
    salt = b"natd/1 passphrase" + b"demo"
    stretched = Scrypt(salt=salt, length=32, n=2**16, r=8, p=1).derive(secret)

    assert network_key("demo", secret) == hkdf(stretched, b"demo")


def test_a_network_id_is_the_blake2s_of_its_key() -> None:
    assert network_id(NETWORK_KEY).hex() == "68b96e07fa73966ccefd87ccad489984"


def test_both_sides_derive_the_same_secrets_with_the_directions_swapped() -> None:
    lo, hi = lo_side(), hi_side()

    assert lo.psk == hi.psk
    assert lo.ticket_identity == hi.ticket_identity
    assert (lo.send_check_key, lo.send_tag) == (hi.receive_check_key, hi.receive_tag)
    assert (lo.receive_check_key, lo.receive_tag) == (hi.send_check_key, hi.send_tag)


def test_the_secrets_are_those_of_the_formula() -> None:
    ikm = (
        dh(LO._static, HI_PREKEY.public)
        + dh(LO_PREKEY._private, HI.static_public)
        + dh(LO_PREKEY._private, HI_PREKEY.public)
        + dh(LO._static, HI.static_public)
    )
    extract = HMAC(NETWORK_KEY, SHA256())
    extract.update(ikm)
    prk = extract.finalize()

    def expand(label: bytes, length: int = 32) -> bytes:
        info = label + LO.peer + HI.peer + LO_PREKEY.public + HI_PREKEY.public
        return HKDFExpand(SHA256(), length, info).derive(prk)

    tags = expand(b"natd/1 check tags", 16)
    assert lo_side() == PairSecrets(
        psk=expand(b"natd/1 quic psk"),
        ticket_identity=expand(b"natd/1 ticket identity", 16),
        send_check_key=expand(b"natd/1 check key from lo"),
        receive_check_key=expand(b"natd/1 check key from hi"),
        send_tag=tags[:8],
        receive_tag=tags[8:],
    )


def test_the_secrets_of_a_pair_stay_the_same_for_ever() -> None:
    secrets = lo_side()

    assert secrets.psk.hex() == PINNED_PSK
    assert secrets.send_tag.hex() == PINNED_SEND_TAG


def test_no_two_secrets_are_alike() -> None:
    secrets = lo_side()
    fields = [secrets.psk, secrets.send_check_key, secrets.receive_check_key]
    fields += [secrets.ticket_identity, secrets.send_tag, secrets.receive_tag]

    assert [len(field) for field in fields] == [32, 32, 32, 16, 8, 8]
    assert len({field[:8] for field in fields}) == len(fields)


def test_each_key_of_either_side_and_the_network_changes_all_secrets() -> None:
    seen = set()
    others = (Identity(b"c" * 32), Identity(b"d" * 32))
    prekeys = (HI_PREKEY, Prekey(b"x" * 32))
    for remote, remote_prekey, ours, key in product(
        others, prekeys, (LO_PREKEY, Prekey(b"y" * 32)), (NETWORK_KEY, b"k" * 32)
    ):
        secrets = derive_pair_secrets(
            LO, ours, remote.static_public, remote_prekey.public, remote.peer, key
        )
        seen |= {secrets.psk, secrets.send_check_key, secrets.send_tag, secrets.ticket_identity}

    assert len(seen) == 16 * 4


def test_a_stolen_static_key_does_not_let_a_stranger_pose_as_another_to_its_owner() -> None:
    """The thief knows LO's static private key and both cards, and makes a prekey of its own,
    but not HI's static private key: it lacks the term DH(prekey_lo, static_hi)."""
    thief_prekey = Prekey(b"t" * 32)
    at_lo = derive_pair_secrets(
        LO, LO_PREKEY, HI.static_public, thief_prekey.public, HI.peer, NETWORK_KEY
    )
    for guess in (bytes(32), dh(LO._static, HI.static_public), dh(LO._static, LO_PREKEY.public)):
        ikm = (
            dh(LO._static, thief_prekey.public)
            + guess
            + thief_prekey.exchange(LO_PREKEY.public)
            + dh(LO._static, HI.static_public)
        )
        assert psk_of(ikm, thief_prekey.public) != at_lo.psk
    real = dh(LO_PREKEY._private, HI.static_public)
    ikm = (
        dh(LO._static, thief_prekey.public)
        + real
        + thief_prekey.exchange(LO_PREKEY.public)
        + dh(LO._static, HI.static_public)
    )
    assert psk_of(ikm, thief_prekey.public) == at_lo.psk


@pytest.mark.parametrize("key", SMALL_ORDER_KEYS)
@pytest.mark.parametrize("sign_bit", [0, 0x80])
def test_a_key_that_agrees_on_zero_is_refused_as_static_and_as_prekey(
    key: str, sign_bit: int
) -> None:
    weak = bytearray.fromhex(key)
    weak[-1] |= sign_bit
    for static, prekey in ((bytes(weak), HI_PREKEY.public), (HI.static_public, bytes(weak))):
        with pytest.raises(DecodeError, match="agrees on nothing"):
            derive_pair_secrets(LO, LO_PREKEY, static, prekey, HI.peer, NETWORK_KEY)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        derive_pair_secrets(LO, LO_PREKEY, b"k" * length, HI_PREKEY.public, HI.peer, NETWORK_KEY)


def test_a_pair_is_of_two() -> None:
    with pytest.raises(DecodeError, match="our own"):
        derive_pair_secrets(LO, LO_PREKEY, LO.static_public, HI_PREKEY.public, LO.peer, NETWORK_KEY)


def test_a_fresh_prekey_is_another_every_time() -> None:
    assert Prekey.generate().public != Prekey.generate().public


def test_secrets_do_not_show_in_a_repr() -> None:
    secrets, shown = lo_side(), repr(lo_side()) + repr(LO_PREKEY)

    for hidden in (secrets.psk, secrets.send_check_key, secrets.receive_check_key, b"l" * 32):
        assert repr(hidden)[2:-1] not in shown
        assert hidden.hex() not in shown


def test_a_first_connection_id_is_20_bytes_that_begin_with_our_tag() -> None:
    cid = initial_connection_id(lo_side(), b"salt")

    assert len(cid) == 20
    assert cid[:12] == hi_side().receive_tag + b"salt"


def test_only_the_other_side_of_the_pair_accepts_a_first_connection_id() -> None:
    cid = initial_connection_id(lo_side(), b"salt")

    assert verify_initial_connection_id(cid, hi_side())
    assert not verify_initial_connection_id(cid, lo_side())
    assert not verify_initial_connection_id(initial_connection_id(hi_side(), b"salt"), hi_side())


def test_one_flipped_bit_anywhere_undoes_a_first_connection_id() -> None:
    cid = initial_connection_id(lo_side(), b"salt")
    for bit in range(160):
        flipped = bytearray(cid)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not verify_initial_connection_id(bytes(flipped), hi_side())


def test_a_salt_has_four_bytes() -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        initial_connection_id(lo_side(), b"salty")


@given(st.binary(max_size=24))
def test_any_bytes_are_a_first_connection_id_or_not_but_nothing_is_raised(cid: bytes) -> None:
    assert not verify_initial_connection_id(cid, HI_SIDE)
    assert not verify_initial_connection_id(HI_SIDE.receive_tag + cid, HI_SIDE)


PINNED_PSK = "765100072988e546e71a9d4bfd9c1f29579d4037f4b4085dfa111d2960889457"
PINNED_SEND_TAG = "e3e8fd85b23972e4"


def lo_side() -> PairSecrets:
    return derive_pair_secrets(
        LO, LO_PREKEY, HI.static_public, HI_PREKEY.public, HI.peer, NETWORK_KEY
    )


def hi_side() -> PairSecrets:
    return derive_pair_secrets(
        HI, HI_PREKEY, LO.static_public, LO_PREKEY.public, LO.peer, NETWORK_KEY
    )


HI_SIDE = hi_side()


def dh(private: X25519PrivateKey, public: bytes) -> bytes:
    return private.exchange(X25519PublicKey.from_public_bytes(public))


def hkdf(secret: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=info).derive(secret)


def psk_of(ikm: bytes, hi_prekey_public: bytes) -> bytes:
    info = b"natd/1 quic psk" + LO.peer + HI.peer + LO_PREKEY.public + hi_prekey_public
    return HKDF(SHA256(), 32, salt=NETWORK_KEY, info=info).derive(ikm)
