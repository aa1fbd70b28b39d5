"""What `doctor` says of our way out, of each server, and of where it was asked.

Rules:
- A machine that is offline is told so, and nothing of servers: they have nothing to do with it.
- A name is one server: it answers if any of its addresses does, and a family that does not answer
  is only a detail then.
- A server that does not answer is told with every address that was tried.
"""

from collections.abc import Iterable, Iterator

from natd.core.base.verdict import OFFLINE, Help
from natd.core.registration.servers import ServerReport
from natd.doctor.advice import HELP_TEXTS, NAME_HINT, NARROW, server_words
from natd.members.parts import Parts
from natd.members.recorder import ms

WHERE_HINT = "check the address, and that natd --server runs there"

CheckRow = tuple[str, bool, str, str | None, str | None]
"""Name, whether it is well, text, hint, and what `doctor -v` adds."""

REGISTERED = "registered"
"""The state of a server that has us on its list."""

SERVER_LOST = "lost"
"""The state of a server that is silent, or refuses us."""

STARTING = "starting"
"""The state of a server that was asked and has not answered yet."""


def way_rows(
    parts: Parts, *, is_offline: bool, is_forbidden: bool, now: float
) -> Iterator[CheckRow]:
    """Whether packets can leave, and the servers that they should go to."""
    if is_offline:
        yield "network", False, OFFLINE, HELP_TEXTS[Help.NETWORK], None
        return
    yield "network", True, "packets can leave this machine", None, None
    for text in parts.names.problems.values():
        yield "server", False, text, NAME_HINT, None
    for network in parts.book.joined():
        if not network.servers:
            lan = parts.config.paths.lan_discovery
            found = "only peers on this LAN are found" if lan else "no new peers are found"
            hint = f"natctl join {network.name} --server HOST:PORT"
            yield "server", lan, f"{network.name} has no server: {found}", hint, None
        hint = "see socket: nothing leaves this machine" if is_forbidden else WHERE_HINT
        reports = parts.servers(network.id)
        refusals = [report.refusal for report in reports if report.refusal is not None]
        for good, text, detail in server_rows(reports, network.name, now):
            told = next((r for r in refusals if text.endswith(r.why.partition(" ")[2])), None)
            if told is None:
                yield "server", good, text, hint, detail
            else:
                helps = HELP_TEXTS[told.helps[0]] if told.helps else None
                yield "server", good, text, told.advice or helps, detail
        is_wide = any(parts.online.values())  # a session needs what it carries
        if not is_wide and any(r.state == REGISTERED and r.is_narrow for r in reports):
            yield "width", False, NARROW, HELP_TEXTS[Help.LARGER_MTU], None


def server_rows(
    reports: Iterable[ServerReport], network: str, now: float
) -> list[tuple[bool, str, str]]:
    """For each server whether it answers, a text, and what `doctor -v` adds."""
    groups: dict[object, list[ServerReport]] = {}
    for report in reports:
        groups.setdefault(report.name or report.address, []).append(report)
    return [_row(group, network, now) for group in groups.values()]


def _row(group: list[ServerReport], network: str, now: float) -> tuple[bool, str, str]:
    states = [report.state for report in group]
    detail = f"state: {', '.join(dict.fromkeys(states))}"
    answering = [report for report in group if report.state == REGISTERED]
    others = [report for report in group if report.state != REGISTERED]
    name = group[0].name or str(group[0].address)
    if answering:
        text = f"{name} of {network}: {server_words(REGISTERED)}"
        if group[0].name is not None:
            text += f" at {' and '.join(str(report.address) for report in answering)}"
        rtts_s = [report.rtt_s for report in answering if report.rtt_s is not None]
        text += f", {ms(min(rtts_s))} ms" if rtts_s else ""
        tried = ", ".join(str(address) for report in others for address in report.tried)
        return True, text, f"{detail}; no answer at {tried}" if others else detail
    state = STARTING if STARTING in states else states[0]
    refusal = next((report.refusal for report in group if report.refusal is not None), None)
    if refusal is not None:
        return False, f"{name} of {network}: {refusal.why.removeprefix(f'{name} ')}", detail
    text = f"{name} of {network}: {server_words(state)}"
    if group[0].name is not None:
        text += f"; asked at {', '.join(str(a) for report in group for a in report.tried)}"
    heard = [report.last_answer_at for report in group if report.last_answer_at is not None]
    if heard:
        text += f", last answer {max(0.0, now - max(heard)):.0f} s ago"
    return False, text, detail
