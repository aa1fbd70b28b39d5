"""How far an address reaches, and that each is read once."""

import pytest

from natd.core.base import scope


@pytest.mark.parametrize(
    ("host", "is_private", "is_loopback", "is_public"),
    [
        ("127.0.0.1", False, True, False),
        ("::1", False, True, False),
        ("10.1.2.3", True, False, False),
        ("169.254.7.7", True, False, False),
        ("100.64.0.5", True, False, False),
        ("fe80::5", True, False, False),
        ("0.0.0.0", False, False, False),
        ("239.255.110.97", False, False, False),
        ("203.0.113.9", False, False, True),
        ("2001:db8::9", False, False, True),
    ],
)
def test_an_address_reaches_this_far(
    host: str, is_private: bool, is_loopback: bool, is_public: bool
) -> None:
    for _ in range(2):
        found = scope.is_private(host), scope.is_loopback(host), scope.is_public(host)
        assert found == (is_private, is_loopback, is_public)


def test_an_address_that_is_asked_about_again_is_not_read_again() -> None:
    host = "198.51.100.77"
    scope.is_public(host)
    before = scope._reach.cache_info()
    assert scope.is_public(host)
    after = scope._reach.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def test_strangers_addresses_fill_no_memory() -> None:
    for number in range(2000):
        scope.is_public(f"203.0.{number // 250}.{number % 250}")
    assert scope._reach.cache_info().currsize == scope.REACHES_KEPT
