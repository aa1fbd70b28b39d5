"""Sentences about a disk that went back, and about an identity that is used twice."""


def copy_words(server: str, seen: str) -> str:
    """Another daemon has our identity, as far as this server can be believed."""
    place = seen or "an unknown address"
    return (
        f"another daemon seems to use this one's identity: {server} sees it at {place}; was the "
        "state directory, or the whole machine, copied? The two take turns, so messages wait"
    )


def older_words(teller: str, seen: str) -> str:
    """Our own earlier life was further than our disk; `seen`: from where, empty if nobody knows."""
    place = f", from {seen}," if seen else ""
    return (
        f"{teller} knew a newer card of this daemon{place} than its state directory: the "
        "directory was restored from an older copy, or a copy of it runs on another machine"
    )


def restored_words(peer: str) -> str:
    """Why a peer has messages of ours that our disk does not know."""
    return (
        f"{peer} has messages from this daemon that its state directory does not know: the "
        "directory was restored from an older copy, or a copy of it runs on another machine"
    )


def missing_words(count: int, peer: str) -> str:
    """Of messages that a peer can't give any more."""
    what, they = (f"{count} messages", "they") if count > 1 else ("a message", "it")
    are = "are" if count > 1 else "is"
    return (
        f"{what} of {peer} {are} not here and will not come again: {they} had waited for seven "
        "days, or had arrived before the state directory was restored"
    )
