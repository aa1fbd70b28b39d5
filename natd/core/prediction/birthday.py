"""A birthday attempt: many sockets that are open to the peer, and many of its ports that we try.

    one side's port is known     the other opens helpers towards it, and is probed from it
    nobody can say whose is      each does both: `find_again`

Two that have been connected look for each other again when no server is left.  One router has given
its side another port; the other side is where it was, but neither knows which of the two it is.
So each opens helpers towards the peer's last address, in case its own port has changed, and probes
the peer's ports, in case the peer's has:

    wave 0      160 openers and 295 probes in half a second, then the others    4.2 s
    wave 1 …    openers from one half of the helpers, then the other    5.4 s later, then every 3 s
    wave 3, 7 … the same, and a sixth of the probes
    afterwards  openers from all helpers and a sixth of the probes    6 s later, then 12, 24 … 60 s

Rules:
- The two notice at different moments, up to a keepalive apart, and a router that is off forgets
  openings that were made meanwhile.  So openings are renewed, and probes are sent again to the same
  ports: with few packets all of them are known to both NATs at any moment.
- Openers have full TTL: where the other side has already probed a helper's port, they are let in
  and end the search at once.  A NAT that takes early packets for flows of its own would spoil those
  ports; such NATs keep ports.  So where the peer's may be one, half of the openers have a low TTL,
  for as long as the peer may not have begun: later all its probes are out, and spoil nothing.
- With 256 helpers and 1,664 probes over 64,512 ports at least one probe meets a helper in 99.9 % of
  the attempts.
"""

from random import Random

from natd.core.base.timers import backed_off
from natd.core.base.types import Allocation, NatReport
from natd.core.checks.limits import MOST_WAVE_PACKETS
from natd.core.prediction.plan import Plan, PlannedPacket, Technique, Wave

RANDOM_HELPERS = 256
"""With 1,000 probes over the full range: 98 %."""

FIRST_HELPERS, FIRST_PROBES = 160, 295
"""As many as one second takes.  Where both begin at once, half of each would meet soonest, but who
notices later has probes to send more than openers: the other's helpers are open by then."""

FIRST_WAVE_S = 5.4
"""It takes 4.2 s, and its last answer may take one more.  A router that comes back while the last
probes leave waits for it: none of the openers got out."""

RENEWED_EVERY_S = 3.0
"""A router may just be starting: a half of the helpers finds the other side in 96 %."""

PARTS, PARTS_EVERY = 6, 4
"""All probes are repeated in 72 s: a NAT should remember them for two minutes (RFC 4787, section
4.3)."""

SPARING_WAVES = 6
"""After 20 s the peer has noticed, too, if its router is there."""

FURTHER_WAVES = 48
"""Two and a half minutes, in which a router has started."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 6.0, 60.0
RARE_WAVES = 60
"""For an hour the openings of one side are there when the other comes back, for 9 packets a second;
then another plan begins, with other ports."""


def find_again(theirs: NatReport, helpers: int, random: Random) -> Plan:
    """See the top of this file; `helpers` are how many sockets may be opened."""
    may_spoil = theirs.allocation is not Allocation.RANDOM
    openers, later_openers = (
        tuple(
            PlannedPacket(helper, None, is_opener=spares and helper % 4 < 2)
            for helper in range(1, helpers + 1)
        )
        for spares in (may_spoil, False)
    )
    probes = probe(theirs, MOST_WAVE_PACKETS - helpers, random)
    waves = [Wave(FIRST_WAVE_S, openers[::2])]
    for number in range(1, FURTHER_WAVES):
        part, rest = divmod(number, PARTS_EVERY)
        repeated = probes[part % PARTS :: PARTS] if rest == PARTS_EVERY // 2 else ()
        renewed = openers if number < SPARING_WAVES else later_openers
        waves.append(Wave(RENEWED_EVERY_S, renewed[number % 2 :: 2] + repeated))
    for number in range(RARE_WAVES):
        pause_s = backed_off(number, FIRST_PAUSE_S, LONGEST_PAUSE_S)
        waves.append(Wave(pause_s, later_openers + probes[number % PARTS :: PARTS]))
    first = openers[:FIRST_HELPERS] + probes[:FIRST_PROBES]
    first += openers[FIRST_HELPERS:] + probes[FIRST_PROBES:]
    return Plan(Technique.BIRTHDAY, first, opens_at_once=True, further=tuple(waves))


def probe(theirs: NatReport, most: int, random: Random) -> tuple[PlannedPacket, ...]:
    """Packets to random ports of the peer, each once, from our one socket."""
    span = range(theirs.low, theirs.high + 1)
    return tuple(PlannedPacket(0, port) for port in random.sample(span, min(most, len(span))))


def openings(helpers: int) -> tuple[PlannedPacket, ...]:
    """An opener from each of so many sockets."""
    return tuple(PlannedPacket(helper, None, is_opener=True) for helper in range(1, helpers + 1))
