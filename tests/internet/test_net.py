"""The virtual internet itself: delays, hop limits, loss, and who reaches whom."""

from dataclasses import replace

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, Datagram, SocketId
from tests.internet.fabric import Gateway, Host, Weather
from tests.internet.nat import (
    FULL_CONE,
    LINUX_ACCEPTING,
    PORT_RESTRICTED,
    Hairpin,
)
from tests.internet.net import START, Internet


def test_a_datagram_between_two_public_hosts_takes_both_access_delays():
    internet = Internet()
    a, b = talker(internet), talker(internet)
    a.say(b"hello", b.address)
    assert internet.run_until(lambda: bool(b.heard), 1.0)
    assert internet.now == pytest.approx(START + 0.05)
    assert b.heard == [(b"hello", a.address, MAIN_SOCKET)]


def test_the_owner_is_drained_at_the_start_of_a_run_and_timers_fire_on_time():
    internet = Internet()
    a = talker(internet)
    a.timer = START + 86400.0
    internet.run(2 * 86400.0)
    assert a.fired == [START + 86400.0]
    assert internet.now == START + 2 * 86400.0


def test_an_answer_comes_back_through_a_nat_and_a_stranger_does_not():
    internet = Internet()
    nat = internet.add_nat(PORT_RESTRICTED)
    inside, server, stranger = talker(internet, nat), talker(internet), talker(internet)
    inside.say(b"ask", server.address)
    internet.run(0.2)
    seen = server.heard[0][1]
    assert seen == Address(nat.addresses[0], inside.address.port)
    server.say(b"answer", seen)
    stranger.say(b"junk", seen)
    internet.run(0.2)
    assert [data for data, _, _ in inside.heard] == [b"answer"]
    assert internet.dropped["filtered"] == 1


@pytest.mark.parametrize(
    ("ttl", "makes_mapping", "arrives"), [(1, 0, 0), (2, 1, 0), (3, 1, 0), (4, 1, 1)]
)
def test_a_low_ttl_opener_opens_its_own_nat_and_dies_between_the_two(ttl, makes_mapping, arrives):
    internet = Internet()
    nat, far = internet.add_nat(PORT_RESTRICTED), internet.add_nat(LINUX_ACCEPTING)
    inside = talker(internet, nat)
    inside.say(b"open", Address(far.addresses[0], 9), ttl=ttl)
    internet.run(1.0)
    assert nat.nat.entries_made == makes_mapping
    assert far.nat.entries_made == arrives


def test_hosts_of_one_lan_reach_each_other_directly_and_by_multicast():
    internet = Internet()
    nat = internet.add_nat(PORT_RESTRICTED)
    a, b = talker(internet, nat), talker(internet, nat)
    elsewhere = talker(internet, internet.add_nat(PORT_RESTRICTED))
    a.say(b"direct", b.address)
    a.say(b"all", Address("224.0.0.7", b.address.port))
    internet.run(1.0)
    assert sorted(data for data, _, _ in b.heard) == [b"all", b"direct"]
    assert elsewhere.heard == []
    assert nat.nat.entries_made == 0


def test_a_nested_nat_translates_twice():
    internet = Internet()
    carrier = internet.add_nat(PORT_RESTRICTED, lan="100.64.3")
    home = internet.add_nat(PORT_RESTRICTED, carrier)
    inside, server = talker(internet, home), talker(internet)
    inside.say(b"ask", server.address)
    internet.run(0.2)
    assert home.addresses[0].startswith("100.64.3.")
    assert server.heard[0][1].host == carrier.addresses[0]
    server.say(b"answer", server.heard[0][1])
    internet.run(0.2)
    assert [data for data, _, _ in inside.heard] == [b"answer"]


@pytest.mark.parametrize("hairpin", list(Hairpin))
def test_a_hairpin_shows_the_source_that_the_policy_says(hairpin):
    internet = Internet()
    nat = internet.add_nat(replace(FULL_CONE, hairpin=hairpin))
    a, b, server = talker(internet, nat), talker(internet, nat), talker(internet)
    b.say(b"", server.address)
    internet.run(0.2)
    a.say(b"round", server.heard[0][1])
    internet.run(0.2)
    sources = [source for _, source, _ in b.heard]
    assert (
        sources
        == {
            Hairpin.NONE: [],
            Hairpin.INTERNAL_SOURCE: [a.address],
            Hairpin.EXTERNAL_SOURCE: [Address(nat.addresses[0], a.address.port)],
        }[hairpin]
    )


def test_an_ipv6_host_is_not_translated_but_its_firewall_wants_an_outgoing_packet_first():
    internet = Internet()
    nat = internet.add_nat(PORT_RESTRICTED)
    a, b = talker(internet, nat, ipv6=True), talker(internet, ipv6=True)
    inside = Address(a.host.ipv6 or "", a.address.port)
    b.say(b"early", inside)
    internet.run(0.2)
    assert a.heard == []
    a.say(b"out", Address(b.host.ipv6 or "", b.address.port))
    internet.run(0.2)
    assert b.heard[0][1] == inside
    b.say(b"in", inside)
    internet.run(0.2)
    assert [data for data, _, _ in a.heard] == [b"in"]


def test_another_socket_has_another_port_and_its_datagrams_come_to_it():
    internet = Internet()
    a, b = talker(internet), talker(internet)
    a.say(b"second", b.address, socket=SocketId(7))
    internet.run(0.2)
    source = b.heard[0][1]
    assert source != a.address
    b.say(b"back", source)
    internet.run(0.2)
    assert a.heard == [(b"back", b.address, SocketId(7))]
    internet.close_socket(a.host, SocketId(7))
    b.say(b"late", source)
    internet.run(0.2)
    assert internet.dropped["port closed"] == 1


def test_loss_and_duplication_come_at_their_rates_and_the_same_seed_repeats_them():
    def counts(seed: int) -> tuple[int, int]:
        internet = Internet(seed, Weather(loss=0.1, duplication=0.2, jitter_s=0.02))
        a, b = talker(internet), talker(internet)
        for number in range(2000):
            a.say(number.to_bytes(2, "big"), b.address)
        internet.run(1.0)
        heard = [data for data, _, _ in b.heard]
        assert heard != sorted(heard)
        return len(heard), len(set(heard))

    everything, distinct = counts(3)
    assert distinct == pytest.approx(1800, abs=60)
    assert everything == pytest.approx(1800 * 1.2, abs=80)
    assert counts(3) == (everything, distinct)
    assert counts(4) != (everything, distinct)


def test_a_reboot_forgets_every_mapping_and_a_renumbering_changes_the_address():
    internet = Internet()
    nat = internet.add_nat(PORT_RESTRICTED)
    inside, server = talker(internet, nat), talker(internet)
    inside.say(b"1", server.address)
    internet.run(0.2)
    nat.reboot()
    server.say(b"answer", server.heard[0][1])
    internet.run(0.2)
    assert inside.heard == []
    before = nat.addresses
    internet.renumber(nat)
    assert nat.addresses != before
    inside.say(b"2", server.address)
    internet.run(0.2)
    assert server.heard[-1][1].host == nat.addresses[0]


def test_a_host_that_is_killed_hears_nothing_and_its_successor_has_the_port_it_asks_for():
    internet = Internet()
    a, b = talker(internet), talker(internet)
    port = b.address.port
    internet.detach(b.host)
    a.say(b"lost", Address(b.host.address, port))
    internet.run(0.2)
    successor = Talker(internet, b.host, port)
    a.say(b"found", successor.address)
    internet.run(0.2)
    assert (b.heard, [data for data, _, _ in successor.heard]) == ([], [b"found"])


def talker(internet: Internet, behind: Gateway | None = None, *, ipv6: bool = False) -> "Talker":
    return Talker(internet, internet.add_host(behind=behind, ipv6=ipv6))


class Talker:
    """A core that says what it is told and notes what it hears."""

    def __init__(self, internet: Internet, host: Host, port: int | None = None) -> None:
        self.host = host
        self.heard: list[tuple[bytes, Address, SocketId]] = []
        self.fired: list[float] = []
        self.timer: float | None = None
        self._outgoing: list[Datagram] = []
        internet.attach(host, self, ports=(port,) if port else ())
        self.address = internet.address_of(host)

    def say(self, data, address, *, ttl=None, socket=MAIN_SOCKET):
        self._outgoing.append(Datagram(data, address, ttl, socket))

    def receive_datagram(self, data, address, now, socket=MAIN_SOCKET):
        self.heard.append((data, address, socket))

    def handle_timer(self, now):
        self.fired.append(now)
        self.timer = None

    def datagrams_to_send(self):
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def next_event(self):
        return None

    def get_timer(self):
        return self.timer
