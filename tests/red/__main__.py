"""Apply each patch to a copy of the source, and expect its tests to fail."""

import sys
import tempfile
from pathlib import Path

from tests.red.patches import patches, turns_red


def main(words: list[str]) -> int:
    chosen = [each for each in patches() if not words or any(word in each.name for word in words)]
    green = 0
    for patch in chosen:
        with tempfile.TemporaryDirectory() as directory:
            problem = turns_red(patch, Path(directory))
        green += problem is not None
        print(f"{'red' if problem is None else 'GREEN':6}{patch.name}: {patch.promise}", flush=True)
        if problem is not None:
            print(f"      {problem}", flush=True)
    print(f"{len(chosen) - green} of {len(chosen)} defences are seen to be tested")
    return 1 if green or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
