"""The errors that a user meets, each with what it takes to end well.

    NatdError
    |-- ConfigError    a file, flag or environment variable says what can't be used: exit 78
    |-- StartError     cannot run (port in use, unwritable directory, second daemon): exit 1
    |-- CommandError   a request over IPC was refused: `code` for programs, text and hint for people

Rules: a text is one line, first what is wrong, then what was expected; a hint says what to do.
Neither ever holds a secret or a message text.  `DecodeError`, the only thing that a decoder
raises, lives with the codecs in `natd.core.base.types`.
"""

from collections.abc import Iterable

EXIT_OK = 0
EXIT_CANNOT_RUN = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: systemd's `RestartPreventExitStatus=78` keys on it."""

COMMAND_EXIT_CODES = {
    "usage": 2,
    "identity_changed": 4,
    "not_delivered": 5,
    "no_path": 5,
    "timeout": 5,
    "permission": 6,
}
"""What `natctl` exits with for an error code; every other code is 1: the user can fix it."""

COMMAND_EXIT_DEFAULT = 1


def command_exit_code(code: str) -> int:
    """The exit code of `natctl` for the error code of a reply."""
    return COMMAND_EXIT_CODES.get(code, COMMAND_EXIT_DEFAULT)


class NatdError(Exception):
    """Anything that natd tells its user instead of crashing."""

    exit_code = EXIT_CANNOT_RUN


class StartError(NatdError):
    """The daemon cannot run here; the text says why and what to do, in one line."""

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text if hint is None else f"{text}; {hint}")
        self.text = text
        self.hint = hint


class ConfigError(NatdError):
    """One thing in the configuration that can't be used.

    `file` is a path, a flag (`--port`) or an environment variable (`NATD_PORT`); `line` and
    `key` are None where they mean nothing.  As text: `file:line: key: expected`.
    """

    exit_code = EXIT_CONFIG

    def __init__(
        self, expected: str, *, file: str = "", line: int | None = None, key: str | None = None
    ) -> None:
        place = file if line is None else f"{file}:{line}"
        super().__init__(": ".join(part for part in (place, key, expected) if part))
        self.file = file
        self.line = line
        self.key = key
        self.expected = expected


class CombinedConfigError(ConfigError):
    """All the problems of one configuration at once, a line each."""

    def __init__(self, problems: Iterable[ConfigError]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.expected, file=first.file, line=first.line, key=first.key)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class CommandError(NatdError):
    """A request that is refused.

    `code` is a short word for programs (see `COMMAND_EXIT_CODES`), `text` one line for
    people, `hint` what to do, a command to run where there is one.
    """

    def __init__(self, code: str, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.hint = hint
        self.exit_code = command_exit_code(code)
