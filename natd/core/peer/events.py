"""What one peer tells the membership that it belongs to.

    routes      RouteAdded, RouteDropped           the keys by which its datagrams are found
    wishes      SampleWanted, …                    for servers and the node to grant
    the peer's  NewerCard, Introduce, Seek         frames of its session
                CheckAnswer                        where it sees us, and how far it is
    news        events.Event                       for the world, passed on as they are

Rules:
- A wish may stay without an answer; an attempt goes on all the same.
- What the peer said is a claim of its own: the membership opens cards and sifts addresses.
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
