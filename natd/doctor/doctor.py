"""What works, what does not, why, and what would help: the answer to `doctor`.

    {"checks": [{"name", "label", "ok", "text", "detail", "hint"}], "verdict", "verdict_code",
     "summary", "helps": [...], "nat": {..., "lifetime"}, "observed": [...], "port_mapping",
     "ipv6": [...], "lan": {"listening", "heard": [ids]}, "dropped": {...}}

and about a peer also

    {"peer", "state", "next_try_s", "path", "notes", "technique", "why", "nats": {"ours", "theirs"},
     "attempt": {"age_s", "missing", "missing_after", "steps": [{"at_s", "last_at_s", "step",
     "detail", "count", "sockets"}]}}

Rules:
- Checks go from ourselves outwards: socket, store, clock, network, servers, UDP, NAT, router,
  IPv6, LAN, path.
- A check fails only where the user can do something about it, and then says what.
- `text`, `hint` and `verdict` are plain English for people who have never heard of NAT; `detail`
  is what `natctl doctor -v` adds.
- Asked about a peer with a live path, the verdict is about that path: checks that fail all the
  same are named in `notes`, and make no failure.
- It changes nothing and sends nothing: everything is known already.
"""

import time
from collections.abc import Iterable

from natd.core.base.scope import is_private
from natd.core.base.surroundings import family_missing
from natd.core.base.types import PeerState
from natd.core.base.verdict import OFFLINE, Help, Verdict, VerdictCode, judge_servers
from natd.core.peer.diagnosis import PeerDiagnosis
from natd.core.registration.servers import ServerReport
from natd.doctor.advice import COPY_HINT, HARD_NAT, HELP_TEXTS, NARROW, NO_NETWORK
from natd.doctor.dropped import dropped_row
from natd.doctor.lifetime_words import lifetime_row, lifetime_words
from natd.doctor.nat_words import nat_words, nats_row
from natd.doctor.rows import (
    ALL_WELL,
    NAMES_SHOWN,
    Row,
    attempt_row,
    check,
    connected_words,
    failed_checks,
    is_narrow,
    labels,
    seconds_until,
    sentence,
    told_state,
)
from natd.doctor.server_rows import REGISTERED, SERVER_LOST, STARTING, way_rows
from natd.doctor.sightings import (
    global_ipv6,
    judge_sightings,
    own_router_words,
    second_router_words,
    seen_words,
)
from natd.doctor.summary import FIREWALL_HERE, OWN, own_summary, peer_summary
from natd.doctor.unmet import HELPS, with_absent, with_unmet
from natd.host.errors import CommandError
from natd.members.parts import Parts
from natd.members.recorder import COPY_TOLD_S, FORBIDDEN, nat_row, path_row
from natd.storage.address_book import JoinedNetwork, KnownPeer, full_name

BLOCKED_BY_US = Verdict(VerdictCode.UDP_BLOCKED, FORBIDDEN, (Help.FIREWALL,))

CLOCK_FLOOR_UNIX_S = 1_735_689_600
"""2025: a clock before this was never set.  It decides nothing but shows in every message."""


class Doctor:
    """See the module's head."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def examine(self, target: tuple[JoinedNetwork, KnownPeer] | None) -> Row:
        """The answer about this machine; with a peer, also about the way to it."""
        parts = self._parts
        told = None if target is None else parts.diagnose(target[0].id, target[1].peer)
        own = self._own_checks()
        nat = parts.node.nat.report()
        reply: Row = {
            "checks": own,
            "nat": {
                **nat_row(nat),
                "words": nat_words(nat),
                "lifetime": lifetime_row(parts.node.nat.lifetimes.learnt),
            },
            "observed": [str(address) for address in parts.node.nat.observed()],
            "port_mapping": parts.port_map.summary(),
            "dropped": dropped_row(parts),
            "ipv6": global_ipv6(),
            "lan": {
                "listening": parts.node.shared.sockets.hears_link,
                "heard": [known.id_text for known in self._heard_on_link()],
            },
        }
        if target is None:
            text, found = self._own_verdict(own)
            failed, networks = failed_checks(own), len(parts.book.networks)
            summary = own_summary(found, failed, networks, is_nameless=self.is_nameless)
        else:
            reply["checks"] = [*own, self._path_check(target[1], told)]
            reply |= self._peer_rows(*target, told)
            text, found = self._peer_verdict(*target, told, own)
            online = self._is_online(target[1])
            nats = None if told is None else (told.ours, told.theirs)
            name, has_path = full_name(target[1]), reply["path"] is not None
            summary = peer_summary(name, found, nats, online=online, has_path=has_path)
            if self.is_forbidden:
                summary = FIREWALL_HERE
            if has_path and not is_narrow(found):
                reply["notes"] = failed_checks(own)
        return {
            **reply,
            "summary": summary,
            "verdict": text,
            "verdict_code": None if found is None else str(found.code),
            "why": None if found is None else found.why,
            "helps": self._help_rows(() if found is None else found.helps, target),
        }

    def examine_unmet(self, network: JoinedNetwork, name: str, refusal: CommandError) -> Row:
        """Asked about a peer that nobody has introduced.  The refusal is raised while the servers
        were asked and none has answered yet."""
        found = self._judge_silence(()) if self.is_offline else self.judge_servers(network)
        states = {server.state for server in self._parts.servers(network.id)}
        if found is None and STARTING in states and REGISTERED not in states:
            hint = "no server has answered yet, so ask again in ten seconds"
            raise CommandError(refusal.code, refusal.text, hint)
        own = self.examine(None)
        if found is not None:
            own_words = OWN.get(found.code) or own["summary"]
            summary = FIREWALL_HERE if self.is_forbidden else own_words
            answer = with_unmet(own, name, found.why, found.code, summary)
            return answer | {"helps": self._help_rows(found.helps, None)}
        if network.servers and not states:
            why = self._parts.names.why_without_address(network.servers)
            return with_unmet(own, name, why, None, own["summary"])
        known = map(full_name, self._parts.book.peers(network.id))
        answer = with_absent(own, name, network.name, known, has_server=bool(network.servers))
        return answer | {"helps": self._help_rows(HELPS, None)}

    # --- ourselves

    def judge_servers(self, network: JoinedNetwork) -> Verdict | None:
        """Why no server of this network answers; None while one does, or may still."""
        servers = self._parts.servers(network.id)
        states = {server.state for server in servers}
        is_known = self.is_offline and network.servers
        if not is_known and (not states or states & {REGISTERED, STARTING}):
            return None
        return self._judge_silence(servers)

    def _judge_silence(self, servers: Iterable[ServerReport]) -> Verdict:
        if self.is_forbidden:
            return BLOCKED_BY_US
        servers = tuple(servers)
        hosts = [address.host for server in servers for address in server.tried]
        return judge_servers(
            udp_works=self._udp_works(),
            is_offline=self.is_offline,
            refusal=next((s.refusal for s in servers if s.refusal is not None), None),
            family_missing=family_missing(self._parts.node.shared.sockets.local[0], hosts),
        )

    def fresh(self, verdict: Verdict | None) -> Verdict | None:
        """A verdict of a while ago on our servers, by what is known now."""
        if verdict is None or verdict.code not in (VerdictCode.NO_SERVER, VerdictCode.UDP_BLOCKED):
            return verdict
        if self.is_forbidden:
            return BLOCKED_BY_US
        return judge_servers(udp_works=self._udp_works(), is_offline=self.is_offline)

    def copy_of(self, network: JoinedNetwork) -> str | None:
        """What shows that another daemon uses our identity; None while nothing does."""
        noticed, text = self._parts.copies.get(network.id, (float("-inf"), ""))
        return text if time.monotonic() < noticed + COPY_TOLD_S else None

    @property
    def is_offline(self) -> bool:
        """Whether no packet can leave, and none has arrived lately all the same."""
        return self._parts.node.shared.sockets.is_offline and not self._is_reached

    @property
    def is_forbidden(self) -> bool:
        """Whether this system refuses to send, and nothing arrives all the same."""
        return self._parts.sockets.is_forbidden and not self._is_reached

    @property
    def is_nameless(self) -> bool:
        """Whether no server has an address to be asked at."""
        return bool(self._parts.names.problems) and not self._server_states()

    @property
    def _is_reached(self) -> bool:
        return any(self._parts.online.values()) or REGISTERED in self._server_states()

    def socket_check(self) -> Row:
        """Destinations that can't be reached are everyday; a system that forbids is not."""
        sockets = self._parts.sockets
        told = ", ".join(f"{count} x {name}" for name, count in sockets.errors.most_common(4))
        host = "[::]" if sockets.has_ipv6 else "0.0.0.0"
        detail = f"UDP on {host}:{sockets.port}" + (f"; not sent: {told}" if told else "")
        text = f"natd uses UDP port {sockets.port}"
        if self.is_forbidden:
            text += f", but {FORBIDDEN}"
        elif sockets.is_forbidden:
            text += "; this machine's firewall refuses some of its packets"
        hint = "allow natd to send UDP in this machine's firewall"
        return check("socket", not self.is_forbidden, text, hint, detail)

    def _own_checks(self) -> list[Row]:
        parts = self._parts
        problem = parts.store.problem
        checks = [
            self.socket_check(),
            check("store", problem is None, str(problem or "messages are saved")),
            check("clock", time.time() > CLOCK_FLOOR_UNIX_S, f"it is {time.strftime('%F %T %Z')}"),
        ]
        for network in parts.book.joined():
            if (copy := self.copy_of(network)) is not None:
                checks.append(check("identity", False, f"{network.name}: {copy}", COPY_HINT))
        rows = way_rows(
            parts,
            is_offline=self.is_offline,
            is_forbidden=self.is_forbidden,
            now=time.monotonic(),
        )
        checks += [check(*row) for row in rows]
        checks += [self._udp_check(), self._nat_check()]
        summary = parts.port_map.summary()
        checks.append(check("router", True, self._port_words(), None, f"port mapping: {summary}"))
        addresses = global_ipv6()
        ipv6 = f"yes: {', '.join(addresses)}" if addresses else "this machine has none, only IPv4"
        checks += [check("ipv6", True, ipv6), check("lan", True, self._lan_words())]
        return checks

    def _udp_check(self) -> Row:
        states = self._server_states()
        if self.is_offline or self.is_forbidden:
            return check("udp", True, f"not tried: {OFFLINE if self.is_offline else FORBIDDEN}")
        if answering := states.count(REGISTERED):
            noun = "server answers" if answering == 1 else "servers answer"
            return check("udp", True, f"gets through: {answering} {noun}")
        if any(server.refusal is not None for server in self._servers()):
            return check("udp", True, "gets through: a server answers, but can't be used")
        if self._udp_works():
            return check("udp", True, "gets through, although no server answers")
        if not states:
            return check("udp", True, "not tried: there is no server to ask")
        if STARTING in states:
            return check("udp", True, "servers were asked, no answer yet")
        hint = "let UDP out in this machine's firewall and in the router, or try another network"
        return check(
            "udp", False, "nothing has answered by UDP: it is blocked, or no server runs", hint
        )

    def _nat_check(self) -> Row:
        parts = self._parts
        behind = second_router_words(parts.port_map.externals, parts.node.nat.observed())
        text = own_router_words(parts) + seen_words(parts) + behind
        words = nat_words(parts.node.nat.report()), lifetime_words(parts.node.nat.lifetimes.learnt)
        detail = f"NAT: {'; '.join(word for word in words if word)}"
        way_around = bool(global_ipv6()) or self._has_public_port()
        hint = "UPnP in the router, a forwarded UDP port or IPv6 would help"
        return check("nat", way_around or not parts.node.nat.report().is_hard, text, hint, detail)

    def _port_words(self) -> str:
        if self.is_offline:
            return f"not asked: {OFFLINE}"
        summary = self._parts.port_map.summary()
        if self._router_answers():
            return "the router has opened a port for natd"
        return f"the router has opened no port for natd: {summary.partition(': ')[2]}"

    def _lan_words(self) -> str:
        if not self._parts.config.paths.lan_discovery:
            return "natd does not look for peers on this LAN: paths.lan_discovery is false"
        if self.is_offline:
            return f"nobody is looked for: {OFFLINE}"
        if not self._parts.node.shared.sockets.hears_link:
            return "natd does not look for peers on this LAN: this network carries no multicast"
        names = sorted({full_name(known) for known in self._heard_on_link()})
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        heard = ", ".join(names[:NAMES_SHOWN]) + more
        return f"natd looks for peers on this LAN; found: {heard or 'none so far'}"

    def _heard_on_link(self) -> list[KnownPeer]:
        parts = self._parts
        found = [
            parts.book.peer(network.id, view.peer)
            for network in parts.book.joined()
            for view in parts.views(network.id)
            if view.is_on_link
        ]
        return [known for known in found if known is not None]

    def _own_verdict(self, checks: list[Row]) -> tuple[str, Verdict | None]:
        failed = failed_checks(checks)
        if not self._parts.book.networks:
            return NO_NETWORK, None
        if self.is_offline:
            found = self._judge_silence(())
            return sentence(found.why), found
        if "socket" in failed:
            return "This machine forbids natd to send: allow it in the firewall.", None
        if self.is_nameless:
            return sentence(next(iter(self._parts.names.problems.values()))), None
        states = self._server_states()
        if states and set(states) == {SERVER_LOST}:
            found = self._judge_silence(self._servers())
            near = ""
            if found.code is VerdictCode.UDP_BLOCKED and self._router_answers():
                near = " (the router here answers, so the cause is further away)"
            return f"{sentence(found.why)[:-1]}{near}.", found
        for network in self._parts.book.joined():
            if (blind := judge_sightings(self._parts, network)) is not None:
                return sentence(blind.text), blind
        if "width" in failed:
            return sentence(NARROW), None
        if failed == ["identity"]:
            return "Another machine seems to use this one's identity.", None
        if failed == ["nat"]:
            return HARD_NAT, None
        return (f"Something failed: {labels(failed)}." if failed else ALL_WELL), None

    def _servers(self) -> list[ServerReport]:
        parts = self._parts
        return [s for network in parts.book.joined() for s in parts.servers(network.id)]

    def _server_states(self) -> list[str]:
        return [server.state for server in self._servers()]

    def _udp_works(self) -> bool:
        """Whether a host has answered in the last minute that is none of the silent servers'."""
        lost = {
            s.address.host for s in self._servers() if s.state == SERVER_LOST and s.refusal is None
        }
        return self._parts.node.nat.answers.other_than(lost, time.monotonic()) is not None

    def _router_answers(self) -> bool:
        return bool(self._parts.port_map.externals)

    def _has_public_port(self) -> bool:
        return any(not is_private(address.host) for address in self._parts.port_map.externals)

    # --- the way to a peer

    def _is_online(self, known: KnownPeer) -> bool:
        return known.peer in self._parts.online.get(known.network, ())

    def _path_check(self, known: KnownPeer, told: PeerDiagnosis | None) -> Row:
        name = full_name(known)
        if told is None or told.path is None or is_narrow(told.verdict):
            hint = "see below"
            if known.may_hear_us and not self.is_offline:
                hint += f"; natctl retry {self._parts.book.shell_name(known)} tries again at once"
            return check("path", False, f"not connected to {name}", hint)
        path = path_row(told.path, time.monotonic())
        how = "connected to" if self._is_online(known) else "there is a way to"
        text = f"{how} {name} at {path['address']}, {path['rtt_ms']} ms"
        helper = ", from a helper socket" if path["socket"] == "helper" else ""
        detail = f"{path['kind']} path, by {path['technique']}{helper}"
        return check("path", True, text, None, detail)

    def _peer_rows(
        self, network: JoinedNetwork, known: KnownPeer, told: PeerDiagnosis | None
    ) -> Row:
        now = time.monotonic()
        views = self._parts.views(network.id)
        view = next((view for view in views if view.peer == known.peer), None)
        state = told_state(view, None if view is None else self.fresh(view.verdict))
        path = None if told is None or told.path is None else path_row(told.path, now)
        return {
            "peer": {"nick": known.nick, "id": known.id_text, "tag": known.tag},
            "state": str(PeerState.BLOCKED if known.is_blocked else state),
            "next_try_s": None if view is None else seconds_until(view.next_try_at, now),
            "path": path,
            "technique": None if path is None else path["technique"],
            "nats": None if told is None else nats_row(told.ours, told.theirs),
            "attempt": None if told is None else attempt_row(told, now),
        }

    def _peer_verdict(
        self,
        network: JoinedNetwork,
        known: KnownPeer,
        told: PeerDiagnosis | None,
        checks: list[Row],
    ) -> tuple[str, Verdict | None]:
        name = full_name(known)
        if told is None:
            return f"Nothing has been heard of {name} since natd was started.", None
        if told.verdict is None:
            if self._is_online(known):
                return connected_words(name, failed_checks(checks)), None
            return f"There is a way to {name}; the two sides are agreeing on keys.", None
        views = self._parts.views(network.id)
        trying = any(v.peer == known.peer and v.state is PeerState.PUNCHING for v in views)
        if trying and not any(v.peer == known.peer and v.verdict for v in views):
            return f"natd is looking for a way to {name}; ask again in ten seconds.", None
        if self._is_online(known):
            return f"{name} is connected, but {told.verdict.text}.", told.verdict
        verdict = self.fresh(told.verdict) or told.verdict
        return f"Not connected to {name}: {verdict.text}.", verdict

    def _help_rows(
        self, helps: Iterable[Help], target: tuple[JoinedNetwork, KnownPeer] | None
    ) -> list[Row]:
        peer = "PEER" if target is None else self._parts.book.shell_name(target[1])
        port = self._parts.sockets.port
        return [
            {"code": str(each), "text": HELP_TEXTS[each].format(port=port, peer=peer)}
            for each in helps
        ]
