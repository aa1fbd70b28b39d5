"""Why there is no path yet and what would help: one sentence for people.

What the two NATs are known to do comes first, for that will not change by waiting; then what was
heard of the peer.
"""

from natd.core.types import NatReport


def verdict(ours: NatReport, theirs: NatReport, *, heard: bool) -> str:
    """`heard`: whether anything of the peer's has arrived in this attempt."""
    help_text = "a forwarded port, port mapping on the router or IPv6 on either side would help"
    if ours.is_hard and theirs.is_hard:
        return (
            "both NATs use another port for every destination, so neither side can tell the "
            f"other where to send: {help_text}"
        )
    if ours.is_hard or theirs.is_hard:
        whose = "our" if ours.is_hard else "the peer's"
        return (
            f"{whose} NAT uses another port for every destination and the other side lets in "
            f"only what it has sent to: {help_text}"
        )
    if heard:
        return (
            "the peer's packets arrive here but ours do not get through to it: "
            f"its NAT or firewall refuses them; {help_text}"
        )
    return (
        "no packet of the peer's arrives here: it may have gone, or a firewall between the two "
        f"blocks UDP; {help_text}"
    )
