"""How many guesses may go to hosts from which nobody has ever answered us.

    first wave     free, once in a long while
    the rest       what plain checks leave of theirs, if the peer's word has come in time
    each further   for the word of the peer that is said to be there (`natd.core.base.wishes`)

A server can name anybody's host, and say that it has proved it.  So what a lying server can cause
is bounded for each host: one wave, and only with the help of a member who signs words for it, a few
more an hour.  In an open network anybody can be such a member, so there it is one more an hour, and
only few hosts an hour are guessed at.

Rules:
- A host that answers is no stranger any more, and gives its place to another.
- All of this holds over all peers and networks of the daemon, and across its restarts: the shell
  keeps `take_news` on disk, and gives it back to `recall`.  Of a wave that had begun, what was left
  is lost; else a daemon that somebody can crash would begin it anew with each start.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from natd.core.checks.limits import MINUTE_S

FIRST_WAVE_PACKETS = 960
"""With the plain checks of a minute below 1,024.  With 256 sockets on the other side, 98 of 100
attempts over all ports, and practically all where a NAT draws from the upper half, as most do."""

FIRST_MINUTE_REST = 64
MINUTES_REST = 60
MOST_MINUTES = 5
"""What plain checks may take beside guesses: the rest of 1,024 in the first minute, and so many in
each further one.  If a word has come in the first minute, guesses take what checks have left of
it: an eighth wave between two blocks of which half may be used, and part of a ninth."""

WAVE_PACKETS = 1_024

WORDS_AN_HOUR_OPEN = 1
WORDS_AN_HOUR_SECRET = 4
HOSTS_AN_HOUR_OPEN = 4
HOUR_S = 3600.0

STRANGER_FOR_S = 86_400.0
"""After that there is a first wave again, because addresses go to other people.  It counts as one
that a word has bought in this hour, so the end of a day makes no hour dearer."""

MOST_BEGUN = 64
"""Of others it is not known how often they were checked: they have no rest."""

MOST_STRANGERS = 1_024
"""More are not guessed at, rather than one of these forgotten."""


@dataclass(frozen=True, slots=True)
class Guessed:
    """A host that was guessed at, as it is kept on disk: all in seconds before now."""

    host: str
    since_s_ago: float
    waves_s_ago: tuple[float, ...]
    """When further waves were bought, in the last hour."""
    is_of_open: bool

    def after(self, passed_s: float) -> "Guessed":
        """The same so much later."""
        waves = tuple(s_ago + passed_s for s_ago in self.waves_s_ago)
        return Guessed(self.host, self.since_s_ago + passed_s, waves, self.is_of_open)


@dataclass(slots=True)
class _Stranger:
    since: float
    left: int = FIRST_WAVE_PACKETS
    waves: list[float] = field(default_factory=list)  # bought in the last hour, and when
    word_at: float | None = None  # when the first word came; None: none did
    is_of_open: bool = False  # whether it takes one of an open network's places
    checks: int = FIRST_MINUTE_REST  # plain ones, as long as they count

    def left_at(self, now: float) -> int:
        """Negative in `left` is what the rest has paid for."""
        minutes = min(MOST_MINUTES, int((now - self.since) / MINUTE_S))
        is_early = self.word_at is not None and self.word_at < self.since + MINUTE_S
        if not minutes or not is_early or now - self.since >= HOUR_S:
            return self.left
        rest = FIRST_MINUTE_REST + (minutes - 1) * MINUTES_REST - self.checks
        return self.left + max(0, rest)


class StrangerHosts:
    """See the top of this file."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, _Stranger] = OrderedDict()
        # Hosts that were checked before the first guess: since when, and how often.
        self._begun: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._has_news = False

    def recall(self, guessed: Iterable[Guessed], now: float) -> None:
        """What an earlier run has guessed at, the longest ago first."""
        for each in guessed:
            waves = [now - s_ago for s_ago in each.waves_s_ago]
            since, is_open = now - each.since_s_ago, each.is_of_open
            self._hosts[each.host] = _Stranger(since, 0, waves, is_of_open=is_open)
            if len(self._hosts) >= MOST_STRANGERS:
                return

    def take_news(self, now: float) -> list[Guessed] | None:
        """All hosts, if a wave has begun, was bought, or is given back since the last call."""
        if not self._has_news:
            return None
        self._has_news = False
        return [
            Guessed(host, now - s.since, tuple(now - at for at in s.waves), s.is_of_open)
            for host, s in self._hosts.items()
        ]

    def left(self, host: str, now: float, *, is_open: bool) -> int:
        """How many guesses may still go there."""
        found = self._hosts.get(host)
        if found is not None and not self._is_over(found, now):
            return max(0, found.left_at(now))
        return FIRST_WAVE_PACKETS if self._has_place(now, is_open=is_open) else 0

    def lacks_place(self, host: str, now: float, *, is_open: bool) -> bool:
        """Whether nothing may be guessed there because other hosts have used up this hour."""
        found = self._hosts.get(host)
        is_known = found is not None and not self._is_over(found, now)
        return not is_known and not self._has_place(now, is_open=is_open)

    def take(self, host: str, now: float, *, is_open: bool) -> bool:
        """Whether one more guess may go there; takes it if so."""
        found = self._known(host, now, is_open=is_open)
        if found is None or found.left_at(now) <= 0:
            return False
        found.left -= 1
        return True

    def checked(self, host: str, now: float) -> None:
        """A plain check has left for this host."""
        found = self._hosts.get(host)
        if found is not None:
            found.checks += now - found.since < MOST_MINUTES * MINUTE_S
            return
        since, checks = self._begun.pop(host, (now, 0))
        if now - since >= MINUTE_S:
            since, checks = now, 0
        self._begun[host] = since, checks + 1
        if len(self._begun) > MOST_BEGUN:
            self._begun.popitem(last=False)

    def wants_word(self, host: str, now: float, *, is_open: bool) -> bool:
        """Whether the first wave is more than half spent and a word would pay for another."""
        found = self._hosts.get(host)
        if found is None or found.left > FIRST_WAVE_PACKETS // 2:
            return False
        return _waves_of_this_hour(found, now) < _words_an_hour(is_open)

    def take_word(self, host: str, now: float, *, is_open: bool) -> bool:
        """A good word for this host has come; False: those of this hour are spent."""
        if not self.wants_word(host, now, is_open=is_open):
            return False
        found = self._hosts[host]
        self._has_news = True
        found.waves.append(now)
        found.word_at = now if found.word_at is None else found.word_at
        found.left += WAVE_PACKETS
        return True

    def answered(self, host: str) -> None:
        """An authenticated answer has come from there."""
        self._has_news = self._hosts.pop(host, None) is not None or self._has_news

    def _known(self, host: str, now: float, *, is_open: bool) -> _Stranger | None:
        found = self._hosts.get(host)
        if found is not None and not self._is_over(found, now):
            return found
        if not self._has_place(now, is_open=is_open):
            return None
        self._hosts.pop(host, None)
        waves = [] if found is None else [*found.waves, now]
        found = self._hosts[host] = _Stranger(now, is_of_open=is_open, waves=waves)
        self._has_news = True
        since, checks = self._begun.pop(host, (-MINUTE_S, 0))
        if now - since < MINUTE_S:
            found.checks = checks
        return found

    def _has_place(self, now: float, *, is_open: bool) -> bool:
        while self._hosts:
            oldest = next(iter(self._hosts))
            found = self._hosts[oldest]
            if not self._is_over(found, now) or _waves_of_this_hour(found, now):
                break
            del self._hosts[oldest]
        if len(self._hosts) >= MOST_STRANGERS:
            return False
        if not is_open:
            return True
        recent = [s for s in self._hosts.values() if s.is_of_open and now - s.since < HOUR_S]
        return len(recent) < HOSTS_AN_HOUR_OPEN

    @staticmethod
    def _is_over(found: _Stranger, now: float) -> bool:
        """Whether there is a first wave again: not in an hour whose words are spent."""
        is_spent = _waves_of_this_hour(found, now) >= _words_an_hour(found.is_of_open)
        return now - found.since >= STRANGER_FOR_S and not is_spent


def _waves_of_this_hour(found: _Stranger, now: float) -> int:
    found.waves = [at for at in found.waves if now - at < HOUR_S]
    return len(found.waves)


def _words_an_hour(is_open: bool) -> int:
    return WORDS_AN_HOUR_OPEN if is_open else WORDS_AN_HOUR_SECRET
