"""The fixed sentences of `doctor`, for people who have never heard of NAT."""

from natd.core.base.verdict import Help

HELP_TEXTS = {
    Help.PORT_MAPPING: "switch on UPnP (or NAT-PMP, or PCP) in one of the two routers",
    Help.INNER_PORT_MAPPING: "switch on UPnP (or NAT-PMP, or PCP) in one of the two home routers",
    Help.FORWARDED_PORT: "in your router, forward UDP port {port} to this machine",
    Help.IPV6: "get IPv6 on both sides: switch it on in the router, or ask the provider",
    Help.SAME_LAN: "be on the same LAN or Wi-Fi (not its guest network)",
    Help.PUBLIC_ADDRESS: "ask your provider for a public IPv4 address: your router has none",
    Help.PUBLIC_SERVER: "run the server at a public address, and name that address on all sides",
    Help.STUN_SERVER: "name a public STUN server under stun_servers: in the configuration",
    Help.FILL_BLOCKS: "set paths.fill_blocks: full in the configuration of both sides",
    Help.NETWORK: "connect this machine to a network: plug in the cable, or switch on Wi-Fi",
    Help.FIREWALL: "let UDP through in the firewall and the router, or use another network",
    Help.SERVER: "check the server's address, and that natd --server runs there",
    Help.START_PEER: "start natd on the peer's machine, and run natctl doctor there",
    Help.LARGER_MTU: "raise the MTU of the VPN, tunnel or router on the way to 1,280 or more",
    Help.UPDATE: "update natd on the side that has the older version",
    Help.MORE_PLACES: "raise limits.peers_per_network in the peer's configuration",
    Help.UNBLOCK: "natctl block --undo {peer}",
}
"""What the user can do, for each kind of help."""

HARD_NAT = (
    "All works, but your router is of the difficult kind: it uses a different port for each "
    "destination. Peers whose router does so too can't be reached unless one side has UPnP, a "
    "forwarded port or IPv6."
)

COPY_HINT = (
    "stop natd on one of the two machines, and give it a state directory of its own: a new one, or "
    "another --state-dir"
)

FULL_HINT = (
    "raise limits.peers_per_network in the configuration, or make room: natctl forget PEER, or "
    "natctl block PEER"
)

NAME_HINT = "check the server's name and this machine's DNS"

NO_NETWORK = "This daemon has joined no network: natctl join NETWORK --server HOST:PORT."

NARROW = (
    "small packets get through from here, but none of 1,228 bytes, which a connection to a peer "
    "needs"
)

LABELS = {"store": "disk", "nat": "router", "router": "upnp", "width": "size", "identity": "copy"}
"""What people are shown in place of a check's name."""


_SERVER_WORDS = {
    "registered": "answers",
    "starting": "asked, no answer yet",
    "lost": "does not answer",
}


def server_words(state: str) -> str:
    """A server's state, as people say it."""
    return _SERVER_WORDS.get(state, state)
