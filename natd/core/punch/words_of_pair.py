"""The words for further waves of guesses that we want of one peer, and give it.

    ask_for ─► Ask, to the peer by a server ─► its Word ─► take: the host that it pays for
    answer  ◄─ its Ask                      ◄─ our Word

Rules:
- A word is good once, for `WORD_LIFE_S` after the ask, and only for the host that we asked for.
- We give ours only for the address where servers see us.
"""

from random import Random

from natd.core.base.timers import TokenBucket
from natd.core.base.types import NetworkId, PeerId
from natd.core.base.wishes import WAVE_NONCE_BYTES, Ask, Word
from natd.core.keys.card import Identity
from natd.core.keys.wave_words import give_word, is_word_for

WORD_LIFE_S = 30.0

ASK_WORD_AGAIN_S = 2.0
"""An ask or a word may be lost; longer than the slowest way there and back."""

GIVEN_RATE, GIVEN_BURST = 1.0, 4.0
"""Words a second, and at once: each is a signature and a request to our servers."""

LAST_WAVE = 255


class WordsOfPair:
    """See the top of this file."""

    def __init__(
        self,
        identity: Identity,
        network: NetworkId,
        peer: PeerId,
        random: Random,
        *,
        is_open: bool,
    ) -> None:
        self.is_open = is_open
        """Whether the network has no secret: then words buy fewer waves."""
        self._identity = identity
        self._network = network
        self._peer = peer
        self._random = random
        self._wave = 1
        self._open: tuple[Ask, str, float] | None = None  # with its host and instant
        self._given = TokenBucket(GIVEN_RATE, GIVEN_BURST)

    def ask_for(self, host: str, now: float) -> Ask | None:
        """A new ask; None while it is too early for another."""
        if self._open is not None and now - self._open[2] < ASK_WORD_AGAIN_S:
            return None
        self._wave = min(self._wave + 1, LAST_WAVE)
        ask = Ask(self._wave, self._random.randbytes(WAVE_NONCE_BYTES))
        self._open = ask, host, now
        return ask

    def take(self, word: Word, now: float) -> str | None:
        """The host whose next wave this word pays for; None: it is none that we wait for."""
        if self._open is None or now - self._open[2] > WORD_LIFE_S:
            return None
        ask, host, _ = self._open
        ours = self._identity.peer
        if not is_word_for(ask, word, self._network, ours, self._peer, host):
            return None
        self._open = None
        return host

    def answer(self, ask: Ask, host: str, now: float) -> Word | None:
        """Our word, for the host where we are; None: the peer asks too often."""
        if not self._given.take(now):
            return None
        return give_word(self._identity, self._network, self._peer, host, ask)
