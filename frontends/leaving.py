"""Leaving: by signal, because nobody reads any more, and without leaving a task behind."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

CANCEL_AGAIN_S = 0.2

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def leaving_on_signals(leave: Callable[[], object]) -> Iterator[None]:
    """Call `leave` on Ctrl-C (where the terminal makes a signal of it), SIGTERM and SIGHUP."""
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, leave)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def ended(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel them until they have ended; raises what one of them raised.

    More than once, because `asyncio.wait_for` of Python 3.11 swallows a cancellation that
    comes together with the result.
    """
    everyone = tuple(tasks)
    pending = {task for task in everyone if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    for task in everyone:
        if not task.cancelled():
            task.result()


def drop_output() -> None:
    """After a BrokenPipeError: what is still buffered goes nowhere, and without a complaint
    when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
