"""The requests of one client: they take effect, and are answered, in the order in which they came.

    join       ====|                = takes effect    - waits for the disk    . waits by its meaning
    send           |=----|
    send           |=----|          two in a row share one commit
    ping                 |=..........|
    history              |=--|      holds nothing up, and is not held up by the ping

Rules that a change must not break:

- A request begins when all before it have taken effect.  Only those that share a commit begin one
  right behind the other: each has taken its place when it first waits.
- No request begins while its client leaves answers unread: those would be kept in memory.
- An answer leaves when all before it have left.  What only waits (`Later`) stands aside: it holds
  up nothing, and is answered when it is done.
"""

from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

SHARING = frozenset(("send", "credit"))
"""Requests that submit what they change before they wait for the disk."""

Work = Callable[[Callable[[], None]], Coroutine[Any, Any, bytes]]
"""Carries a request out and gives its answer; what it is given is to be called once the request
has taken effect and only waits."""


@dataclass(slots=True, eq=False)
class _Request:
    size_bytes: int
    shares: bool = False
    work: Work | None = None
    """None for one that is answered as it comes."""
    answer: bytes | None = None
    only_waits: bool = False


class RequestQueue:
    """See the module's head."""

    def __init__(
        self,
        begin: Callable[[Coroutine[Any, Any, None]], object],
        reply: Callable[[bytes], None],
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """`begin` runs a coroutine, those begun first first; `reply` sends an answer; `has_room`
        tells whether the client reads: when it does again, call `go_on`."""
        self._begin = begin
        self._reply = reply
        self._has_room = has_room
        self._coming: deque[_Request] = deque()
        self._taking_effect: dict[_Request, None] = {}
        self._unanswered: deque[_Request] = deque()
        """In order, without those that only wait."""
        self.count = 0
        """Requests without an answer, and their size together."""
        self.size_bytes = 0

    def put(self, work: Work, size_bytes: int, *, shares: bool) -> None:
        """One more request, to be carried out in its turn."""
        request = _Request(size_bytes, shares, work)
        self._coming.append(request)
        self._expect(request)
        self.go_on()

    def refuse(self, answer: bytes) -> None:
        """One more request, which is answered by this in its turn."""
        self._expect(_Request(0, answer=answer))
        self._tell()

    def go_on(self) -> None:
        """Begin what may begin now."""
        while self._coming and self._may_begin(self._coming[0]):
            request = self._coming.popleft()
            self._taking_effect[request] = None
            self._begin(self._carry_out(request))

    def _expect(self, request: _Request) -> None:
        self._unanswered.append(request)
        self.count += 1
        self.size_bytes += request.size_bytes

    def _may_begin(self, request: _Request) -> bool:
        if not self._has_room():
            return False
        if not self._taking_effect:
            return True
        # Those that share begin beside their like only, so one of them tells of all.
        return request.shares and next(iter(self._taking_effect)).shares

    async def _carry_out(self, request: _Request) -> None:
        assert request.work is not None
        request.answer = await request.work(partial(self._let_wait, request))
        if request.only_waits:
            self._leave(request)
            return
        del self._taking_effect[request]
        self._tell()
        self.go_on()

    def _let_wait(self, request: _Request) -> None:
        request.only_waits = True
        del self._taking_effect[request]
        self._unanswered.remove(request)
        self._tell()
        self.go_on()

    def _tell(self) -> None:
        while self._unanswered and self._unanswered[0].answer is not None:
            self._leave(self._unanswered.popleft())

    def _leave(self, request: _Request) -> None:
        assert request.answer is not None
        self.count -= 1
        self.size_bytes -= request.size_bytes
        self._reply(request.answer)
