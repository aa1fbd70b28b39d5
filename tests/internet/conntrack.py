"""Linux as a NAT: nftables masquerade on a table of flows, as the kernel does it.

After net/netfilter/nf_nat_core.c and nf_conntrack_proto_udp.c.  A flow has two tuples:

    original  source -> destination             as the first packet came
    reply     destination -> translated source  as an answer would come

A new outbound flow takes the translated port of the newest flow from the same source
(`find_appropriate_src`) unless the reply tuple that this makes is taken; then its own port;
then a random one.  An inbound packet that fits no flow makes one of its own where INPUT
accepts it, and that flow's original tuple is just the reply tuple that our punch to the same
peer would need: the *clash*, and the poisoning that follows from it.
"""

from dataclasses import dataclass
from random import Random

from natd.core.base.types import Address
from tests.internet.nat import Nat, NatPolicy, Ports

CONNTRACK_TIMEOUT_S = 30.0
"""Default of nf_conntrack_udp_timeout: a flow with no answer yet, or a young one."""

CONNTRACK_STREAM_TIMEOUT_S = 120.0
"""Default of nf_conntrack_udp_timeout_stream: answered, and active 2 s after its start."""

CONNTRACK_STREAM_AFTER_S = 2.0

CONNTRACK_ATTEMPTS = 128
"""Ports that the kernel tries from one random start before it halves and starts again."""

_Tuple = tuple[Address, Address]


@dataclass(slots=True, eq=False)
class _Flow:
    original: _Tuple
    reply: _Tuple
    made_at: float
    expires_at: float
    answered: bool = False


class ConntrackNat(Nat):
    """nftables `masquerade`, plain or `random`, with INPUT accepting or dropping."""

    def __init__(self, policy: NatPolicy, addresses: tuple[str, ...], random: Random) -> None:
        super().__init__(policy, addresses, random)
        self._flush()

    def _flush(self) -> None:
        self._tuples: dict[_Tuple, _Flow] = {}
        self._by_source: dict[Address, list[_Flow]] = {}

    def outbound(self, source: Address, destination: Address, now: float) -> Address | None:
        flow = self._find((source, destination), now)
        if flow is None:
            external = self._translated(source, destination, now)
            reply = (destination, external)
            if not self._has_room(now) or self._find(reply, now) is not None:
                return None
            flow = self._confirm((source, destination), reply, now)
        self._refresh(flow, (source, destination), now)
        return flow.reply[1]

    def inbound(self, source: Address, destination: Address, now: float) -> Address | None:
        flow = self._find((source, destination), now)
        if flow is None:
            if self.policy.accepts_early_inbound and self._has_room(now):
                self._confirm((source, destination), (destination, source), now)
            return None
        self._refresh(flow, (source, destination), now)
        if flow.reply == (source, destination):
            return flow.original[0]
        return None

    def _translated(self, source: Address, destination: Address, now: float) -> Address:
        """`get_unique_tuple` of nf_nat_core.c for a source under masquerade."""
        low, high = self.policy.port_range
        host = self.addresses[0]
        if self.policy.ports is not Ports.RANDOM:
            for flow in reversed(self._by_source.get(source, [])):
                if flow.expires_at <= now:
                    continue
                known = flow.reply[1]
                if known.host == host and low <= known.port <= high:
                    if self._find((destination, known), now) is None:
                        return known
                    break
            own = Address(host, source.port)
            if low <= own.port <= high and self._find((destination, own), now) is None:
                return own
        size = high - low + 1
        attempts = min(size, CONNTRACK_ATTEMPTS)
        while True:
            start = self._random.getrandbits(16)
            for offset in range(attempts):
                candidate = Address(host, low + (start + offset) % size)
                if self._find((destination, candidate), now) is None:
                    return candidate
            if attempts >= size or attempts < 16:
                return candidate
            attempts //= 2

    def _find(self, packet: _Tuple, now: float) -> _Flow | None:
        flow = self._tuples.get(packet)
        if flow is not None and flow.expires_at <= now:
            self._forget(flow)
            return None
        return flow

    def _has_room(self, now: float) -> bool:
        if len(self._tuples) < 2 * self.policy.capacity:
            return True
        for flow in {id(f): f for f in self._tuples.values() if f.expires_at <= now}.values():
            self._forget(flow)
        return len(self._tuples) < 2 * self.policy.capacity

    def _confirm(self, original: _Tuple, reply: _Tuple, now: float) -> _Flow:
        flow = _Flow(original, reply, now, now + CONNTRACK_TIMEOUT_S)
        self._tuples[original] = flow
        self._tuples[reply] = flow
        self._by_source.setdefault(original[0], []).append(flow)
        self.entries_made += 1
        return flow

    def _refresh(self, flow: _Flow, packet: _Tuple, now: float) -> None:
        if packet == flow.reply:
            flow.answered = True
        stream = flow.answered and now - flow.made_at > CONNTRACK_STREAM_AFTER_S
        # policy.timeout_s scales the stream's timeout so that a short-lived NAT can be had.
        stream_s = min(CONNTRACK_STREAM_TIMEOUT_S, self.policy.timeout_s)
        flow.expires_at = now + (stream_s if stream else min(stream_s, CONNTRACK_TIMEOUT_S))

    def _forget(self, flow: _Flow) -> None:
        del self._tuples[flow.original]
        del self._tuples[flow.reply]
        flows = self._by_source[flow.original[0]]
        flows.remove(flow)
        if not flows:
            del self._by_source[flow.original[0]]
