"""What `natctl doctor` shows to people: the daemon's answer in, lines out.  Pure.

    ok    server  ...                       checks, from ourselves outwards
    note  server  ...                       fails, but a live path does without it
    FAIL  path    ...

    your router   ...                       about a peer: both routers
    its router    ...

    Not connected to bob#9x2c: ...          the verdict, always
    What would help, any one of:
      - ...

`-v` adds what an expert wants to know: the details of each check, what was tried and when, and what
was dropped.

Eighty columns: long texts are wrapped under their beginning.
"""

from collections.abc import Iterable

from natctl.output import Line, Span
from natctl.words.views import dropped_lines
from natctl.words.wording import Json, duration, full_name, next_try_words, state_words, wrapped

LABEL_CELLS = 8
"""Width of a check's name and the space behind it: `network `."""

CHECK_INDENT = 6 + LABEL_CELLS
"""Width of what stands before the text of a check: `FAIL  server  `."""

ROUTER_INDENT = 13
"""Width of what stands before the words about a router: `your router  `."""

STEP_INDENT = 9

NOTICEABLE_S = 0.05
"""A row of packets that took no longer left at once."""

STEP_WORDS = {
    "introduced": "introduced {detail}",
    "absent": "server {detail} does not know the peer",
    "checks": "{count} x checked {detail}",
    "openers": "{count} x {detail}",
    "guesses": "{count} x {detail}",
    "handshake": "{count} x sent the handshake {detail}",
    "sampled": "a server sees {detail}",
    "fresh-socket": "took a fresh socket: {detail}",
    "asked-introduction": "asked the servers for an introduction {detail}",
    "heard": "heard {count} x {detail}",
    "path": "path found: {detail}",
    "path-lost": "path lost: {detail}",
    "narrow": "the path is narrow: {detail}",
    "session": "connected: {detail}",
    "left": "{detail}",
    "verdict": "verdict: {detail}",
}


def doctor_lines(reply: Json, *, verbose: bool = False) -> list[Line]:
    """All of it; `verbose`: with the details."""
    lines: list[Line] = []
    if summary := str(reply.get("summary") or ""):
        lines += [*([(line, "bold")] for line in wrapped(summary, 0)), []]
    for check in reply.get("checks", []):
        is_noted = check.get("name") in reply.get("notes", ())
        lines += _check_lines(check, is_noted=is_noted, verbose=verbose)
    if reply.get("peer"):
        lines += [[], *_peer_lines(reply, verbose=verbose)]
        lines.append([])
    if verbose and "dropped" in reply:
        lines += [*dropped_lines(reply["dropped"]), []]
    helps = reply.get("helps") or []
    verdict = str(reply.get("verdict", ""))
    if helps and reply.get("peer") and reply.get("state") != "online":
        verdict = f"Not connected to {full_name(reply['peer'])}: {reply.get('why')}."
    lines += [[(line, "bold")] for line in wrapped(verdict, 0)]
    if helps:
        head = "What would help:" if len(helps) == 1 else "What would help, any one of:"
        lines.append([(head, "dim")])
    for each in helps:
        first, *others = wrapped(str(each.get("text", "")), 4)
        lines += [["  - ", first], *(["    ", line] for line in others)]
    return lines


def _check_lines(check: Json, *, is_noted: bool, verbose: bool) -> Iterable[Line]:
    failed: Span = ("note  ", "warn") if is_noted else ("FAIL  ", "bad")
    sign: Span = ("ok    ", "good") if check.get("ok") else failed
    indent = " " * CHECK_INDENT
    first, *others = wrapped(str(check.get("text", "")), CHECK_INDENT)
    label = str(check.get("label") or check.get("name"))
    yield [sign, (f"{label:<{LABEL_CELLS - 1}} ", "bold"), first]
    for line in others:
        yield [indent, line]
    for line in (
        wrapped(str(check["detail"]), CHECK_INDENT) if verbose and check.get("detail") else ()
    ):
        yield [indent, (line, "dim")]
    if not check.get("ok") and check.get("hint"):
        for line in wrapped(str(check["hint"]), CHECK_INDENT):
            yield [indent, (line, "dim")]


def _peer_lines(reply: Json, *, verbose: bool) -> Iterable[Line]:
    states = [state_words(reply), next_try_words(reply)]
    yield [(full_name(reply["peer"]), "bold"), f"  {', '.join(filter(None, states))}"]
    nats = reply.get("nats") or {}
    for whose, key in (("your router", "ours"), ("its router", "theirs")):
        nat = nats.get(key) or {}
        words = str(nat.get("router") or nat.get("words") or "not known")
        yield from _labelled(whose, words)
        if verbose and nat.get("words"):
            yield from _labelled("", f"NAT: {nat['words']}")
    if not verbose:
        return
    attempt = reply.get("attempt") or {}
    steps = attempt.get("steps") or []
    if not steps:
        yield [("nothing was tried yet", "dim")]
        return
    began = duration(attempt.get("age_s"))
    yield [(f"what was tried (in seconds; it began {began} ago)", "dim")]
    missing = attempt.get("missing") or 0
    for number, step in enumerate(steps):
        if missing and number == attempt.get("missing_after"):
            yield [" " * STEP_INDENT, (f"... {missing} steps are not kept ...", "dim")]
        first, *others = wrapped(_step_words(step), STEP_INDENT)
        yield [(f"{step.get('at_s', 0.0):7.2f}  ", "dim"), first]
        for line in others:
            yield [" " * STEP_INDENT, line]


def _labelled(label: str, words: str) -> Iterable[Line]:
    first, *others = wrapped(words, ROUTER_INDENT)
    yield [(f"{label:<{ROUTER_INDENT}}", "dim"), first]
    for line in others:
        yield [" " * ROUTER_INDENT, line]


def _step_words(step: Json) -> str:
    sockets = step.get("sockets") or 0
    words = STEP_WORDS.get(str(step.get("step")), "{step} {detail}").format(
        step=step.get("step"),
        detail=step.get("detail", ""),
        count=step.get("count", 1),
    )
    if sockets > 1:
        words += f" from {sockets} sockets"
    if step.get("count") == 1:
        return words.replace("1 x ", "", 1)
    took_s = step.get("last_at_s", 0.0) - step.get("at_s", 0.0)
    return f"{words}, within {duration(took_s)}" if took_s >= NOTICEABLE_S else words
