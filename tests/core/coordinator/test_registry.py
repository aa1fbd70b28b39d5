"""Who is registered where: caps, expiry and order."""

from typing import Any

from natd.core.base.types import MAIN_SOCKET, Address, NetworkId, PeerId
from natd.core.coordinator.registry import LEASE_S, Lease, Member, Refusal, Registry

NETWORK = NetworkId(b"n" * 16)
FOUR = Address("192.0.2.1", 4000)
SIX = Address("2001:db8::1", 4000)


def test_a_renewal_from_the_same_address_keeps_the_lease_and_takes_the_newer_card() -> None:
    registry = Registry()
    first = add(registry, 1, FOUR, card=b"old", sequence=1)
    again = add(registry, 1, FOUR, card=b"new", sequence=2, now=1010.0)

    assert again is first
    assert len(registry) == 1
    assert again.member.card == b"new"
    assert again.expires_at == 1010.0 + LEASE_S


def test_a_move_replaces_the_lease_of_that_family_only() -> None:
    registry = Registry()
    four, six = add(registry, 1, FOUR), add(registry, 1, SIX)
    moved = add(registry, 1, Address("192.0.2.9", 1), now=1001.0)

    assert registry.lease(four.lease_id) is None
    assert registry.lease(six.lease_id) is six
    assert moved.member is six.member
    assert moved.member.observed == (moved.address, SIX)


def test_an_older_card_is_refused_while_a_newer_one_is_registered() -> None:
    registry = Registry()
    add(registry, 1, FOUR, sequence=5)
    assert try_add(registry, 1, FOUR, sequence=4) is Refusal.STALE
    assert member(registry, 1).sequence == 5


def test_leases_expire_in_the_order_of_their_renewal() -> None:
    registry = Registry()
    first, second = add(registry, 1, FOUR, now=1000.0), add(registry, 2, FOUR, now=1001.0)
    registry.renew(first, 1002.0)

    assert registry.next_expiry() == 1001.0 + LEASE_S
    assert registry.expire(1001.0 + LEASE_S) == 1
    assert registry.lease(second.lease_id) is None
    assert registry.expire(1002.0 + LEASE_S) == 1
    assert (len(registry), registry.network_count, registry.next_expiry()) == (0, 0, None)


def test_a_member_stays_while_one_of_its_leases_does() -> None:
    registry = Registry()
    four, six = add(registry, 1, FOUR), add(registry, 1, SIX)
    registry.release(four)
    assert member(registry, 1).leases == (six,)
    registry.release(six)
    assert registry.member(NETWORK, peer(1)) is None
    assert registry.network_count == 0


def test_those_that_came_last_are_listed_first() -> None:
    registry = Registry()
    for number in range(4):
        add(registry, number, FOUR)
    add(registry, 1, Address("192.0.2.7", 7))
    listed = [member.peer for member in registry.others(NETWORK, peer(2))]
    assert listed == [peer(1), peer(3), peer(0)]


def test_a_peer_is_told_over_the_family_of_the_other_if_it_has_it() -> None:
    registry = Registry()
    four = add(registry, 1, FOUR)
    assert four.member.lease_towards(SIX) is four
    six = add(registry, 1, SIX)
    assert four.member.lease_towards(SIX) is six
    assert four.member.lease_towards(FOUR) is four


def test_what_left_makes_room_for_its_source() -> None:
    registry = Registry()
    for number in range(5000):
        lease = add(registry, number, FOUR, network=NetworkId(number.to_bytes(16, "big")))
        registry.release(lease)
    assert len(registry) == 0


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(32, "big"))


def try_add(
    registry: Registry,
    number: int,
    address: Address,
    *,
    network: NetworkId = NETWORK,
    card: bytes = b"card",
    sequence: int = 1,
    now: float = 1000.0,
) -> Lease | Refusal:
    return registry.register(
        network,
        peer(number),
        address,
        lease_id=f"{number}{address}".encode(),
        socket=MAIN_SOCKET,
        sequence=sequence,
        card=card,
        transaction=b"t" * 12,
        sent_at_unix_ms=0,
        rtt_s=None,
        now=now,
    )


def member(registry: Registry, number: int) -> Member:
    found = registry.member(NETWORK, peer(number))
    assert found is not None
    return found


def add(registry: Registry, number: int, address: Address, **how: Any) -> Lease:
    lease = try_add(registry, number, address, **how)
    assert isinstance(lease, Lease)
    return lease
