"""The IPAM's operations: each one unit, durable on return, and repeatable where Docker repeats.

Memory is ahead of the store and never behind it. An address that is chosen is taken in memory
first, so that concurrent requests go on to the next one, and given only when the store has it; an
address that is released is free in memory only when the store has let go of it. So nothing waits
for anything but its own commit, and the store can write what waits together.

The address of a lease that is on its way into the store stands in ``pending``, of one on its way
out in ``leaving``: whoever put it there is the only one to clear it.

A caller that is cancelled, by a deadline for instance, does not interrupt what it began: that runs
to its end in a task of its own, and what was asked for and is wanted no more is then given back.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import count
from typing import Any, Protocol, TypeVar

from netaddr import IPAddress, IPNetwork

from ipam import checks, refusals
from ipam.errors import ExhaustedError, InvalidPoolError, IpamError, StoreError
from ipam.ledger import Ledger, remembered
from ipam.model import (
    AddressRequest,
    DefaultPool,
    Lease,
    LeaseKind,
    Memory,
    Occupied,
    Pool,
    PoolId,
    PoolRequest,
    Usage,
)
from ipam.spaces import Spaces
from ipam.store import LeaseStore, StoredPool

log = logging.getLogger(__name__)

T = TypeVar("T")

_COUNTER_BITS = 40
"""A serial is the store's epoch and a counter of this many bits: 10^12 leases from one start."""

_POOL_ID_CHARACTERS = 64

_RECENT = 4096
"""Leases remembered in memory: a container's CreateEndpoint follows its RequestAddress."""


class Surroundings(Protocol):
    """What of the address space this host uses for itself."""

    async def occupied(self, family: int) -> Sequence[Occupied]:
        """Return routes and name servers of a family; in bounded time."""
        ...


class Ipam:
    """Pools and leases. Made by :meth:`load`, used on the loop that loaded it."""

    def __init__(
        self,
        store: LeaseStore,
        *,
        spaces: Spaces,
        surroundings: Surroundings,
        clock: Callable[[], float],
        epoch: int,
    ) -> None:
        """Use :meth:`load`."""
        self._store = store
        self._spaces = spaces
        self._surroundings = surroundings
        self._clock = clock
        self._epoch = epoch
        self._pool_numbers = count(1)
        self._serials = count((epoch << _COUNTER_BITS) + 1)
        self._pools: dict[PoolId, Ledger] = {}
        self._recent: dict[tuple[PoolId, int], Lease] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    async def load(
        cls,
        store: LeaseStore,
        *,
        defaults: Sequence[DefaultPool],
        surroundings: Surroundings,
        clock: Callable[[], float],
        exclude: Sequence[IPNetwork] = (),
    ) -> "Ipam":
        """Return the IPAM as the store remembers it.

        Args:
            store: nobody else on this host writes to it.
            defaults: where automatic pools come from, both families, in the order of preference.
            surroundings: asked at every automatic choice.
            clock: seconds since the epoch.
            exclude: never given out by automatic choice.

        Raises:
            InvalidPoolError: a default pool makes no sense.
            StoreError: the store cannot be read, or holds pools that overlap.
        """
        for each in defaults:
            checks.default_pool(each)
        contents = await store.load()
        ipam = cls(
            store,
            spaces=Spaces(defaults=defaults, exclude=exclude),
            surroundings=surroundings,
            clock=clock,
            epoch=contents.epoch,
        )
        for stored in contents.pools:
            ipam._restore(stored)
        return ipam

    async def close(self) -> None:
        """Wait for what goes on in the background. Before the store is closed."""
        while unended := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(unended)

    # Reading

    def pools(self) -> Sequence[Pool]:
        """Return every pool, in the order in which they were made."""
        return tuple(ledger.pool for ledger in self._pools.values())

    def pool(self, pool: PoolId) -> Pool | None:
        """Return one pool."""
        ledger = self._pools.get(pool)
        return ledger.pool if ledger else None

    def gateway(self, pool: PoolId) -> Lease | None:
        """Return the lease of a pool's gateway; ``wanted`` tells whether the user named it."""
        ledger = self._pools.get(pool)
        return ledger.gateway if ledger else None

    def usage(self, pool: PoolId) -> Usage:
        """Return how full a pool is; UnknownPoolError if it is not there."""
        ledger = self._pools.get(pool)
        if ledger is None:
            raise refusals.unknown_pool(pool)
        return ledger.usage

    async def lease(self, pool: PoolId, address: IPAddress) -> Lease | None:
        """Return who holds an address; None if nobody does. No wait for a recent lease."""
        ledger = self._pools.get(pool)
        offset = ledger.offset(address) if ledger else None
        if ledger is None or offset is None or not ledger.holds(offset):
            return None
        return self._recent.get((pool, offset)) or await self._store.lease(pool, address)

    async def leases(
        self, pool: PoolId, *, after: IPAddress | None = None, limit: int | None = None
    ) -> Sequence[Lease]:
        """Return a pool's leases by ascending address: those above ``after``, at most ``limit``."""
        if pool not in self._pools:
            return ()
        return await self._store.leases(pool, after=after, limit=limit)

    # Pools

    async def request_pool(self, request: PoolRequest) -> Pool:
        """Give a subnet: the one named, or a new one of the default pools at every call.

        Raises:
            InvalidPoolError: it makes no sense.
            OverlapError: the space has a pool with some of its addresses.
            ExhaustedError: nothing is left in the default pools.
            StoreError: it could not be written.
        """
        checks.space(request.space)
        if request.subnet is None:
            checks.automatic(request, self._spaces.bases(request.family))
            occupied = await self._surroundings.occupied(request.family)
            subnet = self._spaces.choose(request, occupied)
        else:
            subnet = request.subnet
            checks.subnet(request, subnet)
            self._check_overlap(request.space, subnet)
        if request.window is not None:
            checks.window(subnet, request.window)
        pool = Pool(
            id=self._new_id(request.space, subnet),
            space=request.space,
            subnet=subnet,
            window=None if request.window == subnet else request.window,
            automatic=request.subnet is None,
            created=self._clock(),
        )
        ledger = Ledger.of(StoredPool(pool=pool))
        if not ledger.addresses.dynamic:
            raise InvalidPoolError(
                f"range {request.window} holds no address that a container can have; "
                "choose a larger one"
            )
        self._spaces.add(pool)
        await self._to_its_end(self._add_pool(ledger), undo=partial(self.release_pool, pool.id))
        return pool

    async def release_pool(self, pool: PoolId) -> bool:
        """Release a pool and all of its addresses; False if it is not there.

        Raises:
            StoreError: it could not be written; the pool is as it was.
        """
        while (ledger := self._pools.get(pool)) is not None:
            if ledger.closing is None:
                ledger.closing = asyncio.get_running_loop().create_future()
                return await self._to_its_end(self._remove_pool(ledger, ledger.closing))
            await asyncio.shield(ledger.closing)
        return False

    # Addresses

    async def request_address(self, request: AddressRequest) -> Lease:
        """Give an address: the wanted one, or a free one.

        That is the one that the same name had before; else the lowest that nobody asked for by
        ``--ip`` or had by name before; else the lowest. It lies in the pool's window, except for
        a gateway: that is the lowest of the subnet, where people expect it, and the window is
        whole for containers.

        Raises:
            UnknownPoolError: there is no such pool.
            AddressError: the wanted address is outside, not usable, or taken.
            ExhaustedError: no address is left.
            StoreError: it could not be written.
        """
        ledger = self._pools.get(request.pool)
        if ledger is None:
            raise refusals.unknown_pool(request.pool)
        checks.holder_name(request.name)
        if request.kind is LeaseKind.GATEWAY:
            _check_gateway(ledger)
        while True:
            offset = await self._pick(ledger, request)
            if ledger.closing is not None:
                raise refusals.unknown_pool(request.pool)
            lease = Lease(
                pool=request.pool,
                address=ledger.address(offset),
                kind=request.kind,
                wanted=request.address is not None,
                name=request.name,
                serial=next(self._serials),
                created=self._clock(),
            )
            adding = self._add_lease(ledger, offset, lease)
            if await self._to_its_end(adding, undo=partial(self._give_back, lease)):
                return lease
            # Another user of the store has it. It stays taken here, and the next one is tried.

    async def release_address(
        self, pool: PoolId, address: IPAddress, *, serial: int | None = None
    ) -> bool:
        """Release an address; False if nobody held it, which is no error.

        Args:
            pool: need not be there.
            address: need not be in it.
            serial: release this lease only, not a later one of the same address.

        Raises:
            StoreError: it could not be written; the address is still held.
        """
        ledger = self._pools.get(pool)
        offset = ledger.offset(address) if ledger else None
        if ledger is None or offset is None:
            return False
        await _left(ledger, offset)
        if not ledger.holds(offset):
            return False
        ledger.leaving[offset] = asyncio.get_running_loop().create_future()
        return await self._to_its_end(self._remove_lease(ledger, offset, serial))

    # Choosing

    def _check_overlap(self, space: str, subnet: IPNetwork) -> None:
        other = self._spaces.overlapping(space, subnet)
        if other is not None:
            ledger = self._pools.get(other.id)
            raise refusals.overlap(subnet, other, leaving=bool(ledger and ledger.closing))

    async def _pick(self, ledger: Ledger, request: AddressRequest) -> int:
        """Return a free offset; it is free when this returns, and the caller takes it at once."""
        if request.address is not None:
            return await self._wanted(ledger, request.address, request.kind)
        self._remember(ledger, forget=ledger.outdated(self._clock()))
        offset = ledger.choose(request.kind, request.name)
        if offset is None:
            raise await self._full(ledger, request.kind)
        return offset

    async def _wanted(self, ledger: Ledger, address: IPAddress, kind: LeaseKind) -> int:
        offset = ledger.offset(address)
        if offset is None:
            raise refusals.outside(address, ledger.pool)
        if not ledger.addresses.usable(offset):
            raise refusals.unusable(address, ledger.pool)
        await _left(ledger, offset)
        if ledger.addresses.holds(offset):
            holder = ledger.pending.get(offset) or await self.lease(ledger.pool.id, address)
            raise refusals.taken(address, ledger.pool, wanted_as=kind, holder=holder)
        return offset

    async def _full(self, ledger: Ledger, kind: LeaseKind) -> ExhaustedError:
        holders = await self._store.holders(ledger.pool.id, names=5)
        everywhere = kind is LeaseKind.GATEWAY or ledger.pool.window is None
        return refusals.full(
            ledger.pool,
            window=None if everywhere else ledger.pool.window,
            addresses=ledger.addresses.capacity if everywhere else ledger.addresses.dynamic,
            holders=holders,
        )

    def _new_id(self, space: str, subnet: IPNetwork) -> PoolId:
        rest = f"/{subnet}/{self._epoch}.{next(self._pool_numbers)}"
        return PoolId(space[: _POOL_ID_CHARACTERS - len(rest)] + rest)

    # Memory and store

    def _restore(self, stored: StoredPool) -> None:
        pool = stored.pool
        other = self._spaces.overlapping(pool.space, pool.subnet)
        if other is not None:
            raise StoreError(
                f"the store holds two pools that overlap, {pool.id} and {other.id}; it was not "
                "changed. Restore it from a backup"
            )
        self._spaces.add(pool)
        ledger = self._pools[pool.id] = Ledger.of(stored)
        self._remember(ledger, forget=ledger.recall(stored.memories))

    async def _add_pool(self, ledger: Ledger) -> None:
        pool = ledger.pool
        added = False
        try:
            added = await self._store.add_pool(pool)
        finally:
            if added:
                self._pools[pool.id] = ledger
            else:
                self._spaces.remove(pool)
        if not added:
            raise refusals.overlap(pool.subnet, pool, leaving=True)

    async def _remove_pool(self, ledger: Ledger, decided: asyncio.Future[None]) -> bool:
        try:
            removed = await self._store.remove_pool(ledger.pool.id)
        except BaseException:
            ledger.closing = None
            raise
        else:
            del self._pools[ledger.pool.id]
            self._spaces.remove(ledger.pool)
        finally:
            decided.set_result(None)
        return removed

    def _add_lease(self, ledger: Ledger, offset: int, lease: Lease) -> Coroutine[Any, Any, bool]:
        """Take the address now, and return what brings the lease into the store."""
        note = ledger.begin(offset, lease)

        async def adding() -> bool:
            try:
                added = await self._store.add_lease(lease)
            except BaseException:
                ledger.fail(offset, note)
                raise
            ledger.succeed(offset, lease if added else None)
            if added:
                self._know(offset, lease)
            if note is not None and not remembered(lease):
                self._remember(ledger, forget=[lease.address])
            return added

        return adding()

    async def _give_back(self, lease: Lease) -> None:
        await self.release_address(lease.pool, lease.address, serial=lease.serial)

    async def _remove_lease(self, ledger: Ledger, offset: int, serial: int | None) -> bool:
        pool = ledger.pool.id
        try:
            lease = await self._store.remove_lease(pool, ledger.address(offset), serial=serial)
            if lease is not None:
                self._recent.pop((pool, offset), None)
                memories, forget = ledger.end(offset, lease, self._clock())
                self._remember(ledger, memories=memories, forget=forget)
        finally:
            ledger.leaving.pop(offset).set_result(None)
        return lease is not None

    def _know(self, offset: int, lease: Lease) -> None:
        self._recent[(lease.pool, offset)] = lease
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]

    def _remember(
        self,
        ledger: Ledger,
        *,
        memories: Sequence[Memory] = (),
        forget: Sequence[IPAddress] = (),
    ) -> None:
        """Write down in the background who had which address: nobody waits for that."""
        if memories or forget:
            noting = self._store.remember(ledger.pool.id, memories=memories, forget=forget)
            self._own(_logged(noting))

    # Tasks

    async def _to_its_end(
        self,
        work: Coroutine[Any, Any, T],
        *,
        undo: Callable[[], Coroutine[Any, Any, object]] | None = None,
    ) -> T:
        """Do ``work`` in a task of its own, and ``undo`` it if the caller does not wait for it."""
        task = self._own(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # What was to be released, or given back, is still held if this fails; but the caller
            # heard of no success.
            self._own(_logged(_ended(task, undo)))
            raise

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _check_gateway(ledger: Ledger) -> None:
    coming = any(lease.kind is LeaseKind.GATEWAY for lease in ledger.pending.values())
    if ledger.gateway is not None or coming:
        raise refusals.second_gateway(ledger.pool, ledger.gateway)


async def _left(ledger: Ledger, offset: int) -> None:
    """Wait until it is decided whether an address is released."""
    while (ahead := ledger.leaving.get(offset)) is not None:
        await asyncio.shield(ahead)


async def _ended(
    task: asyncio.Task[Any], undo: Callable[[], Coroutine[Any, Any, object]] | None
) -> None:
    await task
    if undo is not None:
        await undo()


async def _logged(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except IpamError as error:
        log.warning("ipam.unfinished", extra={"why": str(error)})
