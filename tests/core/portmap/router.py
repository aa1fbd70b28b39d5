"""A home router that speaks the three protocols, in virtual time, and its answers."""

from random import Random

from natd.core.base.types import MAIN_SOCKET, Address
from natd.core.portmap import natpmp, pcp, ssdp
from natd.core.portmap.client import (
    ANNOUNCEMENTS_SOCKET,
    LIFETIME_S,
    MappingsChanged,
    PortMapping,
    Protocol,
    UpnpUnwanted,
    UpnpWanted,
)

START = 1000.0
GATEWAY, CLIENT, OUTSIDE = "192.168.1.1", "192.168.1.2", "203.0.113.5"
PORT = 40000
NONCE = b"0123456789ab"
LOCATION = f"http://{GATEWAY}:5000/rootDesc.xml"
EXTERNAL = Address(OUTSIDE, PORT)


class Router:
    """A gateway in virtual time; speaks the given protocols."""

    def __init__(
        self,
        *speaks,
        external=EXTERNAL,
        lifetime_s=None,
        loses=0,
        refuses=False,
        names_versions=False,
        clock_rate=1.0,
    ):
        self.now = START
        self.speaks = set(speaks)
        self.external = external
        self.lifetime_s = lifetime_s
        self.loses = loses
        self.refuses = refuses
        self.names_versions = names_versions
        self.clock_rate = clock_rate
        self.answers_address = "told"
        self.started_at = START - 5000.0
        self.location = LOCATION
        self.sent, self.told, self.orders = [], [], []
        self.mapped, self.wished = {}, {}
        self.core = PortMapping(
            port=PORT, client=CLIENT, gateway=GATEWAY, nonce=NONCE, random=Random(1)
        )
        self.core.start(START)
        self._drain(answer=False)

    def run(self, for_s):
        """All that happens until then; what was sent before is answered first."""
        until = self.now + for_s
        for datagram in tuple(self.sent) if self.now == START else ():
            self._answer(datagram)
        self._drain()
        while (at := self.core.get_timer()) is not None and at <= until:
            self.now = max(self.now, at)
            self.core.handle_timer(self.now)
            self._drain()
        self.now = until

    def restart(self):
        self.started_at = self.now
        self.mapped.clear()

    def announce(self):
        if Protocol.PCP in self.speaks:
            data = pcp_announced(self.epoch_s)
        else:
            data = natpmp_granted(self.external, self.epoch_s)[0]
        self.core.receive_datagram(data, Address(GATEWAY, 5351), self.now, ANNOUNCEMENTS_SOCKET)
        self._drain()

    def asked(self, protocol):
        """The requests for a mapping."""
        match protocol:
            case Protocol.PCP:
                return [d for d in self.sent if d.data[:2] == b"\x02\x01"]
            case Protocol.NAT_PMP:
                return [d for d in self.sent if d.data[:2] == b"\x00\x01"]
            case Protocol.UPNP:
                return self.orders

    @property
    def epoch_s(self):
        return int((self.now - self.started_at) * self.clock_rate)

    def _drain(self, answer=True):
        while True:
            datagrams = self.core.datagrams_to_send()
            self.sent += datagrams
            for datagram in datagrams if answer else ():
                self._answer(datagram)
            while (event := self.core.next_event()) is not None:
                self._take(event)
            if not datagrams:
                return

    def _take(self, event):
        match event:
            case MappingsChanged():
                self.told.append(self.core.externals)
            case UpnpWanted(location, ports, lifetime_s):
                self.orders.append(event)
                self.wished[Protocol.UPNP] = ports[0]
                if location != self.location:
                    self.core.upnp_answered(None, 0, "connection refused", self.now)
                    self.orders.pop()
                    return
                self.mapped[Protocol.UPNP] = self.external
                self.core.upnp_answered(self.external, lifetime_s, "", self.now)
            case UpnpUnwanted():
                self.mapped.pop(Protocol.UPNP, None)
                self.core.upnp_released()

    def _answer(self, datagram):
        data, (host, port) = datagram.data, datagram.address
        if self.loses:
            self.loses -= 1
        elif port == ssdp.PORT:
            if Protocol.UPNP in self.speaks:
                self._say(found(self.location), ssdp.PORT)
        elif data[0] == pcp.PCP_VERSION:
            assert host == GATEWAY
            if Protocol.PCP in self.speaks:
                self._answer_pcp(data)
            elif self.names_versions:
                self._say(b"\x00\x81\x00\x01" + self.epoch_s.to_bytes(4, "big"))
        elif Protocol.NAT_PMP in self.speaks:
            address, granted = natpmp_granted(self.external, self.epoch_s)
            if data == natpmp.encode_address_request():
                if self.answers_address == "refused":
                    self._say(address[:2] + b"\x00\x03" + address[4:8])
                elif self.answers_address == "told":
                    self._say(address)
                return
            self.wished[Protocol.NAT_PMP] = int.from_bytes(data[6:8], "big")
            if data[8:] == bytes(4):
                self.mapped.pop(Protocol.NAT_PMP, None)
                self._say(granted[:10] + bytes(6))
            else:
                self.mapped[Protocol.NAT_PMP] = self.external
                self._say(granted)

    def _answer_pcp(self, data):
        lifetime_s = int.from_bytes(data[4:8], "big")
        if data[1] == 0:
            self._say(pcp_announced(self.epoch_s))
            return
        self.wished[Protocol.PCP] = int.from_bytes(data[42:44], "big")
        answer = pcp_granted(
            data[24:36],
            self.external,
            lifetime_s and (self.lifetime_s or lifetime_s),
            self.epoch_s,
        )
        if self.refuses:
            self._say(answer[:3] + b"\x02" + answer[4:])
            return
        if lifetime_s:
            self.mapped[Protocol.PCP] = self.external
        else:
            self.mapped.pop(Protocol.PCP, None)
        self._say(answer)

    def _say(self, data, port=5351):
        self.core.receive_datagram(data, Address(GATEWAY, port), self.now, MAIN_SOCKET)


def report(router, protocol):
    return next(report for report in router.core.reports if report.protocol is protocol)


def found(location=LOCATION):
    return (
        "HTTP/1.1 200 OK\r\n"
        "CACHE-CONTROL: max-age=120\r\n"
        "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
        f"Location: {location}\r\n"
        "\r\n"
    ).encode()


def natpmp_granted(external, epoch_s):
    """The answers to both requests."""
    epoch = epoch_s.to_bytes(4, "big")
    port = external.port.to_bytes(2, "big")
    return (
        b"\x00\x80\x00\x00" + epoch + external.ip.packed,
        b"\x00\x81\x00\x00"
        + epoch
        + PORT.to_bytes(2, "big")
        + port
        + LIFETIME_S.to_bytes(4, "big"),
    )


def pcp_granted(nonce, external, lifetime_s, epoch_s):
    head = b"\x02\x81\x00\x00" + lifetime_s.to_bytes(4, "big") + epoch_s.to_bytes(4, "big")
    ports = PORT.to_bytes(2, "big") + external.port.to_bytes(2, "big")
    mapped = bytes(10) + b"\xff\xff" + external.ip.packed
    return head + bytes(12) + nonce + b"\x11\x00\x00\x00" + ports + mapped


def pcp_announced(epoch_s):
    return b"\x02\x80\x00\x00" + bytes(4) + epoch_s.to_bytes(4, "big") + bytes(12)
