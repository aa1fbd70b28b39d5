"""`natctl`: ask the daemon, show the answer, end with an exit code that scripts can rely on.

A command is a short function in one of the modules of the table: parse, one request, one call
into `natctl.output`.  Whatever goes wrong becomes one line on stderr and an exit code here.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from natctl import exit_codes
from natctl.invocation import Invocation, add_global_options
from natctl.lazy_group import LazyGroup
from natd.ipc.errors import IpcError

COMMANDS_AT = {
    "join": "natctl.commands.join:join",
    "leave": "natctl.commands.join:leave",
    "status": "natctl.commands.status:status",
    "peers": "natctl.commands.status:peers",
    "networks": "natctl.commands.status:networks",
    "chat": "natctl.commands.chat:chat",
    "send": "natctl.commands.chat:send",
    "tail": "natctl.commands.events:tail",
    "events": "natctl.commands.events:events",
    "history": "natctl.commands.chat:history",
    "ping": "natctl.commands.doctor:ping",
    "doctor": "natctl.commands.doctor:doctor",
    "retry": "natctl.commands.doctor:retry",
    "identity": "natctl.commands.status:identity",
    "trust": "natctl.commands.admin:trust",
    "block": "natctl.commands.admin:block",
    "forget": "natctl.commands.admin:forget",
    "wait": "natctl.commands.doctor:wait",
    "config": "natctl.commands.admin:config",
    "reload": "natctl.commands.admin:reload",
    "shutdown": "natctl.commands.admin:shutdown",
    "completion": "natctl.commands.admin:completion",
    "demo": "natctl.commands.demo:demo",
}

COMPLETION_VARIABLE = "_NATCTL_COMPLETE"


def _tell_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            release = version("natd")
        except PackageNotFoundError:
            release = "unknown"
        context.ensure_object(Invocation).output.bare(f"natctl {release}")
        context.exit()


@click.group(
    cls=LazyGroup,
    commands_at=COMMANDS_AT,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 no daemon, 4 identity changed, 5 timed out, "
    "6 permission denied, 130 interrupted.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version)
def command_line() -> None:
    """Chat directly with others behind home routers, through the natd daemon.

    The options here may also stand after a command.  NETWORK may be left out if you have
    joined only one.  PEER is a nick, nick#TAG, or the beginning of an id.
    """


add_global_options(command_line, hidden=False)


def run(arguments: Sequence[str] | None = None) -> int:
    """The exit code; whatever went wrong has been told."""
    invocation = Invocation()
    try:
        if instruction := os.environ.get(COMPLETION_VARIABLE):
            from click.shell_completion import shell_complete

            return shell_complete(command_line, {}, "natctl", COMPLETION_VARIABLE, instruction)
        given = list(sys.argv[1:] if arguments is None else arguments)
        with command_line.make_context("natctl", given, obj=invocation) as context:
            code = command_line.invoke(context)
        return code if isinstance(code, int) else exit_codes.OK
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        return _told_usage(invocation, error)
    except click.ClickException as error:
        invocation.output.error("failed", _one_line(error), None)
        return exit_codes.FAILED
    except IpcError as error:
        invocation.output.error(exit_codes.error_code_of(error), error.text, error.hint)
        return exit_codes.exit_code_of(error)
    except (KeyboardInterrupt, click.Abort):
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        from frontends.leaving import drop_output

        drop_output()
        return exit_codes.OK
    except Exception as error:
        if os.environ.get("NATD_LOG_LEVEL") == "debug":
            raise
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        invocation.output.error(
            "defect",
            f"stopped because of a bug in natctl: {what}",
            "NATD_LOG_LEVEL=debug shows where",
        )
        return exit_codes.FAILED


def main() -> NoReturn:
    """The entry point of the `natctl` script."""
    code = run()
    if "asyncio" not in sys.modules:
        # A one-shot command leaves nothing behind that needs a careful end, and taking the
        # interpreter apart module by module would be a tenth of its time.
        os._exit(code)
    sys.exit(code)


def _told_usage(invocation: Invocation, error: click.UsageError) -> int:
    path = error.ctx.command_path if error.ctx is not None else "natctl"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
    else:
        invocation.output.error("usage", _one_line(error), f"try `{path} --help`")
    return exit_codes.USAGE


def _one_line(error: click.ClickException) -> str:
    from natctl.words.usage_words import plain

    return plain(error.format_message())


if __name__ == "__main__":
    main()
