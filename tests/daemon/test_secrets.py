"""Planted secrets, looked for wherever a daemon shows itself."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from natd.core.keys.secrets import network_key
from natd.ipc import RequestError
from tests.processes import Daemon, Server, until

PASSPHRASE = "correct-horse-PLANTED-battery"
KEY = "d1ce5eed" * 4
"""The two kinds of secret that a network can have."""

TEXT = "what alice said to bob alone, PLANTED"
ROOT = Path(__file__).resolve().parents[2]


def test_no_secret_is_in_arguments_environment_log_or_any_answer(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "server") as server,
        Daemon(tmp_path / "alice", "--log-level", "debug") as alice,
        Daemon(tmp_path / "bob", "--log-level", "debug") as bob,
    ):
        secrets = {"configured": KEY, "joined": PASSPHRASE}
        (tmp_path / "secret").write_text(PASSPHRASE + "\n")
        (tmp_path / "secret").chmod(0o600)
        told = [joined_by_natctl(alice, server, tmp_path / "secret")]
        bob.join("joined", server.address, "bob", PASSPHRASE)
        for each in (alice, bob):
            each.join("configured", server.address, "nick", KEY)
        bob.wait(network="joined")
        alice.wait(network="configured")
        alice.request("send", network="joined", text=TEXT)
        until(lambda: TEXT in bob.texts())
        seeds = [each.directory.joinpath("identity.key").read_bytes() for each in (alice, bob)]
        keys = [network_key(name, secret.encode()) for name, secret in secrets.items()]

        for process in (alice, bob, server):
            told += [
                Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")
            ]
            told += [process.log.encode()]
        answers = [answer_of(each, do) for each in (alice, bob) for do in ANSWERS]
        answers += [json.dumps(each.events(*EVENTS)).encode() for each in (alice, bob)]

    for secret in (PASSPHRASE.encode(), bytes.fromhex(KEY), *seeds, *keys):
        for form in forms(secret):
            for text in (*told, *answers):
                assert form not in text, f"{form!r} is in {text[:200]!r}"
    for text in told:
        assert TEXT.encode() not in text, "and what is said is in nobody's log"


def test_a_secret_that_can_not_be_used_is_not_quoted(tmp_path: Path) -> None:
    with Daemon(tmp_path / "alice", "--log-level", "debug") as alice:
        for secret in (PASSPHRASE * 5000, [PASSPHRASE], {"a": PASSPHRASE}):
            with pytest.raises(RequestError) as told:
                alice.request("join", network="demo", lan=True, secret=secret)
            assert PASSPHRASE not in f"{told.value!r} {told.value} {told.value.hint}"
        assert PASSPHRASE not in alice.log


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secret_file_that_others_can_read_is_refused_and_not_quoted(
    mode: int, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(PASSPHRASE)
    file.chmod(mode)
    done = natctl(tmp_path / "no.sock", "join", "demo", "--lan", "--secret-file", str(file))
    assert done.returncode != 0
    assert b"0600" in done.stderr
    assert PASSPHRASE.encode() not in done.stdout + done.stderr


ANSWERS = ("status", "doctor", "config_show", "networks", "identity", "peers", "reload")
EVENTS = ("message", "sent", "joined", "server_up", "peer_met", "peer_online", "path_changed")


def answer_of(daemon: Daemon, do: str) -> bytes:
    fields = {"network": "joined"} if do == "peers" else {}
    return json.dumps(daemon.request(do, **fields)).encode()


def joined_by_natctl(daemon: Daemon, server: Server, secret: Path) -> bytes:
    """All that natctl writes."""
    where = ("--server", server.address, "--secret-file", str(secret), "--name", "alice")
    done = natctl(daemon.socket, "--json", "join", "joined", *where)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def natctl(socket: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, "NATD_SOCKET": str(socket)}
    command = [sys.executable, "-m", "natctl", *arguments]
    return subprocess.run(command, capture_output=True, cwd=ROOT, env=environment, check=False)


def forms(secret: bytes) -> set[bytes]:
    """As somebody would print it."""
    written = {secret, secret.hex().encode(), base64.b64encode(secret), base64.b32encode(secret)}
    written |= {repr(secret)[2:-1].encode(), base64.urlsafe_b64encode(secret).rstrip(b"=")}
    written |= {base64.b32encode(secret).rstrip(b"=").lower(), json.dumps(list(secret)).encode()}
    return written | {each.upper() for each in written if each.isalnum()}
