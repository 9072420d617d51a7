"""Both IPAMs as one: pools of this host alone, and pools of segments."""

from collections.abc import Sequence

from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, Lease, Pool, PoolId, PoolRequest, Usage
from ipam.leasing import Leasing
from ovsdriver.domain.records.segments import segment_of


class Addresses:
    """Fulfils :class:`ipam.leasing.Leasing`: the name of a space or a pool says whose it is."""

    def __init__(self, *, local: Leasing, segments: Leasing) -> None:
        self._local = local
        self._segments = segments

    def _of(self, name: str) -> Leasing:
        return self._local if segment_of(name) is None else self._segments

    def pools(self) -> Sequence[Pool]:
        return (*self._local.pools(), *self._segments.pools())

    def pool(self, pool: PoolId) -> Pool | None:
        return self._of(pool).pool(pool)

    def overlapping(self, request: PoolRequest) -> Pool | None:
        return self._of(request.space).overlapping(request)

    def gateway(self, pool: PoolId) -> Lease | None:
        return self._of(pool).gateway(pool)

    def usage(self, pool: PoolId) -> Usage:
        return self._of(pool).usage(pool)

    def holds(self, lease: Lease) -> bool:
        return self._of(lease.pool).holds(lease)

    def readable(self, pool: PoolId) -> bool:
        return self._of(pool).readable(pool)

    async def lease(self, pool: PoolId, address: IPAddress) -> Lease | None:
        return await self._of(pool).lease(pool, address)

    async def leases(
        self, pool: PoolId, *, after: IPAddress | None = None, limit: int | None = None
    ) -> Sequence[Lease]:
        return await self._of(pool).leases(pool, after=after, limit=limit)

    async def request_pool(self, request: PoolRequest) -> Pool:
        return await self._of(request.space).request_pool(request)

    async def would_give(self, request: PoolRequest) -> IPNetwork:
        return await self._of(request.space).would_give(request)

    async def release_pool(self, pool: PoolId) -> bool:
        return await self._of(pool).release_pool(pool)

    async def request_address(self, request: AddressRequest) -> Lease:
        return await self._of(request.pool).request_address(request)

    async def release_address(
        self, pool: PoolId, address: IPAddress, *, serial: int | None = None
    ) -> bool:
        return await self._of(pool).release_address(pool, address, serial=serial)
