"""Two daemons say many messages to each other in weather that is bad from the first to the last.

python -m tests.nemesis.weather --messages 10000        each way; the exit code tells
python -m tests.nemesis.weather --meetings 50           handshakes at 30 % loss both ways
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from random import Random

from natd.core.base.types import peer_id_text
from tests.core.world.village import Village
from tests.internet.fabric import Weather
from tests.nemesis.daemon import Daemon
from tests.nemesis.disk import Disk
from tests.nemesis.ledger import Books, Ledger
from tests.nemesis.seams import memory_directory, stage
from tests.nemesis.wire import TappedInternet

BAD = Weather(loss=0.1, jitter_s=0.02, reordering=0.1, duplication=0.05, bit_flips=0.02)
LOSSY = Weather(loss=0.3)

AT_ONCE = 50
PATIENCE_S = 300.0
MEETING_S = 60.0


class Pair:
    """Alice and Bob on the internet itself, with all that they need."""

    def __init__(self, seed: int, place: Path, current: object, weather: Weather) -> None:
        self.internet = TappedInternet(seed)
        village = Village(seed, internet=self.internet)
        self.internet.weather = weather
        self.books = Books()
        self.members = []
        for number, name in enumerate(("alice", "bob")):
            disk = Disk(place / name, Random(f"{seed} {name}").randbytes(32))
            ledger = Ledger(name, "")
            member = Daemon(
                name,
                self.internet,
                current,  # type: ignore[arg-type]
                None,
                disk,
                ledger,
                servers=[str(server) for server in village.servers],
                secret="",
                port=40000 + number,
                chance=Random(f"{seed} {name} chance"),
            )
            ledger.peer = peer_id_text(member.peer)
            self.books.all.append(ledger)
            self.members.append(member)

    def meet(self) -> bool:
        """Whether each sees the other within `MEETING_S`."""
        one, other = self.members
        for member in self.members:
            member.start()
        return self.internet.run_until(
            lambda: one.sees(other.peer) and other.sees(one.peer), MEETING_S
        )

    def chat(self, messages: int) -> list[str]:
        """So many each way; what is wrong in the end."""
        one, other = self.members
        for number in range(0, messages, AT_ONCE):
            for member, to in ((one, other), (other, one)):
                for each in range(number, min(number + AT_ONCE, messages)):
                    member.say(f"{member.name} {each}", to.ledger.peer)
            self.internet.run(0.2)
        self._look_at = self.internet.now
        self.internet.run_until(self._is_settled, PATIENCE_S)
        wrong = self.books.wrong()
        for member in self.members:
            if len(member.ledger.arrived) != messages:
                wrong.append(f"{member.name} has {len(member.ledger.arrived)} of {messages}")
        return wrong

    def end(self) -> None:
        for member in self.members:
            member.kill()

    def _is_settled(self) -> bool:
        if self.internet.now < self._look_at:
            return False
        self._look_at = self.internet.now + 1.0
        return self.books.is_settled()


def chat(messages: int, seed: int = 1) -> list[str]:
    """What is wrong after so many messages each way in `BAD` weather."""
    with tempfile.TemporaryDirectory(dir=memory_directory()) as place, stage() as current:
        pair = Pair(seed, Path(place), current, BAD)
        wrong = [] if pair.meet() else ["they have not met"]
        wrong += pair.chat(messages)
        pair.end()
    return wrong


def meetings(count: int) -> int:
    """How many of so many pairs see each other, each message lost or not by 30 %."""
    met = 0
    for seed in range(count):
        with tempfile.TemporaryDirectory(dir=memory_directory()) as place, stage() as current:
            pair = Pair(seed, Path(place), current, LOSSY)
            met += pair.meet()
            pair.end()
    return met


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nemesis.weather", description=__doc__)
    parser.add_argument("--messages", type=int, default=0)
    parser.add_argument("--meetings", type=int, default=0)
    asked = parser.parse_args()
    logging.disable()
    wrong: list[str] = []
    told: list[str] = []
    if asked.messages:
        wrong += chat(asked.messages)
        told.append(
            f"{asked.messages} messages each way: {len(wrong)} wrong {wrong[:5] or ''}".strip()
        )
    if asked.meetings:
        met = meetings(asked.meetings)
        told.append(f"{met} of {asked.meetings} pairs met at 30 % loss both ways")
        if met < asked.meetings:
            wrong.append("not all have met")
    print(", ".join(told))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
