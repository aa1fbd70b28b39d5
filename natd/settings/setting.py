"""The settings: what each may be, and how YAML or text becomes its value.

A rule reads a value as YAML gives it (`read`) or as a flag or an environment variable does
(`parse`).  Both raise ValueError whose text is what was expected; the caller adds the place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from natd.settings.names import (
    ADDRESS_RULE,
    NICK_RULE,
    PORT_LIMIT,
    SERVER_RULE,
    address_problem,
    nick_problem,
    server_problem,
)

LOG_LEVELS = ("debug", "info", "warning", "error")

SERVERS_LIMIT = 16
"""Servers of one network: each costs a registration and a refresh every 20 s."""

STUN_SERVERS_LIMIT = 8
"""Two show whether a NAT maps by address; more are for those that fail."""

PATH_RULE = "the path of a file"


class Rule(Protocol):
    """What one setting may be."""

    @property
    def expected(self) -> str:
        """For people: `a whole number from 0 to 65535`."""

    def read(self, value: object) -> object:
        """The setting from a YAML value; ValueError says what was expected."""

    def parse(self, text: str) -> object:
        """The setting from a flag's or an environment variable's text."""


def refusal(expected: str, value: object) -> ValueError:
    """The error of a rule: what was expected and, cut short, what was there."""
    return ValueError(f"expected {expected}, got {_shown(value)}")


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within limits, both included."""

    least: int
    most: int

    @property
    def expected(self) -> str:
        return f"a whole number from {self.least} to {self.most}"

    def read(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise refusal(self.expected, value)
        if not self.least <= value <= self.most:
            raise refusal(self.expected, value)
        return value

    def parse(self, text: str) -> int:
        digits = text.removeprefix("-")
        if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
            raise refusal(self.expected, text)
        return self.read(int(text))


@dataclass(frozen=True, slots=True)
class Switch:
    """On or off."""

    expected: str = "true or false"

    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise refusal(self.expected, value)
        return value

    def parse(self, text: str) -> bool:
        if text.lower() in ("true", "yes", "on", "1"):
            return True
        if text.lower() in ("false", "no", "off", "0"):
            return False
        raise refusal(self.expected, text)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return " or ".join(filter(None, (", ".join(self.words[:-1]), self.words[-1])))

    def read(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise refusal(self.expected, value)
        return value

    def parse(self, text: str) -> str:
        return self.read(text.lower())


@dataclass(frozen=True, slots=True)
class Mode:
    """Permission bits, written in octal between quotes: YAML itself would read 0600 as 384."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return " or ".join(f'"{word}"' for word in self.words) + " (in quotes)"

    def read(self, value: object) -> int:
        if not isinstance(value, str) or value not in self.words:
            raise refusal(self.expected, value)
        return int(value, 8)

    def parse(self, text: str) -> int:
        return self.read(text)


@dataclass(frozen=True, slots=True)
class Text:
    """Text that passes a check; the check gives what was expected, or None."""

    expected: str
    problem: Callable[[str], str | None]
    optional: bool = False

    def read(self, value: object) -> str | None:
        if value is None and self.optional:
            return None
        if isinstance(value, (bool, int, float)):
            raise ValueError(f"expected {self.expected}: put it in quotes")
        if not isinstance(value, str):
            raise refusal(self.expected, value)
        expected = self.problem(value)
        if expected is not None:
            raise refusal(expected, value)
        return value

    def parse(self, text: str) -> str | None:
        return self.read(text or None if self.optional else text)


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of texts, each of which passes the same check; commas part it in a variable."""

    item: Text
    most: int
    least: int = 0

    @property
    def expected(self) -> str:
        return f"a list of {self.least} to {self.most} entries, each {self.item.expected}"

    def read(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)) or not self.least <= len(value) <= self.most:
            raise refusal(self.expected, value)
        return tuple(str(self.item.read(item)) for item in value)

    def parse(self, text: str) -> tuple[str, ...]:
        return self.read([part.strip() for part in text.split(",") if part.strip()])


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


_NICK = Text(NICK_RULE, nick_problem, optional=True)
_SERVER = Text(SERVER_RULE, server_problem)
_SERVERS = Texts(_SERVER, SERVERS_LIMIT)
_PATH = Text(PATH_RULE, lambda text: None if text.strip() else PATH_RULE, optional=True)
_ADDRESS = Text(ADDRESS_RULE, address_problem)

PEER_RULES: Mapping[str, Rule] = {
    "nick": _NICK,
    "port": Whole(0, PORT_LIMIT),
    "log_level": Choice(LOG_LEVELS),
    "control_mode": Mode(("0600", "0660")),
    "stun_servers": Texts(_SERVER, STUN_SERVERS_LIMIT),
    "limits.message_bytes": Whole(1, 16384),
    "limits.outbox_messages": Whole(1, 1_000_000),
    "limits.history_days": Whole(1, 3650),
    "limits.disk_mib": Whole(1, 1 << 20),
    "limits.disk_mib_per_peer": Whole(1, 1 << 20),
    "limits.peers_per_network": Whole(1, 4096),
    "paths.ipv6": Switch(),
    "paths.lan_discovery": Switch(),
    "paths.port_mapping": Switch(),
    "paths.helper_sockets": Whole(0, 1024),
    "paths.fill_blocks": Choice(("none", "half", "full")),
}

NETWORK_RULES: Mapping[str, Rule] = {"servers": _SERVERS, "secret_file": _PATH, "nick": _NICK}

SERVER_RULES: Mapping[str, Rule] = {
    "bind": Texts(_ADDRESS, 16),
    "sample_ports": Whole(0, 15),
    "log_level": Choice(LOG_LEVELS),
}
