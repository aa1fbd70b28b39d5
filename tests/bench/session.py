"""What a session costs: `python -m tests.bench.session`.

Two sessions and two conversations in memory, without a socket; times are CPU seconds of both
ends together, so one end can do about twice as much.
"""

from time import process_time

from natd.core.session.session import prepare_sessions
from tests.core.world.lossy_link import START, LossyLink, Party, Weather, pair_of_secrets
from tests.core.world.talker import OUTBOUND_EPOCHS, Talker

HANDSHAKES = 200
MESSAGES = 20_000


def main() -> None:
    began = process_time()
    prepare_sessions()
    print(f"first use of the process   {1e3 * (process_time() - began):8.1f} ms")
    measure_handshakes()
    measure_messages()


def measure_handshakes() -> None:
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
    for name, spent in zip(("dial", "accept", "finish"), steps, strict=True):
        print(f"{name:26} {1e3 * spent / HANDSHAKES:8.2f} ms")


def measure_messages() -> None:
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
    print(f"messages one way           {MESSAGES / spent:8.0f} a second (both ends)")


if __name__ == "__main__":
    main()
