"""Where others see this machine, as `status` and `doctor` tell it."""

from collections.abc import Collection, Sequence

from natd.core.base.scope import is_public
from natd.core.base.types import ANY_HOST, Address, Mapping
from natd.core.base.verdict import Verdict, VerdictCode
from natd.doctor.nat_words import router_words
from natd.members.parts import Parts
from natd.net.network_interfaces import local_addresses
from natd.storage.address_book import JoinedNetwork


def judge_sightings(parts: Parts, network: JoinedNetwork) -> Verdict | None:
    """That servers see us at an address that means nothing elsewhere, once it has kept a peer of
    this network from us."""
    if any(is_public(address.host) for address in parts.node.nat.observed()):
        return None
    verdicts = (view.verdict for view in parts.views(network.id))
    blind = (v for v in verdicts if v and v.code is VerdictCode.SERVER_SEES_PRIVATE)
    return next(blind, None)


def global_ipv6() -> Sequence[str]:
    """This machine's own IPv6 addresses that mean the same everywhere."""
    return [host for host in local_addresses() if ":" in host and is_public(host)]


def own_router_words(parts: Parts) -> str:
    """What our router does, for people who have never heard of NAT."""
    nat = parts.node.nat
    is_inside = not any(is_public(address.host) for address in nat.observed())
    if nat.report().mapping is Mapping.OPEN and is_inside:
        return "none between this machine and the server"
    return router_words(nat.report())


def seen_words(parts: Parts) -> str:
    """For the end of a sentence about our router; empty while no server has answered."""
    nat = parts.node.nat
    places = [str(address) for address in nat.observed()]
    if not places:
        return ""
    if not any(is_public(address.host) for address in nat.observed()):
        return f"; the server sees you at {', '.join(places)}, a private address"
    if nat.is_seen_at_several:
        places = [str(address) for address in nat.observed() if not address.is_ipv6]
    if len(places) < 2 or not nat.is_seen_at_several:
        return f"; others see you at {', '.join(places)}"
    listed = " and ".join((", ".join(places[:-1]), places[-1]))
    count = "two" if len(places) == 2 else "several"
    return f"; you are seen at {count} addresses, {listed}, and peers try them all"


def second_router_words(externals: Collection[Address], observed: Collection[Address]) -> str:
    """For the end of the same sentence: `externals` are the addresses that our router says are its
    own.  Where others see us at a public one and it has none, another router stands behind it."""
    hosts = {address.host for address in externals} - {ANY_HOST}
    if not hosts or any(map(is_public, hosts)):
        return ""
    if not any(is_public(address.host) for address in observed):
        return ""
    own = ", ".join(sorted(hosts))
    return f"; there are two routers in a row: the near one's own address, {own}, is not public"
