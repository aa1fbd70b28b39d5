"""Shares of what a server has: nobody takes all by coming first."""

from collections.abc import Iterable, Iterator
from itertools import count

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, NetworkId, PeerId
from natd.core.coordinator.registry import Lease, Refusal, Registry
from natd.core.coordinator.shares import source_of

NETWORK = NetworkId(b"n" * 32)
CARD, LARGEST = bytes(300), bytes(896)


def test_a_source_is_an_ipv4_address_or_an_ipv6_slash_64() -> None:
    assert source_of(Address("192.0.2.1", 1)) == source_of(Address("192.0.2.1", 9))
    assert source_of(Address("192.0.2.1", 1)) != source_of(Address("192.0.2.10", 1))
    assert source_of(Address("2001:db8::1", 1)) == source_of(Address("2001:db8::ffff:1", 1))
    assert source_of(Address("2001:db8::1", 1)) != source_of(Address("2001:db8:0:1::1", 1))


@pytest.mark.parametrize(
    ("hosts", "share"),
    [
        (("192.0.2.1",), 2_048),
        (("2001:db8::1", "2001:db8::ffff:2"), 2_048),
        (tuple(f"2001:db8:1:{n:x}::1" for n in range(98)), 8_192),
        (tuple(f"2001:db8:1:{n:x}::1" for n in range(0, 65_536, 512)), 32_768),
    ],
    ids=["one IPv4 address", "a /64", "98 /64s of a /56", "a /48"],
)
def test_a_source_has_its_share_of_the_leases_and_no_more(
    hosts: tuple[str, ...], share: int
) -> None:
    registry = Registry()
    assert take_all(registry, hosts, most=share + 200) == share
    assert refusal(registry, Address(hosts[0], 9)) is Refusal.SOURCE_FULL
    assert refusal(registry, Address("198.51.100.7", 9)) is None, "others are not concerned"
    assert refusal(registry, Address("2001:db8:ffff::7", 9)) is None


def test_the_longest_cards_take_three_times_the_share() -> None:
    registry = Registry()
    assert take_all(registry, ("192.0.2.1",), most=3_000, card=LARGEST) == 682
    grown, elsewhere = Registry(), NetworkId(b"o" * 32)
    add(grown, 0, Address("192.0.2.1", 1), network=elsewhere)
    assert take_all(grown, ("192.0.2.1",), most=3_000) == 2_047
    again = add(grown, 0, Address("192.0.2.1", 1), network=elsewhere, card=LARGEST)
    assert again is Refusal.SOURCE_FULL, "nor may they grow beyond it"
    lease = add(grown, 0, Address("192.0.2.1", 1), network=elsewhere)
    assert isinstance(lease, Lease), "what it has stays"


def test_a_full_server_refuses_the_new_and_keeps_the_old() -> None:
    registry = Registry()
    hosts = tuple(f"192.0.2.{n}" for n in range(98))
    assert take_all(registry, hosts, most=201_000) == 200_000
    assert refusal(registry, Address("198.51.100.7", 9)) is Refusal.FULL
    assert len(registry) == 200_000
    known = next(iter(registry.others(network_of(0), peer(-1))))
    (lease,) = known.leases
    assert registry.lease(lease.lease_id) is lease
    moved = add(registry, 0, Address("198.51.100.8", 1), network=network_of(0))
    assert isinstance(moved, Lease), "who has a lease may take it along"


def test_what_left_gives_its_share_back() -> None:
    registry = Registry()
    for number in range(5_000):
        lease = add(registry, number, Address("2001:db8::1", 1), network=network_of(number))
        assert isinstance(lease, Lease)
        registry.release(lease)
    assert len(registry) == 0
    assert not registry._shares._taken, "and nothing is kept for it"


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_one_source_fills_three_quarters_of_a_network_and_the_last_is_for_others(host: str) -> None:
    registry = Registry()
    assert fill(registry, addresses(host)) == 192
    assert refusal(registry, Address(host, 1), network=NETWORK) is Refusal.NETWORK_FULL
    assert fill(registry, addresses("198.51.100.7")) == 64
    assert refusal(registry, Address("198.51.100.8", 1), network=NETWORK) is Refusal.NETWORK_FULL
    assert isinstance(add(registry, 0, Address(host, 9)), Lease), "a member comes back"


def test_many_networks_of_one_customer_count_as_one_source() -> None:
    registry = Registry()
    flats = [Address(f"2001:db8:0:{n:x}::1", 1) for n in range(250)]
    assert fill(registry, flats) == 192
    assert fill(registry, addresses("198.51.100.7")) == 64


def test_what_a_source_may_have_of_the_last_places_is_64_and_a_slash_56_has_128() -> None:
    registry = Registry()
    assert fill(registry, (Address(f"192.0.2.{n}", 1) for n in range(192))) == 192
    assert fill(registry, addresses("198.51.100.7")) == 64
    other = Registry()
    flats = [Address(f"2001:db8:0:{n:x}::1", 1) for n in range(250)]
    assert fill(other, flats[:100]) == 100
    assert fill(other, (Address(f"192.0.2.{n}", 1) for n in range(92))) == 92
    assert fill(other, flats[100:]) == 28


def take_all(registry: Registry, hosts: tuple[str, ...], *, most: int, card: bytes = CARD) -> int:
    """Register in turn from these hosts, ten to a network; how many got in."""
    granted = 0
    for number in range(most):
        address = Address(hosts[number % len(hosts)], 1 + number % 60_000)
        lease = add(registry, number, address, network=network_of(number // 10), card=card)
        granted += isinstance(lease, Lease)
    return granted


def fill(registry: Registry, places: Iterable[Address]) -> int:
    """As many new members of one network as get in, one from each place."""
    before = sum(1 for _ in registry.others(NETWORK, peer(-1)))
    for number, address in enumerate(places, start=before):
        if not isinstance(add(registry, number, address), Lease):
            break
    return sum(1 for _ in registry.others(NETWORK, peer(-1))) - before


def addresses(host: str) -> Iterator[Address]:
    return (Address(host, port) for port in count(1))


def refusal(
    registry: Registry, address: Address, network: NetworkId | None = None
) -> Refusal | None:
    """Of a newcomer, who goes again if it is let in."""
    lease = add(registry, 999_999, address, network=network or network_of(999_999))
    if isinstance(lease, Refusal):
        return lease
    registry.release(lease)
    return None


def add(
    registry: Registry,
    number: int,
    address: Address,
    *,
    network: NetworkId = NETWORK,
    card: bytes = CARD,
) -> Lease | Refusal:
    return registry.register(
        network,
        peer(number),
        address,
        lease_id=f"{number} {address}".encode(),
        socket=MAIN_SOCKET,
        sequence=1,
        card=card,
        transaction=b"t" * 12,
        sent_at_unix_ms=0,
        rtt_s=None,
        now=1000.0,
    )


def network_of(number: int) -> NetworkId:
    return NetworkId(number.to_bytes(32, "big"))


def peer(number: int) -> PeerId:
    return PeerId((number + 1).to_bytes(32, "big"))
