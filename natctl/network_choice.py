"""NETWORK, of commands that are about one network: as an argument or as `--network NETWORK`.

Both say the same, so that the hint of a daemon that asks which of several is meant is good for
every command: where a PEER or a text is expected, too, an argument alone would be ambiguous.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

NAMED = "natctl.network"
"""Where an invocation keeps the option's value until the argument is looked at."""


def network_argument(command: Command) -> Command:
    """Let a command take both; it is given `network`, None where neither is there."""
    argument = click.argument("network", required=False, callback=_chosen)
    option = click.option(
        "--network",
        "_network",
        metavar="NETWORK",
        help="Another way to give NETWORK.",
        is_eager=True,
        expose_value=False,
        callback=_remember,
    )
    return argument(option(command))


def _remember(context: click.Context, _: click.Parameter, value: str | None) -> None:
    context.meta[NAMED] = value


def _chosen(context: click.Context, _: click.Parameter, value: str | None) -> str | None:
    named: str | None = context.meta.get(NAMED)
    if value is not None and named is not None and value != named:
        raise click.UsageError(f"expected one network, got {value!r} and --network {named!r}")
    return value if named is None else named
