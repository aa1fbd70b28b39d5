"""What all that have not authenticated themselves get together, and one IPv6 network of them."""

from natd.core.checks.budget import TotalBudget

START = 1000.0


def test_all_together_have_a_burst_and_then_a_rate() -> None:
    budget = TotalBudget()
    assert taken(budget, ["192.0.2.1", "198.51.100.2"], 10_000, START) == 4_096
    assert taken(budget, ["192.0.2.1", "198.51.100.2"], 1_000, START + 1.0) == 128


def test_the_addresses_of_one_ipv6_network_are_one_victim() -> None:
    budget = TotalBudget()
    victims = [f"2001:db8:0:7::{number:x}" for number in range(1, 1_000)]
    assert taken(budget, victims, 1_000, START) == 256
    assert taken(budget, victims, 100, START + 1.0) == 4
    assert taken(budget, ["2001:db8:0:8::1"], 1, START) == 1, "the next network is another one"


def test_our_own_link_is_not_counted_as_one_network() -> None:
    budget = TotalBudget()
    assert taken(budget, ["fe80::1"], 1_000, START) == 1_000


def test_of_more_networks_than_are_remembered_none_is_sent_to_until_others_are_forgotten() -> None:
    budget = TotalBudget()
    networks = [f"2001:db8:{number:x}::1" for number in range(1_024)]
    assert taken(budget, networks, 1_024, START) == 1_024
    one_more = "2001:db8:ffff::1"
    assert not budget.take(one_more, START)
    assert budget.take(networks[0], START), "those that are remembered go on"
    assert budget.take(one_more, START + 1.0), "what has its whole burst again is forgotten"


def taken(budget: TotalBudget, hosts: list[str], packets: int, now: float) -> int:
    return sum(budget.take(hosts[number % len(hosts)], now) for number in range(packets))
