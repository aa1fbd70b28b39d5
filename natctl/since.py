"""A moment in the past, as people give it: `90s`, `2h`, `7d`, `2026-11-22`, `09:30`."""

import time
from datetime import UTC
from typing import Any

import click

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class SinceType(click.ParamType[float]):
    """Gives Unix time in seconds."""

    name = "time"

    def get_metavar(
        self,
        param: click.Parameter,  # noqa: ARG002  (click gives both by name)
        ctx: click.Context,  # noqa: ARG002
    ) -> str:
        return "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            return moment(str(value), time.time())
        except ValueError:
            self.fail(
                f"{value!r} is not a time; expected a duration (90s, 20m, 2h, 7d), a date "
                f"(2026-11-22, 2026-11-22T09:30), a time of today (09:30) or Unix seconds",
                param,
                ctx,
            )


def moment(text: str, now: float) -> float:
    """Unix time in seconds; ValueError when the text is not a time."""
    from datetime import datetime

    text = text.strip()
    if text[-1:] in UNITS_S and _is_number(text[:-1]):
        return now - float(text[:-1]) * UNITS_S[text[-1]]
    if _is_number(text) and "-" not in text and len(text) >= 9:
        return float(text)
    if len(text) in (5, 8) and text[2] == ":":
        today = datetime.fromtimestamp(now).astimezone(UTC).astimezone()
        return datetime.fromisoformat(f"{today:%Y-%m-%d}T{text}").timestamp()
    return datetime.fromisoformat(text).timestamp()


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()
