"""The laboratories themselves, tried with plain UDP programs."""

import signal
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from natctl.demo.own_world import Namespaces
from tests.internet.fabric import Weather
from tests.internet.nat import LINUX, PORT_RESTRICTED, SYMMETRIC_RANDOM
from tests.natlab import mirror
from tests.natlab.interpreter import python
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.tun_internet import TunInternet
from tests.processes import started
from tests.requirements import requires, requires_namespaces, requires_nat, requires_tun

requires_conntrack = requires("command:conntrack")

MIRROR = Path(mirror.__file__)


@requires_tun
def test_a_round_trip_over_the_tun_internet_costs_its_delays_and_less_than_a_millisecond_more():
    with TunInternet(seed=1) as lab:
        lab.fabric.add_host(lab.fabric.add_nat(PORT_RESTRICTED), name="alice")
        lab.fabric.add_host(name="server")
        lab.start()
        serve(lab, "server", 7000)
        for _ in range(3):
            answers = ask(lab, "alice", lab.address("server"), 7000, count=15)
            added_ms = [rtt - 100.4 for _, _, rtt in answers]
            assert min(added_ms) > -0.1
            if statistics.median(added_ms) < 2.0:
                break
    # A machine with other work may hold up packets for a while, never for all of the time.
    assert statistics.median(added_ms) < 2.0
    assert min(added_ms) < 1.0


@requires_tun
def test_the_tun_internet_translates_by_the_policy_of_its_nats():
    with TunInternet(seed=1) as lab:
        preserving = lab.fabric.add_nat(LINUX, name="preserving")
        random = lab.fabric.add_nat(SYMMETRIC_RANDOM, name="random")
        lab.fabric.add_host(preserving, name="alice")
        lab.fabric.add_host(random, name="bob")
        lab.fabric.add_host(name="server")
        lab.start()
        serve(lab, "server", 7000)
        serve(lab, "server", 7001)
        alice = [ask(lab, "alice", lab.address("server"), p, 5555)[0] for p in (7000, 7001)]
        bob = [ask(lab, "bob", lab.address("server"), p, 5555)[0] for p in (7000, 7001)]
        assert [answer[:2] for answer in alice] == [(preserving.addresses[0], 5555)] * 2
        assert bob[0][0] == random.addresses[0]
        assert bob[0][1] != bob[1][1]
        assert lab.first_seen("alice") is not None
        assert lab.counts()["entries"]["random"] == 2


@requires_tun
def test_a_nat_of_the_tun_internet_can_change_its_class_and_its_address():
    with TunInternet(seed=1) as lab:
        nat = lab.fabric.add_nat(PORT_RESTRICTED, name="nat")
        lab.fabric.add_host(nat, name="alice")
        lab.fabric.add_host(name="server")
        lab.start()
        serve(lab, "server", 7000)
        before, after = nat.addresses[0], lab.renumber(nat)[0]
        assert before != after
        assert ask(lab, "alice", lab.address("server"), 7000, 5555)[0][:2] == (after, 5555)
        lab.change_policy(nat, SYMMETRIC_RANDOM)
        host, port, _ = ask(lab, "alice", lab.address("server"), 7000, 5555)[0]
        assert host == after
        assert port != 5555


@requires_tun
def test_the_tun_internet_can_lose_everything_and_pull_a_cable():
    with TunInternet(seed=1) as lab:
        lab.fabric.add_host(name="alice")
        lab.fabric.add_host(name="server")
        lab.start()
        serve(lab, "server", 7000)
        lab.change_weather(Weather(loss=1.0))
        assert ask(lab, "alice", lab.address("server"), 7000) == [None]
        lab.change_weather(Weather())
        lab.connect("alice", False)
        assert ask(lab, "alice", lab.address("server"), 7000) == [None]
        lab.connect("alice")
        assert ask(lab, "alice", lab.address("server"), 7000) != [None]


@requires_tun
@requires_nat
def test_kernel_masquerade_sits_between_a_host_and_the_tun_internet():
    with TunInternet(seed=1) as lab:
        lab.fabric.add_host(name="router")
        lab.fabric.add_host(name="server")
        lab.put_behind_kernel_nat("alice", "router")
        lab.start()
        serve(lab, "server", 7000)
        (answer,) = ask(lab, "alice", lab.address("server"), 7000, 5555)
        assert answer[:2] == (lab.address("router"), 5555)
        assert answer[2] >= 100.0


@requires_nat
@requires_conntrack
@pytest.mark.parametrize(
    ("flavour", "preserves"), [("", True), ("random", False), ("to :20000-20100", False)]
)
def test_the_kernel_masquerades_as_it_is_told(flavour, preserves):
    with KernelInternet() as lab:
        lab.add_nat("nat", flavour)
        lab.add_host("alice", behind="nat")
        lab.add_host("server")
        lab.start()
        serve(lab, "server", 7000)
        (answer,) = ask(lab, "alice", lab.address("server"), 7000, 5555)
        assert answer[0] == lab.address("nat")
        assert (answer[1] == 5555) == preserves
        assert lab.flows("nat") >= 1
        lab.flush("nat")
        assert lab.flows("nat") == 0


@requires_nat
@requires_conntrack
def test_two_layers_of_kernel_nat_have_two_hops_between_the_outer_ones():
    with KernelInternet() as lab:
        lab.add_nat("carrier")
        lab.add_nat("home", parent="carrier")
        lab.add_host("alice", behind="home")
        lab.add_nat("other", accepts_input=True)
        lab.add_host("server")
        lab.start()
        serve(lab, "server", 7000)
        (answer,) = ask(lab, "alice", lab.address("server"), 7000, 5555)
        assert answer[:2] == (lab.address("carrier"), 5555)
        # home, carrier, provider, provider, and there: four hops are not enough.
        for ttl, flows in ((4, 0), (5, 1)):
            lab.run("alice", python("-c", LOW_TTL, lab.address("other"), str(ttl)))
            assert lab.flows("other") == flows


@requires_nat
@pytest.mark.parametrize(("accepts_input", "poisoned"), [(False, False), (True, True)])
def test_an_early_packet_poisons_the_kernel_as_it_does_the_model(accepts_input, poisoned):
    with KernelInternet() as lab:
        lab.add_nat("nat", accepts_input=accepts_input)
        lab.add_host("alice", behind="nat")
        lab.add_host("peer")
        lab.start()
        serve(lab, "peer", 7001)
        lab.run("peer", python("-c", EARLY, "7000", lab.address("nat"), "5555"))
        serve(lab, "peer", 7000)
        (elsewhere,) = ask(lab, "alice", lab.address("peer"), 7001, 5555)
        (punched,) = ask(lab, "alice", lab.address("peer"), 7000, 5555)
        (later,) = ask(lab, "alice", lab.address("peer"), 7001, 5555)
    assert elsewhere[1] == 5555
    assert (punched[1] != 5555) == poisoned
    assert later[1] == 5555


@requires_namespaces
def test_a_laboratory_leaves_nothing_behind_even_when_its_test_is_killed():
    script = (
        "import time; from natctl.demo.own_world import Namespaces\n"
        "from natctl.demo.namespaces import Topology\n"
        "t = Topology(); t.namespace('x'); n = Namespaces(); n.build(t)\n"
        "p = n.popen('x', ['sleep', '1000']); print(n._pid, p.pid, flush=True); time.sleep(1000)\n"
    )
    with started(python("-c", script), stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        keeper, program = map(int, victim.stdout.readline().split())
        assert Path(f"/proc/{keeper}").exists()
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and (alive(keeper) or alive(program)):
        time.sleep(0.02)
    assert not alive(keeper)
    assert not alive(program)


@requires_nat
def test_two_laboratories_at_once_may_use_the_same_names():
    with KernelInternet() as one, KernelInternet() as two:
        for lab in (one, two):
            lab.add_host("server")
            lab.start()
        assert one.address("server") == two.address("server")
        names = one.run("server", ["ip", "netns", "list"])
        assert "server" in names
    with Namespaces() as empty:
        assert empty.run(None, ["ip", "netns", "list"]) == ""


# --- helpers ---------------------------------------------------------------------------

LOW_TTL = """
import socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(sys.argv[2]))
udp.sendto(b"x", (sys.argv[1], 9999))
"""

EARLY = """
import socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", int(sys.argv[1])))
udp.sendto(b"early", (sys.argv[2], int(sys.argv[3])))
"""


def serve(lab, name, port):
    process = lab.popen(name, python(MIRROR, "serve", str(port)), stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"


def ask(lab, name, host, port, from_port=0, count=1):
    """[(seen host, seen port, rtt in ms) or None]"""
    output = lab.run(name, python(MIRROR, "ask", host, str(port), str(from_port), str(count)))
    rows = [line.split() for line in output.splitlines()]
    return [None if row[0] == "-" else (row[0], int(row[1]), float(row[2])) for row in rows]


def alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it may end while it is read
        return False
