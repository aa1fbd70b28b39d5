"""Rows and sentences that the answers of `doctor` are made of."""

from collections.abc import Iterable
from typing import Any

from natd.core.base.types import PeerState
from natd.core.base.verdict import Verdict, VerdictCode
from natd.core.peer.attempt_log import HEAD
from natd.core.peer.diagnosis import PeerDiagnosis
from natd.core.peer.presence import PeerView
from natd.doctor.advice import LABELS

Row = dict[str, Any]

NAMES_SHOWN = 6
"""At most this many members are named: two lines of a terminal."""

AWAY = {
    VerdictCode.LEFT,
    VerdictCode.NOT_REGISTERED,
    VerdictCode.MOVED,
    VerdictCode.OFFLINE,
    VerdictCode.UDP_BLOCKED,
    VerdictCode.NO_SERVER,
    VerdictCode.OTHER_VERSION,
    VerdictCode.SERVER_REFUSES,
}
"""Verdicts by which nobody says that the peer is there.  With any other one it is not reached, and
that is not being offline."""


ALL_WELL = "All is well."

NOTICED = {
    "storage-damaged": "disk",
    "disk-quota": "disk",
    "clock-jumped": "clock",
    "too_many_clients": "clients",
    "descriptors": "files",
    "state-restored": "state",
    "network": "config",
    "identity_changed": "key",
    str(VerdictCode.NETWORK_FULL): "places",
}
"""What people are shown in place of the code, for each problem of `status` that no check shows."""


def told_state(view: PeerView | None, verdict: Verdict | None) -> PeerState:
    """A peer that is there and not reached is told as being connected to, also between tries."""
    if view is None:
        return PeerState.OFFLINE
    is_there = verdict is not None and verdict.code not in AWAY
    return PeerState.PUNCHING if is_there and view.state is PeerState.OFFLINE else view.state


def is_narrow(verdict: Verdict | None) -> bool:
    """A path that carries no session is none."""
    return verdict is not None and verdict.code is VerdictCode.PATH_TOO_NARROW


def attempt_row(told: PeerDiagnosis, now: float) -> Row:
    steps = [
        {
            "at_s": round(entry.at_s, 3),
            "last_at_s": round(entry.last_at_s, 3),
            "step": str(entry.step),
            "detail": entry.detail,
            "count": entry.count,
            "sockets": entry.sockets,
        }
        for entry in told.log
    ]
    return {
        "age_s": seconds_since(told.began, now),
        "missing": told.missing,
        "missing_after": HEAD,
        "steps": steps,
    }


def seconds_since(at: float | None, now: float) -> float | None:
    """With one decimal; None for what never was."""
    return None if at is None else round(max(0.0, now - at), 1)


def seconds_until(at: float | None, now: float) -> float | None:
    """With one decimal, 0.0 for what is overdue; None for what never comes."""
    return None if at is None else round(max(0.0, at - now), 1)


def failed_checks(checks: list[Row]) -> list[str]:
    return list(dict.fromkeys(row["name"] for row in checks if not row["ok"]))


def connected_words(name: str, failed: list[str]) -> str:
    """About a peer with a live path: what else fails is only mentioned."""
    if not failed:
        return ALL_WELL
    if failed == ["nat"]:
        return f"{name} is connected directly, although your router is of the difficult kind."
    return f"{name} is connected directly; other checks failed: {labels(failed)}."


def sentence(text: str) -> str:
    """An address or a server's name at the beginning stays as it is."""
    is_name = "." in text.partition(" ")[0]
    return f"{text if is_name else text[:1].upper() + text[1:]}."


def labels(names: list[str]) -> str:
    return ", ".join(LABELS.get(name, name) for name in names)


def check(
    name: str, ok: bool, text: str, hint: str | None = None, detail: str | None = None
) -> Row:
    return {
        "name": name,
        "label": LABELS.get(name, name),
        "ok": ok,
        "text": text,
        "detail": detail,
        "hint": None if ok else hint,
    }


def with_notices(answer: Row, problems: Iterable[Row]) -> Row:
    """What `status` tells beside the checks, as notes: `doctor` must not say less than it."""
    told = [row for row in problems if row["code"] in NOTICED]
    if not told:
        return answer
    checks = [
        check(row["code"], False, row["text"], row["hint"]) | {"label": NOTICED[row["code"]]}
        for row in told
    ]
    notes = dict.fromkeys([*answer.get("notes", ()), *(row["code"] for row in told)])
    answer = {**answer, "checks": [*answer["checks"], *checks], "notes": list(notes)}
    if answer["verdict"] == ALL_WELL:
        answer["verdict"] = "All works; what is marked as a note is worth a look."
    return answer
