"""The kernel's own NAT between namespaces: an independent truth.

    host --LAN-- NAT --45.1.k.0/24-- provider --+-- 45.0.0.0/24, the exchange
                                                |
    host --LAN-- NAT --45.1.m.0/24-- provider --+

With `hops=2` every site has a provider's router of its own.  Others may be asked for:

    0   all sites are on one segment, 45.0.0.0/24: two machines on one switch
    1   one router connects all sites
    3   a further router connects the providers'

A LAN is a bridge of its NAT; a second NAT may stand on it.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from natctl.demo.namespaces import Topology
from natctl.demo.own_world import Namespaces

DOCKER_RULES = """
table ip nat {{
 chain DOCKER {{ }}
 chain PREROUTING {{ type nat hook prerouting priority dstnat;
  fib daddr type local jump DOCKER
 }}
 chain POSTROUTING {{ type nat hook postrouting priority srcnat;
  ip saddr {network} oifname != "lan" masquerade
 }}
}}
table ip filter {{
 chain INPUT {{ type filter hook input priority filter; policy accept; }}
 chain FORWARD {{ type filter hook forward priority filter; policy drop;
  oifname "lan" ct state related,established accept
  iifname "lan" oifname != "lan" accept
  iifname "lan" oifname "lan" accept
 }}
}}
"""
"""What the engine makes with its defaults, but for the bridge's name.  INPUT is the machine's own,
which is to accept."""

EXCHANGE = "exchange"
EXCHANGE_ADDRESS = "45.0.0.254"


class KernelInternet:
    """Sites, NATs and hosts; describe them, then `start()`."""

    def __init__(self, hops: int = 2) -> None:
        """`hops`: routers between any two sites."""
        self.namespaces = Namespaces()
        self._hops = hops
        self._topology = Topology()
        self._topology.router(EXCHANGE)
        self._topology.switch(EXCHANGE, "ix", EXCHANGE_ADDRESS + "/24")
        self._providers = 0
        self._networks = 0
        self._lans: dict[str, tuple[str, int]] = {}
        self._addresses: dict[str, str] = {}
        self._routes: list[tuple[str, str, str]] = []

    def add_nat(
        self,
        name: str,
        flavour: str = "",
        *,
        accepts_input: bool = False,
        parent: str | None = None,
    ) -> None:
        """A router that masquerades; `parent` is the NAT whose LAN its uplink is on."""
        self._networks += 1
        lan = f"192.168.{self._networks}"
        topology = self._topology
        topology.router(name)
        if parent is None:
            self._attach(name)
        else:
            self._plug(name, "wan", parent)
        topology.switch(name, "lan", f"{lan}.1/24")
        topology.masquerade(name, "wan", flavour, accepts_input=accepts_input)
        self._lans[name] = (lan, 1)

    def add_docker(self, name: str) -> None:
        """A machine with containers behind Docker's bridge: add them as its hosts."""
        lan = f"172.{17 + len(self._lans)}.0"
        self._topology.router(name)
        self._attach(name)
        self._topology.switch(name, "lan", f"{lan}.1/24")
        self._topology.rules(name, DOCKER_RULES.format(network=f"{lan}.0/24"))
        self._lans[name] = (lan, 1)

    def add_host(self, name: str, behind: str | None = None) -> None:
        """A host on a NAT's LAN, or with a public address."""
        self._topology.namespace(name)
        if behind is None:
            self._attach(name)
        else:
            self._plug(name, "eth0", behind)

    def add_second_uplink(self, name: str, network: str) -> None:
        """To a provider of its own, by device `wan2` of a public host; no route leads there."""
        self._providers += 1
        number = self._providers
        provider, subnet = f"provider{number}", f"{network}.0/24"
        topology = self._topology
        topology.router(provider)
        topology.plug(provider, "ix", f"45.0.0.{number}/24", EXCHANGE, "ix")
        topology.cable(name, "wan2", f"{network}.10/24", provider, "site", f"{network}.1/24")
        self._routes.append((provider, subnet, f"45.0.0.{number}"))

    def start(self) -> None:
        for provider, network, via in self._routes:
            if self._hops == 3:
                self._topology.route(EXCHANGE, network, via)
            for other, _, _ in self._routes:
                if other != provider and self._hops == 2:
                    self._topology.route(other, network, via)
        self.namespaces.build(self._topology)

    def address(self, name: str) -> str:
        """The host's own address, or the NAT's external one."""
        return self._addresses[name]

    def flush(self, nat: str) -> None:
        """Forget every flow, as a router that has rebooted."""
        self.namespaces.run(nat, ["conntrack", "-F"])

    def flows(self, nat: str) -> int:
        """UDP flows in the router's table."""
        listed = self.namespaces.run(nat, ["conntrack", "-L", "-p", "udp"])
        return len(listed.splitlines())

    def popen(self, name: str, argv: Sequence[str | Path], **options: Any) -> Any:
        return self.namespaces.popen(name, argv, **options)

    def run(self, name: str, argv: Sequence[str | Path], **options: Any) -> str:
        return self.namespaces.run(name, argv, **options)

    def close(self) -> None:
        self.namespaces.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _attach(self, name: str) -> None:
        """Connect a namespace to the exchange, through a provider of its own if there is one."""
        self._providers += 1
        number = self._providers
        provider, network = f"provider{number}", f"45.1.{number}"
        topology = self._topology
        if self._hops == 0:
            self._addresses[name] = f"45.0.0.{number}"
            topology.plug(name, "wan", f"45.0.0.{number}/24", EXCHANGE, "ix")
            topology.route(name, "default", EXCHANGE_ADDRESS)
            return
        if self._hops == 1:
            self._addresses[name] = f"{network}.10"
            device = f"site{number}"
            topology.cable(name, "wan", f"{network}.10/24", EXCHANGE, device, f"{network}.1/24")
            topology.route(name, "default", f"{network}.1")
            return
        topology.router(provider)
        topology.plug(provider, "ix", f"45.0.0.{number}/24", EXCHANGE, "ix")
        topology.cable(name, "wan", f"{network}.10/24", provider, "site", f"{network}.1/24")
        topology.route(name, "default", f"{network}.1")
        if self._hops == 3:
            topology.route(provider, "default", EXCHANGE_ADDRESS)
        self._routes.append((provider, f"{network}.0/24", f"45.0.0.{number}"))
        self._addresses[name] = f"{network}.10"

    def _plug(self, name: str, device: str, nat: str) -> None:
        lan, used = self._lans[nat]
        self._lans[nat] = (lan, used + 1)
        self._addresses[name] = f"{lan}.{used + 1}"
        self._topology.plug(name, device, f"{lan}.{used + 1}/24", nat, "lan")
        self._topology.route(name, "default", f"{lan}.1")
