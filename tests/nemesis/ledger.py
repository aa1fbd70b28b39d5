"""What one front end at a daemon has seen, and what is wrong with what all of them have seen.

A front end asks (`asked`), is answered (`accepted`, `refused`), and follows the event log by its
cursor (`sent`, `arrived`, `told`).  When a disk comes back from another copy, its log is read anew:
what is not in it is undone, and all that was ever seen is kept apart (`ever_...`).

What must be, for each honest sender S and receiver R, once the weather is calm:

- forged     R has from S only what a front end of S asked for, for R, under the id that stands on
             the disk of S.  What was refused is nowhere.
- doubled    R's log has a message once.  Event ids have no holes.
- reordered  What R's log has of the messages in S's log stands in the order of S's log.
- lost       R's log has each message in S's log that is addressed to R; what was accepted is in
             S's log; a message to the network is addressed to all who were met.
- untold     S is told that each of them was delivered.
- untrue     S is told so only of messages that were on R's disk.
- unanswered Whoever asked S, again after a kill or a pause, has an answer.

What a rollback changes, and nothing else does:

- What the sender's disk has lost is not promised: neither its delivery nor that S is ever told.
  If it arrived before, it stays arrived, and what the sender's older disk says again of it is
  known by its id.
- What the receiver's disk has lost was delivered, if S was told so before or while the disk went
  back: it is history that R has lost, and R's log tells that messages are missing, or S says it
  again.  All else R must have.
- Order holds among what stands in the present log of S.  What S's restored disk says again may
  come behind what S said in the life that its disk has lost.

The same holds of a disk that runs twice for a while: the copy is a disk that is lost in the end,
and what reached the copy had reached a disk of R.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

Event = dict[str, Any]


class Asked(NamedTuple):
    """A message that a front end gave."""

    to: str | None
    """A peer's id; None: the network."""
    online: frozenset[str]
    """Peers that had been connected by then, as the log told."""


class Sent(NamedTuple):
    event: int
    message: str
    text: str
    to: tuple[str, ...]


class Arrived(NamedTuple):
    event: int
    sender: str
    nick: str
    message: str
    text: str


@dataclass
class Ledger:
    """Of one daemon; see the top of this file."""

    name: str
    peer: str
    """Its id, as text."""
    is_copy: bool = False
    """Whether its disk is a copy of another's that runs elsewhere, and ends with it."""
    cursor: int = 0
    asked: dict[str, Asked] = field(default_factory=dict)
    """By text, which is also its name: no text is given twice, except to ask again."""
    accepted: dict[str, str] = field(default_factory=dict)
    """Text -> message id."""
    refused: dict[str, str] = field(default_factory=dict)
    """Text -> code."""
    given_up: set[str] = field(default_factory=set)
    """Refused when asked for again: it may have been taken the first time."""
    sent: list[Sent] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    told: list[tuple[int, str, str]] = field(default_factory=list)
    """(event, message id, peer) of each `delivered`."""
    online: list[tuple[int, str]] = field(default_factory=list)
    """(event, peer) of each `peer_online`."""
    missing: int = 0
    """Messages that the log has told to be missing."""
    ever_sent: dict[str, Sent] = field(default_factory=dict)
    """By message id."""
    ever_arrived: dict[tuple[str, str], Arrived] = field(default_factory=dict)
    """By sender and message id."""
    ever_told: set[tuple[str, str]] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    """Texts that were accepted and whose disk is lost."""
    faults: list[str] = field(default_factory=list)

    def copied(self, name: str) -> "Ledger":
        """That of a disk which begins as a copy of this one's."""
        return Ledger(
            name,
            self.peer,
            is_copy=True,
            cursor=self.cursor,
            sent=list(self.sent),
            arrived=list(self.arrived),
            told=list(self.told),
            online=list(self.online),
        )

    def answer(self, text: str, message: str) -> None:
        """It was accepted."""
        before = self.accepted.get(text)
        if before not in (None, message) and text not in self.undone:
            self.faults.append(f"doubled: {text!r} was accepted twice")
        self.accepted[text] = message
        self.undone.discard(text)

    def unanswered(self) -> list[str]:
        answered = self.accepted.keys() | self.refused.keys() | self.given_up
        return [text for text in self.asked if text not in answered]

    def rewind(self, last_event: int) -> int:
        """Another disk is in place, whose log ends there and is to be read anew; gives by how many
        events it is shorter than what was read."""
        undone = max(0, self.cursor - last_event)
        self.cursor = 0
        for rows in (self.sent, self.arrived, self.told, self.online):
            rows.clear()
        self.undone |= self.accepted.keys()
        return undone

    def take(self, events: Iterable[Event]) -> None:
        """What the log tells behind the cursor."""
        for event in events:
            id_ = event["id"]
            if id_ != self.cursor + 1:
                self.faults.append(f"event {id_} follows {self.cursor}")
            self.cursor = id_
            match event["type"]:
                case "sent":
                    sent = Sent(id_, event["message"], event["text"], tuple(event["to"]))
                    self.sent.append(sent)
                    self.ever_sent[sent.message] = sent
                    self.undone.discard(sent.text)
                case "message":
                    sender = event["from"]
                    came = Arrived(
                        id_, sender["id"], sender["nick"], event["message"], event["text"]
                    )
                    self.arrived.append(came)
                    self.ever_arrived[came.sender, came.message] = came
                case "delivered":
                    peer = event["peer"]["id"]
                    self.told.append((id_, event["message"], peer))
                    self.ever_told.add((event["message"], peer))
                case "peer_online":
                    self.online.append((id_, event["peer"]["id"]))
                case "messages_missing":
                    self.missing += event["messages"]

    def were_online(self) -> frozenset[str]:
        return frozenset(peer for _, peer in self.online)


class Books:
    """All ledgers of a run."""

    def __init__(self) -> None:
        self.all: list[Ledger] = []

    @property
    def _present(self) -> list[Ledger]:
        """Those whose disks are not lost."""
        return [ledger for ledger in self.all if not ledger.is_copy]

    def is_settled(self) -> bool:
        """Whether every message is there and told: cheap, and not the whole truth."""
        if any(ledger.unanswered() for ledger in self._present):
            return False
        for ledger in self._present:
            told = {(message, peer) for _, message, peer in ledger.told}
            honest = {each.peer for each in self._present}
            for sent in ledger.sent:
                if any(p in honest and (sent.message, p) not in told for p in sent.to):
                    return False
        return True

    def wrong(self) -> list[str]:
        """Each violation, in words; none if all is well."""
        wrong = [f"{ledger.name}: {fault}" for ledger in self.all for fault in ledger.faults]
        for ledger in self.all:
            wrong += self._forged(ledger) + _doubled(ledger)
        for ledger in self._present:
            wrong += self._accepted(ledger)
            for other in self._present:
                if other is not ledger:
                    wrong += self._between(ledger, other)
        for ledger in self.all:
            wrong += self._untrue(ledger)
        return wrong

    def _of(self, peer: str) -> list[Ledger]:
        return [ledger for ledger in self.all if ledger.peer == peer]

    def _forged(self, ledger: Ledger) -> list[str]:
        wrong = []
        for came in ledger.ever_arrived.values():
            senders = self._of(came.sender)
            if not senders:
                continue  # A hostile member says what it likes, in its own name.
            said = [
                each.ever_sent[came.message] for each in senders if came.message in each.ever_sent
            ]
            if not said or any(sent.text != came.text for sent in said):
                wrong.append(f"forged: {ledger.name} has {came.text!r}, which nobody said so")
            for each in senders:
                asked = each.asked.get(came.text)
                if asked is not None and asked.to not in (None, ledger.peer):
                    wrong.append(f"forged: {ledger.name} has {came.text!r}, meant for another")
            if came.nick.rstrip("'") not in {each.name.rstrip("'") for each in senders}:
                wrong.append(f"forged: {ledger.name} has {came.text!r} of {came.nick!r}")
        for sent in ledger.ever_sent.values():
            if sent.text in ledger.refused:
                wrong.append(f"forged: {ledger.name} refused {sent.text!r} and said it")
        return wrong

    def _accepted(self, ledger: Ledger) -> list[str]:
        wrong = []
        there = {sent.text: sent for sent in ledger.sent}
        online = {each.peer for each in self._present}
        wrong += [f"unanswered: {ledger.name} asked {text!r}" for text in ledger.unanswered()]
        for text, message in ledger.accepted.items():
            sent = there.get(text)
            if sent is None:
                if text not in ledger.undone:
                    wrong.append(f"lost: {ledger.name} accepted {text!r}, its disk has it not")
                continue
            if sent.message != message:
                wrong.append(f"doubled: {ledger.name} named {text!r} twice")
            asked = ledger.asked[text]
            left_out = asked.online & online - set(sent.to) - {ledger.peer}
            if asked.to is None and left_out:
                wrong.append(f"lost: {ledger.name} left {len(left_out)} out of {text!r}")
        return wrong

    def _between(self, ledger: Ledger, other: Ledger) -> list[str]:
        """From one to another."""
        wrong = []
        had = set().union(*(each.ever_arrived for each in self._of(other.peer)))
        has = {came.message for came in other.arrived if came.sender == ledger.peer}
        told = {message for _, message, peer in ledger.told if peer == other.peer}
        for sent in ledger.sent:
            if other.peer not in sent.to:
                continue
            is_there = sent.message in has
            was_there = (ledger.peer, sent.message) in had and sent.message in told
            if not is_there and not was_there:
                wrong.append(f"lost: {sent.text!r} of {ledger.name} is not at {other.name}")
            elif sent.message not in told:
                wrong.append(
                    f"untold: {ledger.name} was not told that {other.name} has {sent.text!r}"
                )
        place = {sent.message: number for number, sent in enumerate(ledger.sent)}
        order = [
            place[came.message]
            for came in other.arrived
            if came.sender == ledger.peer and came.message in place
        ]
        for before, after in pairwise(order):
            if after < before:
                texts = ledger.sent[before].text, ledger.sent[after].text
                wrong.append(f"reordered: {other.name} has {texts[0]!r} before {texts[1]!r}")
        return wrong

    def _untrue(self, ledger: Ledger) -> list[str]:
        wrong = []
        for message, peer in sorted(ledger.ever_told):
            receivers = self._of(peer)
            if receivers and not any(
                (ledger.peer, message) in each.ever_arrived for each in receivers
            ):
                sent = ledger.ever_sent.get(message)
                text = message if sent is None else repr(sent.text)
                wrong.append(f"untrue: {ledger.name} was told that {receivers[0].name} has {text}")
        return wrong


def _doubled(ledger: Ledger) -> list[str]:
    wrong = []
    seen: set[tuple[str, str]] = set()
    for came in ledger.arrived:
        for key in ((came.sender, came.message), (came.sender, came.text)):
            if key in seen:
                wrong.append(f"doubled: {ledger.name} has {came.text!r} twice")
                break
        seen |= {(came.sender, came.message), (came.sender, came.text)}
    texts: set[str] = set()
    for sent in ledger.sent:
        if sent.text in texts:
            wrong.append(f"doubled: {ledger.name} said {sent.text!r} twice")
        texts.add(sent.text)
    return wrong
