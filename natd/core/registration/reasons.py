"""Why a server is lost to us, in words for people: what happened and what to look at."""

from natd.core.base.types import Address
from natd.core.codec import rendezvous_codec


def silence(server: Address, *, has_answered: bool) -> str:
    """Nothing comes; `has_answered`: something did, before."""
    return f"{server} has stopped answering" if has_answered else f"no answer from {server}"


def refusal(server: Address, text: str) -> str:
    """It said no; `text` is its own, and may hold anything."""
    return f"{server} refused us: {''.join(char for char in text if char.isprintable())}"


def foreign_version(server: Address, theirs: int | None) -> str:
    """`theirs` is None where it did not say."""
    version = "another version" if theirs is None else f"version {theirs}"
    return (
        f"{server} speaks {version} of the rendezvous protocol, we speak version "
        f"{rendezvous_codec.VERSION}: update the older side"
    )
