"""Two members chat while everything goes wrong around them, and nothing is lost or doubled.

A seed draws the NATs, the weather, what is said and what strikes.  When calm returns, each has
everything that the other accepted, once and in order, and they are online for each other.

    python -m tests.core.node.test_nemesis 0 1000      other seeds; each that fails is named
    python -m tests.core.node.test_nemesis 17 18 -v    one of them, with what struck and when
"""

import sys
from dataclasses import replace
from random import Random

import pytest

from tests.core.world.village import Member, Village
from tests.internet.fabric import Weather
from tests.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    PORT_RESTRICTED,
)

SEEDS = range(20)

AGING = replace(PORT_RESTRICTED, absolute_age_s=60.0)
NATS = (None, FULL_CONE, ADDRESS_RESTRICTED, PORT_RESTRICTED, LINUX, LINUX_ACCEPTING, AGING)
"""None: on the internet itself."""

STORM_S = (30.0, 90.0, 180.0)
STRIKES_PER_S = 0.25
CALM_S = 120.0
"""A server is found again within 30 s; an address that was spent on strangers rests a minute."""

BURSTS = (1, 1, 1, 5, 40)
OUTAGES_S = (1.0, 5.0, 20.0)
ROUTES_OF_ONE_PEER = 40
"""More than any peer leads to, fewer than a dozen restarts would leave behind."""


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_strikes_each_message_arrives_once_and_in_order(seed):
    assert Nemesis(seed).run() == []


class Nemesis:
    """One run, from a seed."""

    def __init__(self, seed, *, tells=False):
        self._random = Random(f"nemesis {seed}")
        self._tells = tells
        self._village = Village(seed)
        self._internet = self._village.internet
        self._nets = 0
        self._pair = [
            self._village.member(name, self._network(), port=40000 + number)
            for number, name in enumerate(("alice", "bob"))
        ]
        self._said: dict[Member, list[str]] = {member: [] for member in self._pair}
        self._strikes = (
            self._change_weather,
            self._change_weather,
            self._reboot_router,
            self._reboot_router,
            self._renumber_router,
            self._kill,
            self._restart,
            self._stop,
            self._move,
            self._pull_cable,
            self._toggle_server,
            self._restart_server,
        )

    def run(self):
        """What is wrong in the end; nothing, if all is well."""
        random, internet = self._random, self._internet
        for member in self._pair:
            self._start(member)
            internet.run(2.0 * random.random())
        storm_until = internet.now + random.choice(STORM_S)
        while internet.now < storm_until:
            internet.run(random.expovariate(1.0))
            for _ in range(random.randint(0, 3)):
                self._speak(random.choice(self._pair))
            if random.random() < STRIKES_PER_S:
                self._strike()
        self._calm()
        internet.run_until(self._all_is_well, CALM_S)
        internet.run(5.0)
        return self._wrong()

    # --- what happens

    def _strike(self):
        strike, member = self._random.choice(self._strikes), self._random.choice(self._pair)
        if self._tells:
            print(f"{self._internet.now:9.3f} {strike.__name__[1:]} {member.name}")
        strike(member)

    def _change_weather(self, _):
        choose = self._random.choice
        self._internet.weather = Weather(
            loss=choose((0.0, 0.05, 0.3)),
            jitter_s=choose((0.0, 0.02, 0.1)),
            reordering=choose((0.0, 0.1)),
            duplication=choose((0.0, 0.1)),
            bit_flips=choose((0.0, 0.02)),
        )

    def _reboot_router(self, member):
        if member.host.behind is not None:
            member.host.behind.reboot()

    def _renumber_router(self, member):
        if member.host.behind is not None:
            self._internet.renumber(member.host.behind)

    def _kill(self, member):
        if self._is_up(member):
            member.kill()

    def _restart(self, member):
        self._kill(member)
        self._start(member)

    def _stop(self, member):
        if self._is_up(member):
            member.stop()

    def _move(self, member):
        self._internet.move(member.host, self._network())
        if self._is_up(member):
            member.node.set_local_addresses(member.host.addresses, member.port, self._internet.now)

    def _pull_cable(self, member):
        member.host.connected = False
        back_at = self._internet.now + self._random.choice(OUTAGES_S)
        self._internet.at(back_at, lambda: setattr(member.host, "connected", True))

    def _toggle_server(self, _):
        if self._server_is_up:
            self._village.kill_server()
        else:
            self._village.start_server()

    def _restart_server(self, _):
        if self._server_is_up:
            self._village.kill_server()
        self._village.start_server()

    def _speak(self, member):
        if self._is_up(member):
            for _ in range(self._random.choice(BURSTS)):
                text = f"{member.name} {len(self._said[member])}"
                self._said[member].append(text)
                member.send(text, to=self._other(member))

    def _calm(self):
        self._internet.weather = Weather()
        if not self._server_is_up:
            self._village.start_server()
        for member in self._pair:
            member.host.connected = True
            self._start(member)

    # --- what must be

    def _all_is_well(self):
        return all(
            len(member.texts()) >= len(self._said[self._other(member)])
            and member.is_online(self._other(member))
            for member in self._pair
        )

    def _wrong(self):
        wrong = []
        for member in self._pair:
            said, heard = self._said[self._other(member)], member.texts()
            if heard != said:
                wrong.append(f"{member.name} heard {len(heard)} of {len(said)}, or not in order")
            if not member.is_online(self._other(member)):
                wrong.append(f"{member.name} does not see the other")
            if len(member.node.shared.routes) > ROUTES_OF_ONE_PEER:
                wrong.append(f"{member.name} keeps {len(member.node.shared.routes)} routes")
        return wrong

    # --- helpers

    def _network(self):
        policy = self._random.choice(NATS)
        if policy is None:
            return None
        self._nets += 1
        return self._internet.add_nat(policy, lan=f"192.168.{self._nets}")

    def _start(self, member):
        if not self._is_up(member):
            member.start()

    def _is_up(self, member: Member) -> bool:
        return member.host in self._internet._attached

    @property
    def _server_is_up(self) -> bool:
        return self._village.server_host in self._internet._attached

    def _other(self, member):
        return self._pair[1 - self._pair.index(member)]


def main(first, end, tells):
    failed = {}
    for seed in range(first, end):
        if wrong := Nemesis(seed, tells=tells).run():
            failed[seed] = wrong
            print(seed, wrong, flush=True)
    print(f"{end - first} seeds, {len(failed)} failed: {sorted(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), "-v" in sys.argv))
