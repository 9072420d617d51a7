"""Segments on a host that is in no fleet: nothing is given, and what it had is not forgotten.

A line that is missing from the configuration is mostly a mistake. Networks of segments stand then
as they are, and what Docker releases meanwhile waits until the host is in its fleet again.
"""

from collections.abc import Sequence

from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, Lease, Pool, PoolId, PoolRequest, Usage, refusals
from ipam.tasks import Tasks
from ovsdriver import codec
from ovsdriver.domain.plan import segment_planning
from ovsdriver.domain.records.segments import segment_of
from ovsdriver.ports import HostNotes
from ovsdriver.service.segments.debts import Debt, FreedLease, LeftPool
from ovsdriver.service.segments.noted import noted
from ovsdriver.service.segments.pools import POOL_NOTE


class OutsideFleet:
    """Fulfils :class:`ipam.leasing.Leasing` for spaces and pools that are a segment's."""

    def __init__(self, notes: HostNotes) -> None:
        self._notes = notes
        self._tasks = Tasks()
        self._pools = {pool.id: pool for pool in noted(notes, POOL_NOTE, Pool)}

    async def close(self) -> None:
        """Wait for what goes on in the background. Before the store is closed."""
        await self._tasks.ended()

    def pools(self) -> Sequence[Pool]:
        return tuple(self._pools.values())

    def pool(self, pool: PoolId) -> Pool | None:
        return self._pools.get(pool)

    def overlapping(self, request: PoolRequest) -> Pool | None:  # noqa: ARG002 - none is given
        return None

    def gateway(self, pool: PoolId) -> Lease | None:  # noqa: ARG002 - nobody has one
        return None

    def usage(self, pool: PoolId) -> Usage:
        known = self._pools.get(pool)
        if known is None:
            raise refusals.unknown_pool(pool)
        return Usage(held=0, capacity=int(known.subnet.size), free=0)

    def holds(self, lease: Lease) -> bool:  # noqa: ARG002 - nobody tells
        return False

    def readable(self, pool: PoolId) -> bool:  # noqa: ARG002 - nobody tells
        return False

    async def lease(self, pool: PoolId, address: IPAddress) -> Lease | None:  # noqa: ARG002
        return None

    async def leases(
        self,
        pool: PoolId,  # noqa: ARG002 - nobody tells
        *,
        after: IPAddress | None = None,  # noqa: ARG002
        limit: int | None = None,  # noqa: ARG002
    ) -> Sequence[Lease]:
        return ()

    async def request_pool(self, request: PoolRequest) -> Pool:
        segment_planning.refuse_without_fleet(_segment(request.space))

    async def would_give(self, request: PoolRequest) -> IPNetwork:
        segment_planning.refuse_without_fleet(_segment(request.space))

    async def request_address(self, request: AddressRequest) -> Lease:
        segment_planning.refuse_without_fleet(_segment(request.pool))

    async def release_pool(self, pool: PoolId) -> bool:
        if pool not in self._pools:
            return False
        await self._tasks.to_its_end(self._remove(pool))
        return True

    async def _remove(self, pool: PoolId) -> None:
        await self._note(LeftPool(segment=_segment(pool), pool=pool))
        await self._notes.forget_note(f"{POOL_NOTE}{pool}")
        self._pools.pop(pool, None)

    async def release_address(
        self, pool: PoolId, address: IPAddress, *, serial: int | None = None
    ) -> bool:
        if pool not in self._pools:
            return False
        debt = FreedLease(segment=_segment(pool), address=address, serial=serial, pool=pool)
        await self._tasks.to_its_end(self._note(debt))
        return True

    async def _note(self, debt: Debt) -> None:
        await self._notes.put_note(debt.key, codec.encode(debt))


def _segment(space: str) -> str:
    return segment_of(space) or ""
