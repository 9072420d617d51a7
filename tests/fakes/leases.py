"""A lease store in memory; tests/contract/test_lease_store.py holds it to the real one."""

import asyncio
from collections.abc import Sequence

from netaddr import IPAddress

from ipam import (
    Contents,
    Lease,
    LeaseKind,
    Memory,
    Pool,
    PoolId,
    Reservation,
    StoredPool,
    StoreError,
    Told,
)
from ipam.choice.bitmap import pack


class FakeLeaseStore:
    """Everything in dictionaries. A second :meth:`load` is a restart.

    ``broken`` is the text of the error that every write raises while it is set. While ``gate`` is
    cleared, writes take effect at once but do not return: they are on their way to the disk.
    """

    def __init__(self) -> None:
        self.broken: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.pools: dict[PoolId, Pool] = {}
        self.held: dict[PoolId, dict[int, Lease]] = {}
        self.memories: dict[PoolId, dict[int, Memory]] = {}
        self.reservations: dict[tuple[str, IPAddress], Reservation] = {}
        self.writes = 0
        self.reads = 0
        self._epoch = 0
        self._telling: set[asyncio.Task[None]] = set()

    async def load(self) -> Contents:
        self._epoch += 1
        return Contents(
            epoch=self._epoch,
            pools=[
                StoredPool(
                    pool=pool,
                    taken=pack(sorted(each - pool.subnet.first for each in self.held[pool.id])),
                    gateway=next(
                        (
                            lease
                            for lease in self.held[pool.id].values()
                            if lease.kind is LeaseKind.GATEWAY
                        ),
                        None,
                    ),
                    auxiliary=sum(
                        lease.kind is LeaseKind.AUX for lease in self.held[pool.id].values()
                    ),
                    memories=sorted(
                        self.memories.get(pool.id, {}).values(), key=lambda each: each.since
                    ),
                )
                for pool in self.pools.values()
            ],
            reservations=list(self.reservations.values()),
        )

    async def add_pool(self, pool: Pool) -> bool:
        self._write()
        same = any(p.space == pool.space and p.subnet == pool.subnet for p in self.pools.values())
        if not same:
            self.pools[pool.id] = pool
            self.held[pool.id] = {}
        await self.gate.wait()
        return not same

    async def remove_pool(self, pool: PoolId) -> bool:
        self._write()
        removed = self.pools.pop(pool, None)
        self.held.pop(pool, None)
        self.memories.pop(pool, None)
        await self.gate.wait()
        return removed is not None

    def add_lease(self, lease: Lease, told: Told) -> None:
        added, refused = False, None
        try:
            added = self._add_lease(lease)
        except StoreError as error:
            refused = error

        async def tell() -> None:
            if refused is None:
                await self.gate.wait()
            told(added, refused)

        telling = asyncio.get_running_loop().create_task(tell())
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    def _add_lease(self, lease: Lease) -> bool:
        self._write()
        if lease.pool not in self.held:
            raise StoreError(f"the store has no pool {lease.pool}")
        leases = self.held[lease.pool]
        added = int(lease.address) not in leases
        if added:
            leases[int(lease.address)] = lease
        return added

    async def remove_lease(
        self,
        pool: PoolId,
        address: IPAddress,
        *,
        serial: int | None = None,
        since: float | None = None,
    ) -> Lease | None:
        self._write()
        leases = self.held.get(pool, {})
        lease = leases.get(int(address))
        if lease is None or serial not in (None, lease.serial):
            lease = None
        else:
            del leases[int(address)]
            if since is not None and lease.kind is LeaseKind.ENDPOINT:
                self.memories.setdefault(pool, {})[int(address)] = Memory(
                    address=address, name=lease.name, wanted=lease.wanted, since=since
                )
        await self.gate.wait()
        return lease

    async def reserve(
        self, *, put: Sequence[Reservation], drop: Sequence[tuple[str, IPAddress]] = ()
    ) -> None:
        self._write()
        for each in drop:
            self.reservations.pop(each, None)
        self.reservations.update({(each.space, each.address): each for each in put})
        await self.gate.wait()

    async def remember(
        self, pool: PoolId, *, memories: Sequence[Memory], forget: Sequence[IPAddress]
    ) -> None:
        self._write()
        if pool not in self.pools:
            return
        known = self.memories.setdefault(pool, {})
        for address in forget:
            known.pop(int(address), None)
        known.update({int(each.address): each for each in memories})
        await self.gate.wait()

    async def lease(self, pool: PoolId, address: IPAddress) -> Lease | None:
        self.reads += 1
        return self.held.get(pool, {}).get(int(address))

    async def leases(
        self, pool: PoolId, *, after: IPAddress | None = None, limit: int | None = None
    ) -> Sequence[Lease]:
        leases = self.held.get(pool, {})
        above = -1 if after is None else int(after)
        return [leases[each] for each in sorted(leases) if each > above][:limit]

    async def names(self, pool: PoolId, *, most: int) -> Sequence[str]:
        leases = self.held.get(pool, {})
        return [leases[each].name for each in sorted(leases) if leases[each].name][:most]

    def _write(self) -> None:
        if self.broken:
            raise StoreError(self.broken)
        self.writes += 1
