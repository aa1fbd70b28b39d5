"""Every core keeps the contract of `natd/core/__init__.py`.

Two ways: the whole tree runs under an owner who is as difficult as the contract allows, and each
core alone is fed what no network should deliver.
"""

import inspect
from random import Random

import pytest

from natd.core.base import events
from natd.core.base.timers import WallClock
from natd.core.base.types import Address
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import Checks
from natd.core.coordinator.coordinator import Coordinator
from natd.core.keys.card import Card, Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.keys.secrets import Prekey, network_id, network_key
from natd.core.nat.lifetime import Lifetimes
from natd.core.network.roster import NetworkSettings
from natd.core.node import Node
from natd.core.paths.flows import FlowsToPeer
from natd.core.paths.paths import Paths
from natd.core.peer.peer import Peer
from natd.core.portmap.client import PortMapping
from natd.core.punch.punch import Punch
from natd.core.registration.registration import Registration
from natd.core.session.session import Session
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED

START = 1000.0
KEY = network_key("demo", b"")
ELSEWHERE = Address("198.51.100.7", 4567)
SERVER = Address("203.0.113.1", 8080)


class DifficultOwner:
    """Stands between the world and a core, and does all that an owner may do."""

    def __init__(self, core, random):
        self._core = core
        self._random = random
        self._last = START

    def receive_datagram(self, data, address, now, *socket):
        assert now >= self._last
        self._last = now
        if self._random.random() < 0.3:
            self._core.handle_timer(now)
        self._core.receive_datagram(data, address, now, *socket)
        if self._random.random() < 0.1:
            self._core.receive_datagram(self._random.randbytes(40), address, now, *socket)

    def handle_timer(self, now):
        self._core.handle_timer(now)
        self._core.handle_timer(now)

    def datagrams_to_send(self):
        if self._random.random() < 0.2:
            return []  # late: the next drain has them
        datagrams = self._core.datagrams_to_send()
        assert self._core.datagrams_to_send() == []
        return datagrams

    def next_event(self):
        return self._core.next_event()

    def get_timer(self):
        timer = self._core.get_timer()
        assert self._core.get_timer() == timer
        return timer

    def __getattr__(self, name):
        return getattr(self._core, name)


@pytest.mark.parametrize("seed", range(4))
def test_a_chat_survives_the_most_difficult_owner(seed):
    village = Village(seed)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(PORT_RESTRICTED))
    bob = village.member("bob", internet.add_nat(PORT_RESTRICTED))
    for member in (alice, bob):
        member.start()
        owner = DifficultOwner(member.node, Random(seed))
        member.attached.core = owner
        internet.run(1.0)
    for number in range(30):
        alice.send(str(number), to=bob)
        internet.run(0.2)
    assert internet.run_until(lambda: len(bob.texts()) == 30, 30.0)
    assert bob.texts() == [str(number) for number in range(30)]


def _handlings_until_quiet(core, now):
    """How often a core wants its timer handled at one instant: a library's probe timeout that
    fires late doubles from where it was, but nothing may spin."""
    for count in range(100):
        timer = core.get_timer()
        if timer is None or timer > now:
            return count
        core.handle_timer(now)
        core.datagrams_to_send()
    return 100


class SettledPeer(Peer):
    """As its membership drives it: each input is followed by `settle`."""

    def handle_timer(self, now):
        super().handle_timer(now)
        self.settle(now)


def _identity(name):
    return Identity(Random(name).randbytes(32))


def _card(name):
    identity = _identity(name)
    return Card(identity.peer, identity.static_public, Prekey.generate().public, 1, name)


def _node():
    node = Node(_identity("alice"), Random(1), card_sequence=1)
    node.set_local_addresses(("192.168.1.2",), 40000, START)
    node.join(NetworkSettings("demo", KEY, "alice"), (SERVER,), START)
    return node


def _coordinator():
    return Coordinator(Random(1).randbytes(32), Random(2))


def _registration():
    registration = Registration(
        network=network_id(KEY),
        membership=MembershipKey(KEY),
        identity=_identity("alice"),
        server=SERVER,
        prefix=b"abcd",
        lifetimes=Lifetimes(),
        random=Random(1),
        clock=WallClock(),
    )
    registration.start(b"card", 1, START)
    return registration


def _peer():
    peer = SettledPeer(
        network_id(KEY),
        KEY,
        _card("bob"),
        _identity("alice"),
        TargetBudget(),
        Random(1),
        FlowsToPeer(),
        is_open=False,
    )
    peer.use_prekeys((Prekey.generate(),))
    peer.dialogue.open_conversation(events.ConversationState(7, 1), START)
    peer.introduced((ELSEWHERE,), we_dial=True, start_in_s=0.0, now=START)
    return peer


def _punch():
    return Punch(Checks(b"abcd", Random(1)), TargetBudget(), Random(2))


def _paths():
    return Paths(Checks(b"abcd", Random(1)), TargetBudget(), Random(2), FlowsToPeer())


def _port_mapping():
    core = PortMapping(
        port=40000, client="192.168.1.2", gateway="192.168.1.1", nonce=bytes(12), random=Random(1)
    )
    core.start(START)
    return core


CORES = {
    "node": _node,
    "coordinator": _coordinator,
    "registration": _registration,
    "peer": _peer,
    "punch": _punch,
    "paths": _paths,
    "port_mapping": _port_mapping,
}


@pytest.mark.parametrize("make", CORES.values(), ids=CORES)
def test_draining_twice_gives_nothing_the_second_time(make):
    core = make()
    for step in range(60):
        core.handle_timer(START + step)
        core.datagrams_to_send()
        assert core.datagrams_to_send() == []
        while core.next_event() is not None:
            pass
        assert core.next_event() is None
        assert _handlings_until_quiet(core, START + step) <= 8


@pytest.mark.parametrize("make", CORES.values(), ids=CORES)
def test_a_timer_may_fire_early_and_twice(make):
    core, quiet = make(), make()
    for _ in range(5):
        core.handle_timer(START)
        core.handle_timer(START)
    quiet.handle_timer(START)
    assert len(core.datagrams_to_send()) == len(quiet.datagrams_to_send())


@pytest.mark.parametrize(
    "make", [_node, _coordinator, _registration], ids=lambda make: make.__name__
)
def test_junk_of_every_first_byte_is_dropped_and_counted(make):
    core = make()
    core.datagrams_to_send()
    random = Random(5)
    for first in range(256):
        for size in (1, 2, 3, 19, 20, 60, 500, 1200, 1500):
            core.receive_datagram(bytes([first]) + random.randbytes(size - 1), SERVER, START)
    core.receive_datagram(b"", SERVER, START)
    assert sum(core.dropped.values()) >= 256 * 8
    answers = core.datagrams_to_send()
    assert len(answers) <= 8, "only what speaks another version of ours is worth a word"
    assert all(len(answer.data) <= 60 for answer in answers)


def test_a_core_has_no_way_to_the_world():
    """Constructors take values and children only: no function to call back."""
    for kind in (Node, Coordinator, Registration, Peer, Punch, Paths, PortMapping, Session):
        for parameter in inspect.signature(kind.__init__).parameters.values():
            assert "Callable" not in str(parameter.annotation), (kind, parameter)


def test_a_node_has_ten_attributes_at_most():
    assert len(vars(_node())) <= 10
