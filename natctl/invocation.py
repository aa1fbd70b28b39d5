"""One call of natctl: the global options, and the connection to the daemon.

The global options may stand before the command or behind it (`natctl --json status`, `natctl
status --json`); a command that has an option of that name keeps its own.
"""

from dataclasses import dataclass, field
from typing import Any

import click

from natctl.output import Output
from natd.ipc.connection import Connection
from natd.ipc.frames import REQUEST_TIMEOUT_S, Json

NATCTL_NAME = "natctl/0.3"


@dataclass(slots=True)
class Invocation:
    output: Output = field(default_factory=Output)
    socket_path: str | None = None
    """None: look where the interface says."""
    timeout_s: float | None = None
    """None: each command's own."""

    def connect(self) -> Connection:
        return Connection(
            self.socket_path,
            timeout_s=REQUEST_TIMEOUT_S if self.timeout_s is None else self.timeout_s,
            client=NATCTL_NAME,
        )

    def request(self, do: str, *, waiting_s: float = 0.0, **fields: Any) -> Json:
        """One request on a connection of its own."""
        with self.connect() as connection:
            return connection.request(do, waiting_s=waiting_s, **fields)


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def add_global_options(command: click.Command, *, hidden: bool = True) -> None:
    """Let `command`, and every command below it, take the global options."""
    taken = {flag for parameter in command.params for flag in parameter.opts}
    for option in _global_options(hidden):
        if taken.isdisjoint(option.opts):
            command.params.append(option)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_global_options(below)


def _global_options(hidden: bool) -> list[click.Option]:
    return [
        click.Option(
            ["--socket"],
            metavar="PATH",
            help="Use the daemon at this control socket.",
            callback=_set_socket,
            expose_value=False,
            hidden=hidden,
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            help="Print JSON, for programs.",
            callback=_set_json,
            expose_value=False,
            is_eager=True,
            hidden=hidden,
        ),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="How long to wait for an answer.",
            callback=_set_timeout,
            expose_value=False,
            hidden=hidden,
        ),
        click.Option(
            ["--no-color"],
            is_flag=True,
            help="Print no colours, as with NO_COLOR set.",
            callback=_set_no_color,
            expose_value=False,
            hidden=hidden,
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            help="Print only answers and errors.",
            callback=_set_quiet,
            expose_value=False,
            hidden=hidden,
        ),
    ]


def _set_socket(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Invocation).socket_path = value


def _set_timeout(context: click.Context, _: click.Parameter, value: float | None) -> None:
    if value is not None:
        context.ensure_object(Invocation).timeout_s = value


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Invocation).output.as_json = True


def _set_no_color(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Invocation).output.may_colour = False


def _set_quiet(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Invocation).output.is_quiet = True
