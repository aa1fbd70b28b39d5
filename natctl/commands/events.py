"""`tail` and `events`: what happens, from the event log on disk.

An event is acknowledged after it was written and flushed, so with `--cursor NAME` a reader that is
killed goes on where it stopped; what it was writing at that moment it is given again.
"""

import time
from collections import deque
from datetime import datetime

import click

from natctl.invocation import Invocation, pass_invocation
from natctl.network_choice import network_argument
from natctl.words.event_views import event_lines
from natctl.words.wording import Json
from natd.ipc.connection import EventStream
from natd.ipc.errors import RequestError

EVENT_TYPES = (
    "message",
    "sent",
    "delivered",
    "peer_met",
    "peer_online",
    "peer_offline",
    "peer_changed",
    "path_changed",
    "verdict",
    "server_up",
    "server_down",
    "server_suspected",
    "identity_used_twice",
    "state_restored",
    "messages_missing",
    "expired",
    "clock_jumped",
    "network_full",
    "peer_forgotten",
    "joined",
    "left",
    "nat_changed",
    "gap",
)

MESSAGE_TYPES = ("message",)

TAIL_MESSAGES = 10

CATCH_UP_S = 5.0
"""What the log holds comes at once; a daemon that is silent for so long has no more."""


@click.command()
@network_argument
@click.option("-n", "count", type=click.IntRange(min=0), metavar="N", help="At most N messages.")
@click.option("-f", "--follow", is_flag=True, help="Wait for more, until Ctrl-C.")
@click.option("--since", type=click.IntRange(min=0), metavar="ID", help="Only after this event.")
@click.option("--cursor", metavar="NAME", help="Continue where this NAME stopped.")
@pass_invocation
def tail(
    natctl: Invocation,
    network: str | None,
    count: int | None,
    follow: bool,
    since: int | None,
    cursor: str | None,
) -> None:
    """Show the messages that you received.

    The last ten, or as -n says; with --since or --cursor those from there on, at most -n.
    """
    if network is not None:
        _require_network(natctl, network)
    if since is None and cursor is None:
        found, since = _last_messages(natctl, network, TAIL_MESSAGES if count is None else count)
        for event in found:
            _show(natctl, event)
        if not follow:
            return
        count = None
    with natctl.connect() as connection:
        # All types where an end is wanted, which need not be a message.
        types = MESSAGE_TYPES if follow else None
        stream = connection.events(since=since, cursor=cursor, types=types)
        _follow(natctl, stream, MESSAGE_TYPES, network, limit=count, to_the_end=not follow)


@click.command()
@click.option("--types", metavar="TYPE,…", multiple=True, help="Only these types; repeatable.")
@click.option("--since", type=click.IntRange(min=0), metavar="ID", help="Only after this event.")
@click.option("--cursor", metavar="NAME", help="Continue where this NAME stopped.")
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="Stop after N events.")
@click.option("--no-follow", "to_the_end", is_flag=True, help="Stop at the newest event.")
@pass_invocation
def events(
    natctl: Invocation,
    types: tuple[str, ...],
    since: int | None,
    cursor: str | None,
    count: int | None,
    to_the_end: bool,
) -> None:
    """Show everything that happens, until Ctrl-C.

    Begins with what comes next; --since 0 begins with the oldest that is kept.
    """
    wanted = _checked_types(types)
    if to_the_end and since is None and cursor is None:
        raise click.UsageError("expected --since ID or --cursor NAME with --no-follow")
    with natctl.connect() as connection:
        # All types where an end is wanted, which need not be one of those.
        stream = connection.events(types=None if to_the_end else wanted, since=since, cursor=cursor)
        _follow(natctl, stream, wanted, None, limit=count, to_the_end=to_the_end)


def _follow(
    natctl: Invocation,
    stream: EventStream,
    types: tuple[str, ...] | None,
    network: str | None,
    *,
    limit: int | None,
    to_the_end: bool = False,
) -> None:
    shown = 0
    # Behind the end: a new log has something to tell.
    reached = stream.after if stream.after <= stream.last else 0
    while limit is None or shown < limit:
        if to_the_end and reached >= stream.last:
            break
        try:
            event = stream.next(time.monotonic() + CATCH_UP_S if to_the_end else None)
        except TimeoutError:
            break
        reached = event["id"]
        if (types is None or event["type"] in (*types, "gap")) and _is_of(event, network):
            _show(natctl, event)
            shown += 1
    stream.acknowledge()


def _last_messages(natctl: Invocation, network: str | None, count: int) -> tuple[list[Json], int]:
    """The last of the log, and its end.  It is read from ever further back until they are
    enough."""
    with natctl.connect() as connection:
        end = connection.events().last
    back = 4 * count
    while True:
        since = max(0, end - back)
        found: deque[Json] = deque(maxlen=count)
        with natctl.connect() as connection:
            stream = connection.events(since=since)
            reached = since
            while reached < end:
                try:
                    event = stream.next(time.monotonic() + CATCH_UP_S)
                except TimeoutError:
                    break
                reached = event["id"]
                if event["type"] == "message" and _is_of(event, network):
                    found.append(event)
        if len(found) == count or since == 0:
            return list(found), end
        back *= 8


def _show(natctl: Invocation, event: Json) -> None:
    natctl.output.answer(event, event_lines(event, datetime.now().astimezone()))


def _is_of(event: Json, network: str | None) -> bool:
    return network is None or event.get("network") in (network, None)


def _require_network(natctl: Invocation, network: str) -> None:
    joined = [str(each.get("name")) for each in natctl.request("networks").get("networks", [])]
    if network not in joined:
        raise RequestError(
            "unknown_network",
            f"{network} is not joined (joined: {', '.join(joined) or 'none'})",
            f"natctl join {network} --server HOST:PORT",
        )


def _checked_types(given: tuple[str, ...]) -> tuple[str, ...] | None:
    names = [name.strip() for part in given for name in part.split(",") if name.strip()]
    for name in names:
        if name not in EVENT_TYPES:
            raise click.UsageError(
                f"there is no event type {name!r}; expected some of {', '.join(EVENT_TYPES)}"
            )
    return tuple(names) or None
