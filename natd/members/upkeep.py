"""What is done from time to time: history is pruned, the clock and the disk are looked at.

    every minute        has the clock been set?
    every ten minutes   own time goes to the disk
    every hour          history, events, and messages that nobody came for, by their age

What the disk refuses is done an hour later: nothing of it is urgent.
"""

import asyncio
import logging
import time

from natd.members.parts import Parts
from natd.members.recorder import Recorder
from natd.storage.own_time import DAY_S, SAVE_EVERY_S, ClockJump, WallClock
from natd.storage.store import StoreError

LOOK_AT_CLOCK_S = 60.0

PRUNE_S = 3600.0

TOLD_OF_JUMP_S = 3600.0
"""A clock that jumped by less is in the log, and not among the problems."""

logger = logging.getLogger(__name__)


class Upkeep:
    """See the top of this file."""

    def __init__(self, parts: Parts, recorder: Recorder) -> None:
        self._parts = parts
        self._recorder = recorder
        saved = parts.store.noted("clock")
        self._clock = WallClock(None if saved is None else str(saved))
        self._saved_at = self._pruned_at = time.monotonic()
        self.follow_limits()

    def follow_limits(self) -> None:
        """The configuration may have changed."""
        limits, quota = self._parts.config.limits, self._parts.mailbox.quota
        quota.limit(limits.disk_mib, limits.disk_mib_per_peer)
        self._recorder.release(time.monotonic())

    async def start(self) -> None:
        """Before anything is opened; StoreError."""
        self.look_at_clock()
        self.save_clock()
        await self._recorder.give_up()
        await self._parts.mailbox.forget_empty()

    def save_clock(self) -> None:
        """Remember how the clock stands."""
        self._parts.store.note("clock", self._clock.saved_text)

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._look_for_damage()
        while True:
            await asyncio.sleep(LOOK_AT_CLOCK_S)
            await self.look(time.monotonic())

    async def look(self, now: float) -> None:
        """Do what is due."""
        self.look_at_clock()
        if now >= self._saved_at + SAVE_EVERY_S:
            self._saved_at = now
            self.save_clock()
        if now >= self._pruned_at + PRUNE_S:
            self._pruned_at = now
            await self.prune()

    def look_at_clock(self) -> None:
        jump = self._clock.look()
        if jump is not None:
            text = jump_words(jump)
            logger.warning("%s", text)
            self._parts.log.append("clock_jumped", {"seconds": jump.seconds, "reason": text})
            if abs(jump.seconds) >= TOLD_OF_JUMP_S:
                self._parts.clock_jump = time.monotonic(), text
            self.save_clock()

    async def prune(self) -> None:
        """Delete what is older than the configuration wants to keep."""
        parts = self._parts
        before_s = parts.store.own_time.now_s - parts.config.limits.history_days * DAY_S
        self._recorder.still_here()
        try:
            await self._recorder.give_up()
            await parts.log.prune(before_s)
            await parts.mailbox.prune(before_s)
            await parts.mailbox.asked.prune()
        except StoreError as error:
            logger.warning("old history was not deleted: %s", error)
        self._recorder.release(time.monotonic())

    async def _look_for_damage(self) -> None:
        """In a file that was too large to be looked at before the start."""
        parts = self._parts
        parts.damage = await parts.store.look_for_damage()
        if parts.damage is not None:
            logger.error("%s: %s", parts.store.path, parts.damage)


def jump_words(jump: ClockJump) -> str:
    """What people are told of it."""
    direction = "forward" if jump.seconds > 0 else "back"
    return f"this machine's clock was set {_span(abs(jump.seconds))} {direction}"


def _span(seconds: float) -> str:
    for unit, length in (("days", DAY_S), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
