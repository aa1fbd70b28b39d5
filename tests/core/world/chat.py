"""Two members of a village who chat, each line with its number, and when each line was heard.

    chat = Chat(seed, (PORT_RESTRICTED, LINUX), speakers=("alice",))
    chat.begin()
    chat.run(20.0)
    chat.kill_server()
    chat.gateway("alice").reboot()
    chat.end()
    assert chat.wrong() == []
    assert chat.latest_s() <= 3.0

A member that speaks does so every few seconds, at instants that follow from the seed.
"""

from random import Random

from natd.core.keys.secrets import network_key
from tests.core.world.village import Member, Village
from tests.internet.fabric import Gateway
from tests.internet.nat import NatPolicy

KEY = network_key("demo", b"0123456789abcdef")
"""A secret one: only there may an attempt cost what a random NAT demands."""

NAMES = ("alice", "bob")
EVERY_S = (1.0, 4.0)
MEETING_S = 30.0
PATIENCE_S = 150.0
"""How long what was said last may take to arrive before it counts as lost."""


class Chat:
    """See the top of this file."""

    def __init__(
        self,
        seed: int,
        nats: tuple[NatPolicy | None, NatPolicy | None],
        *,
        speakers: tuple[str, ...] = NAMES,
        every_s: tuple[float, float] = EVERY_S,
    ) -> None:
        """`nats`: alice's and bob's; None for the internet itself."""
        self.village = Village(seed)
        self.internet = self.village.internet
        self.random = Random(f"chat {seed}")
        self.members: dict[str, Member] = {}
        for number, (name, policy) in enumerate(zip(NAMES, nats, strict=True)):
            behind = None if policy is None else self.internet.add_nat(policy)
            self.members[name] = self.village.member(name, behind, KEY, 40000 + number)
        self.said: dict[str, list[tuple[float, str]]] = {name: [] for name in NAMES}
        self._speakers = speakers
        self._every_s = every_s
        self._speaks = False

    # --- what happens

    def begin(self) -> None:
        """Both come, meet, and those who speak begin to."""
        for name in NAMES:
            self.members[name].start()
            self.internet.run(1.0)
        assert self.internet.run_until(self.are_online, MEETING_S), "they have not met"
        self._speaks = True
        for name in self._speakers:
            self._speak_later(name)

    def speak(self, name: str) -> None:
        """This one begins to speak, too: now, and then every few seconds."""
        self.say(name)
        self._speak_later(name)

    def run(self, duration_s: float) -> None:
        self.internet.run(duration_s)

    def end(self) -> None:
        """Nobody says anything more, and all that was said has time to arrive."""
        self._speaks = False
        self.internet.run_until(self._all_is_heard, PATIENCE_S)

    def kill_server(self) -> None:
        self.village.kill_server()

    def gateway(self, name: str) -> Gateway:
        behind = self.members[name].host.behind
        assert behind is not None
        return behind

    def say(self, name: str) -> None:
        text = f"{name} {len(self.said[name])}"
        self.said[name].append((self.internet.now, text))
        self.members[name].send(text, to=self._other(name))

    # --- what came of it

    def are_online(self) -> bool:
        return all(self.is_online_for(name) for name in NAMES)

    def is_online_for(self, name: str) -> bool:
        """Whether the other is, as `name` sees it."""
        return self.members[name].is_online(self._other(name))

    def wrong(self) -> list[str]:
        """What is lost, doubled or out of order."""
        wrong = []
        for name in NAMES:
            said = [text for _, text in self.said[name]]
            heard = self._other(name).texts()
            if heard != said:
                wrong.append(f"{len(heard)} heard of {len(said)} that {name} said, or not in order")
        return wrong

    def delays(self, since: float = 0.0) -> list[tuple[float, float]]:
        """Of each line said since that instant: when, and the seconds until it was on disk."""
        delays: list[tuple[float, float]] = []
        for name in NAMES:
            heard = {text: at for at, _, text in self._other(name).heard}
            delays += [
                (at, heard.get(text, self.internet.now) - at)
                for at, text in self.said[name]
                if at >= since
            ]
        return delays

    def latest_s(self, since: float = 0.0) -> float:
        """The longest of those seconds; 0 where nothing was said."""
        return max((delay_s for _, delay_s in self.delays(since)), default=0.0)

    # --- private

    def _speak_later(self, name: str) -> None:
        at = self.internet.now + self.random.uniform(*self._every_s)

        def speak() -> None:
            if self._speaks:
                self.say(name)
                self._speak_later(name)

        self.internet.at(at, speak)

    def _all_is_heard(self) -> bool:
        return all(len(self._other(name).texts()) >= len(self.said[name]) for name in NAMES)

    def _other(self, name: str) -> Member:
        return self.members[NAMES[1 - NAMES.index(name)]]
