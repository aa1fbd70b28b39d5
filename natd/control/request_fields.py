"""Which fields each request may have: `natd/ipc/README.md` says what they mean.

A field that nobody reads is a mistake of the one who wrote it, and is told rather than passed over:
`{"do": "send", "wait": 5}` would not wait.
"""

import difflib
from typing import Any

from natd.host.errors import CommandError

ENVELOPE = ("v", "id", "do")

FIELDS: dict[str, tuple[str, ...]] = {
    "hello": ("client",),
    "subscribe": ("types", "since", "cursor", "credit"),
    "credit": ("n", "ack"),
    "join": ("network", "servers", "lan", "nick", "secret"),
    "leave": ("network", "purge"),
    "status": (),
    "networks": (),
    "peers": ("network",),
    "send": ("network", "text", "to", "wait_s"),
    "history": ("network", "peer", "search", "since_unix_s", "limit"),
    "doctor": ("peer", "network"),
    "ping": ("peer", "network", "timeout_s"),
    "identity": (),
    "wait": ("network", "peers", "timeout_s"),
    "retry": ("network", "peer"),
    "trust": ("peer", "network", "accept_new_key"),
    "block": ("peer", "network", "blocked"),
    "forget": ("peer", "network"),
    "reload": (),
    "config_show": (),
    "shutdown": (),
}

NAMED_CHARACTERS = 40
"""Characters of a field's name that an error repeats."""


def check_fields(request: dict[str, Any]) -> None:
    """CommandError that names a field which this request does not have."""
    do = request.get("do")
    known = FIELDS.get(do) if isinstance(do, str) else None
    if known is None:
        return
    unknown = next((key for key in request if key not in known and key not in ENVELOPE), None)
    if unknown is not None:
        close = difflib.get_close_matches(unknown[:NAMED_CHARACTERS], known, 1)
        expected = f"expected {', '.join(known)}" if known else "it takes none"
        raise CommandError(
            "usage",
            f"{do} has no field {unknown[:NAMED_CHARACTERS]!a}: {expected}",
            f"did you mean {close[0]}?" if close else None,
        )
