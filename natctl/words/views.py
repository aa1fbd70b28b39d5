"""What the daemon's answers look like to people: replies in, lines out.  Pure.

Eighty columns, the most important first, one line a thing.  Texts are put into spans as they
came; `natctl.output` makes them safe to show.
"""

from natctl.output import Line, Span
from natctl.words.wording import (
    NAME_CELLS,
    Json,
    cells,
    counted,
    duration,
    full_name,
    milliseconds,
    next_try_words,
    path_words,
    shortened,
    table,
    technique_words,
)

SURE = 0.9
"""A confidence below it is worth a word."""

WIDTH = 80

SELF_INDENT = 9
"""Of what is said of ourselves: `seen at  `."""

STATE_SIGNS: dict[str, Span] = {
    "online": ("●", "good"),
    "punching": ("◌", "warn"),
    "offline": ("○", "dim"),
    "blocked": ("✗", "bad"),
}

NO_SERVER_WORDS = "no server: only peers on this LAN can be found, or where they were before"

TRUST_WORDS = {"verified": "verified", "invited": "invited", "changed": "KEY CHANGED"}
"""`new` is not mentioned: it is what a peer is until somebody compared keys."""


def status_lines(status: Json) -> list[Line]:
    me = status.get("self", {})
    lines: list[Line] = [
        [
            ("natd", "bold"),
            f" {status.get('version')}  pid {status.get('pid')}  "
            f"up {duration(status.get('uptime_s'))}",
        ],
        *table(_self_rows(me)),
    ]
    networks = status.get("networks", [])
    if not networks:
        lines.append([("no network joined", "dim"), ": natctl join NETWORK --server HOST:PORT"])
    for network in networks:
        lines += [[], *_network_lines(network)]
    problems = status.get("problems", [])
    if problems:
        lines.append([])
    for problem in problems:
        lines.append([("! ", "bad"), str(problem.get("text", ""))])
        if problem.get("hint"):
            lines.append([("  " + str(problem["hint"]), "dim")])
    return lines


def peers_lines(reply: Json, *, with_nats: bool = False) -> list[Line]:
    peers = reply.get("peers", [])
    name = str(reply.get("network", ""))
    if not peers:
        return [[(name, "bold"), "  nobody else has been here yet"], *_problem_lines(reply)]
    order = list(STATE_SIGNS)
    rows = sorted(peers, key=lambda peer: (_rank(order, peer), str(peer.get("nick"))))
    online = sum(peer.get("state") == "online" for peer in peers)
    lines: list[Line] = [[(name, "bold"), f"  {online} of {counted(len(peers), 'peer')} online"]]
    shown = table([_peer_row(peer) for peer in rows])
    if any(_width(line) > WIDTH for line in shown):
        shown = table([_peer_row(_without_technique(peer)) for peer in rows])
    for row, peer in zip(shown, rows, strict=True):
        lines.append(row)
        if peer.get("state") != "online" and peer.get("verdict"):
            lines += [[(f"   {line}", "dim")] for line in _wrapped(str(peer["verdict"]), 3)]
        for whose, report in (peer.get("nats") or {}).items() if with_nats else ():
            words = f"NAT, {whose}: {report.get('words')}"
            lines += [[(f"   {line}", "dim")] for line in _wrapped(words, 3)]
    return lines


def _problem_lines(reply: Json) -> list[Line]:
    """Why nobody may be heard of."""
    problem = reply.get("problem")
    if problem is None:
        return []
    first, *others = _wrapped(str(problem.get("text", "")), 2)
    lines: list[Line] = [[("! ", "bad"), first], *(["  ", line] for line in others)]
    return [*lines, [("  " + str(problem.get("hint")), "dim")]]


def networks_lines(reply: Json) -> list[Line]:
    rows: list[list[Span]] = [
        [
            (str(network.get("name")), "bold"),
            f"as {network.get('nick')}",
            _connected(network.get("peers", {})),
            ("open", "warn") if network.get("open") else ("secret", "good"),
            ", ".join(map(str, network.get("servers", []))) or ("LAN only", "dim"),
        ]
        for network in reply.get("networks", [])
    ]
    if not rows:
        return [[("no network joined", "dim"), ": natctl join NETWORK --server HOST:PORT"]]
    return table(rows)


def identity_lines(reply: Json) -> list[Line]:
    return table(
        [
            [("name", "dim"), (full_name(reply), "bold")],
            [("id", "dim"), str(reply.get("id"))],
            [("kept in", "dim"), str(reply.get("state_dir"))],
        ]
    )


def joined_lines(reply: Json) -> list[Line]:
    again = " again, with other settings" if reply.get("replaced") else ""
    lines: list[Line] = [
        [
            ("joined ", "good"),
            (str(reply.get("network")), "bold"),
            f"{again} as ",
            (full_name(reply), "bold"),
        ]
    ]
    servers = reply.get("servers")
    if reply.get("open"):
        whoever = "whoever knows its name and server"
        if not servers:
            whoever = "whoever knows its name and is on this LAN"
        lines.append([(f"open network: {whoever} can be in it", "dim")])
    if not servers:
        lines.append(
            [
                "no server: only peers on this LAN can be found",
                ("; --server HOST:PORT adds one", "dim"),
            ]
        )
    return lines


def sent_lines(reply: Json) -> list[Line]:
    delivered, queued = len(reply.get("delivered", ())), len(reply.get("queued", ()))
    if queued:
        has = f"{delivered} of {delivered + queued} have it, " if delivered else ""
        return [[("kept", "good"), f", {has}on its way to {counted(queued, 'peer')}"]]
    if delivered:
        return [[("✓", "good"), f" delivered to {counted(delivered, 'peer')}"]]
    return [[("kept", "good"), " for the members that are yet to be found"]]


def ping_lines(reply: Json) -> list[Line]:
    path = reply.get("path")
    over = f"over {path_words({**path, 'rtt_ms': None})}".replace("  ? ms", "") if path else ""
    return [
        [
            (full_name(reply.get("peer", {})), "bold"),
            f"  {milliseconds(reply.get('rtt_ms'))}  ",
            over,
        ]
    ]


def retry_lines(reply: Json) -> list[Line]:
    number = reply.get("retrying", 0)
    whom: Span = (
        (full_name(reply["peer"]), "bold") if reply.get("peer") else counted(number, "peer")
    )
    if number:
        return [["looking for a path to ", whom, ("  (natctl peers)", "dim")]]
    if reply.get("peer"):
        return [[whom, " is connected: its path is looked at"]]
    return [["nobody to look for"]]


def config_lines(reply: Json) -> list[Line]:
    sources = reply.get("sources", {})
    rows: list[list[Span]] = []
    for key, value in _leaves(reply.get("config", {}), ()):
        source = sources.get(key)
        shown: list[Span] = [(f"{key}:", "bold"), _yaml_value(value)]
        rows.append([*shown, (f"# {source}", "dim")] if source else shown)
    return table(rows)


def _self_rows(me: Json) -> list[list[Span]]:
    observed = ", ".join(map(str, me.get("observed", ()))) or "not seen by a server yet"
    nat = me.get("nat") or {}
    rows: list[list[Span]] = [
        [("you", "dim"), (full_name(me), "bold"), f"udp {me.get('udp')}"],
        [("seen at", "dim"), observed],
    ]
    if nat.get("mapping", "unknown") != "unknown":
        words = [f"mapping {nat['mapping']}"]
        if nat.get("filtering", "unknown") != "unknown":
            is_sure = nat.get("filtering_confidence", 1.0) >= SURE
            words.append(f"filtering {'' if is_sure else 'probably '}{nat['filtering']}")
        if nat.get("allocation", "unknown") != "unknown":
            words.append(f"allocation {nat['allocation']}")
        whole = ", ".join(words)
        fits = len(whole) <= WIDTH - SELF_INDENT
        first, *others = [whole] if fits else [words[0], ", ".join(words[1:])]
        rows.append([("nat", "dim"), first])
        rows += [["", other] for other in others]
        if words_of_lifetime := (nat.get("lifetime") or {}).get("words"):
            rows.append(["", str(words_of_lifetime)])
    return rows


def _network_lines(network: Json) -> list[Line]:
    counts = [_connected(network.get("peers", {}))]
    counts += [f"{network[what]} {what}" for what in ("queued", "unread") if network.get(what)]
    lines: list[Line] = [[(str(network.get("name")), "bold"), "  " + ", ".join(counts)]]
    rows: list[list[Span]] = []
    for server in network.get("servers", []):
        good = server.get("state") == "registered"
        words = milliseconds(server.get("rtt_ms")) if good else str(server.get("state"))
        if not good and server.get("last_answer_s") is not None:
            words += f", last answer {duration(server['last_answer_s'])} ago"
        sign: Span = ("●", "good") if good else ("✗", "bad")
        if server.get("state") in ("starting", "resolving"):
            sign = ("◌", "warn")
        rows.append([sign, f"server {server.get('address')}", words])
    if not rows:
        rows.append([("○", "dim"), NO_SERVER_WORDS])
    return [*lines, *table(rows)]


def _peer_row(peer: Json) -> list[Span]:
    state = str(peer.get("state"))
    row: list[Span] = [
        STATE_SIGNS.get(state, "?"),
        (shortened(full_name(peer), NAME_CELLS), "bold"),
    ]
    path = peer.get("path")
    words = []
    if path is not None:
        row += [milliseconds(path.get("rtt_ms")), f"{path.get('kind')} {path.get('address')}"]
        words = [technique_words(path), duration(path.get("age_s"))]
    else:
        seen = peer.get("last_seen_s")
        heard = "" if seen is None else f"heard {duration(seen)} ago"
        row += [state, ", ".join(word for word in (heard, next_try_words(peer)) if word)]
    if peer.get("queued"):
        words.append(f"{peer['queued']} queued")
    words.append(TRUST_WORDS.get(str(peer.get("trust")), ""))
    row.append((" ".join(word for word in words if word), "dim"))
    return row


def _without_technique(peer: Json) -> Json:
    """An IPv6 address leaves no room for it, and `doctor` tells it, too."""
    path = peer.get("path")
    return peer if path is None else {**peer, "path": {**path, "technique": None}}


def _width(line: Line) -> int:
    text = "".join(span if isinstance(span, str) else span[0] for span in line)
    return cells(text.rstrip(" "))


def _wrapped(text: str, indent: int) -> list[str]:
    from natctl.words.doctor_views import wrapped  # textwrap takes a millisecond to load

    return wrapped(text, indent)


def _rank(order: list[str], peer: Json) -> int:
    state = str(peer.get("state"))
    return order.index(state) if state in order else len(order)


def _connected(peers: Json) -> str:
    return f"{peers.get('connected', 0)} of {counted(peers.get('known', 0), 'peer')} connected"


def _leaves(value: object, path: tuple[str, ...]) -> list[tuple[str, object]]:
    if isinstance(value, dict) and value:
        return [leaf for key, below in value.items() for leaf in _leaves(below, (*path, str(key)))]
    return [(".".join(path), value)]


def _yaml_value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_yaml_value(item) for item in value) + "]"
    return "{}" if value == {} else str(value)
