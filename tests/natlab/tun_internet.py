"""The internet of `tests/fabric.py` in real time, between real programs.

    with TunInternet(seed=1, weather=Weather(loss=0.05)) as lab:
        nat = lab.fabric.add_nat(PORT_RESTRICTED, name="nat")
        lab.fabric.add_host(nat, name="alice")
        lab.fabric.add_host(name="server")
        lab.start()
        lab.popen("alice", ["natd", ...])

Each host is a network namespace with one TUN device, and its address and route are what the
fabric says.  A host of the fabric may also be a router with the kernel's NAT, and what is
behind it (`lab.put_behind_kernel_nat`).
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from natctl.namespaces import Topology
from natctl.own_world import Namespaces, WorldError
from tests.fabric import Fabric, Gateway, Weather
from tests.natlab.interpreter import python
from tests.natlab.tun_process import DEVICE, read_pickle, write_pickle


class TunInternet:
    """A fabric at work between namespaces."""

    def __init__(self, seed: int = 0, weather: Weather | None = None) -> None:
        self.fabric = Fabric(seed, weather)
        self.namespaces = Namespaces()
        self._topology = Topology()
        self._behind: dict[str, tuple[str, str, bool]] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def put_behind_kernel_nat(
        self, name: str, nat: str, flavour: str = "", *, accepts_input: bool = False
    ) -> None:
        """The namespace `name` behind the fabric's host `nat`, which masquerades."""
        self._behind[nat] = (name, flavour, accepts_input)

    def start(self) -> None:
        topology = self._topology
        for index, host in enumerate(self.fabric.hosts()):
            if host.name not in self._behind:
                topology.namespace(host.name)
                continue
            inside, flavour, accepts_input = self._behind[host.name]
            topology.router(host.name)
            topology.namespace(inside)
            lan = f"192.168.{200 + index}"
            topology.cable(inside, "eth0", f"{lan}.2/24", host.name, "lan", f"{lan}.1/24")
            topology.route(inside, "default", f"{lan}.1")
            topology.masquerade(host.name, DEVICE, flavour, accepts_input=accepts_input)
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

    def address(self, name: str) -> str:
        return next(host for host in self.fabric.hosts() if host.name == name).address

    # --- while it runs ---

    def watch(self, host: str) -> None:
        """Forget when this host was seen; `first_seen` then tells of its next packet."""
        self._ask("watch", host)

    def first_seen(self, host: str) -> float | None:
        """Instant (time.monotonic) at which the host's first packet came to the TUN device."""
        seen: float | None = self._ask("first_seen", host)
        return seen

    def reboot(self, gateway: Gateway) -> None:
        self._ask("reboot", gateway.name)

    def renumber(self, gateway: Gateway) -> tuple[str, ...]:
        addresses: tuple[str, ...] = self._ask("renumber", gateway.name)
        return addresses

    def change_weather(self, weather: Weather) -> None:
        self._ask("weather", weather)

    def connect(self, name: str, connected: bool = True) -> None:
        """Plug the cable of a host or NAT in, or pull it out."""
        self._ask("connect", name, connected)

    def counts(self) -> dict[str, Any]:
        """`dropped` by reason, packets `sent` by host, table `entries` made by NAT."""
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
