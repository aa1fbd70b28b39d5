"""Play seeds: `python -m tests.nemesis --seeds 1000`.

Exit code 1 when something was wrong; each seed that failed is printed with the command that plays
it again.
"""

import argparse
import logging
import os
import sys
import time
from collections import Counter

from tests.nemesis import nemesis
from tests.nemesis.strikes import names

MOST_FAILURES = 20
"""After so many seeds that failed there is nothing more to be learned."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nemesis", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (100)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first one (0)")
    parser.add_argument("--only", default=None, help=f"kinds of strikes: {', '.join(names())}")
    parser.add_argument("-v", action="store_true", dest="tells", help="tell each strike")
    asked = parser.parse_args(arguments)
    only = None if asked.only is None else frozenset(asked.only.split(","))
    if only is not None and (unknown := only - set(names())):
        parser.error(f"no such strikes: {', '.join(sorted(unknown))}")
    logging.disable()
    began = time.perf_counter()
    failed: list[int] = []
    faults: Counter[str] = Counter()
    runs = said = arrived = 0
    virtual_s = 0.0
    calms_s: list[float] = []
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        outcome = nemesis.run(seed, tells=asked.tells, only=only)
        runs += 1
        said += outcome.said
        arrived += outcome.arrived
        virtual_s += outcome.virtual_s
        faults += outcome.faults
        calms_s.append(outcome.calm_s)
        if outcome.wrong:
            failed.append(seed)
            for wrong in outcome.wrong[:MOST_FAILURES]:
                print(f"seed {seed}: {wrong}")
            chosen = f" --only {asked.only}" if only else ""
            print(f"  again: python -m tests.nemesis --seeds 1 --first-seed {seed}{chosen} -v")
            sys.stdout.flush()
            if len(failed) >= MOST_FAILURES:
                break
    took_s = time.perf_counter() - began
    print(f"{'runs':<22}{runs:>9}")
    print(f"{'messages said':<22}{said:>9}")
    print(f"{'arrivals':<22}{arrived:>9}")
    print(f"{'virtual hours':<22}{virtual_s / 3600:>9.1f}")
    for kind, count in sorted(faults.items()):
        print(f"{kind:<22}{count:>9}")
    calms_s.sort()
    for share in (0.5, 0.99, 1.0):
        calm_s = calms_s[round(share * (runs - 1))]
        print(f"{f'well after, {share:.0%}':<22}{calm_s:>8.0f}s")
    print(f"{'violations':<22}{len(failed):>9}  {failed or ''}")
    print(f"{runs / max(took_s, 0.001) * 60:.0f} seeds a minute")
    print(
        f"{runs} seeds, {said} messages: {len(failed)} violations; well {calms_s[runs // 2]:.0f} s "
        f"after the storm, at most {calms_s[-1]:.0f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Else the order of sets differs from process to process, and so may a seed.
        command = [sys.executable, "-m", "tests.nemesis", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
