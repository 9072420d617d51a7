"""Segments on a host that is in no fleet: nothing is given, and what it had is not forgotten.

A line that is missing from the configuration is mostly a mistake. Networks of segments stand then
as they are, and what Docker releases meanwhile waits until the host is in its fleet again.
"""

from collections.abc import Sequence

from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, Lease, Pool, PoolId, PoolRequest, Usage
from ovsdriver import codec
from ovsdriver.domain.plan import segment_planning
from ovsdriver.service.fleet.debts import Debt, FreedLease, LeftPool
from ovsdriver.service.fleet.host_pools import HostPools, note_of, segment_named


class OutsideFleet(HostPools):
    """Fulfils :class:`ipam.leasing.Leasing` for spaces and pools that are a segment's."""

    def overlapping(self, request: PoolRequest) -> Pool | None:  # noqa: ARG002 - none is given
        return None

    def gateway(self, pool: PoolId) -> Lease | None:  # noqa: ARG002 - nobody has one
        return None

    def usage(self, pool: PoolId) -> Usage:
        return Usage(held=0, capacity=int(self._require(pool).subnet.size), free=0)

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
        segment_planning.refuse_without_fleet(segment_named(request.space))

    async def would_give(self, request: PoolRequest) -> IPNetwork:
        segment_planning.refuse_without_fleet(segment_named(request.space))

    async def request_address(self, request: AddressRequest) -> Lease:
        segment_planning.refuse_without_fleet(segment_named(request.pool))

    async def _remove(self, pool: PoolId) -> bool:
        await self._note(LeftPool(segment=segment_named(pool), pool=pool))
        await self._notes.forget_note(note_of(pool))
        return self._pools.pop(pool, None) is not None

    async def release_address(
        self, pool: PoolId, address: IPAddress, *, serial: int | None = None
    ) -> bool:
        if pool not in self._pools:
            return False
        debt = FreedLease(segment=segment_named(pool), address=address, serial=serial, pool=pool)
        await self._tasks.to_its_end(self._note(debt))
        return True

    async def _note(self, debt: Debt) -> None:
        await self._notes.put_note(debt.key, codec.encode(debt))
