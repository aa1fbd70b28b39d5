"""`ping`, `doctor`, `retry`, `wait`: whether peers can be reached, and what is in the way."""

import time

import click

from natctl import exit_codes
from natctl.invocation import Invocation, pass_invocation
from natctl.network_choice import network_argument
from natctl.words import doctor_views, views
from natd.ipc.errors import RequestError, UnreachableError

PING_TIMEOUT_S = 5.0

PING_EVERY_S = 0.5
"""Between answers: slow enough to see a path change, fast enough to wait for."""

REPORT_TIMEOUT_S = 60.0


@click.command()
@click.argument("peer")
@click.option("--network", metavar="NETWORK", help="The network that the peer is in.")
@click.option(
    "-c", "count", type=click.IntRange(min=1), default=1, metavar="N", help="How many pings."
)
@pass_invocation
def ping(natctl: Invocation, peer: str, network: str | None, count: int) -> int:
    """Measure the round trip to a peer.

    Ends at the first direct answer, or with -c after N pings; exit 5 if none was answered.
    """
    timeout_s = natctl.timeout_s or PING_TIMEOUT_S
    answered = 0
    failure: RequestError | None = None
    with natctl.connect() as connection:
        for number in range(count):
            if number:
                time.sleep(PING_EVERY_S)
            try:
                reply = connection.request(
                    "ping", network=network, peer=peer, timeout_s=timeout_s, waiting_s=timeout_s
                )
            except RequestError as error:
                if error.code != "no_path":
                    raise
                failure = error
            else:
                answered += 1
                natctl.output.answer(reply, views.ping_lines(reply))
    if failure is not None and not answered:
        raise failure
    if failure is not None:
        natctl.output.note(f"{answered} of {count} answered")
    return exit_codes.OK


@click.command()
@click.argument("peer", required=False)
@click.option("--network", metavar="NETWORK", help="The network that the peer is in.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Add details: NATs, what was tried and dropped."
)
@pass_invocation
def doctor(natctl: Invocation, peer: str | None, network: str | None, verbose: bool) -> int:
    """Tell what works and what does not; exit 1 if anything fails.

    With PEER: why this peer is connected or not, and what would help. If it is connected, other
    checks that fail are only noted.
    """
    try:
        reply = natctl.request("doctor", peer=peer, network=network)
    except UnreachableError as error:
        check = {"name": "daemon", "ok": False, "text": error.text, "hint": error.hint}
        reply = {"checks": [check], "verdict": "Nothing works without the daemon."}
        natctl.output.answer(reply, doctor_views.doctor_lines(reply, verbose=verbose))
        return exit_codes.UNREACHABLE
    natctl.output.answer(reply, doctor_views.doctor_lines(reply, verbose=verbose))
    notes = reply.get("notes", ())
    is_well = all(
        check.get("ok") or check.get("name") in notes for check in reply.get("checks", ())
    )
    return exit_codes.OK if is_well else exit_codes.FAILED


@click.command()
@click.argument("peer", required=False)
@click.option("--network", metavar="NETWORK", help="The network to look in.")
@pass_invocation
def retry(natctl: Invocation, peer: str | None, network: str | None) -> None:
    """Try again at once to connect to a peer, or to all.

    natd itself tries ever more rarely; this starts again from the first try.
    """
    reply = natctl.request("retry", peer=peer, network=network)
    natctl.output.answer(reply, views.retry_lines(reply))


@click.command()
@network_argument
@click.option(
    "--peers", "wanted", type=click.IntRange(min=1), default=1, metavar="N", help="How many peers."
)
@pass_invocation
def wait(natctl: Invocation, network: str | None, wanted: int) -> None:
    """Wait until peers are connected; exit 5 after --timeout (60 s)."""
    timeout_s = natctl.timeout_s or REPORT_TIMEOUT_S
    reply = natctl.request(
        "wait", network=network, peers=wanted, timeout_s=timeout_s, waiting_s=timeout_s
    )
    connected = reply.get("connected", 0)
    noun = "peer" if connected == 1 else "peers"
    natctl.output.answer(
        reply, [[("● ", "good"), f"{connected} {noun} connected in {reply.get('network')}"]]
    )
