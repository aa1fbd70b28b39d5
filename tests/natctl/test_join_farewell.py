"""After a chat, `join` says that we are still in the network only where that is so."""

from types import SimpleNamespace
from typing import Any

import pytest

from natctl.commands.join import _is_joined
from natd.ipc.errors import UnreachableError


class Daemon:
    """Answers `networks`."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def request(self, do: str) -> dict[str, Any]:
        assert do == "networks"
        return {"networks": [{"name": name} for name in self._names]}


@pytest.mark.parametrize(("names", "joined"), [(("demo", "x"), True), (("x",), False), ((), False)])
def test_a_network_that_was_left_meanwhile_is_not_said_to_be_joined(
    names: tuple[str, ...], joined: bool
) -> None:
    natctl: Any = SimpleNamespace(connect=lambda: Daemon(*names))
    assert _is_joined(natctl, "demo") is joined


def test_nothing_is_claimed_where_the_daemon_has_gone() -> None:
    def connect() -> Daemon:
        raise UnreachableError("gone")

    natctl: Any = SimpleNamespace(connect=connect)
    assert not _is_joined(natctl, "demo")
