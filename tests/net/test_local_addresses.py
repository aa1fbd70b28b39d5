"""Which of our addresses go first into the card."""

from natd.net.local_addresses import LocalAddress, in_order, lasting_public

LAN = LocalAddress("192.168.1.5", "eth0")
CLUSTER = [LocalAddress(f"10.96.0.{n}", "cali0", has_neighbours=False) for n in range(1, 21)]


def test_the_interface_of_the_default_route_goes_first_whatever_its_name() -> None:
    bridged = LocalAddress("172.17.0.9", "docker0")
    other = LocalAddress("10.1.0.1", "eth1")
    assert in_order([other, bridged], ["docker0"]) == ("172.17.0.9", "10.1.0.1")


def test_interfaces_follow_by_route_then_plain_ones_then_virtual_ones() -> None:
    found = [
        LocalAddress("172.17.0.1", "docker0"),
        LocalAddress("10.1.0.1", "eth1"),
        LocalAddress("10.8.0.2", "wg0"),
        LAN,
    ]
    assert in_order(found, ["eth0", "wg0"]) == ("192.168.1.5", "10.8.0.2", "10.1.0.1", "172.17.0.1")


def test_a_cluster_with_twenty_addresses_leaves_the_first_places_to_the_others() -> None:
    """Eight addresses of an interface whose name comes first took all places of the card."""
    other = LocalAddress("10.1.0.1", "eth1")
    assert in_order([*CLUSTER, LAN, other], [])[:2] == ("192.168.1.5", "10.1.0.1")
    assert len(in_order([*CLUSTER, LAN, other], [])) == 22


def test_interfaces_with_many_neighbours_take_turns() -> None:
    many = [LocalAddress(f"10.96.0.{n}", "cluster") for n in range(1, 21)]
    more = [LocalAddress(f"10.97.0.{n}", "cluster2") for n in range(1, 21)]
    chosen = in_order([*many, *more, LAN], ["eth0"])
    assert chosen[:5] == ("192.168.1.5", "10.96.0.1", "10.97.0.1", "10.96.0.2", "10.97.0.2")


def test_an_address_without_neighbours_goes_first_if_packets_leave_from_it() -> None:
    cloud = LocalAddress("10.128.0.2", "ens4", has_neighbours=False)
    bridged = LocalAddress("172.17.0.1", "docker0")
    assert in_order([bridged, cloud], ["ens4"], ["10.128.0.2"])[0] == "10.128.0.2"


def test_of_ipv6_the_one_in_use_goes_first_and_the_deprecated_ones_last() -> None:
    """A firewall lets answers in only to the address that the question came from."""
    found = [
        LocalAddress("2001:db8::1", "eth0", is_deprecated=True),
        LocalAddress("2001:db8::2", "eth0"),
        LocalAddress("2001:db8::3", "eth0", is_temporary=True),
        LocalAddress("2001:db8::4", "eth0", is_temporary=True),
    ]
    assert in_order(found, ["eth0"], ["2001:db8::4"]) == (
        "2001:db8::4",
        "2001:db8::2",
        "2001:db8::3",
        "2001:db8::1",
    )


def test_each_address_is_told_once() -> None:
    assert in_order([LAN, LocalAddress("192.168.1.5", "eth1")], []) == ("192.168.1.5",)


def test_a_servers_second_address_is_public_lasting_and_of_the_same_uplink() -> None:
    first, second = LocalAddress("203.0.113.1", "eth0"), LocalAddress("203.0.113.2", "eth0")
    uplink = LocalAddress("198.51.100.1", "eth1")
    bridge = LocalAddress("172.17.0.1", "docker0")
    fixed = LocalAddress("2001:db8::1", "eth0")
    privacy = LocalAddress("2001:db8::abcd", "eth0", is_temporary=True)
    found = [first, bridge, uplink, LAN, fixed, privacy]
    assert lasting_public(found, ["eth0", "eth1"]) == ()
    assert lasting_public([*found, second], ["eth0", "eth1"]) == ("203.0.113.1", "203.0.113.2")
    another = LocalAddress("2001:db8::2", "eth0")
    assert lasting_public([*found, another], ["eth0"]) == ("2001:db8::1", "2001:db8::2")
    assert lasting_public([first, second], []) == ("203.0.113.1", "203.0.113.2")
