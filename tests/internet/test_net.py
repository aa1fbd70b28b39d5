"""The virtual internet itself: delays, hop limits, and each rule of a NAT."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, Datagram, SocketId
from tests.internet.conntrack import ConntrackNat
from tests.internet.fabric import Gateway, Host, Weather
from tests.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    LINUX_RANDOM,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    Dependence,
    Hairpin,
    NatPolicy,
    Ports,
    TableNat,
)
from tests.internet.net import START, Internet

INSIDE = Address("192.168.1.2", 40000)
NEIGHBOUR = Address("192.168.1.3", 40000)
REMOTE = Address("45.1.9.10", 9000)
OTHER_PORT = Address("45.1.9.10", 9001)
OTHER_HOST = Address("45.1.8.10", 9000)
WAN = "45.1.1.10"


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


# --- one NAT by itself -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "same_for_port", "same_for_host"),
    [
        (Dependence.INDEPENDENT, True, True),
        (Dependence.ADDRESS, True, False),
        (Dependence.ADDRESS_AND_PORT, False, False),
    ],
)
def test_a_mapping_depends_on_what_its_class_says(mapping, same_for_port, same_for_host):
    nat = table(mapping=mapping, ports=Ports.RANDOM)
    first = sent(nat, INSIDE, REMOTE, 0.0)
    assert (nat.outbound(INSIDE, OTHER_PORT, 0.0) == first) == same_for_port
    assert (nat.outbound(INSIDE, OTHER_HOST, 0.0) == first) == same_for_host
    assert nat.outbound(INSIDE, REMOTE, 0.0) == first


@pytest.mark.parametrize(
    ("policy", "other_port", "other_host"),
    [(FULL_CONE, True, True), (ADDRESS_RESTRICTED, True, False), (PORT_RESTRICTED, False, False)],
)
def test_a_filter_depends_on_what_its_class_says(policy, other_port, other_host):
    nat = TableNat(policy, (WAN,), Random(0))
    external = sent(nat, INSIDE, REMOTE, 0.0)
    assert nat.inbound(REMOTE, external, 0.0) == INSIDE
    assert (nat.inbound(OTHER_PORT, external, 0.0) == INSIDE) == other_port
    assert (nat.inbound(OTHER_HOST, external, 0.0) == INSIDE) == other_host


def test_a_preserving_nat_gives_a_taken_port_to_nobody_else_unless_it_overloads():
    nat = table()
    assert nat.outbound(INSIDE, REMOTE, 0.0) == Address(WAN, INSIDE.port)
    assert nat.outbound(NEIGHBOUR, REMOTE, 0.0) != Address(WAN, INSIDE.port)
    overloading = table(ports=Ports.OVERLOADING)
    external = sent(overloading, INSIDE, REMOTE, 0.0)
    assert overloading.outbound(NEIGHBOUR, OTHER_HOST, 0.0) == external
    assert overloading.inbound(REMOTE, external, 0.0) == INSIDE
    assert overloading.inbound(OTHER_HOST, external, 0.0) == NEIGHBOUR


@pytest.mark.parametrize("stride", [1, 2])
def test_a_sequential_nat_counts_up_by_its_stride(stride):
    nat = TableNat(replace(SYMMETRIC_SEQUENTIAL, stride=stride), (WAN,), Random(1))
    ports = [sent(nat, INSIDE, REMOTE._replace(port=p), 0.0).port for p in range(9000, 9008)]
    assert [b - a for a, b in pairwise(ports)] == [stride] * 7


def test_a_sequential_nat_moves_on_with_the_load_of_others():
    nat = TableNat(replace(SYMMETRIC_SEQUENTIAL, load_per_s=10.0), (WAN,), Random(1))
    first = sent(nat, INSIDE, REMOTE, 0.0).port
    assert 60 < sent(nat, INSIDE, OTHER_PORT, 10.0).port - first < 150


def test_a_block_nat_stays_within_one_aligned_block_of_the_inside_host():
    nat = TableNat(SYMMETRIC_BLOCK, (WAN,), Random(1))
    ports = {sent(nat, INSIDE, REMOTE._replace(port=p), 0.0).port for p in range(1, 401)}
    assert len(ports) == 400
    assert len({port // 512 for port in ports}) == 1
    assert sent(nat, NEIGHBOUR, REMOTE, 0.0).port // 512 not in {p // 512 for p in ports}


def test_a_mapping_ends_after_silence_and_at_its_absolute_age():
    nat = table(timeout_s=30.0, absolute_age_s=60.0, ports=Ports.RANDOM)
    first = sent(nat, INSIDE, REMOTE, 0.0)
    assert nat.outbound(INSIDE, REMOTE, 29.0) == first
    assert nat.inbound(REMOTE, first, 58.0) == INSIDE
    assert nat.inbound(REMOTE, first, 61.0) is None
    second = sent(nat, INSIDE, REMOTE, 61.0)
    assert second != first
    assert nat.inbound(REMOTE, second, 92.0) is None


def test_a_mapping_that_nothing_has_come_in_by_may_end_sooner():
    nat = table(timeout_s=120.0, unanswered_s=30.0, ports=Ports.RANDOM)
    first = sent(nat, INSIDE, REMOTE, 0.0)
    second = sent(nat, INSIDE, REMOTE, 31.0)
    assert second != first
    assert nat.inbound(REMOTE, second, 60.0) == INSIDE
    assert nat.outbound(INSIDE, REMOTE, 150.0) == second


def test_inbound_packets_keep_a_mapping_only_where_the_policy_says_so():
    nat = table(timeout_s=30.0, inbound_refreshes=False)
    external = sent(nat, INSIDE, REMOTE, 0.0)
    assert nat.inbound(REMOTE, external, 29.0) == INSIDE
    assert nat.inbound(REMOTE, external, 31.0) is None


def test_a_full_table_drops_the_new_and_keeps_the_live():
    for policy in (replace(SYMMETRIC_RANDOM, capacity=2), replace(LINUX, capacity=2)):
        kind = ConntrackNat if policy.conntrack else TableNat
        nat = kind(policy, (WAN,), Random(0))
        kept = nat.outbound(INSIDE, REMOTE, 0.0)
        nat.outbound(INSIDE, OTHER_PORT, 0.0)
        assert nat.outbound(INSIDE, OTHER_HOST, 0.0) is None
        assert nat.outbound(INSIDE, REMOTE, 1.0) == kept
        assert nat.outbound(INSIDE, OTHER_HOST, 200.0) is not None


# --- Linux -----------------------------------------------------------------------------


def test_linux_preserves_the_port_and_filters_by_address_and_port():
    nat = conntrack(LINUX)
    assert nat.outbound(INSIDE, REMOTE, 0.0) == Address(WAN, INSIDE.port)
    assert nat.outbound(INSIDE, OTHER_HOST, 0.0) == Address(WAN, INSIDE.port)
    assert nat.inbound(REMOTE, Address(WAN, INSIDE.port), 0.0) == INSIDE
    assert nat.inbound(OTHER_PORT, Address(WAN, INSIDE.port), 0.0) is None


def test_two_inside_hosts_with_the_same_port_differ_only_towards_the_same_remote():
    nat = conntrack(LINUX)
    nat.outbound(INSIDE, REMOTE, 0.0)
    assert nat.outbound(NEIGHBOUR, OTHER_HOST, 0.0) == Address(WAN, NEIGHBOUR.port)
    assert nat.outbound(NEIGHBOUR, REMOTE, 0.0) != Address(WAN, NEIGHBOUR.port)


def test_an_early_inbound_packet_poisons_the_punch_where_input_accepts():
    nat = conntrack(LINUX_ACCEPTING)
    preserved = sent(nat, INSIDE, OTHER_HOST, 0.0)
    assert nat.inbound(REMOTE, preserved, 0.0) is None
    poisoned = nat.outbound(INSIDE, REMOTE, 0.1)
    assert poisoned != preserved
    # Every new destination sees the poisoned port, the old flow still the old one.
    assert nat.outbound(INSIDE, OTHER_PORT, 0.2) == poisoned
    assert nat.outbound(INSIDE, OTHER_HOST, 0.2) == preserved
    # The peer, which knows only the preserved one, never gets through.
    assert nat.inbound(REMOTE, preserved, 0.3) is None


def test_poisoning_stays_while_the_peer_sends_and_heals_after_silence_or_on_a_fresh_port():
    nat = conntrack(LINUX_ACCEPTING)
    preserved = Address(WAN, INSIDE.port)
    for at in range(0, 100, 10):
        nat.inbound(REMOTE, preserved, float(at))
        assert nat.outbound(INSIDE, REMOTE, at + 0.1) != preserved
    fresh = INSIDE._replace(port=40001)
    assert nat.outbound(fresh, REMOTE, 95.0) == Address(WAN, 40001)
    assert nat.outbound(INSIDE, REMOTE, 95.0 + 36.0) == preserved


def test_an_early_inbound_packet_leaves_nothing_where_input_drops():
    nat = conntrack(LINUX)
    preserved = Address(WAN, INSIDE.port)
    assert nat.inbound(REMOTE, preserved, 0.0) is None
    assert nat.entries_made == 0
    assert nat.outbound(INSIDE, REMOTE, 0.1) == preserved


def test_masquerade_random_gives_each_destination_a_port_of_its_own():
    nat = conntrack(LINUX_RANDOM)
    ports = {sent(nat, INSIDE, REMOTE._replace(port=p), 0.0).port for p in range(9000, 9020)}
    assert len(ports) > 15


def test_a_flow_lives_longer_once_it_was_answered_and_still_active_after_two_seconds():
    nat = conntrack(LINUX)
    external = sent(nat, INSIDE, REMOTE, 0.0)
    assert nat.inbound(REMOTE, external, 1.0) == INSIDE
    assert nat.inbound(REMOTE, external, 32.0) is None
    nat.outbound(INSIDE, REMOTE, 100.0)
    nat.inbound(REMOTE, external, 100.1)
    nat.outbound(INSIDE, REMOTE, 103.0)
    assert nat.inbound(REMOTE, external, 222.0) == INSIDE


# --- helpers ---------------------------------------------------------------------------


def sent(
    nat: TableNat | ConntrackNat, source: Address, destination: Address, now: float
) -> Address:
    """Where a packet that the NAT lets out comes from, outside."""
    external = nat.outbound(source, destination, now)
    assert external is not None
    return external


def table(**policy) -> TableNat:
    return TableNat(NatPolicy(**policy), (WAN,), Random(0))


def conntrack(policy: NatPolicy) -> ConntrackNat:
    return ConntrackNat(policy, (WAN,), Random(0))


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
