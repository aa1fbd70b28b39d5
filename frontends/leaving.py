"""Leaving when asked to from outside: by signal, or because nobody reads any more."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

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


def drop_output() -> None:
    """After a BrokenPipeError: what is still buffered goes nowhere, and without a complaint
    when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
