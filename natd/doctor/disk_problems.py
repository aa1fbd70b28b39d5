"""What is wrong with the disk, or with what stands on it, as `status` tells it."""

import time

from natd.core.base.types import peer_id_text
from natd.members.parts import Parts
from natd.storage.address_book import full_name
from natd.storage.mailbox import QUOTA_HINT
from natd.storage.quota import MIB

DAMAGED_HINT = (
    "stop natd and put a backup of the whole state directory in its place; natd deletes nothing"
)

CLOCK_TOLD_S = 86_400.0
"""A clock that was set is told of for a day."""

CLOCK_HINT = (
    "nothing depends on it but the times that are shown; check it, for example: timedatectl"
)

Told = tuple[str, str, str]
"""Code, text and hint of a problem."""


def disk_problems(parts: Parts) -> list[Told]:
    """All of them, the gravest first."""
    told: list[Told] = []
    if (problem := parts.store.problem) is not None:
        told.append(("storage", str(problem), problem.hint))
    if parts.damage is not None:
        told.append(("storage-damaged", f"{parts.store.path}: {parts.damage}", DAMAGED_HINT))
    if parts.book.damaged:
        rows = ", ".join(f"{count} of {table}" for table, count in parts.book.damaged.items())
        text = f"{parts.store.path} is damaged: some rows can't be read ({rows})"
        told.append(("storage-damaged", text, DAMAGED_HINT))
    quota = parts.mailbox.quota
    quota.used_bytes = parts.store.used_bytes
    if quota.is_full:
        text = f"{quota.full_words}; nothing more is accepted"
        told.append(("disk-quota", text, QUOTA_HINT))
    told += _held(parts)
    if parts.clock_jump is not None and time.monotonic() < parts.clock_jump[0] + CLOCK_TOLD_S:
        told.append(("clock-jumped", parts.clock_jump[1], CLOCK_HINT))
    return told


def _held(parts: Parts) -> list[Told]:
    told: list[Told] = []
    for network in parts.book.joined():
        for conversation in parts.mailbox.held(network.id):
            known = parts.book.peer(network.id, conversation.peer)
            id_text = peer_id_text(conversation.peer)
            name = id_text if known is None else full_name(known)
            mib = conversation.stored_bytes / MIB
            text = (
                f"{network.name}: {name} has filled its part of the disk here ({mib:.0f} MiB); "
                "what it says waits at its side"
            )
            hint = (
                "raise limits.disk_mib_per_peer or limits.disk_mib, or: "
                f"natctl block {id_text if known is None else parts.book.shell_name(known)}"
            )
            told.append(("disk-quota", text, hint))
    return told
