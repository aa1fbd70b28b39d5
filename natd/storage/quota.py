"""How much of the disk what others say may take.

    limits.disk_mib            in all
    limits.disk_mib_per_peer   of one peer, and never more than a quarter of what is free

The quarter shares the disk without counting heads: however many want to fill it, one more
finds a quarter of the rest.  Who has used up its part is *held*: nothing more of it is taken or
acknowledged, so it waits at its sender, and comes when there is room.

The same holds for what has arrived and is not on the disk yet, while the disk takes nothing.
"""

from dataclasses import dataclass

from natd.storage.schema import ROW_BYTES

MIB = 1 << 20

PART_OF_FREE = 4

RELEASED_BELOW = 7 / 8
"""Of the part, so that who was held is not held again at once."""

ON_THEIR_WAY_BYTES = 32 * MIB
"""Texts in memory, of all peers, on their way to the disk."""


@dataclass(slots=True)
class Quota:
    """See the top of this file; the owner keeps `used_bytes` up to date."""

    disk_bytes: int = 1024 * MIB
    peer_bytes: int = 128 * MIB
    used_bytes: int = 0
    uncommitted_bytes: int = 0

    def limit(self, disk_mib: int, peer_mib: int) -> None:
        """As the configuration has it."""
        self.disk_bytes, self.peer_bytes = disk_mib * MIB, peer_mib * MIB

    @property
    def full_words(self) -> str:
        """What is told while it `is_full`."""
        return f"natd has used up its {self.disk_bytes // MIB} MiB of the disk (limits.disk_mib)"

    @property
    def is_full(self) -> bool:
        """Whether not even what is said here can be kept."""
        return self.used_bytes >= self.disk_bytes

    @property
    def part_bytes(self) -> int:
        """How much one peer may have here."""
        free_bytes = self.disk_bytes - self.used_bytes - self.uncommitted_bytes
        return min(self.peer_bytes, max(0, free_bytes) // PART_OF_FREE)

    def takes(self, stored_bytes: int, more_bytes: int) -> bool:
        """Whether a peer that has so much here may store more."""
        has_room = self.uncommitted_bytes + more_bytes <= ON_THEIR_WAY_BYTES
        return has_room and stored_bytes + more_bytes <= self.part_bytes

    def releases(self, stored_bytes: int) -> bool:
        """Whether a peer that was held may go on."""
        has_room = self.uncommitted_bytes <= ON_THEIR_WAY_BYTES // 2
        return has_room and stored_bytes <= RELEASED_BELOW * self.part_bytes


def row_bytes(body: str) -> int:
    """What a message with this text takes."""
    return len(body.encode()) + ROW_BYTES
