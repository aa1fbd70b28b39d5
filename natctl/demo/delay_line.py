"""A switch with distance: Ethernet frames between its ports, each crossing takes its time.

    python -m natctl.demo.delay_line DELAY_MS DEVICE...

Runs in a namespace of its own whose devices have no addresses; needs the right to open raw
sockets there and nothing of the kernel's traffic control.  A frame goes to the port where its
destination was last heard, or to all others.  On standard output it tells, as one JSON object
a line, the first UDP datagram of each kind from each address to each other:

    {"at": 12.3, "from": "45.1.1.10", "to": "45.1.2.10", "kind": "REGISTER"}

`at` is when it came to the switch, by the monotonic clock that all processes here share.  ARP
is not held up: it would add a round trip to the first packet that no distance asks for.

UDP checksums are cleared on the way (zero means none, RFC 768): between namespaces the kernel
leaves them for a network card to fill in, and there is no card.
"""

import contextlib
import heapq
import json
import select
import socket
import sys
import time

FRAME_BYTES = 2048

DRAIN = 64

ALL_PROTOCOLS = 0x0003
"""ETH_P_ALL."""

ARP = b"\x08\x06"
IPV4 = b"\x08\x00"

RENDEZVOUS_TYPES = {1: "REGISTER", 2: "CHALLENGE", 3: "REGISTERED", 4: "INTRODUCE"}


class DelayLine:
    """Ports, the addresses learned behind them, and the frames in flight."""

    def __init__(self, delay_s: float, devices: list[str]) -> None:
        self._delay_s = delay_s
        self._ports = [_open(device) for device in devices]
        self._learned: dict[bytes, socket.socket] = {}
        self._flight: list[tuple[float, int, list[socket.socket], bytes]] = []
        self._count = 0
        self._told: set[tuple[str, str, str]] = set()

    def run(self) -> None:
        while True:
            wait_s = max(0.0, self._flight[0][0] - time.monotonic()) if self._flight else None
            for port in select.select(self._ports, [], [], wait_s)[0]:
                self._receive(port)
            now = time.monotonic()
            while self._flight and self._flight[0][0] <= now:
                _, _, targets, frame = heapq.heappop(self._flight)
                for target in targets:
                    # A full queue or a device that is going away loses the frame.
                    with contextlib.suppress(OSError):
                        target.send(frame)

    def _receive(self, port: socket.socket) -> None:
        for _ in range(DRAIN):
            try:
                data, (_, _, packet_type, *_) = port.recvfrom(FRAME_BYTES)
            except BlockingIOError:
                return
            if packet_type == socket.PACKET_OUTGOING:
                continue
            now = time.monotonic()
            frame = bytearray(data)
            self._learned[data[6:12]] = port
            if _is_udp(frame):
                self._tell(frame, now)
                frame[_udp_at(frame) + 6 : _udp_at(frame) + 8] = b"\0\0"
            known = self._learned.get(data[:6])
            targets = [known] if known else [other for other in self._ports if other is not port]
            self._count += 1
            due = now if frame[12:14] == ARP else now + self._delay_s
            heapq.heappush(self._flight, (due, self._count, targets, bytes(frame)))

    def _tell(self, frame: bytearray, now: float) -> None:
        kind = kind_of(frame[_udp_at(frame) + 8 :])
        source, target = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
        if kind is not None and (source, target, kind) not in self._told:
            self._told.add((source, target, kind))
            print(json.dumps({"at": now, "from": source, "to": target, "kind": kind}), flush=True)


def kind_of(payload: bytes | bytearray) -> str | None:
    """What a datagram of ours is, by its first bytes (RFC 7983, RFC 9443); None for others."""
    if not payload:
        return None
    first = payload[0]
    if first == 5 and len(payload) > 2:
        return RENDEZVOUS_TYPES.get(payload[2])
    if first <= 3:
        return "CHECK"
    return "QUIC" if 0x40 <= first <= 0x7F or first >= 0xC0 else None


def _is_udp(frame: bytearray) -> bool:
    return len(frame) >= 42 and frame[12:14] == IPV4 and frame[23] == socket.IPPROTO_UDP


def _udp_at(frame: bytearray) -> int:
    return 14 + (frame[14] & 15) * 4


def _open(device: str) -> socket.socket:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    port.bind((device, 0))
    port.setblocking(False)
    return port


def main() -> None:
    DelayLine(float(sys.argv[1]) / 1000.0, sys.argv[2:]).run()


if __name__ == "__main__":
    main()
