from tests.core.lossy_link import START, LossyLink, Party, Weather, pair_of_secrets


def test_the_first_message_arrives_from_the_diallers_first_flight_alone() -> None:
    dialler, acceptor = parties()
    for data in dialler.dial(START, b"the first message").datagrams_to_send():
        acceptor.receive_datagram(data, START + 0.05)
    assert acceptor.received == b"the first message"
    assert not acceptor.is_established


def test_the_acceptors_first_flight_carries_its_answer() -> None:
    dialler, acceptor = parties()
    acceptor.to_answer = b"the answer"
    for data in dialler.dial(START, b"the first message").datagrams_to_send():
        acceptor.receive_datagram(data, START + 0.05)
    for data in acceptor.datagrams_to_send():
        dialler.receive_datagram(data, START + 0.1)
    assert dialler.received == b"the answer"
    assert dialler.is_established


def test_the_handshake_survives_thirty_percent_of_loss_both_ways() -> None:
    times = []
    for seed in range(50):
        dialler, acceptor = parties()
        acceptor.to_answer = b"answer"
        link = LossyLink(dialler, acceptor, Weather(loss=0.3), seed)
        dialler.dial(START, b"hello")
        assert link.run(
            60.0, lambda d=dialler, a=acceptor: d.is_established and a.is_established
        ), seed
        times.append(link.now - START)
    print(sorted(times))


def parties() -> tuple[Party, Party]:
    one, other = pair_of_secrets()
    return Party(one), Party(other)
