"""`status`, `peers`, `networks`, `identity`: how things are."""

import time

import click

from natctl import exit_codes
from natctl.invocation import Invocation, pass_invocation
from natctl.network_choice import network_argument
from natctl.words import views
from natctl.words.wording import Json

WATCH_EVERY_S = 1.0

HEALTHY_STATE = "registered"


@click.command()
@click.option("--watch", is_flag=True, help="Show it again every second until Ctrl-C.")
@click.option("--check", is_flag=True, help="Exit 1 unless all is well.")
@click.option("-v", "--verbose", is_flag=True, help="Add NAT details and what was dropped.")
@pass_invocation
def status(natctl: Invocation, watch: bool, check: bool, verbose: bool) -> int:
    """Show how the daemon, its networks and its servers are."""
    if watch:
        return _watch(natctl, verbose=verbose)
    reply = natctl.request("status")
    natctl.output.answer(reply, views.status_lines(reply, verbose=verbose))
    return exit_codes.FAILED if check and not _is_healthy(reply) else exit_codes.OK


@click.command()
@network_argument
@click.option(
    "-v", "--verbose", is_flag=True, help="Add how each path was opened, and NAT details."
)
@pass_invocation
def peers(natctl: Invocation, network: str | None, verbose: bool) -> None:
    """Show who is in a network, and how each peer is connected."""
    reply = natctl.request("peers", network=network)
    natctl.output.answer(reply, views.peers_lines(reply, verbose=verbose))


@click.command()
@pass_invocation
def networks(natctl: Invocation) -> None:
    """List the networks that you have joined."""
    reply = natctl.request("networks")
    natctl.output.answer(reply, views.networks_lines(reply))


@click.command()
@pass_invocation
def identity(natctl: Invocation) -> None:
    """Show who you are to others."""
    reply = natctl.request("identity")
    natctl.output.answer(reply, views.identity_lines(reply))


def _watch(natctl: Invocation, *, verbose: bool) -> int:
    with natctl.connect() as connection:
        while True:
            reply = connection.request("status")
            natctl.output.redraw(reply, views.status_lines(reply, verbose=verbose))
            time.sleep(WATCH_EVERY_S)


def _is_healthy(reply: Json) -> bool:
    """There are no problems, and each network that has servers is registered at one."""
    return not reply.get("problems") and all(
        not (servers := network.get("servers"))
        or any(server.get("state") == HEALTHY_STATE for server in servers)
        for network in reply.get("networks", ())
    )
