"""Asking the kernel for the way to a host."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from natd.net import routes
from natd.net.routes import Route, decode_answer, encode_question, gateway_interfaces, routes_to
from tests.requirements import requires

ANSWER = bytes.fromhex(
    "5c0000001800000001000000d2040000"  # 92 bytes, RTM_NEWROUTE
    "02200000fe0000010002"
    "0000"  # IPv4, /32, table main, unicast
    "0800010" + "0c6290004"  # to 198.41.0.4
    "0800040004000000"  # interface 4
    "08000500c0000201"  # by 192.0.2.1
    "08000700c0000202"  # from 192.0.2.2
)


def test_a_question_names_the_destination_alone() -> None:
    assert encode_question("198.41.0.4").hex() == (
        "240000001a000100010000000000000002200000000000000000000008000100c6290004"
    )


def test_an_answer_tells_interface_gateway_and_source() -> None:
    assert decode_answer(ANSWER) == Route(4, "192.0.2.1", "192.0.2.2")


def test_an_error_and_a_route_that_refuses_are_no_way() -> None:
    error = bytes.fromhex("240000000200000001000000d20400009bffffff") + bytes(16)
    assert decode_answer(error) is None
    unreachable = bytearray(ANSWER)
    unreachable[16 + 7] = 7
    assert decode_answer(bytes(unreachable)) is None


@given(st.binary(max_size=120))
def test_any_bytes_are_a_route_or_none(data: bytes) -> None:
    decode_answer(ANSWER[:16] + data)
    decode_answer(data)


def test_without_netlink_a_socket_tells_whether_there_is_a_way(monkeypatch) -> None:
    monkeypatch.setattr(routes, "_open", lambda: None)
    assert routes_to(["127.0.0.1"]) == {"127.0.0.1": Route(0, "", "127.0.0.1")}


def test_the_way_to_ourselves_is_loopback() -> None:
    index = socket.if_nametoindex("lo")
    assert routes_to(["127.0.0.1"]) == {"127.0.0.1": Route(index, "", "127.0.0.1")}


def test_interfaces_with_gateways_are_listed_default_routes_first_then_by_metric(
    tmp_path: Path, monkeypatch
) -> None:
    ipv4, ipv6 = tmp_path / "route", tmp_path / "ipv6_route"
    ipv4.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
        "eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "wg0\t0000000A\t0100080A\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n"
        "*\t00000000\t00000000\t0201\t0\t0\t9999\t00000000\t0\t0\t0\n"
        "cut off\t"
    )
    nowhere, host = "0" * 32, "fe80" + "0" * 28
    ipv6.write_text(
        f"{nowhere} 00 {nowhere} 00 {host} 00000400 00000001 00000000 00000003     ppp0\n"
        f"{nowhere} 00 {nowhere} 00 {nowhere} ffffffff 00000001 00000000 00200200       lo\n"
    )
    monkeypatch.setattr(routes, "ROUTES", ipv4)
    monkeypatch.setattr(routes, "_ROUTES_IPV6", ipv6)
    assert gateway_interfaces() == ["eth0", "wlan0", "ppp0", "wg0"]


ASK_IN_A_NAMESPACE = """
import subprocess
from natd.net.routes import INTERNET, routes_to
def ask(*commands):
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)
    for host, route in routes_to(INTERNET).items():
        print(host, route and (route.gateway, route.source))
ask("link set lo up")
ask(
    "link add e0 type veth peer name e1", "link set e0 up", "link set e1 up",
    "addr add 198.51.100.7/24 dev e0", "-6 addr add 2001:db8::7/64 dev e0 nodad",
    "route add default via 198.51.100.1 metric 20",
    "route add default via 198.51.100.2 metric 10",
    "-6 route add default via 2001:db8::1",
)
ask("route replace unreachable default metric 5", "-6 route del default")
"""

ANSWERS_IN_A_NAMESPACE = """\
198.41.0.4 None
2001:503:ba3e::2:30 None
198.41.0.4 ('198.51.100.2', '198.51.100.7')
2001:503:ba3e::2:30 ('2001:db8::1', '2001:db8::7')
198.41.0.4 None
2001:503:ba3e::2:30 None
"""


@requires("namespaces", "command:ip")
def test_the_kernel_says_which_of_two_default_routes_counts_and_when_there_is_none() -> None:
    flags = "-n" if os.geteuid() == 0 else "-Urn"
    done = subprocess.run(
        ["unshare", flags, sys.executable, "-c", ASK_IN_A_NAMESPACE],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == ANSWERS_IN_A_NAMESPACE, done.stderr
