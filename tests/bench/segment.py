"""Two kernel NATs on one segment, as a laboratory of the matrix: nothing at all between them.

The TUN internet would put a process of half a millisecond between, which is more than such routers
have.  Without it nobody sees packets pass: none are counted, and the clock starts when the newcomer
is asked to join.
"""

from typing import Any

from tests.bench.cells import Cell, Place
from tests.natlab.kernel_internet import KernelInternet


class Segment(KernelInternet):
    """What `real_matrix` asks of a laboratory."""

    def __init__(self, cell: Cell, flavours: dict[str, tuple[str, bool]]) -> None:
        """`flavours`: by host, how its router masquerades and whether it accepts what comes to
        itself."""
        super().__init__(hops=0)
        self.routers: list[str] = []
        for name, (flavour, accepts_input) in flavours.items():
            parent = None
            if cell.place is Place.NESTED:
                parent = self._add_router(f"isp-{name}", "", accepts_input, None)
            behind = self._add_router(f"nat-{name}", flavour, accepts_input, parent)
            self.add_host(name, behind)
        self.add_host("server")

    def watch(self, host: str) -> None: ...

    def first_seen(self, host: str) -> float | None:
        return None

    def forget_peaks(self) -> None: ...

    def counts(self) -> dict[str, Any]:
        return {"peaks": {}, "entries": {}}

    def _add_router(self, name: str, flavour: str, accepts: bool, parent: str | None) -> str:
        self.add_nat(name, flavour, accepts_input=accepts, parent=parent)
        self.routers.append(name)
        return name
