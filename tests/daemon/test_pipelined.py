"""Requests sent without waiting for answers: they do what they say, in the order asked.

Real daemons; a server that is not there, or one that is.
"""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from natd.control.request_fields import FIELDS
from natd.ipc.frames import decode_reply, encode_request
from natd.ipc.places import connect
from natd.ipc.zmtp import Dealer
from tests.processes import Daemon, Server, pair, until

Json = dict[str, Any]

NO_SERVER = "127.0.0.1:9"

SECRET = "correct horse battery staple"


def test_a_message_right_behind_the_join_goes_to_the_members_that_are_listed(
    tmp_path: Path,
) -> None:
    with (
        Server(tmp_path / "server") as server,
        Daemon(tmp_path / "alice") as alice,
        Daemon(tmp_path / "bob") as bob,
    ):
        bob.join("demo", server.address, "bob", SECRET)
        joined, sent = asked(
            alice,
            join("demo", server.address, secret=SECRET),
            {"do": "send", "network": "demo", "text": "in one breath"},
        )
        assert joined["ok"]["network"] == "demo"
        assert sent["ok"]["accepted"] is True
        until(lambda: bob.texts() == ["in one breath"])


def test_join_join_leave_leave_leaves_nothing_joined(tmp_path: Path) -> None:
    with Daemon(tmp_path / "alice") as alice:
        for secret in (None, SECRET):
            answers = asked(
                alice,
                join("one", secret=secret),
                join("two", secret=secret),
                {"do": "leave", "network": "one"},
                {"do": "leave", "network": "two"},
                {"do": "networks"},
            )
            assert ["ok" in answer for answer in answers] == [True] * 5
            assert answers[-1]["ok"]["networks"] == []


def test_the_history_behind_two_messages_has_both(tmp_path: Path) -> None:
    with Daemon(tmp_path / "alice") as alice:
        answers = asked(
            alice,
            join("demo"),
            {"do": "send", "text": "one"},
            {"do": "send", "text": "two"},
            {"do": "history"},
            {"do": "status"},
            {"do": "leave", "purge": True},
            {"do": "send", "text": "three"},
        )
        assert [row["text"] for row in answers[3]["ok"]["messages"]] == ["one", "two"]
        assert answers[6]["error"]["code"] == "no_network"


def test_what_waits_is_answered_later_and_holds_up_nothing(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        bob.kill()
        until(lambda: alice.request("status")["networks"][0]["peers"]["connected"] == 0, 30.0)
        began = time.monotonic()
        order = [
            answer["id"]
            for answer in asked(
                alice,
                {"do": "wait", "peers": 1, "timeout_s": 1.5},
                {"do": "ping", "peer": "bob", "timeout_s": 1.0},
                {"do": "send", "text": "kept", "wait_s": 0.5},
                {"do": "history"},
                {"do": "status"},
            )
        ]
        assert order == [3, 4, 2, 1, 0]
        assert time.monotonic() < began + 10.0


def test_a_message_that_waits_for_its_delivery_is_on_disk_before_what_follows(
    tmp_path: Path,
) -> None:
    with pair(tmp_path) as (_, alice, _bob):
        answers = asked(
            alice,
            {"do": "send", "text": "waits", "wait_s": 10.0},
            {"do": "history"},
        )
        history = next(answer for answer in answers if answer["id"] == 1)
        assert [row["text"] for row in history["ok"]["messages"]] == ["waits"]
        sent = next(answer for answer in answers if answer["id"] == 0)
        assert sent["ok"]["delivered"] != []


def test_one_clients_passphrase_does_not_keep_another_waiting(tmp_path: Path) -> None:
    with Daemon(tmp_path / "alice") as alice, Client(alice) as busy, Client(alice) as other:
        for number in range(10):
            busy.send(number, **join("demo", secret=f"{SECRET} {number}"))
        began = time.monotonic()
        for number in range(5):
            other.send(number, do="status")
            assert other.receive()["id"] == number
        waited_s = time.monotonic() - began
        assert [busy.receive()["id"] for _ in range(10)] == list(range(10))
        assert waited_s < (time.monotonic() - began) / 2


def test_two_clients_that_join_one_network_at_once_leave_one_network(tmp_path: Path) -> None:
    """Under two secrets these are two networks of one name, and one takes the other's place."""
    with Daemon(tmp_path / "alice") as alice, ExitStack() as stack:
        clients = [stack.enter_context(Client(alice)) for _ in range(4)]
        for number, client in enumerate(clients):
            client.send(1, **join("demo", secret=f"{SECRET} {number % 2}"))
        for client in clients:
            assert "ok" in client.receive()
        alice.request("leave", network="demo")
        assert alice.request("networks")["networks"] == []
        alice.join("last", NO_SERVER, "alice")
        until(lambda: any(each["network"] == "last" for each in alice.events("joined")))
        names = [each["type"] for each in alice.events("joined", "left")]
        assert names[:-1] == ["joined", "left"] * (len(names) // 2)


def test_two_clients_that_leave_at_once_leave_once(tmp_path: Path) -> None:
    with Daemon(tmp_path / "alice") as alice, ExitStack() as stack:
        alice.join("demo", NO_SERVER, "alice")
        clients = [stack.enter_context(Client(alice)) for _ in range(3)]
        for client in clients:
            client.send(1, do="leave", network="demo")
        answers = [client.receive() for client in clients]
        assert sum("ok" in answer for answer in answers) == 1
        codes = {answer["error"]["code"] for answer in answers if "error" in answer}
        assert codes <= {"no_network", "unknown_network"}
        until(lambda: len(alice.events("left")) == 1)
        assert alice.request("networks")["networks"] == []


def test_every_request_of_the_daemon_has_its_fields_listed(tmp_path: Path) -> None:
    with Daemon(tmp_path / "alice") as alice:
        assert alice.request("hello")["features"] == sorted(set(FIELDS) - {"hello"})
        for do in sorted(set(FIELDS) - {"shutdown"}):
            (refused,) = asked(alice, {"do": do, "colour": "red"})
            assert refused["error"]["code"] == "usage"
            assert "'colour'" in refused["error"]["text"]


def test_many_messages_in_one_breath_are_accepted_in_their_order(tmp_path: Path) -> None:
    with pair(tmp_path) as (_, alice, bob):
        texts = [str(number) for number in range(200)]
        answers = asked(alice, *({"do": "send", "text": text} for text in texts))
        assert [answer["id"] for answer in answers] == list(range(200))
        until(lambda: bob.texts() == texts)


class Client:
    """A connection that is asked without waiting for answers."""

    def __init__(self, daemon: Daemon) -> None:
        self.dealer = Dealer(connect(daemon.socket), time.monotonic() + 10.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dealer.close()

    def send(self, number: int, **request: Any) -> None:
        name = request.pop("id", number)
        self.dealer.send(encode_request(name, request.pop("do"), request))

    def receive(self) -> Json:
        return decode_reply(self.dealer.receive(time.monotonic() + 20.0))


def asked(daemon: Daemon, *requests: Json) -> list[Json]:
    """All answers, as they come, to requests that are sent at once; their ids are 0, 1, 2, …"""
    with Client(daemon) as client:
        for number, request in enumerate(requests):
            client.send(number, **request)
        return [client.receive() for _ in requests]


def join(network: str, server: str = NO_SERVER, secret: str | None = None) -> Json:
    fields = {"network": network, "servers": [server], "nick": "alice", "secret": secret}
    return {"do": "join", **fields}
