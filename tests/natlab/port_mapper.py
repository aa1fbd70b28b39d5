"""A router that maps ports when it is asked: real miniupnpd beside the kernel's NAT.

    with KernelInternet() as lab:
        lab.add_nat("nat", "fully-random")
        ...
        lab.start()
        router = PortMapper(lab, "nat", tmp_path, "PCP")
        router.start()

The package speaks UPnP, and NAT-PMP and PCP behind one switch (`enable_natpmp`), so for one of
these two alone the other's requests are dropped before they reach it, by their version byte.

It maps nothing for a router whose own address is private (`Reserved / private IP address ... on
ext interface: Port forwarding is impossible`), and so can't play a home under a carrier's NAT.
"""

import subprocess
import time
from pathlib import Path
from typing import Any

from tests.natlab.programs import Laboratory

UPNP, NAT_PMP, PCP = "UPnP", "NAT-PMP", "PCP"
ALL = (UPNP, NAT_PMP, PCP)

START_LIMIT_S = 5.0

_TABLE = "port_mapping"

_RULES = f"""
table inet {_TABLE} {{
 chain forwarded {{ }}
 chain mapped {{ }}
 chain answered {{ }}
 chain forward {{ type filter hook forward priority filter; jump forwarded; }}
 chain prerouting {{ type nat hook prerouting priority dstnat; jump mapped; }}
 chain postrouting {{ type nat hook postrouting priority srcnat; jump answered; }}
 chain unspoken {{ type filter hook input priority filter - 1; }}
}}
flush chain ip natd_lab forward
add rule ip natd_lab forward iifname "wan" ct state new ct status & dnat == 0 drop
"""
"""Chains for miniupnpd to fill, and the laboratory's firewall opened for what it maps."""

_SILENCE = 'add rule inet {table} unspoken iifname "lan" udp dport 5351 @th,64,8 {version} drop\n'
_VERSIONS = {NAT_PMP: 0, PCP: 2}

_SETTINGS = """
ext_ifname=wan
listening_ip=lan
http_port=0
enable_upnp={upnp}
enable_natpmp={natpmp}
secure_mode=yes
system_uptime=no
clean_ruleset_interval=600
uuid=00000000-0000-0000-0000-000000000001
upnp_table_name={table}
upnp_nat_table_name={table}
upnp_forward_chain=forwarded
upnp_nat_chain=mapped
upnp_nat_postrouting_chain=answered
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


class PortMapper:
    """miniupnpd in the namespace of a NAT whose devices are `wan` and `lan`."""

    def __init__(self, lab: Laboratory, nat: str, directory: Path, *speaks: str) -> None:
        self._lab = lab
        self._nat = nat
        self._speaks = speaks or ALL
        self._settings = directory / f"{nat}.conf"
        self._log = directory / f"{nat}.miniupnpd.log"
        self._process: subprocess.Popen[Any] | None = None
        rules = _RULES
        for protocol, version in _VERSIONS.items():
            if protocol not in self._speaks:
                rules += _SILENCE.format(table=_TABLE, version=version)
        rules_file = self._settings.with_suffix(".nft")
        rules_file.write_text(rules)
        self._nft("-f", str(rules_file))

    def start(self) -> None:
        """Start it; returns when it listens."""
        natpmp = not {NAT_PMP, PCP}.isdisjoint(self._speaks)
        self._settings.write_text(
            _SETTINGS.format(
                table=_TABLE,
                upnp="yes" if UPNP in self._speaks else "no",
                natpmp="yes" if natpmp else "no",
            )
        )
        with self._log.open("ab") as log:
            self._process = self._lab.popen(
                self._nat,
                ["miniupnpd", "-d", "-f", self._settings, "-P", self._settings.with_suffix(".pid")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        port = 5351 if natpmp else 1900
        deadline = time.monotonic() + START_LIMIT_S
        while f":{port} " not in self._lab.run(self._nat, ["ss", "-lnu"]):
            if time.monotonic() > deadline:
                raise AssertionError(f"miniupnpd does not listen: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def reboot(self) -> None:
        """Restart it as a router does that has lost power: with every mapping and flow gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for chain in ("forwarded", "mapped", "answered"):
            self._nft("flush", "chain", "inet", _TABLE, chain)
        self._lab.run(self._nat, ["conntrack", "-F"])
        self.start()

    def mappings(self) -> list[str]:
        """`40000 -> 192.168.1.2:40000` for every port that is forwarded now."""
        listed = self._nft("list", "chain", "inet", _TABLE, "mapped")
        rules = [line.split() for line in listed.splitlines() if " dnat " in line]
        return [f"{rule[rule.index('dport') + 1]} -> {rule[-1]}" for rule in rules]

    def _nft(self, *arguments: str) -> str:
        return self._lab.run(self._nat, ["nft", *arguments])
