"""What the networks of one node have in common."""

from dataclasses import dataclass, field
from random import Random

from natd.core.base.timers import WallClock
from natd.core.checks.budget import TargetBudget
from natd.core.keys.card import Identity
from natd.core.nat.model import NatModel
from natd.core.network.local_sockets import LocalSockets
from natd.core.network.routing import Routes
from natd.core.paths.flows import Flows

PEERS_LIMIT = 256
"""Peers of a network, unless the user chooses another number."""


@dataclass(slots=True)
class Limits:
    """What the user allows, besides what an escalation may cost (`Turns`)."""

    peers_per_network: int = PEERS_LIMIT


@dataclass(frozen=True, slots=True)
class Shared:
    """Made by the node, written by its networks."""

    identity: Identity
    random: Random
    """Also makes keys: in a daemon it is the system's."""
    nat: NatModel
    """Our NAT is the same for all networks: an observation in one counts for all."""
    budget: TargetBudget = field(default_factory=TargetBudget)
    flows: Flows = field(default_factory=Flows)
    sockets: LocalSockets = field(default_factory=LocalSockets)
    routes: Routes = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    clock: WallClock = field(default_factory=WallClock)
