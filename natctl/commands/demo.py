"""`natctl demo`: what natd does, on this machine, in a few seconds."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import click

from natctl.demo.demo_play import NETWORK, DemoError, Step, run_demo
from natctl.invocation import Invocation, pass_invocation
from natctl.output import Line

SCENE = (
    "A server, and alice and bob, each behind a router of its own. A round trip (RT)",
    "is 100 ms, so with one server no first message can come before 1.5 RT.",
    "Times count from each side's first datagram, those of the chat from its sending.",
)


@click.command()
@click.option("--chat", is_flag=True, help="Then open the chat as alice; bob answers.")
@pass_invocation
def demo(invocation: Invocation, chat: bool) -> None:
    """Show two peers connect and chat, on this machine.

    A server and two peers behind two real routers, from the first packet to a chat without the
    server.  Needs no root, only `ip`, `nft` and user namespaces; without them it runs on
    loopback and says so.  It takes a few seconds and leaves nothing behind.
    """
    output = invocation.output
    if chat and output.as_json:
        raise click.UsageError("expected --chat or --json, not both")
    steps: list[Step] = []

    def tell(step: Step) -> None:
        if not steps and step.round_trips is not None:
            output.lines([[(text, "dim")] for text in SCENE])
        steps.append(step)
        output.lines([_line(step)])

    try:
        is_real = run_demo(tell, output.note, _chat if chat else None)
    except DemoError as error:
        raise click.ClickException(str(error)) from error
    reply = {"behind_nats": is_real, "timeline": [asdict(step) for step in steps]}
    output.answer(reply, [[("Done; the demo has cleaned up.", "dim")]])


def _line(step: Step) -> Line:
    at = f"{step.at_ms:6.1f} ms" if step.at_ms or step.round_trips is not None else ""
    trips = "" if step.round_trips is None else f"{step.round_trips:4.2f} RT"
    style = "bad" if step.name == "server killed" else "good"
    return [f"{at:9}  {trips:7}  ", (f"{step.name:13}", style), f"  {step.text}"]


def _chat(socket: Path) -> None:
    command = [sys.executable, "-m", "natctl", "--socket", str(socket), "chat", NETWORK]
    subprocess.run(command, check=False)
