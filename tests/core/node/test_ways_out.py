"""A machine whose way out comes, moves or is gone: real nodes, virtual time."""

import pytest

from natd.core.base.events import ServerLost
from natd.core.base.types import Address, Mapping
from natd.core.base.verdict import VerdictCode
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED

GIVEN_UP_S = 12.0
SOON_S = 0.5


def test_a_machine_that_is_offline_blames_no_server_and_registers_as_soon_as_there_is_a_way():
    """A machine without a default route was told that its servers were down."""
    village = Village(1)
    gateway = village.internet.add_nat(PORT_RESTRICTED)
    alice = village.member("alice", gateway)
    gateway.blocks_udp = True
    alice.start()
    alice.node.set_offline(True, village.internet.now)
    village.internet.run(75.0)
    [lost] = alice.attached.events_of(ServerLost)
    assert lost.code is VerdictCode.OFFLINE
    assert lost.reason.startswith("this machine is offline")
    assert str(village.servers[0]) not in lost.reason
    gateway.blocks_udp = False
    alice.node.set_offline(False, village.internet.now)
    alice.node.network_changed(village.internet.now)
    assert village.internet.run_until(lambda: state(alice) == "registered", SOON_S)


def test_another_way_out_is_another_nat_perhaps_so_what_was_measured_is_forgotten():
    village = Village(1)
    alice = village.member("alice", village.internet.add_nat(PORT_RESTRICTED))
    bob = village.member("bob", village.internet.add_nat(PORT_RESTRICTED))
    for member in (alice, bob):
        member.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 5.0)
    village.internet.run(30.0)
    assert mapping(alice) is Mapping.INDEPENDENT
    alice.node.network_changed(village.internet.now)
    assert mapping(alice) is Mapping.UNKNOWN
    village.internet.run(SOON_S)
    assert mapping(alice) is Mapping.INDEPENDENT, "measured anew, at once"
    assert alice.is_online(bob)


@pytest.mark.parametrize("loss_s", [0.0, 5.0])
def test_a_message_is_there_soon_after_the_way_out_has_moved(loss_s):
    """The mapping at the old way out is dead; nothing tells us but the route."""
    village = Village(1)
    gateway = village.internet.add_nat(PORT_RESTRICTED)
    alice = village.member("alice", gateway)
    bob = village.member("bob", village.internet.add_nat(PORT_RESTRICTED))
    for member in (alice, bob):
        member.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 5.0)
    village.internet.run(30.0)
    gateway.blocks_udp = True
    village.internet.run(loss_s)
    gateway.blocks_udp = False
    gateway.reboot()
    alice.node.network_changed(village.internet.now)
    bob.send("after")
    assert village.internet.run_until(lambda: alice.texts() == ["after"], 2.0)


def test_a_server_with_addresses_of_the_other_family_alone_is_not_blamed_either():
    village = Village(1)
    village.servers = [Address("2001:db8:77::1", 8080)]
    alice = village.member("alice", village.internet.add_nat(PORT_RESTRICTED))
    alice.start()
    village.internet.run(GIVEN_UP_S)
    [lost] = alice.attached.events_of(ServerLost)
    assert lost.code is VerdictCode.NO_COMMON_FAMILY
    assert "only IPv6 addresses, and this machine has none" in lost.reason


def mapping(member):
    return member.nat.mapping


def state(member):
    [report] = member.membership.servers.reports()
    return report.state
