"""The process that is the internet: reads and writes TUN devices, moves packets between.

Started by `tests/natlab/tun_internet.py` inside the laboratory's namespaces.  Standard input
and output speak pickles, each behind its length (4 bytes, big-endian): first `(fabric,
{host: namespace})`, then commands `(name, *arguments)`; every one is answered.  It waits in
select() for a packet, a command or the instant at which the next packet in flight is due;
select takes microseconds where epoll takes whole milliseconds, which would be delay.
"""

import contextlib
import ctypes
import fcntl
import gc
import os
import pickle
import select
import struct
import subprocess
import time
from collections import defaultdict, deque
from typing import IO, Any

from tests.internet.fabric import Fabric, Host, Packet, Weather
from tests.internet.nat import NatPolicy
from tests.natlab.ip import build, parse

DEVICE = "wan"

MTU = 1500

DRAIN = 64
"""Packets read from one device at a wake-up, before others have their turn."""

_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_CLONE_NEWNET = 0x40000000
_PR_SET_TIMERSLACK = 29

_LENGTH = struct.Struct("!I")


def read_pickle(stream: IO[bytes]) -> Any:
    """One object; EOFError when the other side has closed."""
    return pickle.loads(_read_exactly(stream, _LENGTH.unpack(_read_exactly(stream, 4))[0]))


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def write_pickle(stream: IO[bytes], value: Any) -> None:
    body = pickle.dumps(value)
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


class TunProcess:
    """The loop, and what the laboratory may ask of it."""

    def __init__(self, fabric: Fabric, namespaces: dict[str, str]) -> None:
        self._fabric = fabric
        self._hosts = {host.name: host for host in fabric.hosts()}
        self._gateways = {gateway.name: gateway for gateway in fabric.gateways()}
        self._host_of: dict[int, Host] = {}
        self._device_of: dict[Host, int] = {}
        self._first_seen: dict[str, float] = {}
        self._early: dict[str, tuple[str, Packet, float]] = {}
        self._last_second: dict[str, deque[float]] = defaultdict(deque)
        self._peaks: dict[str, int] = {}
        for name, namespace in namespaces.items():
            device = _open_tun(namespace)
            self._host_of[device] = self._hosts[name]
            self._device_of[self._hosts[name]] = device
            _set_up(namespace, self._hosts[name])

    def run(self, commands: IO[bytes], answers: IO[bytes]) -> None:
        """Until `commands` closes; it must be unbuffered, or select() would not see all."""
        readers = [*self._host_of, commands.fileno()]
        while True:
            due = self._fabric.next_at()
            wait_s = None if due is None else max(0.0, due - time.monotonic())
            ready, _, _ = select.select(readers, [], [], wait_s)
            for source in ready:
                if source == commands.fileno():
                    try:
                        command, *arguments = read_pickle(commands)
                    except EOFError:
                        return
                    write_pickle(answers, getattr(self, f"do_{command}")(*arguments))
                else:
                    self._read(source)
            self._deliver()

    def _read(self, device: int) -> None:
        host = self._host_of[device]
        for _ in range(DRAIN):
            try:
                raw = os.read(device, MTU + 100)
            except BlockingIOError:
                return
            packet = parse(raw)
            if packet is not None:
                now = time.monotonic()
                if host.name not in self._first_seen:
                    self._first_seen[host.name] = now
                    self._send_early(host.name, now)
                self._count(host.name, now)
                self._fabric.send(host, packet, now)

    def _send_early(self, watched: str, now: float) -> None:
        if watched in self._early:
            sender, packet, delay_s = self._early.pop(watched)
            self._fabric.send(self._hosts[sender], packet, now + delay_s)

    def _count(self, host: str, now: float) -> None:
        recent = self._last_second[host]
        recent.append(now)
        while recent[0] <= now - 1.0:
            recent.popleft()
        self._peaks[host] = max(self._peaks.get(host, 0), len(recent))

    def _deliver(self) -> None:
        for _, host, packet in self._fabric.arrivals(time.monotonic()):
            device = self._device_of.get(host)
            if device is not None:
                # A host that is gone or has a full queue loses the packet, as on a real link.
                with contextlib.suppress(OSError):
                    os.write(device, build(packet))

    # --- commands ---

    def do_watch(self, host: str) -> None:
        self._first_seen.pop(host, None)

    def do_first_seen(self, host: str) -> float | None:
        return self._first_seen.get(host)

    def do_send_after(self, watched: str, sender: str, packet: Packet, delay_s: float) -> None:
        self._early[watched] = (sender, packet, delay_s)

    def do_forget_peaks(self) -> None:
        self._last_second.clear()
        self._peaks.clear()

    def do_reboot(self, gateway: str) -> None:
        self._gateways[gateway].reboot()

    def do_renumber(self, gateway: str) -> tuple[str, ...]:
        self._fabric.renumber(self._gateways[gateway])
        return self._gateways[gateway].addresses

    def do_policy(self, gateway: str, policy: NatPolicy) -> None:
        self._gateways[gateway].nat.policy = policy

    def do_weather(self, weather: Weather) -> None:
        self._fabric.weather = weather

    def do_connect(self, name: str, connected: bool) -> None:
        {**self._hosts, **self._gateways}[name].connected = connected

    def do_counts(self) -> dict[str, Any]:
        return {
            "dropped": dict(self._fabric.dropped),
            "sent": {host.name: host.sent for host in self._fabric.hosts()},
            "peaks": dict(self._peaks),
            "entries": {g.name: g.nat.entries_made for g in self._gateways.values()},
        }


def _open_tun(namespace: str) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as there:
        if libc.setns(there.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"can't enter namespace {namespace}")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def _set_up(namespace: str, host: Host) -> None:
    lines = [f"link set {DEVICE} mtu {MTU} txqueuelen 5000 up"]
    for address in host.addresses:
        lines.append(f"addr add {address}/{'128 nodad' if ':' in address else 24} dev {DEVICE}")
    lines.append(f"route add default dev {DEVICE}")
    if host.ipv6:
        lines.append(f"route add ::/0 dev {DEVICE}")
    subprocess.run(
        ["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines), text=True, check=True
    )


def main() -> None:
    with os.fdopen(0, "rb", buffering=0) as commands, os.fdopen(1, "wb") as answers:
        process = TunProcess(*read_pickle(commands))
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        gc.freeze()
        gc.disable()
        write_pickle(answers, "ready")
        process.run(commands, answers)


if __name__ == "__main__":
    main()
