"""The configuration: strict, told all at once, and the same as its documentation."""

import contextlib
import os
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from natd.host.errors import ConfigError
from natd.settings.config import (
    Config,
    Limits,
    NetworkConfig,
    Paths,
    ServerConfig,
    changed_keys,
    config_as_dict,
    load_config,
    load_server_config,
    reload_config,
)
from natd.settings.secret_file import read_secret_file
from natd.settings.setting import PEER_RULES, SERVER_RULES
from natd.settings.yaml_tree import FILE_LIMIT_BYTES

CONFIG = Path(__file__).parents[2] / "config"

EXAMPLE = """\
nick: alice
port: 7000
networks:
  demo:
    servers: ["chat.example.net:8080", "[2001:db8::1]:8080"]
    secret_file: demo.secret
    nick: al
  open:
    servers: ["192.0.2.1:8080"]
limits: {message_bytes: 100, outbox_messages: 7, history_days: 1, disk_mib: 9,
         disk_mib_per_peer: 3, peers_per_network: 2}
paths: {ipv6: false, lan_discovery: no, port_mapping: off, helper_sockets: 64, fill_blocks: none}
"""


def test_the_documented_files_hold_every_key_at_its_default() -> None:
    assert load_config(CONFIG / "natd.yaml") == Config()
    assert load_server_config(CONFIG / "server.yaml") == ServerConfig()
    assert documented("natd.yaml") == set(PEER_RULES) | {"networks"}
    assert documented("server.yaml") == set(SERVER_RULES)


def test_every_setting_has_a_rule_and_every_rule_a_setting() -> None:
    names = {item.name for item in fields(Config)} - {"networks", "limits", "paths", "origin"}
    names |= {f"limits.{item.name}" for item in fields(Limits)}
    names |= {f"paths.{item.name}" for item in fields(Paths)}
    assert names == set(PEER_RULES)
    assert {item.name for item in fields(ServerConfig)} - {"origin"} == set(SERVER_RULES)


def test_every_key_is_read(tmp_path: Path) -> None:
    secret(tmp_path / "demo.secret")
    config = load_config(write(tmp_path, EXAMPLE))
    assert config == Config(
        nick="alice",
        port=7000,
        networks={
            "demo": NetworkConfig(
                "demo",
                ("chat.example.net:8080", "[2001:db8::1]:8080"),
                tmp_path / "demo.secret",
                "al",
            ),
            "open": NetworkConfig("open", ("192.0.2.1:8080",)),
        },
        limits=Limits(100, 7, 1, 9, 3, 2),
        paths=Paths(False, False, False, 64, "none"),
    )
    assert config.origin.sources["port"].endswith("natd.yaml:2")


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = write(tmp_path, "port: 1\nlog_level: error\nlimits: {history_days: 1}\n")
    environ = {"NATD_PORT": "2", "NATD_LIMITS_HISTORY_DAYS": "2", "NATD_PATHS_IPV6": "no"}
    config = load_config(file, flags={"port": "3"}, environ=environ)
    assert (config.port, config.limits.history_days, config.log_level) == (3, 2, "error")
    assert config.paths.ipv6 is False
    assert config.limits.message_bytes == 16384
    assert config.origin.sources == {
        "port": "--port",
        "log_level": f"{file}:2",
        "limits.history_days": "NATD_LIMITS_HISTORY_DAYS",
        "paths.ipv6": "NATD_PATHS_IPV6",
    }


def test_all_problems_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = (
        "nick: 7\nprot: 1\nport: 70000\nlimits: {x: 1}\nnetworks:\n  demo: {servers: 7}\nnick: b\n"
    )
    file = write(tmp_path, text)
    assert problems(file, environ={"NATD_PORT": "x"}) == [
        f"{file}:1: nick: expected a nick of 1 to 64 bytes without spaces, control characters "
        "or #: put it in quotes",
        f"{file}:2: prot: unknown key (did you mean port?)",
        f"{file}:3: port: expected a whole number from 0 to 65535, got 70000",
        f"{file}:4: limits.x: unknown key (expected one of disk_mib, disk_mib_per_peer, "
        "history_days, message_bytes, outbox_messages, peers_per_network)",
        f"{file}:6: networks.demo.servers: expected a list of 0 to 16 entries, each a server as "
        "HOST:PORT, like chat.example.net:8080 or [2001:db8::1]:8080, got 7",
        f"{file}:7: nick: duplicate key, first set in line 1",
        "NATD_PORT: expected a whole number from 0 to 65535, got 'x'",
    ]


@pytest.mark.parametrize("text", ["", " {}", " {servers: []}", "\n    secret_file: null"])
def test_a_network_without_servers_is_one_for_the_lan(tmp_path: Path, text: str) -> None:
    """It was refused, although members on one LAN find each other with no server at all."""
    file = write(tmp_path, f"networks:\n  demo:{text}\n")
    assert load_config(file).networks == {"demo": NetworkConfig("demo")}
    (problem,) = problems(file, environ={"NATD_PATHS_LAN_DISCOVERY": "no"})
    assert problem.startswith(f"{file}:2: networks.demo: expected servers, or paths.lan_discovery")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port: '80'", "1: port: expected a whole number from 0 to 65535, got '80'"),
        ("port: 1.5", "1: port: expected a whole number"),
        ("port: true", "1: port: expected a whole number from 0 to 65535, got true"),
        ("port:", "1: port: expected a whole number from 0 to 65535, got nothing"),
        ("port: -1", "1: port: expected a whole number"),
        ("port: [1]", "1: port: expected a whole number from 0 to 65535, got a list"),
        ("port: {a: 1}", "1: port: expected a whole number from 0 to 65535, got a mapping"),
        ("port: 99999999999999999999999", "1: port: expected a whole number"),
        ("port: 2001-13-45", "1: port: expected"),
        ("port: !!python/object:os.system x", "1: port: expected a plain value"),
        ("nick: 'a b'", "1: nick: expected a nick"),
        ("nick: 'a#b'", "1: nick: expected a nick"),
        ('nick: "a\\u202eb"', "1: nick: expected a nick"),
        ('nick: "\\u2800"', "1: nick: expected a nick"),
        ('nick: "bob\\u2800"', "1: nick: expected a nick"),
        ('nick: "\\U0001D159"', "1: nick: expected a nick"),
        ('nick: "\\u3164\\uFFA0"', "1: nick: expected a nick"),
        ('nick: "\\u0301bob"', "1: nick: expected a nick"),
        ('nick: "b\\uFE0Fob"', "1: nick: expected a nick"),
        ('networks: {"a\\u2800": {}}', "expected a network name"),
        ("nick: ''", "1: nick: expected a nick"),
        (f"nick: {'x' * 65}", "1: nick: expected a nick"),
        ("log_level: loud", "1: log_level: expected debug, info, warning or error, got 'loud'"),
        ("control_mode: 0600", '1: control_mode: expected "0600" or "0660" (in quotes), got 384'),
        ("paths: {ipv6: 1}", "1: paths.ipv6: expected true or false, got 1"),
        ("paths: {fill_blocks: most}", "1: paths.fill_blocks: expected none, half or full"),
        ("paths: 7", "1: paths: expected indented `key: value` lines"),
        ("limits: [1]", "1: limits: expected indented `key: value` lines"),
        ("limits: {message_bytes: 16385}", "1: limits.message_bytes: expected a whole number"),
        ("networks: {'a/b': {}}", "1: networks.a/b: expected a network name"),
        ("networks: {'-x': {}}", "1: networks.-x: expected a network name"),
        ("networks: {a: [1]}", "1: networks.a: expected indented"),
        ("networks: {a: {servers: x}}", "1: networks.a.servers: expected a list"),
        ("networks: {a: {servers: [x]}}", "1: networks.a.servers: expected a server as HOST:PORT"),
        ("networks: {a: {servers: ['x:0']}}", "expected a server's port from 1 to 65535"),
        ("networks: {a: {servers: ['http://x:80']}}", "expected a server as HOST:PORT"),
        ("networks: {a: {servers: ['2001:db8::1:80']}}", "expected a server as HOST:PORT"),
        ("networks: {a: {servers: [[1]]}}", "networks.a.servers: expected a server"),
        ("networks: {a: {server: ['x:1']}}", "unknown key (did you mean servers?)"),
        ("networks: {a: {secret: hunter2, servers: ['x:1']}}", "(did you mean secret_file?)"),
        ("networks: {a: {secret_file: /nope, servers: ['x:1']}}", "there is no such secret file"),
        ("? [1]\n: 2", "1: expected a plain key"),
        ("- 1", "1: expected `key: value` lines"),
        ("just text", "1: expected `key: value` lines"),
        (
            "paths: {lan_discovery: false}\nnetworks:\n  demo:\n",
            "3: networks.demo: expected servers, or paths.lan_discovery: true; with neither, "
            "nobody can be found",
        ),
        (
            "networks:\n  demo: {servers: []}\npaths: {lan_discovery: false}\n",
            "2: networks.demo: expected servers, or paths.lan_discovery: true",
        ),
        ("a: b: c", "1: not YAML: mapping values are not allowed here (is it indented too far"),
        ("a: 1\n\tb: 2", "(indent with spaces)"),
        ("a: [1", "not YAML"),
        ("a: *b", "not YAML: found undefined alias"),
        ("a: 1\n---\nb: 2", "not YAML"),
        ("\x00", "not YAML"),
        ("port: 1\nport: 1", "2: port: duplicate key, first set in line 1"),
        ("limits: {history_days: 1, history_days: 1}", "limits.history_days: duplicate key"),
        ("a: " + "[" * 5000, "not YAML: nested too deep"),
    ],
)
def test_a_mistake_is_told_by_place_and_what_was_expected(
    tmp_path: Path, text: str, told: str
) -> None:
    file = write(tmp_path, text)
    found = problems(file)
    assert any(told in line for line in found), found
    assert all(line.startswith(str(file)) for line in found)
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize("text", ["", "# nothing\n", "limits:\npaths:\nnetworks:\n", "~"])
def test_an_empty_file_or_section_leaves_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_config(write(tmp_path, text)) == Config()


def test_aliases_that_grow_or_never_end_cost_nothing(tmp_path: Path) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 8)}]\n" for n in range(20)
    )
    assert "unknown key" in problems(write(tmp_path, bomb))[0]
    assert problems(write(tmp_path, "limits: &x {limits: *x}\n")) != []
    assert problems(write(tmp_path, "networks: {a: {servers: &s [*s]}}\n")) != []


def test_a_file_over_a_mebibyte_or_of_other_bytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "natd.yaml"
    file.write_bytes(b"#" * FILE_LIMIT_BYTES)
    assert load_config(file) == Config()
    file.write_bytes(b"#" * (FILE_LIMIT_BYTES + 1))
    assert problems(file) == [f"{file}: expected a file of at most 1 MiB"]
    file.write_bytes(b"\xff\xfe\xfd")
    assert problems(file) == [f"{file}: expected UTF-8 text"]
    assert problems(tmp_path) == [f"{tmp_path}: can't be read: Is a directory"]


def test_only_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    file = tmp_path / "natd.yaml"
    assert problems(file) == [f"{file}: there is no such file"]
    assert load_config(file, is_required=False) == Config()
    assert load_config() == Config()


def test_a_reload_reads_the_same_places_and_names_what_changed(tmp_path: Path) -> None:
    secret(tmp_path / "demo.secret")
    file = write(tmp_path, EXAMPLE)
    before = load_config(file, flags={"port": "7"}, environ={"NATD_NICK": "bob"})
    write(
        tmp_path,
        EXAMPLE.replace("history_days: 1", "history_days: 9").replace("    nick: al\n", ""),
    )
    after = reload_config(before)
    assert (after.port, after.nick) == (7, "bob")
    assert changed_keys(before, after) == ("limits.history_days", "networks.demo")
    assert changed_keys(after, reload_config(after)) == ()
    write(tmp_path, "port: x")
    with pytest.raises(ConfigError):
        reload_config(before)


def test_a_configuration_as_plain_values_uses_the_names_of_the_file(tmp_path: Path) -> None:
    plain = config_as_dict(Config())
    assert plain == yaml.safe_load((CONFIG / "natd.yaml").read_text())
    assert config_as_dict(ServerConfig()) == yaml.safe_load((CONFIG / "server.yaml").read_text())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bind: [192.0.2.1, '::1']\nsample_ports: 0", ServerConfig(("192.0.2.1", "::1"), 0)),
        ("log_level: debug", ServerConfig(log_level="debug")),
    ],
)
def test_the_servers_keys_are_read(tmp_path: Path, text: str, expected: ServerConfig) -> None:
    assert load_server_config(write(tmp_path, text)) == expected


def test_the_servers_mistakes_are_told(tmp_path: Path) -> None:
    file = write(tmp_path, "bind: [localhost]\nsample_ports: 16\nport: 1\n")
    with pytest.raises(ConfigError) as told:
        load_server_config(file, environ={"NATD_BIND": "1.2.3.4, nope"})
    lines = str(told.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"{file}:1",
        f"{file}:2",
        f"{file}:3",
        "NATD_BIND",
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=200) | st.text(alphabet="abport:nick []{}&*!|>-\n'\"#?%,01~").map(str.encode)
)
def test_any_bytes_give_a_configuration_or_a_config_error(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "natd.yaml"
    file.write_bytes(data)
    with contextlib.suppress(ConfigError):
        load_config(file)


# --- secrets ---------------------------------------------------------------------------


def test_a_secret_is_the_files_text_without_white_space_around_it(tmp_path: Path) -> None:
    assert read_secret_file(secret(tmp_path / "s", b"  correct horse \n")) == "correct horse"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o610, 0o644, 0o601])
def test_a_secret_that_others_may_touch_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int
) -> None:
    path = secret(tmp_path / "s")
    path.chmod(mode)
    with pytest.raises(ConfigError) as told:
        read_secret_file(path)
    assert f"its mode is {mode:04o}: chmod 600 it" in str(told.value)
    assert "hunter2" not in str(told.value)
    path.chmod(0o600)
    assert read_secret_file(path) == "hunter2"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_of_the_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    path = secret(tmp_path / "s")
    path.chmod(mode)
    assert read_secret_file(path) == "hunter2"


def test_a_secret_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = secret(tmp_path / "s")
    owner = os.geteuid() or 12345
    os.chown(path, owner, -1)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ConfigError, match="must belong to"):
        read_secret_file(path)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "must not be empty"),
        (b" \n", "must not be empty"),
        (b"\xff\xfe", "UTF-8"),
        (b"x" * 4097, "at most 4096 bytes"),
    ],
)
def test_a_file_that_is_no_secret_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_secret_file(secret(tmp_path / "s", data))


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "nope"):
        with pytest.raises(ConfigError):
            read_secret_file(path)


def write(directory: Path, text: str) -> Path:
    file = directory / "natd.yaml"
    file.write_text(text)
    return file


def secret(path: Path, data: bytes = b"hunter2\n") -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def problems(file: Path, **options: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as told:
        load_config(file, **options)  # type: ignore[arg-type]
    return str(told.value).splitlines()


def documented(name: str) -> set[str]:
    """The keys of a documented file, in the spelling of the rules."""
    plain = yaml.safe_load((CONFIG / name).read_text())
    return {
        f"{key}.{part}" if key != "networks" and isinstance(value, dict) else key
        for key, value in plain.items()
        for part in (value if key != "networks" and isinstance(value, dict) else [""])
    }
