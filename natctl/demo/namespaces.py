"""A small internet of network namespaces, as a shell script: pure text, run by others.

    topology = Topology()
    topology.router("nat")
    topology.namespace("alice")
    topology.cable("alice", "eth0", "192.168.1.2/24", "nat", "lan", "192.168.1.1/24")
    topology.route("alice", "default", "192.168.1.1")
    topology.masquerade("nat", "wan")
    subprocess.run(["sh", "-e"], input=topology.script())

The script wants to be root of a user namespace (or of the machine), in a mount namespace of
its own with an empty /run: then nothing that it makes has a name outside, and all of it is
gone with the last process in there.
"""

from collections.abc import Iterable

ENTER_OWN_WORLD = ("unshare", "--net", "--mount", "--fork", "--kill-child")
"""Namespaces of our own for root; `--kill-child` so that nothing outlives us."""

AS_ROOT_OF_OWN_USERS = ("--user", "--map-root-user")
"""More of them for anybody else, where unprivileged user namespaces are allowed."""

PREPARE = "mount -t tmpfs tmpfs /run && mkdir -p /run/netns && ip link set lo up"


class Topology:
    """Namespaces, cables between them, routes and masquerade."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def namespace(self, name: str) -> None:
        self._do(f"ip netns add {name}", f"ip -n {name} link set dev lo up")

    def router(self, name: str) -> None:
        """A namespace that forwards."""
        self.namespace(name)
        self._do(f"ip netns exec {name} sysctl -q -w net.ipv4.ip_forward=1")

    def cable(
        self, a: str, a_device: str, a_address: str, b: str, b_device: str, b_address: str
    ) -> None:
        """A link between two namespaces; addresses with their prefix length, or "" for none."""
        self._do(f"ip link add {a_device} netns {a} type veth peer name {b_device} netns {b}")
        for name, device, address in ((a, a_device, a_address), (b, b_device, b_address)):
            if address:
                self._do(f"ip -n {name} addr add {address} dev {device}")
            self._do(f"ip -n {name} link set dev {device} up")

    def switch(self, name: str, device: str, address: str) -> None:
        """A bridge of the router `name`, with its address: a LAN for several hosts."""
        self._do(
            f"ip -n {name} link add {device} type bridge",
            f"ip -n {name} addr add {address} dev {device}",
            f"ip -n {name} link set dev {device} up",
        )

    def plug(self, host: str, device: str, address: str, router: str, switch: str) -> None:
        """Connect a host to a router's switch."""
        port = f"to-{host}"
        self._do(
            f"ip link add {device} netns {host} type veth peer name {port} netns {router}",
            f"ip -n {host} addr add {address} dev {device}",
            f"ip -n {host} link set dev {device} up",
            f"ip -n {router} link set dev {port} master {switch} up",
        )

    def route(self, name: str, destination: str, via: str) -> None:
        self._do(f"ip -n {name} route add {destination} via {via}")

    def rules(self, name: str, text: str) -> None:
        """nftables' rules, as `nft -f` reads them."""
        self._do(f"ip netns exec {name} nft -f - <<'RULES'", text, "RULES")

    def masquerade(
        self, name: str, device: str, flavour: str = "", *, accepts_input: bool = False
    ) -> None:
        """The kernel's NAT on what leaves by `device`; `flavour` as nft has it (`random`,
        `fully-random`, `to :2000-3000`).  With `accepts_input` the router answers for itself
        on that side, as a machine without a firewall does."""
        verdict = "accept" if accepts_input else "drop"
        rules = (
            "table ip natd_lab {",
            " chain postrouting { type nat hook postrouting priority srcnat;",
            f'  oifname "{device}" meta l4proto udp masquerade {flavour}',
            f'  oifname "{device}" masquerade',
            " }",
            " chain input { type filter hook input priority filter;",
            f'  iifname "{device}" ct state new {verdict}',
            " }",
            " chain forward { type filter hook forward priority filter;",
            f'  iifname "{device}" ct state new drop',
            " }",
            "}",
        )
        self.rules(name, "\n".join(rules))

    def script(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def _do(self, *lines: str) -> None:
        self._lines.extend(lines)


def own_world(argv: Iterable[str], *, root: bool) -> list[str]:
    """A command line that runs `argv` as pid-owner of namespaces of its own."""
    users = () if root else AS_ROOT_OF_OWN_USERS
    return [*ENTER_OWN_WORLD, *users, "--", *argv]
