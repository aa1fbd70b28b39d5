"""Valid input of every plane, one line each: `PLANE HEX` in corpus.txt.

    python -m tests.fuzz.corpus          record a meeting of two members, and write it anew

`kind_of` sorts datagrams by what they are, so that a few of each kind are kept.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from random import Random

from natd.core.base.types import DecodeError
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.frames import (
    Ack,
    Bye,
    Hello,
    Introduce,
    Message,
    NewerCard,
    Seek,
    encode_frame,
)
from natd.core.keys import card
from natd.core.network.greeting import decode_greeting
from tests.fuzz.decoders import KEY, made_seeds

FILE = Path(__file__).with_name("corpus.txt")

MOST_OF_A_KIND = 3


def load() -> dict[str, list[bytes]]:
    """Plane -> its inputs.  Datagrams that have no decoder of their own are under `quic`."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for line in FILE.read_text("ascii").splitlines():
        if line and not line.startswith("#"):
            plane, _, text = line.partition(" ")
            found[plane].append(bytes.fromhex(text))
    return found


def kind_of(data: bytes) -> str:
    """`rendezvous REGISTER`, `stun 1`, `quic 0xc0`, ...: what a member would take it for."""
    if not data:
        return "nothing"
    if data[0] < 0x04:
        try:
            message = stun.decode(data)
        except DecodeError:
            return "stun ?"
        return f"stun {message.message_class.name} {len(data)}"
    if data[0] == 0x05:
        try:
            return f"rendezvous {type(rendezvous_codec.decode(data)).__name__}"
        except (DecodeError, rendezvous_codec.ForeignVersionError):
            return "rendezvous ?"
    if data[0] == 0x06:
        return f"greeting {len(data)}"
    return f"quic {data[0] & 0xF0:#x}" if data[0] & 0x80 else f"quic short {len(data) // 300}"


def chosen(datagrams: Iterable[bytes], most: int = MOST_OF_A_KIND) -> list[tuple[str, bytes]]:
    """A few of each kind, with the plane of each."""
    count: dict[str, int] = defaultdict(int)
    kept = []
    for data in dict.fromkeys(datagrams):
        kind = kind_of(data)
        if count[kind] < most:
            count[kind] += 1
            kept.append((kind.partition(" ")[0], data))
    return kept


def record() -> list[tuple[str, bytes]]:
    """Of each plane what is said in a meeting, and what is made by hand."""
    from tests.fuzz.live import Stage

    stage = Stage(1)
    stage.meet()
    rows = chosen(stage.captured)
    cards = [decode_greeting(data).sealed_card for plane, data in rows if plane == "greeting"]
    for sealed in cards[:2]:
        rows.append(("card", sealed))
        rows.append(("card_body", card._encode_body(card.open_card(sealed, KEY))))
    random = Random("corpus")
    said = (
        Hello(epoch=random.getrandbits(64), first_seq=3, outbox=7, heard_outbox=8, heard_seq=2),
        Message("0" * 26, 7, 3, 1_800_000_000_000, "text", "hi, how are you?"),
        Message("1" * 26, 7, 4, 1_800_000_000_000, "private", "é" * 300),
        Ack(7, 3),
        NewerCard(cards[0] if cards else b"card"),
        Introduce(random.randbytes(32), b"card", None),
        Seek(None, (random.randbytes(8),)),
        Bye("leaving"),
    )
    rows += [("frames", encode_frame(frame)) for frame in said]
    rows.append(("frames", b"".join(encode_frame(frame) for frame in said[:4])))
    rows += [("quic_header", data) for plane, data in rows if plane == "quic"][:3]
    rows += [(plane, seed) for plane, seeds in made_seeds().items() for seed in seeds]
    return rows


def main() -> None:
    rows = record()
    lines = [f"{plane} {data.hex()}" for plane, data in rows]
    head = "# Valid input of every plane: made by `python -m tests.fuzz.corpus`."
    FILE.write_text("\n".join((head, *lines)) + "\n", "ascii")
    print(f"{len(lines)} inputs, {FILE.stat().st_size} bytes: {FILE}")


if __name__ == "__main__":
    main()
