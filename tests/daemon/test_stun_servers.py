"""`stun_servers:` of the configuration, in a daemon: who is asked, and from which reload on."""

import socket
from pathlib import Path

import pytest

from natd.core.base.types import Address
from natd.core.codec import stun
from tests.processes import Daemon, Server, until

LIMIT_S = 10.0
QUIET_S = 1.0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_configured_stun_server_is_asked_once_a_network_is_joined(
    tmp_path: Path, host: str
) -> None:
    with Server(tmp_path / "server") as server, stun_server() as asked:
        file = write(tmp_path, [f"{host}:{asked.getsockname()[1]}"])
        with Daemon(tmp_path / "alice", "--config", str(file)) as alice:
            alice.join("demo", server.address, "alice")
            request, source = asked.recvfrom(2048)
            assert stun.decode(request).method == stun.BINDING
            assert alice.request("status")["self"]["udp"] == f"[::]:{source[1]}"
            until(lambda: mapping_told(alice) == "open")
            # A server on our own machine knows nothing of the NAT that this one tells of, and one
            # answer alone does not tell its class.
            transaction = stun.decode(request).transaction
            seen = stun.encode_binding_response(transaction, Address("198.51.100.7", 4321))
            asked.sendto(seen, source)
            until(lambda: mapping_told(alice) == "unknown")


def test_a_reload_takes_others_and_leaves_those_before_alone(tmp_path: Path) -> None:
    with Server(tmp_path / "server") as server, stun_server() as first, stun_server() as second:
        places = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in (first, second)]
        file = write(tmp_path, places[:1])
        with Daemon(tmp_path / "alice", "--config", str(file)) as alice:
            alice.join("demo", server.address, "alice")
            first.recvfrom(2048)
            write(tmp_path, places[1:])
            assert alice.request("reload")["changed"] == ["stun_servers"]
            second.recvfrom(2048)
            write(tmp_path, [])
            assert alice.request("reload")["changed"] == ["stun_servers"]
            # Unanswered, it would be asked again half a second after the first time.
            second.settimeout(QUIET_S)
            with pytest.raises(TimeoutError):
                second.recv(2048)


def test_a_stun_server_that_can_not_be_resolved_is_a_problem_of_the_status(tmp_path: Path) -> None:
    file = write(tmp_path, ["no-such-host.invalid:3478"])
    with Daemon(tmp_path / "alice", "--config", str(file)) as alice:
        until(lambda: alice.request("status")["problems"] != [], LIMIT_S)
        (problem,) = alice.request("status")["problems"]
        assert problem["code"] == "unresolvable"
        assert "no-such-host.invalid" in problem["text"]
        write(tmp_path, [])
        alice.request("reload")
        assert alice.request("status")["problems"] == []


def stun_server() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(LIMIT_S)
    return sock


def write(directory: Path, servers: list[str]) -> Path:
    file = directory / "natd.yaml"
    file.write_text(f"stun_servers: {servers}\npaths: {{port_mapping: false}}\n")
    return file


def mapping_told(daemon: Daemon) -> str:
    told: str = daemon.request("status")["self"]["nat"]["mapping"]
    return told
