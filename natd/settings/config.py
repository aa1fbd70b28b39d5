"""The configuration: YAML, environment and flags to one frozen value.

For each setting the first of: flag, NATD_... variable, file, default.  The variable of
`limits.history_days` is NATD_LIMITS_HISTORY_DAYS.  The defaults stand in the dataclasses
below and nowhere else; `config/natd.yaml` and `config/server.yaml` document every key, and a
test asserts that they equal the defaults.

The file is read strictly: an unknown key, a wrong type, a duplicate key, a file over 1 MiB
are problems, each as `file:line: key: what was expected`, and all of them are reported at
once.  A secret never stands in the file, only the name of a file that nobody else can read.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from natd.host.errors import CombinedConfigError, ConfigError
from natd.settings.names import network_name_problem
from natd.settings.secret_file import read_secret_file
from natd.settings.setting import NETWORK_RULES, PEER_RULES, SERVER_RULES, Rule
from natd.settings.yaml_tree import is_mapping, is_null, plain, read_tree

if TYPE_CHECKING:
    from yaml import MappingNode, Node

UNFINDABLE = "expected servers, or paths.lan_discovery: true; with neither, nobody can be found"
"""Of a network that has neither."""

NETWORKS_LIMIT = 64
"""Networks in the file: a bound, not a goal."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """One network of the file."""

    name: str
    servers: tuple[str, ...] = ()
    """`HOST:PORT` each, checked by `natd.settings.names.parse_server`; none: members are found on
    the LAN and where they were met before."""
    secret_file: Path | None = None
    """None: an open network."""
    nick: str | None = None
    """None: the daemon's own nick."""
    line: int | None = field(default=None, compare=False, repr=False)
    """Of the file."""


@dataclass(frozen=True, slots=True)
class Limits:
    message_bytes: int = 16384
    outbox_messages: int = 10000
    history_days: int = 30
    disk_mib: int = 1024
    disk_mib_per_peer: int = 128
    peers_per_network: int = 256


@dataclass(frozen=True, slots=True)
class Paths:
    ipv6: bool = True
    lan_discovery: bool = True
    port_mapping: bool = True
    helper_sockets: int = 256
    fill_blocks: str = "half"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a configuration was read, so that it can be read again."""

    file: Path | None = None
    """None: there is no file."""
    is_required: bool = False
    """The user named the file, so that its absence is an error."""
    flags: Mapping[str, object] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    """For every key that is not at its default: `--port`, `NATD_PORT` or `file:line`."""


@dataclass(frozen=True, slots=True)
class Config:
    """The peer daemon's settings."""

    nick: str | None = None
    """None: the login name."""
    port: int = 0
    """0: any free port, kept across restarts."""
    log_level: str = "info"
    control_mode: int = 0o600
    stun_servers: tuple[str, ...] = ()
    """`HOST:PORT` each: public STUN servers that tell what our NAT does, besides our own."""
    networks: Mapping[str, NetworkConfig] = field(default_factory=dict)
    limits: Limits = Limits()
    paths: Paths = Paths()
    origin: Origin = field(default=Origin(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The coordination server's settings; its port is given on the command line."""

    bind: tuple[str, ...] = ()
    """IP addresses; empty: every address, IPv4 and IPv6."""
    sample_ports: int = 3
    log_level: str = "info"
    origin: Origin = field(default=Origin(), compare=False, repr=False)


def load_config(
    file: Path | None = None,
    *,
    is_required: bool = True,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The peer daemon's configuration; raises ConfigError with every problem found.

    `flags` holds values by key, as text or ready (`{"port": "7000"}`); None means not given.
    Secret files are looked at here, so that a wrong mode is told at once, and read again by
    `read_secret_file` when the network is joined.
    """
    problems: list[ConfigError] = []
    origin = Origin(file, is_required, flags or {}, environ or {})
    found = _found_values(PEER_RULES, origin, problems)
    networks: dict[str, NetworkConfig] = found.pop("networks", _Found({}, "default")).value
    values = {key: item.value for key, item in found.items()}
    if not values.get("paths.lan_discovery", Paths().lan_discovery):
        problems += [
            ConfigError(UNFINDABLE, file=str(file), line=network.line, key=f"networks.{name}")
            for name, network in networks.items()
            if not network.servers
        ]
    if problems:
        raise CombinedConfigError(problems)
    return Config(
        **{key: value for key, value in values.items() if "." not in key},
        networks=networks,
        limits=Limits(**_section(values, "limits")),
        paths=Paths(**_section(values, "paths")),
        origin=replace(origin, sources={key: item.source for key, item in found.items()}),
    )


def load_server_config(
    file: Path | None = None,
    *,
    is_required: bool = True,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> ServerConfig:
    """The coordination server's configuration; otherwise like `load_config`."""
    problems: list[ConfigError] = []
    origin = Origin(file, is_required, flags or {}, environ or {})
    found = _found_values(SERVER_RULES, origin, problems)
    if problems:
        raise CombinedConfigError(problems)
    return ServerConfig(
        **{key: item.value for key, item in found.items()},
        origin=replace(origin, sources={key: item.source for key, item in found.items()}),
    )


def reload_config(config: Config) -> Config:
    """The same places read again; raises ConfigError, and then the old one stays in force."""
    origin = config.origin
    return load_config(
        origin.file, is_required=origin.is_required, flags=origin.flags, environ=origin.environ
    )


def config_as_dict(config: Config | ServerConfig) -> dict[str, Any]:
    """Plain values under the names of the file, for JSON and for comparing."""
    plain: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name == "networks":
            plain["networks"] = {name: _network_as_dict(value[name]) for name in value}
        elif item.name == "control_mode":
            plain[item.name] = f"{value:04o}"
        elif isinstance(value, (Limits, Paths)):
            plain[item.name] = {part.name: getattr(value, part.name) for part in fields(value)}
        elif item.name != "origin":
            plain[item.name] = list(value) if isinstance(value, tuple) else value
    return plain


def changed_keys(before: Config, after: Config) -> tuple[str, ...]:
    """The keys whose values differ, as `port`, `limits.history_days`, `networks.demo`."""
    old, new = _flat(config_as_dict(before)), _flat(config_as_dict(after))
    return tuple(sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)))


class _Found(NamedTuple):
    value: Any
    source: str


def _found_values(
    rules: Mapping[str, Rule], origin: Origin, problems: list[ConfigError]
) -> dict[str, _Found]:
    """Every setting that is not left at its default; what is wrong goes into `problems`."""
    found: dict[str, _Found] = {}
    if origin.file is not None:
        root = read_tree(origin.file, problems, is_required=origin.is_required)
        if root is not None:
            _Reader(origin.file, rules, problems).read_section(root, "", found)
    for key, rule in rules.items():
        variable = "NATD_" + key.upper().replace(".", "_")
        flag = "--" + key.replace("_", "-")
        for place, value in (
            (variable, origin.environ.get(variable)),
            (flag, origin.flags.get(key)),
        ):
            if value is None:
                continue
            try:
                read = rule.parse(value) if isinstance(value, str) else rule.read(value)
            except ValueError as error:
                problems.append(ConfigError(str(error), file=place))
            else:
                found[key] = _Found(read, place)
    return found


class _Reader:
    """Walks one YAML tree along the rules.  Depth is the rules', whatever the file nests."""

    def __init__(self, file: Path, rules: Mapping[str, Rule], problems: list[ConfigError]) -> None:
        self._file = file
        self._rules = rules
        self._problems = problems

    def read_section(self, section: "MappingNode", prefix: str, found: dict[str, _Found]) -> None:
        names = {
            key.removeprefix(prefix).split(".")[0] for key in self._rules if key.startswith(prefix)
        }
        if not prefix and self._rules is PEER_RULES:
            names.add("networks")
        for name, node, line in self._entries(section, prefix, names):
            key = prefix + name
            if key in self._rules:
                value = self._value(self._rules[key], node, key)
                if value is not _UNUSABLE:
                    found[key] = _Found(value, f"{self._file}:{line}")
            elif key == "networks":
                found[key] = _Found(self._networks(node), f"{self._file}:{line}")
            elif self._is_section(node, key):
                self.read_section(node, key + ".", found)

    def _networks(self, node: "Node") -> dict[str, NetworkConfig]:
        networks: dict[str, NetworkConfig] = {}
        if not self._is_section(node, "networks"):
            return networks
        for name, child, line in self._entries(node, "networks.", None):
            key = f"networks.{name}"
            problem = network_name_problem(name)
            if problem is not None:
                self._report(f"expected {problem}", line, key)
            elif len(networks) == NETWORKS_LIMIT:
                self._report(f"expected at most {NETWORKS_LIMIT} networks", line, key)
            elif self._is_section(child, key):
                networks[name] = self._network(name, child, line)
            elif is_null(child):
                networks[name] = NetworkConfig(name, line=line)
        return networks

    def _network(self, name: str, node: "MappingNode", line: int) -> NetworkConfig:
        prefix = f"networks.{name}."
        values: dict[str, Any] = {}
        for key, child, line_of_key in self._entries(node, prefix, set(NETWORK_RULES)):
            value = self._value(NETWORK_RULES[key], child, prefix + key)
            if key == "secret_file" and isinstance(value, str):
                value = self._file.parent / Path(value).expanduser()
                try:
                    read_secret_file(value)
                except ConfigError as error:
                    self._report(str(error), line_of_key, prefix + key)
            values[key] = value
        return NetworkConfig(name, **values, line=line)

    def _entries(
        self, section: "MappingNode", prefix: str, names: set[str] | None
    ) -> "Iterator[tuple[str, Node, int]]":
        """Name, value and line of each entry; duplicates and unknown names are reported.

        `names` None: any name will do."""
        lines: dict[str, int] = {}
        for key_node, node in section.value:
            line = key_node.start_mark.line + 1
            name = key_node.value
            if not isinstance(name, str):
                self._report("expected a plain key", line, prefix.rstrip("."))
            elif name in lines:
                self._report(f"duplicate key, first set in line {lines[name]}", line, prefix + name)
            elif names is not None and name not in names:
                self._report(f"unknown key{_did_you_mean(name, names)}", line, prefix + name)
            else:
                lines[name] = line
                yield name, node, line

    def _is_section(self, node: "Node", key: str) -> "TypeGuard[MappingNode]":
        """An empty section counts as none, silently: `limits:` with all its lines out."""
        if is_mapping(node):
            return True
        if not is_null(node):
            self._report("expected indented `key: value` lines", node.start_mark.line + 1, key)
        return False

    def _value(self, rule: Rule, node: "Node", key: str) -> Any:
        try:
            return rule.read(plain(node))
        except ValueError as error:
            self._report(str(error), node.start_mark.line + 1, key)
            return _UNUSABLE

    def _report(self, expected: str, line: int, key: str) -> None:
        key = ascii(key)[1:-1]
        self._problems.append(ConfigError(expected, file=str(self._file), line=line, key=key))


_UNUSABLE: Final = object()
"""Stands for a value that was reported: None is a value of its own."""


def _did_you_mean(name: str, names: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(names), 1)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (expected one of {', '.join(sorted(names))})"


def _section(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    prefix = name + "."
    return {key.removeprefix(prefix): values[key] for key in values if key.startswith(prefix)}


def _network_as_dict(network: NetworkConfig) -> dict[str, Any]:
    return {
        "servers": list(network.servers),
        "secret_file": None if network.secret_file is None else str(network.secret_file),
        "nick": network.nick,
    }


def _flat(plain: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{name}": value[name] for name in value})
        else:
            flat[key] = value
    return flat
