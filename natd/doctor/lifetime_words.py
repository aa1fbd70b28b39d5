"""How long our NAT keeps a flow, as `status` and `doctor` tell it.

    {"idle_s", "safe_idle_s", "age_s", "words"}

`idle_s`: a silence that long was fatal; `safe_idle_s`: one that long was survived; `age_s`: a flow
ends at that age whatever its traffic; each None where it has not been seen.
"""

from typing import Any

from natd.core.nat.lifetime import Lifetime

WORTH_TELLING_S = 10.0
"""No NAT forgets sooner: a shorter silence survived says nothing about it."""


def lifetime_row(lifetime: Lifetime) -> dict[str, Any]:
    """For programs, and in words for people."""
    return {
        "idle_s": _rounded(lifetime.idle_s),
        "safe_idle_s": _rounded(lifetime.safe_idle_s),
        "age_s": _rounded(lifetime.age_s),
        "words": lifetime_words(lifetime),
    }


def lifetime_words(lifetime: Lifetime) -> str:
    """`forgets a flow after 25 to 32 s of silence`; empty where nothing is known."""
    idle_s, safe_s, age_s = lifetime.idle_s, lifetime.safe_idle_s, lifetime.age_s
    words = []
    if idle_s is not None:
        least = f"{safe_s:.0f} to " if safe_s is not None and round(safe_s) < round(idle_s) else ""
        words.append(f"forgets a flow after {least}{idle_s:.0f} s of silence")
    elif safe_s is not None and safe_s >= WORTH_TELLING_S:
        words.append(f"keeps a flow through {safe_s:.0f} s of silence")
    if age_s is not None:
        words.append(f"ends every flow after {age_s:.0f} s")
    return ", ".join(words)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
