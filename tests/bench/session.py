"""What a session costs: `python -m tests.bench.session [--record FILE]`.

Two sessions and two conversations in memory, without a socket; times are CPU seconds of both
ends together, so one end can do about twice as much.
"""

import argparse
from time import process_time

from natd.core.session.session import prepare_sessions
from tests.bench.record import Figure, add_record_option, record
from tests.core.world.lossy_link import START, LossyLink, Party, Weather, pair_of_secrets
from tests.core.world.talker import OUTBOUND_EPOCHS, Talker

HANDSHAKES = 200
MESSAGES = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description="what a session costs")
    add_record_option(parser)
    arguments = parser.parse_args()
    began = process_time()
    prepare_sessions()
    figures = {"session: first use of the process": Figure(1e3 * (process_time() - began), "ms")}
    figures |= measure_handshakes() | measure_messages()
    for name, figure in figures.items():
        print(f"{name:34} {figure.value:10.2f} {figure.unit}")
    if arguments.record:
        record(arguments.record, figures)


def measure_handshakes() -> dict[str, Figure]:
    one, other = pair_of_secrets()
    steps = [0.0, 0.0, 0.0]
    for number in range(HANDSHAKES):
        dialler, acceptor = Party(one), Party(other)
        acceptor.to_answer = b"answer"
        times = [process_time()]
        dialler.dial(START, b"hello", salt=number.to_bytes(4, "big"))
        flight = dialler.datagrams_to_send()
        times.append(process_time())
        for data in flight:
            acceptor.receive_datagram(data, START)
        answer = acceptor.datagrams_to_send()
        times.append(process_time())
        for data in answer:
            dialler.receive_datagram(data, START)
        dialler.datagrams_to_send()
        times.append(process_time())
        assert dialler.is_established
        assert acceptor.received == b"hello"
        for step in range(3):
            steps[step] += times[step + 1] - times[step]
    return {
        f"session: {name}": Figure(1e3 * spent / HANDSHAKES, "ms")
        for name, spent in zip(("dial", "accept", "finish"), steps, strict=True)
    }


def measure_messages() -> dict[str, Figure]:
    secrets = pair_of_secrets()
    one, other = (
        Talker(mine, epoch=epoch) for mine, epoch in zip(secrets, OUTBOUND_EPOCHS, strict=True)
    )
    link = LossyLink(one, other, Weather(delay_s=0.005))
    one.dial(START)
    assert link.run(5.0, lambda: one.is_established and other.is_established)
    began = process_time()
    for number in range(MESSAGES):
        one.say(f"message {number}", link.now)
    assert link.run(600.0, lambda: one.acknowledged == MESSAGES)
    spent = process_time() - began
    return {"session: messages one way": Figure(MESSAGES / spent, "a second, both ends", "more")}


if __name__ == "__main__":
    main()
