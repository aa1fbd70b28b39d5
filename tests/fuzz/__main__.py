"""Almost right bytes at every decoder, and at two members who are connected.

    python -m tests.fuzz --datagrams 1000000              at members and server, then at decoders
    python -m tests.fuzz --engine hypothesis --datagrams 20000      at the decoders alone
    python -m tests.fuzz --engine atheris --seconds 600 [--decoder stun]      guided by coverage

Exit code 1 when something was wrong.  Atheris is no requirement: `pip install atheris`.
"""

import argparse
import logging
import subprocess
import sys
import time
import traceback
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import corpus
from tests.fuzz.decoders import BY_NAME, DECODERS, Decoder
from tests.fuzz.live import Stage
from tests.fuzz.mutate import mutate

OF_ONE_MEETING = 250_000
"""Datagrams at one pair; then others meet."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--datagrams", type=int, default=50_000, help="how many (50000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first meeting (1)")
    parser.add_argument("--engine", choices=("mutate", "hypothesis", "atheris"), default="mutate")
    parser.add_argument("--decoder", choices=sorted(BY_NAME), action="append", default=None)
    parser.add_argument("--seconds", type=int, default=60, help="of atheris, a decoder (60)")
    asked = parser.parse_args(arguments)
    logging.disable()
    decoders = [BY_NAME[name] for name in asked.decoder] if asked.decoder else list(DECODERS)
    if asked.engine == "atheris":
        return guided(decoders, asked.seconds)
    wrong: list[str] = []
    if asked.engine == "mutate" and not asked.decoder:
        wrong += at_members(asked.datagrams, asked.seed)
    each = max(1, asked.datagrams // len(decoders))
    try_on = by_hypothesis if asked.engine == "hypothesis" else by_mutation
    for decoder in decoders:
        began = time.perf_counter()
        found = try_on(decoder, each, asked.seed)
        rate = each / (time.perf_counter() - began)
        print(f"{decoder.name:<14}{each:>9} inputs {rate:>9.0f} a second {len(found):>4} wrong")
        wrong += found
    for text in wrong:
        print(f"wrong: {text}")
    count = asked.datagrams if asked.engine == "mutate" and not asked.decoder else 0
    print(
        f"{count} datagrams, {len(decoders)} decoders with {each} inputs each: {len(wrong)} wrong"
    )
    return 1 if wrong else 0


def at_members(datagrams: int, seed: int) -> list[str]:
    wrong = []
    for number in range((datagrams + OF_ONE_MEETING - 1) // OF_ONE_MEETING):
        stage = Stage(seed + number)
        stage.meet()
        count = min(OF_ONE_MEETING, datagrams - number * OF_ONE_MEETING)
        began = time.perf_counter()
        stage.attack(count)
        rate = count / (time.perf_counter() - began)
        found = stage.wrong()
        (answers, size), (aimed, most) = stage.answers, stage.aimed
        print(
            f"meeting {seed + number}: {count} datagrams, {rate:.0f} a second; {answers} answers "
            f"({size} bytes) to strangers; {aimed} aimed at, {most} at one; {len(found)} wrong"
        )
        for reason, times in stage.dropped().most_common(12):
            print(f"    {times:>9} {reason}")
        sys.stdout.flush()
        wrong += found
    return wrong


def by_mutation(decoder: Decoder, inputs: int, seed: int) -> list[str]:
    seeds = corpus.load()
    own = seeds[decoder.name]
    others = [data for rows in seeds.values() for data in rows]
    random = Random(f"{decoder.name} {seed}")
    for _ in range(inputs):
        data = mutate(random.choice(own), random, own if random.random() < 0.8 else others)
        if found := failure(decoder, data):
            return [found]
    return []


def by_hypothesis(decoder: Decoder, inputs: int, seed: int) -> list[str]:
    own = corpus.load()[decoder.name]
    changed = st.builds(
        lambda data, number: mutate(data, Random(number), own),
        st.sampled_from(own),
        st.integers(0, 2**32),
    )
    found: list[str] = []

    @settings(max_examples=inputs, deadline=None, database=None)
    @given(changed | st.binary(max_size=1500))
    def any_bytes(data: bytes) -> None:
        if told := failure(decoder, data):
            found[:] = [told]
            raise AssertionError(told)

    try:
        any_bytes()
    except AssertionError:
        return found
    return []


def failure(decoder: Decoder, data: bytes) -> str | None:
    """What a decoder raises that it must not, with where and for what."""
    try:
        decoder.try_on(data)
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        return f"{decoder.name}: {error!r} at {at.filename}:{at.lineno} for {data.hex()}"
    return None


def guided(decoders: list[Decoder], seconds: int) -> int:
    """Each in a process of its own: libFuzzer never comes back."""
    status = 0
    for decoder in decoders:
        command = [sys.executable, "-m", "tests.fuzz.guided", decoder.name, str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = (done.stderr + done.stdout).splitlines()
        told = [line for line in lines if "DONE" in line or "Error" in line or "wrong:" in line]
        print(f"{decoder.name:<14} exit {done.returncode}: {' | '.join(told[-3:])}", flush=True)
        status |= done.returncode != 0
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
