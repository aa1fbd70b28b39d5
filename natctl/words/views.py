"""What the daemon's answers look like to people: replies in, lines out.  Pure.

Eighty columns, the most important first, one line a thing.  Texts are put into spans as they
came; `natctl.output` makes them safe to show.
"""

from natctl.output import Line, Span
from natctl.words.wording import (
    NAME_CELLS,
    WIDTH,
    Json,
    counted,
    dropped_words,
    duration,
    full_name,
    kind_words,
    milliseconds,
    next_try_words,
    path_words,
    shortened,
    state_words,
    table,
    technique_words,
    wrapped,
)

SURE = 0.9
"""A confidence below it is worth a word."""

SELF_INDENT = 9
"""Of what is said of ourselves: `seen at  `."""

DROPPED_INDENT = 14
"""Of the reasons for which something was dropped, behind `sockets` or a network's name."""

STATE_SIGNS: dict[str, Span] = {
    "online": ("●", "good"),
    "punching": ("◌", "warn"),
    "offline": ("○", "dim"),
    "blocked": ("✗", "bad"),
}

NO_SERVER_WORDS = "no server: only peers on this LAN, or met before, can be found"

TRUST_WORDS = {"changed": "KEY CHANGED"}
"""Only what the user has to act upon."""

SERVER_WORDS = {
    "starting": "asked, no answer yet",
    "lost": "does not answer",
    "resolving": "looking up its name",
    "unresolvable": "its name is not found",
}


def status_lines(status: Json, *, verbose: bool = False) -> list[Line]:
    """`verbose`: with what the NAT does and what was dropped."""
    me = status.get("self", {})
    lines: list[Line] = [
        [
            ("natd", "bold"),
            f" {status.get('version')}  pid {status.get('pid')}  "
            f"up {duration(status.get('uptime_s'))}",
        ],
        *table(_self_rows(me)),
        *(table(_nat_rows(me.get("nat") or {})) if verbose else ()),
    ]
    networks = status.get("networks", [])
    problems = status.get("problems", [])
    is_offline = any(problem.get("code") == "offline" for problem in problems)
    if not networks:
        lines.append([("no network joined", "dim"), ": natctl join NETWORK --server HOST:PORT"])
    for network in networks:
        lines += [[], *_network_lines(network, is_offline=is_offline)]
    if problems:
        lines.append([])
    for problem in problems:
        lines.append([("! ", "bad"), str(problem.get("text", ""))])
        if problem.get("hint"):
            lines.append([("  " + str(problem["hint"]), "dim")])
    if verbose:
        lines += dropped_lines(status.get("dropped") or {})
    return lines


def dropped_lines(dropped: Json) -> list[Line]:
    """What was dropped since the start, and why."""
    rows = dropped_words(dropped)
    if not rows:
        return [[("nothing was dropped since the start", "dim")]]
    lines: list[Line] = [[("dropped since the start", "dim")]]
    for part, words in rows:
        first, *others = wrapped(words, DROPPED_INDENT)
        lines.append([f"  {part:<{DROPPED_INDENT - 4}}  ", first])
        lines += [[" " * DROPPED_INDENT, other] for other in others]
    return lines


def peers_lines(reply: Json, *, verbose: bool = False) -> list[Line]:
    """`verbose`: with what opened each path, and what both NATs do."""
    peers = reply.get("peers", [])
    name = str(reply.get("network", ""))
    if not peers:
        return [[(name, "bold"), "  no peers yet"], *_problem_lines(reply)]
    order = list(STATE_SIGNS)
    rows = sorted(peers, key=lambda peer: (_rank(order, peer), str(peer.get("nick"))))
    online = sum(peer.get("state") == "online" for peer in peers)
    lines: list[Line] = [[(name, "bold"), f"  {online} of {counted(len(peers), 'peer')} online"]]
    shown = table([_peer_row(peer) for peer in rows])
    for row, peer in zip(shown, rows, strict=True):
        lines.append(row)
        if peer.get("state") != "online" and peer.get("verdict"):
            lines += [[(f"   {line}", "dim")] for line in wrapped(str(peer["verdict"]), 3)]
        if verbose and (path := peer.get("path")):
            lines.append([(f"   {path.get('kind')} path, by {technique_words(path)}", "dim")])
        for whose, report in (peer.get("nats") or {}).items() if verbose else ():
            words = f"NAT, {whose}: {report.get('words')}"
            lines += [[(f"   {line}", "dim")] for line in wrapped(words, 3)]
    return lines


def _problem_lines(reply: Json) -> list[Line]:
    """Why no peers may be found."""
    problem = reply.get("problem")
    if problem is None:
        return []
    first, *others = wrapped(str(problem.get("text", "")), 2)
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
    again = " again, with other settings," if reply.get("replaced") else ""
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
        needed = "name and server" if servers else "name, on this LAN,"
        lines.append([(f"open network: anyone who knows its {needed} can join", "dim")])
    if not servers:
        lines.append(
            [
                "no server: only peers on this LAN can be found",
                ("; add one with --server HOST:PORT", "dim"),
            ]
        )
    return lines


def joins_later_lines(reply: Json) -> list[Line]:
    """What `join` tells while this machine is offline: nothing is joined yet."""
    name, own = str(reply.get("network")), full_name(reply)
    return [["natd joins ", (name, "bold"), " as ", (own, "bold"), " once this machine is online"]]


def sent_lines(reply: Json) -> list[Line]:
    delivered, queued = len(reply.get("delivered", ())), len(reply.get("queued", ()))
    if queued:
        has = f"{delivered} of {delivered + queued} have it, " if delivered else ""
        return [[("saved", "good"), f", {has}on its way to {counted(queued, 'peer')}"]]
    if delivered:
        return [[("✓", "good"), f" delivered to {counted(delivered, 'peer')}"]]
    return [[("saved", "good"), ", will be sent to the peers that are found"]]


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
        return [["connecting to ", whom, ("  (see natctl peers)", "dim")]]
    if reply.get("peer"):
        return [[whom, " is connected already; its connection is checked"]]
    return [["nothing to do: no peer waits for a connection"]]


def config_lines(reply: Json) -> list[Line]:
    sources = reply.get("sources", {})
    rows: list[list[Span]] = []
    for key, value in _leaves(reply.get("config", {}), ()):
        source = sources.get(key)
        shown: list[Span] = [(f"{key}:", "bold"), _yaml_value(value)]
        rows.append([*shown, (f"# {source}", "dim")] if source else shown)
    return table(rows)


def forgotten_lines(reply: Json) -> list[Line]:
    name = (full_name(reply.get("peer", {})), "bold")
    lines: list[Line] = [[name, " is forgotten; what was said stays in the history"]]
    if queued := reply.get("queued"):
        lines.append([f"not sent any more: {counted(queued, 'message')} that waited for it"])
    if reply.get("was_connected"):
        lines.append(["it was connected, and is new if it comes back; to keep it out, block it"])
    return lines


def _self_rows(me: Json) -> list[list[Span]]:
    observed = ", ".join(map(str, me.get("observed", ()))) or "not known yet"
    rows: list[list[Span]] = [
        [
            ("you", "dim"),
            (full_name(me), "bold"),
            f"UDP port {str(me.get('udp')).rpartition(':')[2]}",
        ],
        [("seen at", "dim"), observed],
    ]
    nat = me.get("nat") or {}
    if nat.get("router") and nat.get("mapping", "unknown") != "unknown":
        first, *others = wrapped(str(nat["router"]), SELF_INDENT)
        rows.append([("router", "dim"), first])
        rows += [["", other] for other in others]
    return rows


def _nat_rows(nat: Json) -> list[list[Span]]:
    """In the terms of RFC 4787."""
    rows: list[list[Span]] = []
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
        rows.append([("nat    ", "dim"), first])
        rows += [["", other] for other in others]
        if words_of_lifetime := (nat.get("lifetime") or {}).get("words"):
            rows.append(["", str(words_of_lifetime)])
    return rows


def _network_lines(network: Json, *, is_offline: bool) -> list[Line]:
    """While this machine is offline a server that does not answer is shown as not asked."""
    counts = [_connected(network.get("peers", {}))]
    counts += [f"{network[what]} {what}" for what in ("queued", "unread") if network.get(what)]
    lines: list[Line] = [[(str(network.get("name")), "bold"), "  " + ", ".join(counts)]]
    rows: list[list[Span]] = []
    for server in network.get("servers", []):
        good = server.get("state") == "registered"
        state = str(server.get("state"))
        words = milliseconds(server.get("rtt_ms")) if good else SERVER_WORDS.get(state, state)
        if server.get("refusal"):
            words = "answers, but can't be used"
        elif not good and server.get("last_answer_s") is not None:
            words += f", last answer {duration(server['last_answer_s'])} ago"
        sign: Span = ("●", "good") if good else ("✗", "bad")
        if server.get("state") in ("starting", "resolving"):
            sign = ("◌", "warn")
        if is_offline and not good:
            sign, words = ("○", "dim"), "not asked"
        place, name = str(server.get("address")), str(server.get("name") or "")
        where = place if name in ("", place) else f"{name} at {place}"
        rows.append([sign, f"server {where}", words])
    if not rows:
        rows.append([("○", "dim"), NO_SERVER_WORDS])
    return [*lines, *table(rows)]


def _peer_row(peer: Json) -> list[Span]:
    row: list[Span] = [
        STATE_SIGNS.get(str(peer.get("state")), "?"),
        (shortened(full_name(peer), NAME_CELLS), "bold"),
    ]
    path = peer.get("path")
    words = []
    if path is not None:
        row += [milliseconds(path.get("rtt_ms")), f"{kind_words(path)} {path.get('address')}"]
        words = [f"for {duration(path.get('age_s'))}"]
    else:
        seen = peer.get("last_seen_s")
        heard = "" if seen is None else f"heard {duration(seen)} ago"
        row += [
            state_words(peer),
            ", ".join(word for word in (heard, next_try_words(peer)) if word),
        ]
    if peer.get("queued"):
        words.append(f"{peer['queued']} queued")
    words.append(TRUST_WORDS.get(str(peer.get("trust")), ""))
    row.append((", ".join(word for word in words if word), "dim"))
    return row


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
