"""What the daemon is told: `trust`, `block`, `forget`, `config`, `reload`, `shutdown`."""

import os
import select
import socket
import struct
import subprocess
import sys
import time

import click

from natctl import exit_codes
from natctl.invocation import Invocation, pass_invocation
from natctl.launching import natd_environment
from natctl.words import views
from natctl.words.wording import full_name
from natd.ipc.errors import RequestError, UnreachableError
from natd.ipc.places import connect, live_socket

STOP_LIMIT_S = 5.0
"""natd stops within 2 s."""

_CREDENTIALS = struct.Struct("3i")
"""Process, user and group at the other end, SO_PEERCRED of unix(7)."""

LOOK_EVERY_S = 0.02

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("peer")
@click.option("--accept-new-key", is_flag=True, help="Accept that this peer has a new key.")
@click.option("--network", metavar="NETWORK", help="The network that the peer is in.")
@pass_invocation
def trust(natctl: Invocation, peer: str, accept_new_key: bool, network: str | None) -> None:
    """Accept the new key of a peer that came back with another one.

    Ask the person first, on the phone for example: it may be an impostor.
    """
    if not accept_new_key:
        raise click.UsageError("expected --accept-new-key, to confirm it")
    reply = natctl.request("trust", peer=peer, network=network, accept_new_key=True)
    done = " is trusted with its new key" if reply.get("accepted") else " has no new key to accept"
    natctl.output.answer(reply, [[_named(reply), done]])


@click.command()
@click.argument("peer")
@click.option("--undo", is_flag=True, help="Unblock it.")
@click.option("--network", metavar="NETWORK", help="The network that the peer is in.")
@pass_invocation
def block(natctl: Invocation, peer: str, undo: bool, network: str | None) -> None:
    """Block a peer: no connection, no messages."""
    reply = natctl.request("block", peer=peer, network=network, blocked=not undo)
    is_blocked = reply.get("blocked")
    natctl.output.answer(
        reply, [[_named(reply), " is blocked" if is_blocked else " is not blocked any more"]]
    )


@click.command()
@click.argument("peer")
@click.option("--network", metavar="NETWORK", help="The network that the peer is in.")
@pass_invocation
def forget(natctl: Invocation, peer: str, network: str | None) -> None:
    """Forget a peer: its key, its addresses, and messages that wait for it.

    What was said stays in the history.  If the peer comes back, it is new; to keep it out, block
    it instead.
    """
    reply = natctl.request("forget", peer=peer, network=network)
    natctl.output.answer(reply, views.forgotten_lines(reply))


@click.group()
def config() -> None:
    """Check or show the configuration."""


@config.command()
@click.argument("file", required=False)
@pass_invocation
def check(natctl: Invocation, file: str | None) -> int:
    """Check a configuration file; exit 1 if it has problems.

    For a server's file: natd --server PORT --check-config --config FILE.
    """
    command = [sys.executable, "-m", "natd", "--check-config"]
    if file is not None:
        command += ["--config", file]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        env=natd_environment(os.environ),
        check=False,
    )
    lines = [line for line in (done.stderr or done.stdout).split("\n") if line]
    problems = [line.removeprefix("natd: ") for line in lines] if done.returncode else []
    reply = {"ok": not problems, "problems": problems}
    natctl.output.answer(reply, [[line] for line in problems or lines])
    return exit_codes.FAILED if problems else exit_codes.OK


@config.command()
@pass_invocation
def show(natctl: Invocation) -> None:
    """Show the daemon's configuration, and where each value is set."""
    reply = natctl.request("config_show")
    natctl.output.answer(reply, views.config_lines(reply))


@click.command()
@pass_invocation
def reload(natctl: Invocation) -> None:
    """Make the daemon read its configuration again."""
    reply = natctl.request("reload")
    changed = ", ".join(map(str, reply.get("changed", ()))) or "nothing has changed"
    natctl.output.answer(reply, [[("reloaded", "good"), f": {changed}"]])


@click.command()
@pass_invocation
def shutdown(natctl: Invocation) -> None:
    """Stop the daemon, and wait until it is gone."""
    with connect(natctl.socket_path) as connection:
        socket_path = str(connection.getpeername())
        process = _process_behind(connection)
    reply = natctl.request("shutdown")
    limit = time.monotonic() + STOP_LIMIT_S
    while not _has_ended(process) or _listens(socket_path):
        if time.monotonic() > limit:
            text = f"natd is still running {STOP_LIMIT_S:g} s after it was told to stop"
            raise RequestError("stop", text, "see its log")
        time.sleep(LOOK_EVERY_S)
    natctl.output.answer(reply, [[("stopped", "good")]])


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes natctl's commands.

    For bash: eval "$(natctl completion bash)" in ~/.bashrc.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    root = context.find_root()
    source = found(root.command, {}, "natctl", "_NATCTL_COMPLETE").source()
    root.ensure_object(Invocation).output.bare(source)


def _process_behind(connection: socket.socket) -> int | None:
    """A descriptor that is readable once the daemon's process has ended: it closes its socket a
    moment earlier.  None for a daemon in another container."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _, _ = _CREDENTIALS.unpack(credentials)
    if pid in (0, os.getpid()):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _has_ended(process: int | None) -> bool:
    return process is None or bool(select.select([process], [], [], 0.0)[0])


def _listens(socket_path: str) -> bool:
    try:
        live_socket(socket_path)
    except UnreachableError:
        return False
    return True


def _named(reply: dict[str, object]) -> tuple[str, str]:
    peer = reply.get("peer")
    return (full_name(peer) if isinstance(peer, dict) else str(peer), "bold")
