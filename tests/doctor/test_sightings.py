"""Where others see this machine, as `doctor` says it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from natd.core.base.types import Address
from natd.doctor.sightings import seen_words
from natd.members.parts import Parts


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("203.0.113.9", "; others see you at 203.0.113.9:4"),
        ("192.168.1.1", "; the server sees you at 192.168.1.1:4, a private address"),
    ],
)
def test_nobody_elsewhere_is_said_to_see_a_private_address(host: str, words: str) -> None:
    nat = SimpleNamespace(observed=lambda: (Address(host, 4),), is_seen_at_several=False)
    parts: Any = SimpleNamespace(node=SimpleNamespace(nat=nat))
    assert seen_words(cast(Parts, parts)) == words
