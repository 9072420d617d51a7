"""The pools that this host has of segments, noted on the host: it knows them without a database."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ipam import Pool, PoolId, refusals
from ipam.tasks import Tasks
from ovsdriver.domain.records.segments import segment_of
from ovsdriver.ports import HostNotes
from ovsdriver.service.fleet.noted import noted

_NOTE = "segment-pool:"
"""Key of the note of a pool of this host's, before its id."""


def note_of(pool: PoolId) -> str:
    """Return the key of a pool's note."""
    return f"{_NOTE}{pool}"


def any_noted(notes: HostNotes) -> bool:
    """Whether the host has a pool, or is getting one."""
    return any(key.startswith(_NOTE) for key in notes.notes())


def segment_named(space: str) -> str:
    """Return the segment that a space or a pool of one is of; empty: it is none."""
    return segment_of(space) or ""


class HostPools(ABC):
    """A part of :class:`ipam.leasing.Leasing`, the same in a fleet and outside of one."""

    def __init__(self, notes: HostNotes) -> None:
        self._notes = notes
        self._tasks = Tasks()
        self._pools = {pool.id: pool for pool in noted(notes, _NOTE, Pool)}

    async def close(self) -> None:
        """Wait for what goes on in the background. Before the store is closed."""
        await self._tasks.ended()

    def pools(self) -> Sequence[Pool]:
        """Return all of them."""
        return tuple(self._pools.values())

    def pool(self, pool: PoolId) -> Pool | None:
        """Return one."""
        return self._pools.get(pool)

    async def release_pool(self, pool: PoolId) -> bool:
        """Take one back; False if there is none."""
        if pool not in self._pools:
            return False
        return await self._tasks.to_its_end(self._remove(pool))

    @abstractmethod
    async def _remove(self, pool: PoolId) -> bool: ...

    def _require(self, pool: PoolId) -> Pool:
        known = self._pools.get(pool)
        if known is None:
            raise refusals.unknown_pool(pool)
        return known
