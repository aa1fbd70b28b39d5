"""A daemon of straw with one network in it: what is sent is logged and delivered at once.

with StrawChat(path) as natd:
    natd.peer("bob"); natd.says("bob", "hi")
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.ipc.fake_daemon import FakeDaemon, Json, Refusal

OWN_ID = "alic" + "a" * 48


def id_of(nick: str) -> str:
    return (nick + "q" * 52)[:52]


class StrawChat(FakeDaemon):
    """FakeDaemon with the answers of a daemon that has joined `demo` as alice."""

    def __init__(self, path: Path, network: str = "demo") -> None:
        super().__init__(path)
        self.network = network
        self.rows: dict[str, Json] = {}
        self.history: list[Json] = []
        self.server_state = "registered"
        self.delivers = True
        self.refuses: Refusal | None = None
        self.answers = {
            "networks": lambda _: {"networks": [{"name": network, "nick": "alice"}]},
            "status": self._status,
            "peers": lambda _: {"network": network, "peers": list(self.rows.values())},
            "history": lambda request: {"messages": self.history[-request["limit"] :]},
            "send": self._send,
            "ping": self._ping,
        }

    def peer(self, nick: str, state: str = "online", rtt_ms: float = 12.0) -> Json:
        path = {"kind": "direct", "address": "198.51.100.7:4242", "rtt_ms": rtt_ms}
        path |= {"technique": "simultaneous-open", "age_s": 3.0}
        row = {
            "nick": nick,
            "id": id_of(nick),
            "tag": id_of(nick)[:4],
            "trust": "new",
            "state": state,
            "path": path if state == "online" else None,
            "verdict": None,
            "queued": 0,
            "last_seen_s": 0.0,
        }
        self.rows[nick] = row
        return row

    def comes(self, nick: str) -> None:
        row = self.peer(nick)
        self.publish("peer_online", network=self.network, peer=_who(row), path=row["path"])

    def goes(self, nick: str, reason: str = "it said good-bye") -> None:
        row = self.peer(nick, "offline")
        self.publish("peer_offline", network=self.network, peer=_who(row), reason=reason)

    def says(self, nick: str, text: str) -> None:
        number = len(self.log) + 1
        event = self.publish(
            "message",
            network=self.network,
            message=f"{nick}-{number}",
            kind="text",
            text=text,
            **{"from": {"nick": nick, "id": id_of(nick), "trust": "new"}},
        )
        self.history.append({**event, "direction": "in", "to": [OWN_ID], "delivered": []})

    def delivers_to(self, nick: str, messages: Iterable[str]) -> None:
        for message in messages:
            self._deliver(message, self.rows[nick])

    def until(self, condition: Callable[[], bool], wait_s: float = 20.0) -> bool:
        """Whether it came true in time; the daemon runs in another thread."""
        limit = time.monotonic() + wait_s
        while not condition() and time.monotonic() < limit:
            time.sleep(0.005)
        return condition()

    @property
    def texts(self) -> list[str]:
        """What has been accepted, in order."""
        return [row["text"] for row in self.history if row["direction"] == "out"]

    def _status(self, _: Json) -> Json:
        server = {"address": "192.0.2.1:8080", "state": self.server_state, "rtt_ms": 25.0}
        return {
            "self": {"nick": "alice", "id": OWN_ID},
            "networks": [{"name": self.network, "servers": [server], "queued": 0, "unread": 0}],
        }

    def _send(self, request: Json) -> Json | Refusal:
        if self.refuses is not None:
            return self.refuses
        rows = [row for row in self.rows.values() if request["to"] in (None, row["nick"])]
        message = f"m{len(self.history)}"
        addressed = [row["id"] for row in rows]
        event = self.publish(
            "sent",
            network=self.network,
            message=message,
            text=request["text"],
            to=addressed,
            **{"from": {"nick": "alice", "id": OWN_ID}},
        )
        self.history.append({**event, "direction": "out", "delivered": []})
        for row in rows:
            if self.delivers and row["state"] == "online":
                self._deliver(message, row)
        return {
            "message": message,
            "network": self.network,
            "accepted": True,
            "delivered": [],
            "queued": addressed,
        }

    def _deliver(self, message: str, row: Json) -> None:
        self.publish("delivered", network=self.network, message=message, peer=_who(row))
        for said in self.history:
            if said["message"] == message:
                said["delivered"].append(row["id"])

    def _ping(self, request: Json) -> Json | Refusal:
        row = self.rows.get(request["peer"])
        if row is None:
            return Refusal("unknown_peer", f"nobody here is called {request['peer']}", "/peers")
        if row["path"] is None:
            return Refusal("no_path", f"there is no path to {row['nick']}")
        return {"peer": _who(row), "rtt_ms": 12.3, "path": row["path"]}


def _who(row: Json) -> dict[str, Any]:
    return {key: row[key] for key in ("nick", "id", "tag", "trust")}
