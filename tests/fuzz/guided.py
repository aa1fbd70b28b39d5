"""One decoder under atheris: `python -m tests.fuzz.guided DECODER SECONDS`.

New inputs are kept in build/fuzz/DECODER, beside the seeds of the corpus; what makes a decoder
raise is written there as `crash-...`.
"""

import importlib
import sys
from pathlib import Path

BUILD = Path("build/fuzz")


def main() -> None:
    atheris = importlib.import_module("atheris")
    name, seconds = sys.argv[1], sys.argv[2]
    with atheris.instrument_imports(include=["natd"]):
        from tests.fuzz import corpus
        from tests.fuzz.decoders import BY_NAME

    decoder = BY_NAME[name]
    place = BUILD / name
    place.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(corpus.load()[name]):
        (place / f"seed{number}").write_bytes(data)

    def one_input(data: bytes) -> None:
        decoder.try_on(bytes(data))

    options = [f"-max_total_time={seconds}", "-max_len=2048", f"-artifact_prefix={place}/"]
    atheris.Setup([sys.argv[0], *options, str(place)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
