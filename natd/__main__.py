"""`natd` is the peer daemon, `natd --server 8080` the coordination server.

This file reads the command line and the configuration, and turns every way to end into an
exit code and one line on stderr:

    0   stopped as asked
    1   cannot run: the reason is told
    2   usage: a flag that can't be used
    78  configuration: each problem on a line of its own

It is one of the two places that catch every exception.  What runs is imported last, so that a
mistake in a flag is told without loading QUIC.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from natd.host.descriptors import is_shortage, raise_descriptor_limit, require_descriptors
from natd.host.directories import STATE_LOCK_NAME, Directories, DirectoryLock, find_directories
from natd.host.errors import (
    EXIT_CANNOT_RUN,
    EXIT_CONFIG,
    EXIT_OK,
    EXIT_USAGE,
    ConfigError,
    NatdError,
)
from natd.host.hardening import harden
from natd.host.journal import start_logging
from natd.host.version import natd_version
from natd.ipc.terminal_text import printable
from natd.settings.config import Config, ServerConfig, load_config, load_server_config
from natd.settings.names import PORT_LIMIT
from natd.settings.setting import PEER_RULES, SERVER_RULES, Whole

_logger = logging.getLogger("natd")

_SERVER_PORT = Whole(1, PORT_LIMIT)

SERVER_DESCRIPTORS = 12
"""What a server opens besides its sockets, some of them for a moment."""

PEER_FLAGS = ("state_dir", "runtime_dir", "port")
SERVER_FLAGS = ("bind", "sample_ports")


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings can also be given as environment variables: NATD_PORT, NATD_STATE_DIR, "
    "NATD_CONFIG, NATD_LOG_LEVEL, and NATD_LIMITS_HISTORY_DAYS for `history_days` under `limits`.",
)
@click.option("--server", metavar="PORT", help="Run a coordination server on this UDP port.")
@click.option("--config", metavar="FILE", help="Read this configuration file, not the usual one.")
@click.option("--state-dir", metavar="DIR", help="Keep identity, messages and networks here.")
@click.option("--runtime-dir", metavar="DIR", help="Put the control socket here.")
@click.option("--port", metavar="N", help="The peer daemon's UDP port; 0: any free one.")
@click.option(
    "--bind", metavar="ADDR", multiple=True, help="Server: listen on this address only; repeatable."
)
@click.option("--sample-ports", metavar="N", help="Server: number of extra ports, 0 to 15.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--check-config", is_flag=True, help="Check the configuration and exit.")
@click.option("--version", is_flag=True, help="Show the version and exit.")
def command(**given: Any) -> int:
    """Connect directly and encrypted with peers behind home routers.

    Without --server this is the peer daemon, which natctl talks to.  It stays in the
    foreground and logs to stderr.
    """
    if given["version"]:
        click.echo(f"natd {natd_version()}")
        return EXIT_OK
    is_server = given["server"] is not None
    wrong_side = PEER_FLAGS if is_server else SERVER_FLAGS
    for name in wrong_side:
        if given[name]:
            side = "the peer daemon" if is_server else "natd --server"
            raise click.UsageError(f"{_flag(name)} belongs to {side}")
    environ = {name: value for name, value in os.environ.items() if name.startswith("NATD_")}
    directories = find_directories(
        os.environ, state_dir=given["state_dir"], runtime_dir=given["runtime_dir"]
    )
    file, is_required = _configuration_file(given["config"], environ, directories, is_server)
    if is_server:
        port = int(_checked(_SERVER_PORT, "server", given["server"]))
        flags = _flags(given, SERVER_RULES)
        server_config = load_server_config(
            file, is_required=is_required, flags=flags, environ=environ
        )
        if port + server_config.sample_ports > PORT_LIMIT:
            raise click.UsageError(
                f"--server {port} leaves no room for {server_config.sample_ports} extra ports "
                f"up to {PORT_LIMIT}"
            )
        if given["check_config"]:
            return _report_good(file)
        return _run_server(port, server_config)
    flags = _flags(given, PEER_RULES)
    config = load_config(file, is_required=is_required, flags=flags, environ=environ)
    if given["check_config"]:
        return _report_good(file)
    return _run_daemon(config, directories)


def run(arguments: Sequence[str] | None = None) -> int:
    """The exit code; whatever is wrong has been told on stderr."""
    # Nothing that we make is for others, whatever the shell that started us thinks.
    os.umask(0o077)
    try:
        code = command.main(arguments, prog_name="natd", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_OK
    except click.ClickException as error:
        text = " ".join(error.format_message().split()).rstrip(".")
        return _end(f"{text}; `natd --help` lists the flags", EXIT_USAGE)
    except ConfigError as error:
        return _end(str(error), EXIT_CONFIG)
    except NatdError as error:
        return _end(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_OK
    except Exception as error:
        if isinstance(error, OSError) and is_shortage(error):
            text = f"natd can open no more files: {error.strerror}; raise the limit (`ulimit -n`)"
            return _end(text, EXIT_CANNOT_RUN)
        _logger.exception("natd stopped because of a bug in it")
        return _end(f"stopped because of a bug in natd: {type(error).__name__}", EXIT_CANNOT_RUN)


def main() -> NoReturn:
    """The entry point of the `natd` script."""
    sys.exit(run())


def _run_daemon(config: Config, directories: Directories) -> int:
    start_logging(config.log_level)
    harden()
    limit = raise_descriptor_limit()
    directories.prepare()
    lock = DirectoryLock(directories.state / STATE_LOCK_NAME)
    lock.acquire()
    try:
        from natd.daemon.daemon import run_daemon

        return run_daemon(config, directories, limit)
    finally:
        lock.release()


def _run_server(port: int, config: ServerConfig) -> int:
    start_logging(config.log_level)
    harden()
    from natd.server import run_server

    sockets = max(1, len(config.bind)) * (1 + config.sample_ports)
    require_descriptors(raise_descriptor_limit(), sockets + SERVER_DESCRIPTORS)
    return run_server(port=port, binds=config.bind, sample_ports=config.sample_ports)


def _configuration_file(
    given: str | None, environ: dict[str, str], directories: Directories, is_server: bool
) -> tuple[Path, bool]:
    """The file to read, and whether its absence is an error."""
    named = given or environ.get("NATD_CONFIG")
    if named:
        return Path(named).expanduser().absolute(), True
    return directories.config / ("server.yaml" if is_server else "natd.yaml"), False


def _flags(given: dict[str, Any], rules: Any) -> dict[str, object]:
    """The settings given on the command line, checked; UsageError says what was expected."""
    return {
        name: _checked(rules[name], name, given[name])
        for name in rules
        if given.get(name) not in (None, ())
    }


def _checked(rule: Any, name: str, value: Any) -> Any:
    try:
        return rule.parse(value) if isinstance(value, str) else rule.read(value)
    except ValueError as error:
        raise click.UsageError(f"{_flag(name)}: {error}") from None


def _report_good(file: Path) -> int:
    text = f"{file}: good" if file.exists() else f"{file}: no such file; the defaults are used"
    click.echo(printable(text))
    return EXIT_OK


def _end(text: str, code: int) -> int:
    for line in text.split("\n"):
        sys.stderr.write(f"natd: {printable(line)}\n")
    return code


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


if __name__ == "__main__":
    main()
