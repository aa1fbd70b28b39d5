"""`join` and `leave`."""

import contextlib
import os
import shlex
import time

import click

from natctl import exit_codes
from natctl.invocation import Invocation, pass_invocation
from natctl.network_choice import network_argument
from natctl.words import views
from natctl.words.wording import Json
from natd.ipc.connection import Connection, EventStream
from natd.ipc.errors import IpcError, RequestError, UnreachableError

SERVER_LIMIT_S = 5.0
"""An answer takes a round trip; after this many the server is not there, and we say so."""

COMPANY_LIMIT_S = 1.0
"""The same where a peer is here already, from our LAN or from before: most servers have answered
by then, and nobody has to be waited for."""

PEERS_LIMIT_S = 3.0
"""How long the members that a server named are watched for without --wait: a direct path
comes in a second or needs more than one cares to look at."""

INTRODUCTIONS_S = 0.5
"""After a server's first answer: its introductions come in the same breath."""

LAN_LIMIT_S = 3.0
"""Without any server: peers on our LAN answer within two seconds."""

ARRIVAL_TYPES = ("server_up", "server_down", "peer_online", "verdict", "peer_changed")


@click.command()
@click.argument("network")
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="HOST:PORT",
    help="The coordination server; repeatable.",
)
@click.option(
    "--lan", "is_for_lan", is_flag=True, help="Use no server: only peers on this LAN are found."
)
@click.option("--name", "nick", metavar="NICK", help="Your nick in this network.")
@click.option(
    "--secret-file",
    metavar="FILE|-",
    help="Read the secret from FILE; every member needs the same.",
)
@click.option("--interactive", is_flag=True, help="Open the chat once joined.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Exit 5 if no peer is connected by then.",
)
@click.option("--no-start", is_flag=True, help="Exit 3 if no daemon is running.")
@pass_invocation
def join(
    natctl: Invocation,
    network: str,
    servers: tuple[str, ...],
    is_for_lan: bool,
    nick: str | None,
    secret_file: str | None,
    interactive: bool,
    wait_s: float | None,
    no_start: bool,
) -> int:
    """Join a network, and stay in it across restarts.

    A daemon is started for you if none is running.  With --lan, no server is used: only peers
    on this LAN, and those met before, are found.
    """
    if servers and is_for_lan:
        raise click.UsageError("expected --server HOST:PORT or --lan, not both")
    secret = None
    if secret_file is not None:
        from natctl.secret import read_secret

        secret = read_secret(secret_file)
    connection, is_ours = _connect(natctl, may_start=not no_start)
    with connection:
        stream = connection.events(types=ARRIVAL_TYPES)
        try:
            reply = connection.request(
                "join",
                network=network,
                servers=list(servers),
                lan=is_for_lan,
                nick=nick,
                secret=secret,
            )
        except RequestError:
            if is_ours:
                with contextlib.suppress(IpcError):
                    connection.request("shutdown")
                    natctl.output.note(
                        "stopping natd again, because it was started for this command"
                    )
            raise
        is_silent = natctl.output.as_json or natctl.output.is_quiet
        offline = None if is_silent else _offline(connection)
        lines = views.joined_lines(reply) if offline is None else views.joins_later_lines(reply)
        natctl.output.answer(reply, () if natctl.output.is_quiet else lines)
        if offline is not None:
            natctl.output.warn(str(offline.get("text")), offline.get("hint"))
        if wait_s is not None or not (is_silent or offline is not None):
            arrival = Arrival(natctl, connection, stream, reply)
            if not arrival.watch(wait_s, stop_at_server=interactive and wait_s is None):
                return exit_codes.NOT_IN_TIME
    if not interactive:
        return exit_codes.OK
    from frontends.chat import run

    code = run(network, natctl.socket_path, False, timeout_s=natctl.timeout_s)
    if code == exit_codes.OK and _is_joined(natctl, network):
        natctl.output.note(
            f"you are still in {network}: `natctl chat` opens the chat again, `natctl leave` leaves"
        )
    return code


def _is_joined(natctl: Invocation, network: str) -> bool:
    """Whether we are a member still: it may have been left from elsewhere meanwhile."""
    try:
        with natctl.connect() as connection:
            rows = connection.request("networks").get("networks", [])
    except IpcError:
        return False
    return any(row.get("name") == network for row in rows)


@click.command()
@network_argument
@click.option("--purge", is_flag=True, help="Delete its peers and messages, too.")
@pass_invocation
def leave(natctl: Invocation, network: str | None, purge: bool) -> None:
    """Leave a network, for good."""
    reply = natctl.request("leave", network=network, purge=purge)
    forgotten = "; its peers and messages are deleted" if reply.get("purged") else ""
    natctl.output.answer(
        reply, [[("left ", "good"), (str(reply.get("network")), "bold"), forgotten]]
    )


class Arrival:
    """Shows what happens right after a join: the server's answer, then a path to each peer."""

    def __init__(
        self, natctl: Invocation, connection: Connection, stream: EventStream, joined: Json
    ) -> None:
        """`joined` is the answer to `join`."""
        self._output = natctl.output
        self._connection = connection
        self._stream = stream
        self._network = str(joined.get("network"))
        self._is_open = bool(joined.get("open"))
        self._has_server = bool(joined.get("servers"))
        self._server_is_up = False
        self._server_is_known_down = False
        self._told: set[object] = set()
        """Servers that answer: seen in the status, and told by an event perhaps."""
        self._settled: set[str] = set()
        """Peers that have a path or a verdict."""
        self._online: set[str] = set()

    def watch(self, wait_s: float | None, *, stop_at_server: bool) -> bool:
        """Tell what comes; False when `wait_s` was given and no peer came by then."""
        began = time.monotonic()
        self._look()
        if not self._has_server and wait_s is None:
            if not stop_at_server:
                self._watch_lan(began + LAN_LIMIT_S)
            return True
        limit = began + (SERVER_LIMIT_S if wait_s is None else wait_s)
        while not self._server_is_up or wait_s is not None:
            if self._online and wait_s is not None:
                return True
            if self._online:
                limit = min(limit, began + COMPANY_LIMIT_S)
            if not self._take(limit):
                break
        if self._has_server and not (self._server_is_up or self._server_is_known_down):
            self._complain(time.monotonic() - began)
        if wait_s is not None:
            return self._failed(wait_s)
        if self._server_is_up and not stop_at_server:
            self._watch_peers()
        return True

    def _watch_lan(self, limit: float) -> None:
        """Until a peer is here, and those that come right after it."""
        while not self._settled and self._take(limit):
            pass
        self._watch_peers()

    def _watch_peers(self) -> None:
        """Until each known peer has a path or a verdict, or it takes too long."""
        self._drain(time.monotonic() + INTRODUCTIONS_S)
        limit = time.monotonic() + PEERS_LIMIT_S
        while (open_ := self._open_peers()) and time.monotonic() < limit:
            self._take(min(limit, time.monotonic() + INTRODUCTIONS_S))
        if open_:
            names = ", ".join(sorted(open_))
            self._output.lines(
                [[("still connecting to ", "dim"), names, ("  (see natctl peers)", "dim")]]
            )
        elif not self._settled:
            needed = ["name", *(["server"] if self._has_server else [])]
            needed += [] if self._is_open else ["secret"]
            *others, last = needed
            what = f"{', '.join(others)} and {last}" if others else last
            self._output.lines(
                [[("nobody else is here yet", "dim"), f": others join with the same {what}"]]
            )

    def _open_peers(self) -> list[str]:
        peers = self._connection.request("peers", network=self._network).get("peers", [])
        return [
            f"{peer.get('nick')}#{peer.get('tag')}"
            for peer in peers
            if peer.get("state") == "punching" and peer.get("id") not in self._settled
        ]

    def _drain(self, limit: float) -> None:
        while self._take(limit):
            if self._settled:
                return

    def _take(self, limit: float) -> bool:
        """One event, told; False when none came in time."""
        try:
            event = self._stream.next(limit)
        except TimeoutError:
            return False
        if event.get("network") != self._network:
            return True
        match event["type"]:
            case "server_up":
                self._tell_server(event)
            case "server_down":
                self._server_is_known_down = True
                self._told.discard(event.get("server"))
                server, reason = str(event.get("server")), str(event.get("reason"))
                text = reason if server in reason else f"server {server}: {reason}"
                self._output.warn(text, "natd keeps trying; natctl doctor says more")
            case "peer_online" | "verdict" | "peer_changed":
                self._tell_peer(event)
        return True

    def _look(self) -> None:
        """Show the state from before we began to listen: no event will tell it."""
        status = self._connection.request("status")
        network = self._of(status)
        for server in network.get("servers", ()):
            if server.get("state") == "registered":
                observed = ", ".join(map(str, status.get("self", {}).get("observed", ())))
                self._tell_server(
                    {"server": server["address"], "rtt_ms": server["rtt_ms"], "observed": observed}
                )
        if network.get("peers", {}).get("connected"):
            reply = self._connection.request("peers", network=self._network)
            for peer in reply.get("peers", ()):
                if peer.get("state") == "online":
                    self._tell_peer({"type": "peer_online", "peer": peer, "path": peer["path"]})

    def _tell_server(self, event: Json) -> None:
        from natctl.words.wording import milliseconds

        self._server_is_up = True
        if event.get("server") in self._told:
            return
        self._told.add(event.get("server"))
        rtt = milliseconds(event.get("rtt_ms"))
        self._output.lines(
            [
                [
                    ("● ", "good"),
                    f"server {event.get('server')}  {rtt}",
                    f"  sees you at {event['observed']}" if event.get("observed") else "",
                ]
            ]
        )

    def _tell_peer(self, event: Json) -> None:
        from natctl.words.event_views import words_of

        peer = event.get("peer", {})
        if event["type"] == "peer_online":
            if peer.get("id") in self._online:
                return
            self._online.add(peer.get("id"))
        self._settled.add(peer.get("id"))
        self._output.lines([list(words_of(event))])

    def _complain(self, waited_s: float) -> None:
        status = self._connection.request("status")
        if (offline := _offline_in(status)) is not None:
            self._output.warn(f"{offline.get('text')}; natd keeps trying", offline.get("hint"))
            return
        servers = [str(server.get("address")) for server in self._of(status).get("servers", ())]
        problems = [
            problem
            for problem in status.get("problems", ())
            if problem.get("code") == "unresolvable"
            and any(_host(server) in str(problem.get("text")) for server in servers)
        ]
        for problem in problems:
            self._output.warn(str(problem.get("text")), problem.get("hint"))
        looked_up = [
            str(server.get("address"))
            for server in self._of(status).get("servers", ())
            if server.get("state") == "resolving"
        ]
        if looked_up and not problems:
            self._output.warn(
                f"the name of {' and '.join(looked_up)} was not found within {waited_s:.0f} s; "
                "natd keeps trying",
                "check the name and this machine's DNS",
            )
        elif self._online and not problems:
            self._output.warn(
                f"{' and '.join(servers) or 'the server'} has not answered yet; natd keeps trying, "
                "and the peers above are reached without it",
                "`natctl status` shows when it answers",
            )
        elif not problems:
            self._output.warn(
                f"no answer from {' and '.join(servers) or 'the server'} within {waited_s:.0f} s; "
                "natd keeps trying",
                "check the address, that natd --server runs there, and that UDP gets through: "
                "see `natctl doctor`",
            )

    def _failed(self, wait_s: float) -> bool:
        if not self._online:
            self._output.error(
                "no_path",
                f"no peer connected within {wait_s:g} s",
                f"`natctl peers --network {shlex.quote(self._network)}` says more",
            )
        return bool(self._online)

    def _of(self, status: Json) -> Json:
        return next(
            (each for each in status.get("networks", ()) if each.get("name") == self._network), {}
        )


def _connect(natctl: Invocation, *, may_start: bool) -> tuple[Connection, bool]:
    """A connection, and whether the daemon was started for it."""
    try:
        return natctl.connect(), False
    except UnreachableError:
        if not may_start:
            raise
    from natctl.launching import start_daemon

    started = start_daemon(natctl.socket_path, os.environ, os.geteuid())
    if started is not None:
        natctl.output.note(
            f"natd was not running: it was started for you (pid {started.pid}, log {started.log})"
        )
    return natctl.connect(), started is not None


def _offline(connection: Connection) -> Json | None:
    """The problem that this machine is offline, if it is."""
    return _offline_in(connection.request("status"))


def _offline_in(status: Json) -> Json | None:
    problems = status.get("problems", ())
    return next((problem for problem in problems if problem.get("code") == "offline"), None)


def _host(server: str) -> str:
    return server.rpartition(":")[0]
