"""What a UPnP router writes, and what it is asked."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natd.core.base.types import Address, DecodeError
from natd.core.portmap import igd
from natd.core.portmap.gateway_url import GatewayUrl, parse_gateway_url

GATEWAY = "192.168.1.1"
LOCATION = GatewayUrl(Address(GATEWAY, 5000), "/desc/root.xml")
IP = "urn:schemas-upnp-org:service:WANIPConnection:1"
PPP = "urn:schemas-upnp-org:service:WANPPPConnection:1"


@pytest.mark.parametrize(
    ("control", "address", "path"),
    [
        ("/ctl", (GATEWAY, 5000), "/ctl"),
        ("ctl/IPConn", (GATEWAY, 5000), "/desc/ctl/IPConn"),
        ("http://192.168.1.1:49000/ctl", (GATEWAY, 49000), "/ctl"),
        ("HTTP://192.168.1.1", (GATEWAY, 80), "/"),
        ("/ctl?a=1&amp;b=http://2", (GATEWAY, 5000), "/ctl?a=1&b=http://2"),
    ],
)
def test_a_control_url_is_read_as_a_browser_would(control, address, path) -> None:
    (service,) = igd.decode_description(description(control), LOCATION)
    assert service == igd.Service(GatewayUrl(Address(*address), path), IP)


@pytest.mark.parametrize(
    "control",
    [
        "http://192.168.1.9/ctl",
        "http://192.168.1.1@192.168.1.9/ctl",
        "http://192.168.1.1.example.net/ctl",
        "http://router/ctl",
        "https://192.168.1.1/ctl",
        "ftp://192.168.1.1/ctl",
        "//192.168.1.9/ctl",
        "http://192.168.1.1:99999/ctl",
        "http://[::1]/ctl",
        "/ctl\r\nHost: x",
        "/a b",
        "/ünicode",
        "/" + "x" * 2000,
        "",
    ],
)
def test_a_control_url_that_is_not_the_gateways_is_no_service(control) -> None:
    with pytest.raises(DecodeError, match="another host"):
        igd.decode_description(description(control), LOCATION)


def test_a_base_url_counts_only_if_it_is_the_gateways() -> None:
    base = "<URLBase>http://192.168.1.1:2869/x/</URLBase>"
    (service,) = igd.decode_description(description("ctl", base), LOCATION)
    assert service.control == GatewayUrl(Address(GATEWAY, 2869), "/x/ctl")
    foreign = "<URLBase>http://192.168.1.9/</URLBase>"
    with pytest.raises(DecodeError):
        igd.decode_description(description("/ctl", foreign), LOCATION)


def test_of_several_services_each_keeps_its_own_url_and_no_more_than_four_count() -> None:
    text = (service("/ip") + service("/ppp", PPP) + service("/other", "urn:x")) * 9
    found = igd.decode_description(text.encode(), LOCATION)
    assert [each.control.path for each in found] == ["/ip", "/ppp", "/ip", "/ppp"]
    assert [each.kind for each in found[:2]] == [IP, PPP]


def test_prefixes_attributes_and_blanks_change_nothing() -> None:
    text = (
        f'<u:service xmlns:u="y">\n <u:serviceType a="b"> {IP} </u:serviceType >\r\n'
        "<u:controlURL>\n/ctl </u:controlURL></u:service>"
    )
    (found,) = igd.decode_description(text.encode(), LOCATION)
    assert found.control.path == "/ctl"


def test_entities_of_a_document_of_its_own_are_never_expanded() -> None:
    bomb = (
        '<!DOCTYPE r [<!ENTITY a "/aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">'
        '<!ENTITY c SYSTEM "file:///etc/passwd">]>'
    )
    (found,) = igd.decode_description(bomb.encode() + description("/x&b;&c;"), LOCATION)
    assert found.control.path == "/x&b;&c;"


@pytest.mark.parametrize(
    "unit", ["<", "<a", "<a>", "a", "</", "<service>", "&amp;", "<a b='", "<!--", "<a:a:a"]
)
def test_a_description_made_to_be_slow_is_read_in_a_blink(unit) -> None:
    data = (unit * 65536)[:65536].encode()
    began = time.perf_counter()
    with pytest.raises(DecodeError):
        igd.decode_description(data, LOCATION)
    assert time.perf_counter() - began < 0.5


def test_an_order_names_its_service_and_its_arguments_in_order() -> None:
    (found,) = igd.decode_description(description("/ctl"), LOCATION)
    body = igd.encode_map_order(found, 40000, "192.168.1.2", 50000, 1800).decode()
    assert (
        f'<u:AddPortMapping xmlns:u="{IP}"><NewRemoteHost></NewRemoteHost>'
        "<NewExternalPort>40000</NewExternalPort><NewProtocol>UDP</NewProtocol>"
        "<NewInternalPort>50000</NewInternalPort>"
        "<NewInternalClient>192.168.1.2</NewInternalClient><NewEnabled>1</NewEnabled>"
        "<NewPortMappingDescription>natd</NewPortMappingDescription>"
        "<NewLeaseDuration>1800</NewLeaseDuration></u:AddPortMapping>"
    ) in body


def test_answers_are_read_and_nothing_else_is() -> None:
    told = b"<x:NewExternalIPAddress>203.0.113.5</x:NewExternalIPAddress>"
    assert igd.decode_external(told) == "203.0.113.5"
    assert igd.decode_external(b"") == ""
    assert igd.decode_fault(b"<UPnPError><errorCode>718</errorCode></UPnPError>") == 718
    for nonsense in (b"", b"<errorCode>x</errorCode>", b"<errorCode>9999999</errorCode>"):
        assert igd.decode_fault(nonsense) == 0


def test_what_a_router_says_of_its_refusal_is_never_shown() -> None:
    assert igd.fault_words(718) == "the port is taken"
    assert igd.fault_words(777) == "error 777"
    assert igd.fault_words(0) == "no reason given"


@given(st.binary(max_size=400))
def test_any_bytes_are_services_or_a_decode_error(data: bytes) -> None:
    for text in (data, description("/c") + data, data + description("/c")):
        try:
            igd.decode_description(text, LOCATION)
        except DecodeError:
            continue
    igd.decode_external(data)
    igd.decode_fault(data)


@given(st.text(max_size=60) | st.text("htp:/.@192681#?[]", max_size=60))
def test_any_reference_leads_to_the_gateway_or_nowhere(text: str) -> None:
    try:
        url = LOCATION.join(text)
    except DecodeError:
        return
    assert url.address.host == GATEWAY
    assert url.path.startswith("/")
    assert url.path.isprintable()
    assert " " not in url.path
    assert url.path.isascii()


@pytest.mark.parametrize("text", ["", "http://", "http://192.168.1.1:0/", "http://192.168.1.1:/"])
def test_half_a_url_is_none(text) -> None:
    with pytest.raises(DecodeError):
        parse_gateway_url(text, GATEWAY)


def service(control: str, kind: str = IP) -> str:
    return (
        f"<service><serviceType>{kind}</serviceType><SCPDURL>http://192.168.1.9/</SCPDURL>"
        f"<controlURL>{control}</controlURL></service>"
    )


def description(control: str, base: str = "") -> bytes:
    return f'<?xml version="1.0"?><root>{base}<device>{service(control)}</device></root>'.encode()
