"""What a line typed into the chat means.

    text            said to the network
    /msg bob text   said to one peer
    /word ...       a command; `//word` says `/word ...`

Pure: text in, one command out.  A line that means nothing is a command too, the one that tells
its writer what was expected.
"""

import difflib
from dataclasses import dataclass

COMMANDS = {
    "help": ("/help", "this list"),
    "peers": ("/peers", "who is here, how connected, how far away"),
    "msg": ("/msg PEER TEXT", "send TEXT to one peer only"),
    "ping": ("/ping PEER", "measure the round trip to a peer"),
    "quit": ("/quit", "close the chat; natd keeps running"),
}
"""Word → how it is typed, what it does; in the order in which /help lists them."""


@dataclass(frozen=True, slots=True)
class Say:
    text: str
    to: str | None = None
    """None: the network; else the peer as it was typed: a nick, nick#tag or part of an id."""


@dataclass(frozen=True, slots=True)
class ShowHelp:
    pass


@dataclass(frozen=True, slots=True)
class ShowPeers:
    pass


@dataclass(frozen=True, slots=True)
class Ping:
    peer: str


@dataclass(frozen=True, slots=True)
class Quit:
    pass


@dataclass(frozen=True, slots=True)
class Misunderstood:
    text: str
    """One line: what was wrong, what was expected."""


Command = Say | ShowHelp | ShowPeers | Ping | Quit | Misunderstood


def understood(typed: str) -> Command | None:
    """The command that `typed` is; None for a blank line."""
    if not typed.strip():
        return None
    if not typed.startswith("/"):
        return Say(typed)
    if typed.startswith("//"):
        return Say(typed[1:])
    word, _, rest = typed[1:].partition(" ")
    word, rest = word.strip().lower(), rest.strip()
    if word == "msg":
        peer, _, text = rest.partition(" ")
        return Say(text.strip(), peer) if text.strip() else _usage(word)
    if word == "ping":
        return Ping(rest) if rest and " " not in rest else _usage(word)
    if word not in COMMANDS:
        return _unknown(word)
    if rest:
        return _usage(word)
    simple: dict[str, Command] = {"help": ShowHelp(), "peers": ShowPeers(), "quit": Quit()}
    return simple[word]


def as_typed(text: str, to: str | None) -> str:
    """The line that `understood` takes for this: what was meant for one peer stays so."""
    if to is not None:
        return f"/msg {to} {text}"
    return f"/{text}" if text.startswith("/") else text


def completed(typed: str, names: list[str]) -> str:
    """`typed` (up to the cursor) with its last word completed as far as it is certain.

    A first word after a slash is a command, every other one may be one of `names`.
    """
    head, space, word = typed.rpartition(" ")
    if not word:
        return typed
    if typed.startswith("/") and not space:
        found, end = [f"/{name}" for name in COMMANDS], " "
    else:
        found, end = names, " " if head.startswith("/") else ("" if space else ": ")
    fitting = [name for name in found if name.lower().startswith(word.lower())]
    if not fitting:
        return typed
    if len(fitting) == 1:
        return head + space + fitting[0] + end
    shared = _shared_start(fitting)
    return head + space + shared if len(shared) > len(word) else typed


def _shared_start(names: list[str]) -> str:
    first, last = min(names), max(names)
    length = 0
    while length < len(first) and first[length] == last[length : length + 1]:
        length += 1
    return first[:length]


def _usage(word: str) -> Misunderstood:
    return Misunderstood(f"usage: {COMMANDS[word][0]}")


def _unknown(word: str) -> Misunderstood:
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    guess = f"did you mean /{near[0]}? " if near else ""
    return Misunderstood(
        f"there is no command /{word}: {guess}/help lists them; //{word} sends it as text"
    )
