"""Why a server is lost, in words for people: what happened, and what to do."""

from dataclasses import replace

from natd.core.base import events
from natd.core.base.surroundings import Surroundings
from natd.core.base.types import Address
from natd.core.base.verdict import judge_servers
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import Error, ErrorCode


def silence_reason(server: Address, *, has_answered: bool, tried: tuple[Address, ...]) -> str:
    """No answer comes; `has_answered`: one did before, from `server`.  `tried` are all addresses
    that were asked."""
    if has_answered:
        return f"{server} has stopped answering"
    return f"no answer from {' or '.join(map(str, tried))}"


def refusal_reason(server: Address, error: Error) -> str:
    """The server refused us; the text comes from it and may hold anything."""
    if error.code is ErrorCode.VERSION:
        return version_reason(server, None)
    return f"{server} refused us: {''.join(char for char in error.text if char.isprintable())}"


def version_reason(server: Address, theirs: int | None) -> str:
    """`theirs` is the version of its protocol; None where the server did not say."""
    ours = rendezvous_codec.VERSION
    older = "the older side" if theirs is None else "this side" if theirs > ours else "the server"
    version = "" if theirs is None else f" (protocol {theirs}, and here it is {ours})"
    return f"{server} speaks another version of natd{version}: update {older}"


def explain_silence(
    lost: events.ServerLost, ours: Surroundings, *, somebody_is_here: bool
) -> events.ServerLost:
    """`lost`, with why no server answers and what would help, unless peers are connected."""
    verdict = judge_servers(
        udp_works=ours.udp_works, is_offline=ours.is_offline, family_missing=ours.family_missing
    )
    reason = lost.reason if somebody_is_here else f"{lost.reason}: {verdict.text}"
    if ours.is_offline:
        reason = verdict.text  # The server has nothing to do with it.
    return replace(lost, reason=reason, code=verdict.code)
