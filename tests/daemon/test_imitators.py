"""A member who is called like another's id gets nothing that is meant for its owner."""

from contextlib import ExitStack
from pathlib import Path

from tests.daemon.test_sent_once import natctl
from tests.processes import Daemon, Server


def test_what_is_sent_to_an_id_reaches_its_owner_whatever_others_are_called(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(Server(tmp_path / "server"))
        alice, bob, mallory, mallet = (
            stack.enter_context(Daemon(tmp_path / name))
            for name in ("alice", "bob", "mallory", "mallet")
        )
        bob_id = bob.request("identity")["id"]
        alice.join("demo", server.address, "alice")
        bob.join("demo", server.address, "bob")
        mallory.join("demo", server.address, bob_id)
        mallet.join("demo", server.address, bob_id[:8])
        alice.wait(3)
        for to in (bob_id, bob_id.upper(), bob_id[:12], f"bob#{bob_id[:4]}"):
            sent = natctl(alice, "send", "--to", to, "--wait", "15", f"for {to}")
            assert sent.returncode == 0, sent.stderr
        assert len(bob.texts()) == 4
        unclear = natctl(alice, "send", "--to", bob_id[:8], "for whom?")
        assert unclear.returncode == 1
        assert f"bob#{bob_id[:4]}" in unclear.stderr
        assert natctl(alice, "ping", bob_id).stdout.startswith(f"bob#{bob_id[:4]}")
        assert natctl(alice, "block", bob_id).returncode == 0
        peers = alice.request("peers", network="demo")["peers"]
        assert [row["id"] for row in peers if row["state"] == "blocked"] == [bob_id]
        assert mallory.texts() == mallet.texts() == []
