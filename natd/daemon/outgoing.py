"""A message on its way out: accepted once, followed to its recipients, or refused for nobody.

    name ─► accepted before? ─► answered as it stands now
                  │ no
                  ▼
            recipients ─► on disk, with its name ─► accepted ─► `wait_s`: delivered

A request under a name that was given before sends nothing, whatever has become of its recipients.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from natd.control.command_table import Json, Later
from natd.core.base.types import MESSAGES_KEPT_DAYS, PRIVATE, TEXT, PeerId, peer_id_text
from natd.host.errors import CommandError
from natd.members.parts import Parts
from natd.storage.address_book import JoinedNetwork, KnownPeer, full_name
from natd.storage.asked import Asking, Name, asking, name_of
from natd.storage.delivery import Delivery
from natd.storage.store import StoreError

NOT_SAVED = "the message was not saved"

Choose = Callable[[JoinedNetwork, object], tuple[list[KnownPeer], bool]]
"""From the network and `to`: whom a message is for, and whether it stays open for others."""


class Outgoing:
    """The request `send`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def send(
        self, network: JoinedNetwork, text: str, request: Json, wait_s: float | None, choose: Choose
    ) -> Json | Later:
        """What goes under `ok`; CommandError, StoreError.  The message is submitted to the store
        before anything is waited for."""
        to = request.get("to")
        name = name_of(network.id, request.get("client", ""), request.get("id"))
        asked = None if name is None else asking(name, text, to)
        peers: list[KnownPeer] = []
        try:
            message = None if asked is None else await self._on_the_way(asked)
            if message is None:
                peers, is_open = choose(network, to)
                message = await self._accept(network, text, to, peers, is_open, asked)
        except (CommandError, StoreError):
            # It was accepted when nothing was in its way.
            message = None if asked is None else await self._parts.mailbox.asked.find(asked)
            if message is None:
                raise
        if asked is None or asked.before is None:
            missing = [known.peer for known in peers]
            if wait_s is None:
                return _told(network, message, (), missing)
            delivery = Delivery(missing)
            return Later(self._delivered(network, message, delivery, wait_s, None))
        if wait_s is None:
            return _told(network, message, *await self._parts.mailbox.asked.recipients(asked.name))
        return Later(self._delivered(network, message, Delivery(None), wait_s, asked.name))

    async def _on_the_way(self, asked: Asking) -> str | None:
        coming = self._parts.mailbox.asked.on_the_way(asked)
        return None if coming is None else await coming

    def _accept(
        self,
        network: JoinedNetwork,
        text: str,
        to: object,
        peers: Sequence[KnownPeer],
        is_open: bool,
        asked: Asking | None,
    ) -> "asyncio.Future[str]":
        parts, kind = self._parts, TEXT if to is None else PRIVATE
        membership = parts.node.membership(network.id)
        if membership is not None and kind == PRIVATE:
            membership.roster.want(peers[0].peer, is_addressed=True, now=time.monotonic())
        own = {"nick": network.nick, "id": peer_id_text(parts.identity.peer)}
        ids = [known.id_text for known in peers]
        return parts.mailbox.accept(
            network.id,
            [known.peer for known in peers],
            text=text,
            nick=network.nick,
            is_open=is_open,
            kind=kind,
            fields={"network": network.name, "kind": kind, "text": text, "to": ids, "from": own},
            asking=asked,
        )

    async def _delivered(
        self,
        network: JoinedNetwork,
        message: str,
        delivery: Delivery,
        wait_s: float,
        name: Name | None,
    ) -> Json:
        """`name`: of a message that was accepted before."""
        mailbox = self._parts.mailbox
        try:
            async with asyncio.timeout(wait_s):
                with mailbox.following(message, delivery):
                    if name is not None:
                        delivery.know(*await mailbox.asked.recipients(name))
                    await delivery.done
        except TimeoutError:
            missing = sorted(self._name(network, peer) for peer in delivery.missing)
            raise CommandError(
                "not_delivered",
                f"not delivered to {', '.join(missing) or 'anybody'} within {wait_s:g} s",
                "it is saved, and natd goes on trying for 7 days; natctl peers says more",
            ) from None
        return _told(network, message, delivery.delivered, ())

    def _name(self, network: JoinedNetwork, peer: PeerId) -> str:
        known = self._parts.book.peer(network.id, peer)
        return peer_id_text(peer) if known is None else full_name(known)


def nobody_here(network: JoinedNetwork, peers: Sequence[KnownPeer]) -> CommandError:
    """`peers`: all that are known there; none of them can be addressed."""
    name, counted = network.name, "the only peer" if len(peers) == 1 else f"all {len(peers)} peers"
    if not peers:
        text = f"nobody else is in {name} yet"
        hint = f"{NOT_SAVED}; `natctl wait` waits until a peer is connected"
    elif all(known.is_blocked for known in peers):
        text = f"{counted} of {name} you have blocked"
        hint = f"{NOT_SAVED}; `natctl block --undo PEER` takes it back"
    elif not any(known.may_hear_us for known in peers):
        text = f"{counted} of {name} you have blocked, or their key is in doubt"
        hint = f"{NOT_SAVED}; `natctl status` says whose key, and what to do"
    else:
        text = f"no peer of {name} has been seen for {MESSAGES_KEPT_DAYS} days"
        hint = f"{NOT_SAVED}; `natctl send --to PEER TEXT` waits for one of them"
    return CommandError("nobody_here", text, hint)


def _told(
    network: JoinedNetwork, message: str, delivered: Iterable[PeerId], queued: Iterable[PeerId]
) -> Json:
    return {
        "message": message,
        "network": network.name,
        "accepted": True,
        "delivered": [peer_id_text(peer) for peer in delivered],
        "queued": [peer_id_text(peer) for peer in queued],
    }
