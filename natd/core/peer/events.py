"""The events of one peer, for the membership that it belongs to.

    routes      RouteAdded, RouteDropped           the keys by which its datagrams are found
    wishes      SampleWanted, …                    for servers and the node to grant
    the peer's  NewerCard, Introduce, Seek         frames of its session
                CheckAnswer                        where it sees us, and the round trip
    news        events.Event                       for the world, passed on as they are

Rules:
- A wish may stay unfulfilled; the attempt goes on without it.
- What the peer says is only a claim: the membership opens cards and filters addresses.
"""

from natd.core.base import events
from natd.core.base.routes import RouteAdded, RouteDropped
from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted
from natd.core.checks.checks import CheckAnswer
from natd.core.codec.frames import Introduce, NewerCard, Seek

PeerEvent = (
    events.Event
    | RouteAdded
    | RouteDropped
    | NewerCard
    | Introduce
    | Seek
    | SampleWanted
    | IntroductionWanted
    | FreshSocketWanted
    | CheckAnswer
)
