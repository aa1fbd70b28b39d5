"""Why a server is lost, in words for people: what happened, and what to do."""

from dataclasses import replace

from natd.core.base import events
from natd.core.base.surroundings import Surroundings
from natd.core.base.types import Address, NetworkId
from natd.core.base.verdict import Help, Verdict, VerdictCode, judge_servers
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import REGISTER_MINIMUM_BYTES, Error, ErrorCode

_ADVICE: dict[int, str] = {
    ErrorCode.FULL: "try again later, or use another server",
    ErrorCode.NETWORK_FULL: "a member has to leave it first, or use another server",
    ErrorCode.SOURCE_FULL: "others behind your address use this server; use another one",
}
"""What to do where there is no place."""


def silence_reason(server: Address, *, has_answered: bool, tried: tuple[Address, ...]) -> str:
    """No answer comes; `has_answered`: one did before, from `server`.  `tried` are all addresses
    that were asked."""
    if has_answered:
        return f"{server} has stopped answering"
    return f"no answer from {' or '.join(map(str, tried))}"


def lost(network: NetworkId, server: Address, why: Verdict | str) -> events.ServerLost:
    """A text tells of a silence, whose meaning others know."""
    if isinstance(why, str):
        return events.ServerLost(network, server, why)
    return events.ServerLost(network, server, why.text, why.code)


def refused(server: Address, error: Error) -> Verdict:
    """The server refused us; the text comes from it and may hold anything."""
    if error.code == ErrorCode.VERSION:
        return other_version(server, None)
    said = "".join(char for char in error.text if char.isprintable()).rstrip(" .!?")
    advice = _ADVICE.get(error.code, "")
    return Verdict(VerdictCode.SERVER_REFUSES, f"{server} refused us: {said}", (), advice)


def other_version(server: Address, theirs: int | None) -> Verdict:
    """`theirs` is the version of its protocol; None where the server did not say."""
    ours = rendezvous_codec.VERSION
    kind, advice = "another", "update the older side"
    if theirs is not None:
        kind = "a newer" if theirs > ours else "an older"
        advice = "update natd here" if theirs > ours else "update the server"
    versions = "" if theirs is None else f" (protocol {theirs}, and here it is {ours})"
    return Verdict(
        VerdictCode.OTHER_VERSION,
        f"{server} speaks {kind} version of natd{versions}",
        (Help.UPDATE,),
        advice,
    )


def too_narrow(server: Address) -> Verdict:
    """The server answers small packets and no REGISTER, whose least size is told with the headers
    of UDP and IP."""
    size = REGISTER_MINIMUM_BYTES + (48 if server.is_ipv6 else 28)
    return Verdict(
        VerdictCode.PATH_TOO_NARROW,
        f"{server} answers small packets, but the path to it carries none of {size:,} bytes, "
        "which natd needs",
        (Help.LARGER_MTU,),
    )


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
