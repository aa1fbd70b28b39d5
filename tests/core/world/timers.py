"""The next timer of a core that is known to have one."""

from typing import Protocol


class HasTimer(Protocol):
    def get_timer(self) -> float | None: ...


def timer_of(core: HasTimer) -> float:
    """AssertionError where no timer runs."""
    timer = core.get_timer()
    assert timer is not None
    return timer
