"""The owner of a server's name adds addresses to it that belong to others, and a member helps.

What a name says opens nothing: a card's private and loopback addresses get packets only where a
server has answered from such a place, or where the user has named it.
"""

import pytest

from natd.core.base.types import Address, NamedServer
from tests.core.world.village import SERVER_PORT, Village
from tests.internet.nat import PORT_RESTRICTED

SERVICES = (Address("127.0.0.1", 6379), Address("::1", 6379), Address("10.9.9.9", 5000))


@pytest.mark.parametrize("added", ["127.0.0.1", "::1", "10.9.9.9"])
def test_a_loopback_or_private_address_of_the_name_opens_no_such_place_to_cards(added):
    assert _sent_to_services(added) == set()


def test_a_server_that_the_user_has_named_on_this_machine_does():
    """So the test above would see such packets."""
    assert "127.0.0.1" in _sent_to_services("127.0.0.1", is_named=False)


def _sent_to_services(added: str, *, is_named: bool = True) -> set[str]:
    village = Village(3)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(PORT_RESTRICTED))
    mallory = village.member("mallory", internet.add_nat(PORT_RESTRICTED), port=40001)
    mallory.start()
    mallory.node.set_mapped(SERVICES, internet.now)
    internet.run(3.0)
    internet.trace = []
    addresses = (*village.servers, Address(added, SERVER_PORT))
    alice.start([NamedServer("demo.example:8080", addresses)] if is_named else addresses)
    internet.run(30.0)
    assert alice.is_online(mallory)
    sent = [sent.datagram.address for sent in internet.trace if sent.host is alice.host]
    return {address.host for address in sent if address in SERVICES}
