"""Which hosts ports were guessed at, kept on disk: a restart gives nobody another first wave.

    strangers ─► meta, `guessed`: [[host, since, [instants of further waves], of an open network]]

All instants are in the daemon's own time.  What can't be read is forgotten.
"""

import json
import logging
import time

from natd.core.checks.strangers import Guessed
from natd.members.parts import Parts

logger = logging.getLogger(__name__)


def keep_guesses(parts: Parts, now: float) -> None:
    """To be called after every input of the node."""
    guessed = parts.node.shared.budget.turns.strangers.take_news(now)
    if guessed is not None:
        parts.store.note("guessed", guesses_text(guessed, parts.store.own_time.now_s))


def recall_guesses(parts: Parts) -> None:
    """Before any network is joined."""
    saved = parts.store.noted("guessed")
    if saved is not None:
        guessed = read_guesses(saved, parts.store.own_time.now_s)
        parts.node.shared.budget.turns.strangers.recall(guessed, time.monotonic())


def guesses_text(guessed: list[Guessed], own_now_s: int) -> str:
    rows = [
        (
            each.host,
            round(own_now_s - each.since_s_ago, 1),
            [round(own_now_s - s_ago, 1) for s_ago in each.waves_s_ago],
            each.is_of_open,
        )
        for each in guessed
    ]
    return json.dumps(rows)


def read_guesses(text: object, own_now_s: int) -> list[Guessed]:
    try:
        return [
            Guessed(
                str(host),
                max(0.0, own_now_s - float(since)),
                tuple(max(0.0, own_now_s - float(at)) for at in waves),
                bool(is_of_open),
            )
            for host, since, waves, is_of_open in json.loads(str(text))
        ]
    except (ValueError, TypeError) as error:
        logger.warning("which hosts were guessed at can't be read: %s", error)
        return []
