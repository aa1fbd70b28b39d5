"""What a daemon of straw answers to the commands of natctl."""

from typing import Any

BOB = {"nick": "bob", "id": "b" * 52, "tag": "bbbb"}

PATH = {
    "kind": "direct",
    "address": "198.51.100.4:50321",
    "rtt_ms": 31.2,
    "technique": "simultaneous-open",
    "age_s": 12.0,
}

STATUS: dict[str, Any] = {
    "version": "0.3.0",
    "mode": "peer",
    "pid": 4711,
    "uptime_s": 3.5,
    "self": {
        "nick": "alice",
        "id": "a" * 52,
        "tag": "aaaa",
        "udp": "[::]:41234",
        "observed": ["203.0.113.7:41234"],
        "nat": {
            "mapping": "endpoint-independent",
            "filtering": "unknown",
            "allocation": "preserving",
            "confidence": 0.9,
        },
    },
    "networks": [
        {
            "name": "demo",
            "nick": "alice",
            "servers": [
                {
                    "address": "192.0.2.1:8080",
                    "state": "registered",
                    "rtt_ms": 24.0,
                    "last_answer_s": 3.0,
                }
            ],
            "peers": {"known": 2, "connected": 1},
            "queued": 1,
            "unread": 4,
        }
    ],
    "problems": [],
}

ANSWERS: dict[str, Any] = {
    "status": STATUS,
    "peers": {
        "network": "demo",
        "peers": [
            {
                **BOB,
                "trust": "new",
                "state": "online",
                "path": PATH,
                "verdict": None,
                "queued": 0,
                "last_seen_s": 0.4,
            },
            {
                "nick": "carol",
                "id": "c" * 52,
                "tag": "cccc",
                "trust": "changed",
                "state": "offline",
                "path": None,
                "verdict": "both NATs are hard; IPv6 at one of them would help",
                "queued": 2,
                "last_seen_s": 7200.0,
            },
        ],
    },
    "networks": {
        "networks": [
            {
                "name": "demo",
                "nick": "alice",
                "open": False,
                "servers": ["192.0.2.1:8080"],
                "peers": {"known": 2, "connected": 1},
            }
        ]
    },
    "identity": {"nick": "alice", "id": "a" * 52, "tag": "aaaa", "state_dir": "/var/lib/natd"},
    "send": {
        "message": "01J",
        "network": "demo",
        "accepted": True,
        "delivered": [],
        "queued": ["b" * 52],
    },
    "history": {
        "messages": [
            {
                "id": 1,
                "ts": "2026-01-02T03:04:05.678Z",
                "network": "demo",
                "direction": "out",
                "from": {"nick": "alice", "id": "a" * 52},
                "to": ["b" * 52],
                "message": "01J",
                "text": "hi",
                "delivered": ["b" * 52],
            }
        ]
    },
    "ping": {"peer": BOB, "rtt_ms": 31.2, "path": PATH},
    "doctor": {
        "checks": [{"name": "socket", "ok": True, "text": "UDP", "hint": None}],
        "verdict": "All is well.",
    },
    "wait": {"network": "demo", "connected": 2},
    "retry": {"network": "demo", "peer": None, "retrying": 2},
    "leave": {"network": "demo", "left": True, "purged": False},
    "reload": {"reloaded": True, "changed": ["nick"]},
    "config_show": {"config": {"nick": "alice", "limits": {"history_days": 30}}, "sources": {}},
    "trust": {"peer": BOB, "trust": "new"},
    "block": {"peer": BOB, "blocked": True},
    "forget": {"peer": BOB, "forgotten": True, "queued": 2, "was_connected": True},
}

ONE_ANSWER_COMMANDS = (
    "status",
    "peers",
    "peers demo",
    "networks",
    "identity",
    "send hi",
    "send demo hi",
    "send demo hi --to bob --wait 2",
    "history --peer bob --search h --since 2h -n 5",
    "ping bob",
    "doctor",
    "doctor bob",
    "retry",
    "retry bob --network demo",
    "wait demo --peers 2",
    "leave demo --purge",
    "reload",
    "config show",
    "trust bob --accept-new-key",
    "block bob",
    "forget bob",
)
