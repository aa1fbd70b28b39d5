"""`send`, `history` and `chat`."""

import sys

import click

from natctl.invocation import Invocation, pass_invocation
from natctl.network_choice import network_argument
from natctl.sending import send_once
from natctl.since import SinceType
from natctl.words import views
from natd.ipc.errors import RequestError

STDIN_LIMIT_BYTES = 256 * 1024
"""More than a message may ever have, less than a request may: the daemon says what is possible."""

HISTORY_LIMIT = 50


@click.command()
@click.argument("words", metavar="[NETWORK] TEXT|-", nargs=-1, required=True)
@click.option("--network", metavar="NETWORK", help="Another way to give NETWORK.")
@click.option("--to", metavar="PEER", help="Send to this peer only.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Exit 5 if it is not delivered by then.",
)
@click.option("--id", "name", metavar="NAME", help="Send once, however often you ask by NAME.")
@pass_invocation
def send(
    natctl: Invocation,
    words: tuple[str, ...],
    network: str | None,
    to: str | None,
    wait_s: float | None,
    name: str | None,
) -> None:
    """Send a message.

    It is saved on disk and delivered as soon as each peer is reached.  With - as TEXT,
    standard input is sent.  For a day, the same NAME and text send nothing more.
    """
    expected, most = ("[NETWORK] TEXT", 2) if network is None else ("TEXT", 1)
    if len(words) > most:
        raise click.UsageError(f"expected {expected}, got {len(words)} words: quote the text")
    if len(words) == 2:
        network = words[0]
    text = _standard_input() if words[-1] == "-" else _argument(words[-1])
    reply = send_once(natctl, network, text, to=to, wait_s=wait_s, name=name)
    natctl.output.answer(reply, () if natctl.output.is_quiet else views.sent_lines(reply))


@click.command()
@network_argument
@click.option("--peer", metavar="PEER", help="Only messages to and from this peer.")
@click.option("--search", metavar="TEXT", help="Only messages with this text in them.")
@click.option("--since", type=SinceType(), help="Only later ones: 2h, 7d, 2026-11-22, 09:30.")
@click.option(
    "-n",
    "limit",
    type=click.IntRange(1, 1000),
    default=HISTORY_LIMIT,
    metavar="N",
    help="At most N.",
)
@pass_invocation
def history(
    natctl: Invocation,
    network: str | None,
    peer: str | None,
    search: str | None,
    since: float | None,
    limit: int,
) -> None:
    """Show old messages, oldest first."""
    from datetime import datetime

    from natctl.words.event_views import message_lines

    reply = natctl.request(
        "history", network=network, peer=peer, search=search, since_unix_s=since, limit=limit
    )
    now = datetime.now().astimezone()
    messages = reply.get("messages", [])
    shown = [line for each in messages for line in message_lines(each, now, with_network=False)]
    natctl.output.answer(reply, shown)


@click.command()
@network_argument
@click.option("--plain", is_flag=True, help="Plain lines, for pipes and screen readers.")
@pass_invocation
def chat(natctl: Invocation, network: str | None, plain: bool) -> int:
    """Open the chat."""
    from frontends.chat import run

    return run(network, natctl.socket_path, plain, timeout_s=natctl.timeout_s)


def _argument(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.UsageError("the text is not UTF-8") from None
    return text


def _standard_input() -> str:
    data = sys.stdin.buffer.read(STDIN_LIMIT_BYTES + 1)
    if len(data) > STDIN_LIMIT_BYTES:
        raise RequestError(
            "too_long",
            f"standard input has more than {STDIN_LIMIT_BYTES} bytes, too many for a message",
            "send it in parts",
        )
    try:
        return data.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise RequestError(
            "not_utf8",
            f"standard input is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}",
            "convert it first, for example with iconv -t utf-8",
        ) from None
