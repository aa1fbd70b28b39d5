"""A host that has answered and is silent: an hour of searching, then a wave now and then."""

from natd.core.checks.answered_hosts import (
    MOST_SILENT_HOSTS,
    SILENT_BURST,
    SILENT_RATE,
    AnsweredHosts,
)
from natd.core.checks.limits import MOST_WAVE_PACKETS
from natd.core.keys.secrets import network_key
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_RANDOM

HOST = "198.51.100.7"
HOUR_S = 3600.0


def test_after_a_search_there_is_a_whole_wave_now_and_then_and_no_trickle():
    hosts = AnsweredHosts()
    assert _taken(hosts, 0.0) == SILENT_BURST
    assert _taken(hosts, (MOST_WAVE_PACKETS - 2) / SILENT_RATE) == 0
    assert _taken(hosts, MOST_WAVE_PACKETS / SILENT_RATE) == MOST_WAVE_PACKETS
    assert _taken(hosts, 100 * HOUR_S) == SILENT_BURST, "no more is saved up"


def test_an_answer_gives_all_back():
    hosts = AnsweredHosts()
    _taken(hosts, 0.0)
    hosts.answered(HOST)
    assert _taken(hosts, 0.0) == SILENT_BURST


def test_a_full_table_refuses_and_forgets_what_is_whole_again():
    hosts = AnsweredHosts()
    for number in range(MOST_SILENT_HOSTS):
        assert hosts.take(f"host {number}", 0.0)
    assert not hosts.take(HOST, 0.5)
    assert hosts.take(HOST, 2.0 / SILENT_RATE)


def test_somebody_who_gets_the_address_of_a_vanished_peer_is_not_guessed_at_without_end():
    """Each daemon sent 34 packets a second there, for seven days."""
    village = Village(3)
    internet = village.internet
    key = network_key("demo", b"")
    alice = village.member("alice", internet.add_nat(PORT_RESTRICTED), key=key)
    bob = village.member("bob", internet.add_nat(SYMMETRIC_RANDOM), key=key)
    for each in (alice, bob):
        each.start()
    assert internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 30.0)
    home = bob.host.behind
    assert home is not None
    bob.kill()
    home.connected = False
    alice.send("hello", to=bob)
    internet.trace = []
    internet.run(2 * HOUR_S)
    there = [e for e in internet.trace if e.datagram.address.host == home.addresses[0]]
    assert SILENT_BURST / 2 < len(there) <= SILENT_BURST + 4 * SILENT_RATE * HOUR_S


def _taken(hosts: AnsweredHosts, now: float) -> int:
    count = 0
    while hosts.take(HOST, now):
        count += 1
    return count
