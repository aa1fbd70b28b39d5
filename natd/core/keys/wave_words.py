"""Signing and verifying the word for another wave of guesses (`natd.core.base.wishes`).

    signature over   network id | guesser 32 | peer 32 | wave u8 | nonce 8 | host, UTF-8

Rules:
- It names the host, so that it is good nowhere else: a server can't turn it on a third party.
- The nonce is the guesser's, who therefore knows without a clock how old the word is at most.
"""

from natd.core.base.types import NetworkId, PeerId
from natd.core.base.wishes import Ask, Word
from natd.core.keys.card import Identity, verify_signature

WORD_LABEL = b"natd/2 word"


def give_word(identity: Identity, network: NetworkId, guesser: PeerId, host: str, ask: Ask) -> Word:
    """Our word that `guesser` may send this wave to `host`, where we are."""
    signed = _signed(network, guesser, identity.peer, host, ask)
    return Word(ask.wave, ask.nonce, identity.sign(WORD_LABEL, signed))


def is_word_for(
    ask: Ask, word: Word, network: NetworkId, guesser: PeerId, peer: PeerId, host: str
) -> bool:
    """Whether `peer` has answered this ask of `guesser`'s, and said that it is at `host`."""
    if (word.wave, word.nonce) != (ask.wave, ask.nonce):
        return False
    signed = _signed(network, guesser, peer, host, ask)
    return verify_signature(peer, WORD_LABEL, signed, word.signature)


def _signed(network: NetworkId, guesser: PeerId, peer: PeerId, host: str, ask: Ask) -> bytes:
    return b"".join((network, guesser, peer, bytes((ask.wave,)), ask.nonce, host.encode()))
