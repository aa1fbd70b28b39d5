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

from natd.host.directories import STATE_LOCK_NAME, Directories, DirectoryLock, find_directories
from natd.host.errors import (
    EXIT_CANNOT_RUN,
    EXIT_CONFIG,
    EXIT_OK,
    EXIT_USAGE,
    ConfigError,
    NatdError,
)
from natd.host.journal import start_logging
from natd.host.version import natd_version
from natd.settings.config import Config, ServerConfig, load_config, load_server_config
from natd.settings.names import PORT_LIMIT
from natd.settings.setting import PEER_RULES, SERVER_RULES, Whole

_logger = logging.getLogger("natd")

_SERVER_PORT = Whole(1, PORT_LIMIT)

PEER_FLAGS = ("state_dir", "runtime_dir", "port")
SERVER_FLAGS = ("bind", "sample_ports", "registry", "metrics")


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings can also be given as variables: NATD_PORT, NATD_STATE_DIR, NATD_CONFIG, "
    "NATD_LOG_LEVEL, and NATD_LIMITS_HISTORY_DAYS for `history_days` under `limits`.",
)
@click.option("--server", metavar="PORT", help="Be a coordination server on this UDP port.")
@click.option("--config", metavar="FILE", help="Read this instead of the usual configuration.")
@click.option("--state-dir", metavar="DIR", help="Keep identity, messages and networks here.")
@click.option("--runtime-dir", metavar="DIR", help="Make the control socket here.")
@click.option("--port", metavar="N", help="The peer daemon's UDP port; 0: any free one.")
@click.option("--bind", metavar="ADDR", multiple=True, help="Server: listen here only; repeat.")
@click.option("--sample-ports", metavar="N", help="Server: how many ports after its own.")
@click.option("--registry", metavar="URL", help="Server: where registrations are kept: memory://.")
@click.option("--metrics", metavar="ADDR:PORT", help="Server: not in this version.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--check-config", is_flag=True, help="Read the configuration, report, and end.")
@click.option("--version", is_flag=True, help="Tell which release this is, and end.")
def command(**given: Any) -> int:
    """Direct, encrypted peer-to-peer sessions from behind NATs.

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
        _refuse_what_is_not_built(given)
        flags = _flags(given, SERVER_RULES)
        server_config = load_server_config(
            file, is_required=is_required, flags=flags, environ=environ
        )
        if port + server_config.sample_ports > PORT_LIMIT:
            raise click.UsageError(
                f"--server {port} leaves no room for {server_config.sample_ports} sampling ports "
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
        _logger.exception("natd stopped by a defect of its own")
        return _end(f"stopped by a defect of its own: {type(error).__name__}", EXIT_CANNOT_RUN)


def main() -> NoReturn:
    """The entry point of the `natd` script."""
    sys.exit(run())


def _run_daemon(config: Config, directories: Directories) -> int:
    start_logging(config.log_level)
    directories.prepare()
    lock = DirectoryLock(directories.state / STATE_LOCK_NAME)
    lock.acquire()
    try:
        from natd.daemon.daemon import run_daemon

        return run_daemon(config, directories)
    finally:
        lock.release()


def _run_server(port: int, config: ServerConfig) -> int:
    start_logging(config.log_level)
    from natd.server import run_server

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


def _refuse_what_is_not_built(given: dict[str, Any]) -> None:
    if given["registry"] not in (None, "memory://"):
        raise click.UsageError("--registry: expected memory://, the only one in this version")
    if given["metrics"] is not None:
        raise click.UsageError("--metrics: expected none, there are no metrics in this version")


def _report_good(file: Path) -> int:
    text = f"{file}: good" if file.exists() else f"{file}: there is none; the defaults are good"
    click.echo(text)
    return EXIT_OK


def _end(text: str, code: int) -> int:
    for line in text.splitlines():
        sys.stderr.write(f"natd: {line}\n")
    return code


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


if __name__ == "__main__":
    main()
