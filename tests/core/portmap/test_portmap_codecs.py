"""The three protocols' bytes, beside their values, and what is no answer of a router's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.core.base.types import Address, DecodeError
from natd.core.portmap import natpmp, pcp, ssdp

GATEWAY = "192.168.1.1"
NONCE = b"nonce of ten"
MAPPED = "00" * 10 + "ffff"
"""Before an IPv4 address, where there is room for IPv6."""

PCP_MAP = f"6e6f6e6365206f662074656e 11000000 1f90 c350 {MAPPED}cb007107"
"""The payload of a MAP: 203.0.113.7:50000 for our port 8080."""

FOUND = (
    "HTTP/1.1 200 OK\r\n"
    "CACHE-CONTROL: max-age=120\r\n"
    "st: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    "Location: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"
)


# --- NAT-PMP


def test_natpmp_asks_in_two_and_in_twelve_bytes() -> None:
    assert natpmp.encode_address_request().hex() == "0000"
    asked = natpmp.encode_map_request(8080, 50000, 7200)
    assert asked == bytes.fromhex("0001 0000 1f90 c350 00001c20")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ("0080 0000 00000064 cb007107", natpmp.AddressAnswer(100, "203.0.113.7")),
        ("0081 0000 00000064 1f90 c350 00001c20", natpmp.MapAnswer(100, 8080, 50000, 7200)),
        ("0081 0000 00000064 1f90 c350 00001c20 ff", natpmp.MapAnswer(100, 8080, 50000, 7200)),
        ("0081 0002 00000064", natpmp.Refusal(100, "not authorized")),
        ("0080 0003 00000064", natpmp.AddressRefusal(100)),
        ("0081 0063 00000064", natpmp.Refusal(100, "result 99")),
        ("0000 0001 00000064", natpmp.OtherVersion(100)),
    ],
)
def test_what_a_router_answers_by_natpmp(data: str, answer: natpmp.Answer) -> None:
    assert natpmp.decode(bytes.fromhex(data)) == answer


@pytest.mark.parametrize(
    "data",
    [
        "0080 0000 000000",
        "0180 0000 00000064 cb007107",
        "0082 0000 00000064 1f90 c350 00001c20",
        "0001 0000 00000064 1f90 c350 00001c20",
        "0080 0000 00000064 cb0071",
        "0081 0000 00000064 1f90 c350 00001c",
    ],
)
def test_what_is_no_answer_by_natpmp(data: str) -> None:
    with pytest.raises(DecodeError):
        natpmp.decode(bytes.fromhex(data))


# --- PCP


def test_pcp_asks_with_our_own_address_and_a_nonce() -> None:
    head = f"00000000 {MAPPED}c0a80105"
    assert pcp.encode_announce_request("192.168.1.5") == bytes.fromhex(f"0200 0000 {head}")
    asked = pcp.encode_map_request(
        "192.168.1.5", NONCE, 8080, Address("203.0.113.7", 50000), lifetime_s=0
    )
    assert asked == bytes.fromhex(f"0201 0000 {head} {PCP_MAP}")
    no_wish = pcp.encode_map_request("2001:db8::5", NONCE, 8080, None, lifetime_s=0)
    assert no_wish[8:24].hex() == "20010db8000000000000000000000005"
    assert no_wish[42:] == bytes.fromhex(f"0000 {MAPPED}00000000")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (
            f"0281 0000 00001c20 00000064 {'00' * 12} {PCP_MAP}",
            pcp.MapAnswer(100, NONCE, 8080, Address("203.0.113.7", 50000), 7200),
        ),
        (
            f"0281 0008 0000001e 00000064 {'00' * 12} {PCP_MAP}",
            pcp.Refusal(100, NONCE, "out of resources"),
        ),
        (
            f"0281 00ff 0000001e 00000064 {'00' * 12} {PCP_MAP}",
            pcp.Refusal(100, NONCE, "result 255"),
        ),
        (f"0280 0000 00000000 00000064 {'00' * 12}", pcp.Announcement(100)),
    ],
)
def test_what_a_router_answers_by_pcp(data: str, answer: pcp.Answer) -> None:
    assert pcp.decode(bytes.fromhex(data)) == answer
    assert pcp.decode(bytes.fromhex(data) + bytes(8)) == answer, "options are left alone"


@pytest.mark.parametrize(
    "data",
    [
        f"0281 0000 00001c20 00000064 {'00' * 11}",
        f"0181 0000 00001c20 00000064 {'00' * 12} {PCP_MAP}",
        f"0282 0000 00001c20 00000064 {'00' * 12} {PCP_MAP}",
        f"0201 0000 00001c20 00000064 {'00' * 12} {PCP_MAP}",
        f"0281 0000 00001c20 00000064 {'00' * 12} {PCP_MAP[:-2]}",
        f"0281 0000 00001c20 00000064 {'00' * 12} {PCP_MAP.replace(' 11', ' 06')}",
    ],
)
def test_what_is_no_answer_by_pcp(data: str) -> None:
    with pytest.raises(DecodeError):
        pcp.decode(bytes.fromhex(data))


# --- SSDP


def test_a_search_names_the_kind_of_gateway_and_where_it_goes() -> None:
    lines = ssdp.encode_search(2, Address(GATEWAY, ssdp.PORT)).decode().split("\r\n")
    assert lines == [
        "M-SEARCH * HTTP/1.1",
        "HOST: 192.168.1.1:1900",
        'MAN: "ssdp:discover"',
        "MX: 1",
        "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:2",
        "",
        "",
    ]
    assert b"\r\nHOST: 239.255.255.250:1900\r\n" in ssdp.encode_search(1)


def test_a_gateway_says_where_it_describes_itself() -> None:
    found = ssdp.decode_location(FOUND.encode(), GATEWAY)
    assert found == "http://192.168.1.1:5000/rootDesc.xml"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("200 OK", "404 Not Found"),
        ("max-age=120", "für immer"),
        ("InternetGatewayDevice", "MediaServer"),
        ("http://192.168.1.1:5000", "http://192.168.1.9:5000"),
        ("http://192.168.1.1:5000", "http://192.168.1.1@192.168.1.9"),
        ("http://192.168.1.1:5000", "http://192.168.1.1.evil.example"),
        ("http://192.168.1.1:5000", "file://192.168.1.1"),
        ("http://", "https://"),
        (":5000/", ":0/"),
        ("rootDesc", "a b"),
        ("http://192.168.1.1:5000/rootDesc.xml", ""),
        ("Location", "Elsewhere"),
        ("max-age=120", "x" * ssdp.ANSWER_LIMIT_BYTES),
    ],
)
def test_what_is_not_the_gateways_own_is_not_fetched(old: str, new: str) -> None:
    assert old in FOUND
    with pytest.raises(DecodeError):
        ssdp.decode_location(FOUND.replace(old, new).encode(), GATEWAY)


# --- any bytes


@given(st.binary(max_size=64), st.sampled_from(["", "0080", "0081", "0280", "0281"]))
def test_any_bytes_are_an_answer_or_a_decode_error(data: bytes, head: str) -> None:
    for decode in (natpmp.decode, pcp.decode):
        try:
            decode(bytes.fromhex(head) + data)
        except DecodeError:
            continue


@given(st.binary(max_size=300))
def test_after_the_first_line_any_bytes_are_a_location_or_a_decode_error(data: bytes) -> None:
    try:
        ssdp.decode_location(b"HTTP/1.1 200 OK\r\n" + data, GATEWAY)
    except DecodeError:
        return
