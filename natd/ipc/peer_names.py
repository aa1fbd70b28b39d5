"""Who is meant by a text that names a peer, and which text means one peer and nobody else.

    all 52 characters of an id      its owner, whatever nicks others have
    nick#TAG                        a whole nick, and 4 or more characters of the id's beginning
    #TAG, TAG                       the id's beginning alone
    nick                            a whole nick without #

Everyone chooses their own nick, so a nick may look like somebody's id, or like a nick with a tag.
A text that fits several peers, in whatever ways, is for the caller to refuse; a whole id fits its
owner only, and a nick with # in it is never meant by what others are called.
"""

import re
from collections.abc import Iterable

ID_CHARACTERS = 52
"""Of the text of a peer's id: 32 bytes in base32."""

ID_PREFIX_CHARACTERS = 4
"""Fewer characters of an id could be typed by mistake."""

SHORT_ID_CHARACTERS = 12
"""60 bits: nobody makes an id that begins like another's."""

FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters, says Unicode, with nothing to see."""

_ID = re.compile(r"[a-z2-7]+")


def may_mean(text: str, nick: str, peer_id: str) -> bool:
    """Whether `text` fits a peer of this nick and id."""
    lowered = text.lower() if text.isascii() else ""
    if _is_id(lowered):
        return lowered == peer_id
    named, mark, tag = text.rpartition("#")
    if not mark:
        return text == nick or _begins(peer_id, lowered)
    return named in ("", nick) and _begins(peer_id, tag.lower() if tag.isascii() else "")


def certain_name(nick: str, peer_id: str, others: Iterable[tuple[str, str]]) -> str:
    """What means this peer and none of the `others`, which are (nick, id): `nick#TAG` where that
    can be typed and does, else as much of the id as it takes.  It needs no quotes in a chat."""
    known = [other for other in others if other[1] != peer_id]
    names = [peer_id[:SHORT_ID_CHARACTERS]]
    if _can_be_typed(nick):
        names.insert(0, f"{nick}#{peer_id[:ID_PREFIX_CHARACTERS]}")
    for name in names:
        if may_mean(name, nick, peer_id) and not any(may_mean(name, *each) for each in known):
            return name
    return peer_id


def _can_be_typed(nick: str) -> bool:
    """Only letters and digits that are seen, and what joins them."""
    is_plain = all(each.isalnum() or each in "._-" for each in nick)
    return is_plain and nick[:1].isalnum() and not set(nick) & FILLERS


def _is_id(lowered: str) -> bool:
    return len(lowered) == ID_CHARACTERS and _ID.fullmatch(lowered) is not None


def _begins(peer_id: str, lowered: str) -> bool:
    return len(lowered) >= ID_PREFIX_CHARACTERS and peer_id.startswith(lowered)
