"""A click group whose commands are imported when they are called (click's LazyGroup recipe).

`natctl status` loads one small module; the full-screen chat and the demo load what they need.
Commands are listed in the order of the table, which is the order of use.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from natctl.invocation import add_global_options


class LazyGroup(click.Group):
    """`commands_at` maps a command's name to `package.module:attribute`."""

    def __init__(self, *args: Any, commands_at: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._commands_at = dict(commands_at)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        return list(self._commands_at)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  (click's signature)
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in self._commands_at:
            return None
        if cmd_name not in self.commands:
            module, _, attribute = self._commands_at[cmd_name].partition(":")
            command = getattr(importlib.import_module(module), attribute)
            add_global_options(command)
            self.commands[cmd_name] = command
        return self.commands[cmd_name]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self._commands_at and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, self._commands_at, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"there is no command {name!r}{meant}")
        return super().resolve_command(ctx, args)
