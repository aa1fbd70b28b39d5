"""The servers of one network: a registration at each, and their news merged.

    registration ─► servers ─┬─► ServerAnswered, ServerLost, …   for the world
                             ├─► Introduced, SocketSampled       for peers
                             └─► OurAddressMoved                 every peer is tried again

Rules:
- Each address that was given has a registration, and each family of a name's addresses has one.
- Registrations are independent of each other; an observation by any server counts for all.
- What a server says is a hint.  A server that introduces a peer without the network's secret is
  reported, and still used.
- Only the registration that an input was for is drained.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random

from natd.core.base import events
from natd.core.base.routes import RENDEZVOUS, RouteAdded, RouteDropped
from natd.core.base.surroundings import Surroundings
from natd.core.base.timers import TimerQueue, WallClock
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Datagram,
    NamedServer,
    NetworkId,
    PeerId,
    SocketId,
)
from natd.core.base.verdict import Verdict
from natd.core.base.wishes import IntroductionWanted
from natd.core.checks.meetings import Meetings
from natd.core.codec.rendezvous import PREFIX_BYTES, TRANSACTION_AT
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.nat.allocation_survey import Survey, survey_places
from natd.core.nat.model import NatModel
from natd.core.registration.events import (
    ConnectUnanswered,
    Introduced,
    OurAddressMoved,
    OwnCardSeen,
    PeerAbsent,
    SocketSampled,
)
from natd.core.registration.filter_probes import Probed
from natd.core.registration.filter_probing import Probing
from natd.core.registration.places import ServerKey, doubtful_hosts, each_once
from natd.core.registration.registration import Registration

SAMPLE_PORTS = 3
"""So many ports after a server's own belong to the server and are never a peer."""

SUSPICION_S = 60.0
"""At most one warning in this time."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """How we stand with one server."""

    address: Address
    state: str
    rtt_s: float | None
    last_answer_at: float | None
    observed: Address | None
    name: str | None = None
    """The name that it was found by; None: an address was given."""
    tried: tuple[Address, ...] = ()
    """All addresses that the name has, of the same family."""
    is_narrow: bool = False  # whether the path to it carries less than sessions need
    refusal: Verdict | None = None
    """Why it does not let us register; None: it does, or is silent."""


ServersEvent = (
    events.Event
    | RouteAdded
    | RouteDropped
    | Introduced
    | OwnCardSeen
    | PeerAbsent
    | ConnectUnanswered
    | SocketSampled
    | OurAddressMoved
)


class Servers:
    """See the top of this file."""

    def __init__(
        self,
        network: NetworkId,
        membership: MembershipKey,
        identity: Identity,
        nat: NatModel,
        random: Random,
        clock: WallClock,
        meetings: Meetings,
        now: float,
    ) -> None:
        self.is_registered = False
        """Whether a server introduces members to us, so that no greetings are needed."""
        self.timers: TimerQueue[Registration | Survey | Probing] = TimerQueue()
        """When to call `handle_timer`; also for samples that the NAT model wants."""
        self.silenced_by: Address | None = None
        """The server that was the last to fall silent; None while one answers."""
        self._network, self._membership = network, membership
        self._identity, self._nat = identity, nat
        self._random, self._clock, self._meetings = random, clock, meetings
        self.dropped: Counter[str] = Counter()
        """Dropped by registrations that have ended."""
        self._registrations: dict[ServerKey, Registration] = {}
        self._listed = False
        self._suspected_until = now
        self._survey, self._probing = Survey(), Probing(nat)
        self._datagrams: list[Datagram] = []
        self._events: deque[ServersEvent] = deque()

    # --- inputs

    def use(
        self,
        servers: Iterable[Address | NamedServer],
        sealed_card: bytes,
        sequence: int,
        now: float,
    ) -> None:
        """Register with these servers and no others."""
        wanted = each_once(servers)
        for server in [each for each in self._registrations if each not in wanted]:
            self._stop_registration(self._registrations.pop(server))
        for server, addresses in wanted.items():
            if (known := self._registrations.get(server)) is not None:
                known.use_addresses(addresses, now)
                self._take_news(known, now)
                continue
            prefix = self._random.randbytes(PREFIX_BYTES)
            registration = Registration(
                network=self._network,
                membership=self._membership,
                identity=self._identity,
                server=addresses[0],
                others=addresses[1:],
                prefix=prefix,
                lifetimes=self._nat.lifetimes,
                random=self._random,
                clock=self._clock,
                meetings=self._meetings,
            )
            self._registrations[server] = registration
            self._events.append(RouteAdded(RENDEZVOUS + prefix))
            registration.start(sealed_card, sequence, now)
            self._take_news(registration, now)

    def renew_card(self, sealed_card: bytes, sequence: int, now: float) -> None:
        """Our card has changed."""
        for registration in self._registrations.values():
            registration.renew_card(sealed_card, sequence, now)
            self._take_news(registration, now)

    def network_changed(self, sealed_card: bytes, sequence: int, now: float) -> None:
        """Our interfaces have changed, and our card with them."""
        self._probing.clear()
        self.timers.set(self._probing, None)
        for registration in self._registrations.values():
            registration.renew_card(sealed_card, sequence, now)
            registration.network_changed(now)
            self._take_news(registration, now)

    def connect(self, peer: PeerId, wanted: IntroductionWanted, now: float) -> None:
        """Ask all servers for another introduction, with our freshest samples."""
        wanted = replace(wanted, samples=wanted.samples or self._nat.samples())
        for registration in self._registrations.values():
            registration.connect(peer, wanted, now)
            self._take_news(registration, now)

    def sample(self, socket: SocketId, now: float) -> None:
        """Ask one server port to which `socket` has no flow where it sees `socket`."""
        for registration in self._registrations.values():
            if registration.state == "registered":
                registration.sample(socket, now)
                self._take_news(registration, now)
                break

    def receive_datagram(self, data: bytes, address: Address, socket: SocketId, now: float) -> None:
        """A datagram of a server, routed by the prefix of its transaction."""
        prefix = data[TRANSACTION_AT : TRANSACTION_AT + PREFIX_BYTES]
        for registration in self._registrations.values():
            if registration.prefix == prefix:
                registration.receive_datagram(data, address, now, socket)
                if registration.last_answer_at == now:
                    self._nat.answers.heard(address.host, now)
                self._take_news(registration, now)
                return

    def suspect(self, server: Address | PeerId, now: float) -> None:
        """Warn that a server introduced a peer without our secret, at most once in `SUSPICION_S`:
        anybody who sees our registrations can forge such introductions.  A mutual peer has it."""
        if isinstance(server, Address) and now >= self._suspected_until:
            self._suspected_until = now + SUSPICION_S
            self._events.append(
                events.ServerSuspected(
                    self._network,
                    server,
                    f"{server} introduced a peer that does not know this network's secret: the "
                    "server, or somebody registered there, may be trying to get in",
                )
            )

    def stop(self) -> None:
        """Leave all servers."""
        for registration in self._registrations.values():
            self._stop_registration(registration)
        self._registrations.clear()

    def observe_by_peer(
        self, socket: SocketId, peer: Address, observed: Address | None, now: float
    ) -> None:
        """A peer at this address has answered, and may say that it sees `socket` as `observed`."""
        self._nat.answers.heard(peer.host, now)
        if observed is None:
            return
        self._nat.observe_by_peer(socket, peer, observed, now)
        if self._nat.take_question(socket):
            self.sample(socket, now)

    def handle_timer(self, now: float) -> None:
        due = self.timers.due(now)
        self._survey.handle_timer(now)
        self.timers.set(self._survey, self._survey.get_timer())
        self._begin_survey(now)
        for registration in self._probing.handle_timer(self._registrations.values(), now):
            self._take_news(registration, now)
        self.timers.set(self._probing, self._probing.next_at)
        for each in due:
            if isinstance(each, Registration):
                each.handle_timer(now)
                self._take_news(each, now)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def next_event(self) -> ServersEvent | None:
        return self._events.popleft() if self._events else None

    def reports(self) -> tuple[ServerReport, ...]:
        return tuple(
            ServerReport(
                r.server,
                r.state,
                r.rtt_s,
                r.last_answer_at,
                r.observed,
                server.name,
                r.places.all,
                r.transactions.is_narrow,
                r.refusal,
            )
            for server, r in self._registrations.items()
        )

    @property
    def all_dropped(self) -> Counter[str]:
        """Datagrams of servers that were dropped, by reason."""
        return sum((each.dropped for each in self._registrations.values()), Counter(self.dropped))

    @property
    def sockets(self) -> frozenset[SocketId]:
        """The sockets besides the main one that servers are asked from."""
        probed = self._probing.socket
        return frozenset(self._survey.sockets).union(() if probed is None else (probed,))

    @property
    def are_silent(self) -> bool:
        """Whether all servers have been asked for long enough, and none answers: one that refuses
        us does answer."""
        states = {r.state if r.refusal is None else "refused" for r in self._registrations.values()}
        return states == {"lost"}

    def surroundings(self, now: float) -> Surroundings:
        servers = {
            Address(address.host, address.port + offset)
            for registration in self._registrations.values()
            for address in (*registration.places.all, registration.sampling.other)
            if address is not None
            for offset in range(SAMPLE_PORTS + 1)
        }
        everyone = self._registrations.values()
        hosts = {server.host for server in servers}
        rtts_s = [r.rtt_s for r in everyone if r.rtt_s is not None]
        refusals = [r.refusal for r in everyone if r.refusal and not self.is_registered]
        sampled_at = [at for r in everyone if (at := r.sampling.began_at) is not None]
        return Surroundings(
            self._nat.observed(),
            frozenset(servers),
            self._nat.report(),
            min(rtts_s, default=None),
            is_registered=self.is_registered,
            servers_are_silent=self.are_silent,
            refusal=refusals[0] if refusals else None,
            udp_works=self._nat.answers.other_than(hosts, now) is not None,
            inside=self._nat.inside,
            has_address_pool=self._nat.has_address_pool,
            is_sampling=any(r.sampling.is_awaited for r in everyone),
            sampled_at=max(sampled_at, default=None),
            doubtful=doubtful_hosts({key: r.places for key, r in self._registrations.items()}),
        )

    # --- private

    def _take_news(self, registration: Registration, now: float) -> None:
        """Drain a registration; called after every input to it."""
        self._datagrams += registration.datagrams_to_send()
        asked_all = False
        while (event := registration.next_event()) is not None:
            match event:
                case Probed():
                    for asked_too in self._probing.heard(registration, event):
                        self._take_news(asked_too, now)
                case SocketSampled():
                    self._take_sample(registration, event, now)
                case events.ServerAnswered(observed=observed):
                    self.silenced_by = None
                    self._nat.filters.plan(now)
                    self._events.append(event)
                    asked_all = self._observe(
                        registration, MAIN_SOCKET, registration.server, observed, now
                    )
                case OurAddressMoved():
                    if not asked_all:
                        self._sample_all(registration, MAIN_SOCKET, SAMPLE_PORTS, now)
                    self._events.append(event)
                case events.ServerLost() if self._answers_otherwise(registration):
                    pass  # An IPv6 that never worked is no news of a server that is there.
                case events.ServerLost(server=server):
                    is_silence = registration.refusal is None and self.are_silent
                    self.silenced_by = server if is_silence else None
                    self._events.append(event)
                case events.MembersListed():
                    if not self._listed:
                        self._listed = True
                        self._events.append(event)
                case ConnectUnanswered(_, asked_at) if self._has_answered_since(asked_at):
                    pass
                case Introduced() | OwnCardSeen() | PeerAbsent() | ConnectUnanswered():
                    self._events.append(event)
            self._datagrams += registration.datagrams_to_send()
        self.timers.set(registration, registration.get_timer())
        self._count_registered()

    def _has_answered_since(self, at: float) -> bool:
        return any((r.last_answer_at or -1.0) >= at for r in self._registrations.values())

    def _answers_otherwise(self, silent: Registration) -> bool:
        """Whether a server that never answered by this family does so by the other."""
        names = {r: key.name for key, r in self._registrations.items()}
        return silent.last_answer_at is None and any(
            r.state == "registered" and name is not None and name == names.get(silent)
            for r, name in names.items()
        )

    def _stop_registration(self, registration: Registration) -> None:
        registration.stop()
        self.dropped += registration.dropped
        self._datagrams += registration.datagrams_to_send()
        self.timers.set(registration, None)
        self._count_registered()
        self._events.append(RouteDropped(RENDEZVOUS + registration.prefix))

    def _take_sample(self, registration: Registration, sampled: SocketSampled, now: float) -> None:
        socket, observed, place = sampled.socket, sampled.observed, sampled.server_address
        lease = registration.observed if socket == MAIN_SOCKET else None
        poisoned = lease is not None and self._nat.is_poisoned(lease, observed)
        self._observe(registration, socket, place, observed, now)
        # Behind a NAT that maps by address another host's sample tells nothing of the lease.
        if place.host == registration.server.host:
            self._events.append(replace(sampled, poisoned=poisoned))

    def _observe(
        self,
        registration: Registration,
        socket: SocketId,
        destination: Address,
        observed: Address,
        now: float,
    ) -> bool:
        """Give an observation to the NAT model; True if all ports of the server are asked again."""
        self._nat.observe(socket, destination, observed, now)
        self._begin_survey(now)
        if self._nat.take_doubt() is None:
            return False
        self._sample_all(registration, MAIN_SOCKET, SAMPLE_PORTS, now)
        return True

    def _begin_survey(self, now: float) -> None:
        """Send the survey to the first server that is not lost."""
        asked = [r for r in self._registrations.values() if r.state != "lost"]
        if not asked or not (sockets := self._nat.take_survey(now)):
            return
        self._survey.begin(sockets, now)
        self.timers.set(self._survey, self._survey.get_timer())
        for socket in sockets:
            self._sample_all(asked[0], socket, survey_places(self._nat.report()), now)
        self._datagrams += asked[0].datagrams_to_send()
        self.timers.set(asked[0], asked[0].get_timer())

    def _count_registered(self) -> None:
        self.is_registered = any(r.state == "registered" for r in self._registrations.values())

    def _sample_all(self, asked: Registration, socket: SocketId, places: int, now: float) -> None:
        for _ in range(places):
            asked.sample(socket, now)
