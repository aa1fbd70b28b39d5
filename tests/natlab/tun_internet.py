"""The internet of `tests/internet/fabric.py` in real time, between real programs.

    with TunInternet(seed=1, weather=Weather(loss=0.05)) as lab:
        nat = lab.fabric.add_nat(PORT_RESTRICTED, name="nat")
        lab.fabric.add_host(nat, name="alice")
        lab.fabric.add_host(name="server")
        lab.start()
        lab.popen("alice", ["natd", ...])

Each host is a network namespace with one TUN device, and its address and route are what the
fabric says.  A host of the fabric may also be a router with the kernel's NAT, with hosts and
further routers behind it (`lab.put_behind_kernel_nat`).
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from natctl.demo.namespaces import Topology
from natctl.demo.own_world import Namespaces, WorldError
from tests.internet.fabric import Fabric, Gateway, Host, Packet, Weather
from tests.internet.nat import NatPolicy
from tests.natlab.interpreter import python
from tests.natlab.tun_process import DEVICE, read_pickle, write_pickle


@dataclass(frozen=True, slots=True)
class _Router:
    """The kernel's NAT in one namespace."""

    flavour: str
    accepts_input: bool
    lan: str
    inside: list[str] = field(default_factory=list)


class TunInternet:
    """A fabric at work between namespaces."""

    def __init__(self, seed: int = 0, weather: Weather | None = None) -> None:
        self.fabric = Fabric(seed, weather)
        self.namespaces = Namespaces()
        self._topology = Topology()
        self._routers: dict[str, _Router] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def put_behind_kernel_nat(
        self,
        name: str,
        nat: str,
        flavour: str = "",
        *,
        accepts_input: bool = False,
        lan: str | None = None,
    ) -> None:
        """The namespace `name` behind `nat`, which masquerades: the fabric's host of that name,
        or another namespace that was itself put behind one.  Several may be behind the same; the
        first one says how it masquerades and which `lan` (`192.168.7`) it has."""
        router = self._routers.setdefault(
            nat, _Router(flavour, accepts_input, lan or f"192.168.{200 + len(self._routers)}")
        )
        router.inside.append(name)

    def start(self) -> None:
        topology = self._topology
        for host in self.fabric.hosts():
            if host.name not in self._routers:
                topology.namespace(host.name)
        for nat, router in self._routers.items():
            if not any(nat in other.inside for other in self._routers.values()):
                topology.router(nat)
            topology.switch(nat, "lan", f"{router.lan}.1/24")
            topology.masquerade(nat, DEVICE, router.flavour, accepts_input=router.accepts_input)
            for number, name in enumerate(router.inside, start=2):
                is_router = name in self._routers
                (topology.router if is_router else topology.namespace)(name)
                device = DEVICE if is_router else "eth0"
                topology.plug(name, device, f"{router.lan}.{number}/24", nat, "lan")
                topology.route(name, "default", f"{router.lan}.1")
        self.namespaces.build(topology)
        self._process = self.namespaces.popen(
            None,
            python("-m", "tests.natlab.tun_process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        write_pickle(
            self._process.stdin, (self.fabric, {h.name: h.name for h in self.fabric.hosts()})
        )
        self._answer()

    def popen(self, name: str, argv: Sequence[str | Path], **options: Any) -> Any:
        return self.namespaces.popen(name, argv, **options)

    def run(self, name: str, argv: Sequence[str | Path], **options: Any) -> str:
        return self.namespaces.run(name, argv, **options)

    def fabric_host(self, name: str) -> Host:
        return next(host for host in self.fabric.hosts() if host.name == name)

    def address(self, name: str) -> str:
        return self.fabric_host(name).address

    # --- while it runs ---

    def watch(self, host: str) -> None:
        """Forget when this host was seen; `first_seen` then tells of its next packet."""
        self._ask("watch", host)

    def first_seen(self, host: str) -> float | None:
        """Instant (time.monotonic) at which the host's first packet came to the TUN device."""
        seen: float | None = self._ask("first_seen", host)
        return seen

    def send_after(self, watched: str, sender: str, packet: Packet, delay_s: float) -> None:
        """Let the host `sender` say something by itself, so long after the first packet of
        `watched` that comes after the next `watch`."""
        self._ask("send_after", watched, sender, packet, delay_s)

    def forget_peaks(self) -> None:
        self._ask("forget_peaks")

    def reboot(self, gateway: Gateway) -> None:
        self._ask("reboot", gateway.name)

    def renumber(self, gateway: Gateway) -> tuple[str, ...]:
        addresses: tuple[str, ...] = self._ask("renumber", gateway.name)
        return addresses

    def change_policy(self, gateway: Gateway, policy: NatPolicy) -> None:
        """From the next packet on.  Linux stays Linux, and another NAT another."""
        self._ask("policy", gateway.name, policy)

    def change_weather(self, weather: Weather) -> None:
        self._ask("weather", weather)

    def connect(self, name: str, connected: bool = True) -> None:
        """Plug the cable of a host or NAT in, or pull it out."""
        self._ask("connect", name, connected)

    def counts(self) -> dict[str, Any]:
        """`dropped` by reason, packets `sent` and the `peaks` of a second by host, table `entries`
        made by NAT."""
        counts: dict[str, Any] = self._ask("counts")
        return counts

    def close(self) -> None:
        self.namespaces.close()

    def _ask(self, *command: object) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        write_pickle(self._process.stdin, command)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            return read_pickle(self._process.stdout)
        except EOFError as error:
            raise WorldError("the process of the TUN internet has ended") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
