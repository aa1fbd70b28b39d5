"""Repeats the datagrams of a handshake, unchanged, until the handshake is finished.

QUIC takes duplicates without harm, so this needs no knowledge of what is in the datagrams.  It
stands beside the library's own timers, which double without limit, look at one packet number
space at a time, and can leave both ends waiting for each other: at 30 % loss both ways one
handshake in 130 took more than a minute by them alone.

    dialler    repeats on a timer while nothing new comes
    acceptor   repeats when it hears again what it has heard before, never by itself, and not
               while the dialler may not have its answer yet
"""

REPEAT_S, LONGEST_REPEAT_S = 0.2, 2.0
"""How long a dialler waits for progress before it repeats, and the limit of the doubling."""

REPEATS = 12
"""How often without any progress: 20 s in all.  After that a new path or a new session is
called for, and either is its owner's to find."""

FLIGHT_AGAIN_S = 0.1
"""An acceptor repeats its part not faster than this, whatever it hears: a dialler sends its first
flight again as soon as it hears the peer, so the second copy follows the first closely."""

DIALLER_BYTES = 10 * 1200
ACCEPTOR_BYTES = 3 * 1200
"""How much is kept: a full first flight, and for the acceptor three times the one datagram that
asks for it, the most that an unproved address may be sent (RFC 9000, section 8.1)."""

HEARD_DATAGRAMS = 64


class HandshakeRetransmit:
    """See the top of this file."""

    def __init__(self, *, is_dialler: bool, now: float) -> None:
        self.datagrams: list[bytes] = []
        self.patience_s = 0.0
        """To be waited at least, where the machine is slower than the network."""
        self._is_dialler = is_dialler
        # Hashes of what has been heard.
        self._heard: set[int] = set()
        # When to repeat; None: not by ourselves.
        self._repeat_at: float | None = None
        self._wait_s = REPEAT_S
        self._repeats_left = 0
        self._answer_again_at = now
        self.renew(now)

    def be_patient(self, patience_s: float) -> None:
        """Wait so long at least; what has just begun, too."""
        if self._repeat_at is not None and patience_s > self.patience_s:
            self._repeat_at += max(0.0, patience_s - self._wait_s)
            self._wait_s = max(self._wait_s, patience_s)
        self.patience_s = patience_s

    def renew(self, now: float) -> None:
        """There was progress, or there is another path: begin with the short waits again."""
        if self._is_dialler:
            self._wait_s = max(REPEAT_S, self.patience_s)
            self._repeat_at = now + self._wait_s
            self._repeats_left = REPEATS

    def next_stage(self) -> None:
        """What was sent so far has served its purpose."""
        self.datagrams.clear()

    def add(self, datagrams: list[bytes], now: float) -> None:
        """These have left for the first time."""
        if datagrams:
            self._answer_again_at = now + max(FLIGHT_AGAIN_S, self.patience_s)
        room = DIALLER_BYTES if self._is_dialler else ACCEPTOR_BYTES
        room -= sum(map(len, self.datagrams))
        for data in datagrams:
            if len(data) <= room:
                self.datagrams.append(data)
                room -= len(data)

    def hear(self, data: bytes, now: float) -> None:
        """A datagram brought something new."""
        if len(self._heard) < HEARD_DATAGRAMS:
            self._heard.add(hash(data))
        self.renew(now)

    def has_heard(self, data: bytes) -> bool:
        return hash(data) in self._heard

    def hear_again(self, now: float) -> list[bytes]:
        """What to answer to a datagram that was heard before: the dialler misses something."""
        if self._is_dialler or now < self._answer_again_at:
            return []
        self._answer_again_at = now + max(FLIGHT_AGAIN_S, self.patience_s)
        return list(self.datagrams)

    def due(self, now: float) -> list[bytes]:
        """What to repeat at this moment."""
        if self._repeat_at is None or self._repeat_at > now:
            return []
        self._repeats_left -= 1
        self._wait_s = max(min(LONGEST_REPEAT_S, 2 * self._wait_s), self.patience_s)
        self._repeat_at = now + self._wait_s if self._repeats_left else None
        return list(self.datagrams)

    def get_timer(self) -> float | None:
        return self._repeat_at
