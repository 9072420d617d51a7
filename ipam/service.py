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
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Protocol, TypeVar

from netaddr import IPAddress, IPNetwork

from ipam import checks, refusals
from ipam.addresses import Addresses
from ipam.errors import ExhaustedError, InvalidPoolError, IpamError, StoreError
from ipam.model import (
    AddressRequest,
    DefaultPool,
    Lease,
    LeaseKind,
    Occupied,
    Pool,
    PoolId,
    PoolRequest,
    Usage,
)
from ipam.pools import Block, Runs, Source, Subnets, block
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


@dataclass(eq=False, slots=True)
class _State:
    """A pool in memory."""

    pool: Pool
    addresses: Addresses
    gateway: Lease | None = None
    pending: dict[int, Lease] = field(default_factory=dict)
    """By offset: on their way into the store."""
    leaving: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    """By offset: on their way out; done when it is decided."""
    closing: asyncio.Future[None] | None = None
    """The pool is being released; done when it is decided."""

    @property
    def first(self) -> int:
        return int(self.pool.subnet.first)

    def offset(self, address: IPAddress) -> int | None:
        """Return an address's distance from the subnet's first; None if it lies outside."""
        if address.version != self.pool.subnet.version:
            return None
        offset = int(address) - self.first
        return offset if 0 <= offset < self.addresses.size else None


class Ipam:
    """Pools and leases. Made by :meth:`load`, used on the loop that loaded it."""

    def __init__(
        self,
        store: LeaseStore,
        *,
        defaults: Sequence[DefaultPool],
        exclude: Sequence[IPNetwork],
        surroundings: Surroundings,
        clock: Callable[[], float],
        epoch: int,
    ) -> None:
        """Use :meth:`load`."""
        self._store = store
        self._defaults = tuple(defaults)
        self._exclude = tuple(exclude)
        self._surroundings = surroundings
        self._clock = clock
        self._epoch = epoch
        self._pool_numbers = count(1)
        self._lease_numbers = count((epoch << _COUNTER_BITS) + 1)
        self._pools: dict[PoolId, _State] = {}
        self._coming: dict[PoolId, Pool] = {}
        self._subnets: dict[tuple[str, int], Subnets] = {}
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
            store: nobody else writes to it.
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
            defaults=defaults,
            exclude=exclude,
            surroundings=surroundings,
            clock=clock,
            epoch=contents.epoch,
        )
        for stored in contents.pools:
            ipam._restore(stored)
        return ipam

    async def close(self) -> None:
        """Wait for what cancelled callers left to be ended. Before the store is closed."""
        while unended := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(unended)

    # Reading

    def pools(self) -> Sequence[Pool]:
        """Return every pool, in the order in which they were made."""
        return tuple(state.pool for state in self._pools.values())

    def pool(self, pool: PoolId) -> Pool | None:
        """Return one pool."""
        state = self._pools.get(pool)
        return state.pool if state else None

    def gateway(self, pool: PoolId) -> Lease | None:
        """Return the lease of a pool's gateway; ``wanted`` tells whether the user named it."""
        state = self._pools.get(pool)
        return state.gateway if state else None

    def usage(self, pool: PoolId) -> Usage:
        """Return how full a pool is; UnknownPoolError if it is not there."""
        state = self._pools.get(pool)
        if state is None:
            raise refusals.unknown_pool(pool)
        return _usage(state)

    async def lease(self, pool: PoolId, address: IPAddress) -> Lease | None:
        """Return who holds an address; None if nobody does. No wait for a recent lease."""
        state = self._pools.get(pool)
        offset = state.offset(address) if state else None
        if state is None or offset is None:
            return None
        if not state.addresses.holds(offset) or offset in state.pending:
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
            checks.automatic(request, self._defaults)
            occupied = await self._surroundings.occupied(request.family)
            subnet = self._choose(request, occupied)
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
        state = _State(pool, _addresses(pool))
        if not state.addresses.dynamic:
            raise InvalidPoolError(
                f"range {request.window} holds no address that a container can have; "
                "choose a larger one"
            )
        self._coming[pool.id] = pool
        self._subnets_of(pool).add(block(subnet), pool.id)
        await self._to_its_end(self._add_pool(state), undo=partial(self.release_pool, pool.id))
        return pool

    async def release_pool(self, pool: PoolId) -> bool:
        """Release a pool and all of its addresses; False if it is not there.

        Raises:
            StoreError: it could not be written; the pool is as it was.
        """
        while (state := self._pools.get(pool)) is not None:
            if state.closing is None:
                state.closing = asyncio.get_running_loop().create_future()
                return await self._to_its_end(self._remove_pool(state, state.closing))
            await asyncio.shield(state.closing)
        return False

    # Addresses

    async def request_address(self, request: AddressRequest) -> Lease:
        """Give an address: the wanted one, or the lowest that is free.

        Free means in the pool's window, or anywhere in the subnet for a gateway: so the gateway is
        the subnet's first address, as people expect, and the window is whole for containers.

        Raises:
            UnknownPoolError: there is no such pool.
            AddressError: the wanted address is outside, not usable, or taken.
            ExhaustedError: no address is left.
            StoreError: it could not be written.
        """
        state = self._pools.get(request.pool)
        if state is None or state.closing is not None:
            raise refusals.unknown_pool(request.pool)
        checks.holder_name(request.name)
        if request.kind is LeaseKind.GATEWAY:
            self._check_gateway(state)
        while True:
            offset = await self._pick(state, request)
            if state.closing is not None:
                raise refusals.unknown_pool(request.pool)
            lease = Lease(
                pool=request.pool,
                address=IPAddress(state.first + offset, state.pool.family),
                kind=request.kind,
                wanted=request.address is not None,
                name=request.name,
                serial=next(self._lease_numbers),
                created=self._clock(),
            )
            state.addresses.take(offset)
            state.pending[offset] = lease
            if await self._to_its_end(
                self._add_lease(state, offset, lease),
                undo=partial(self._give_back, lease),
            ):
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
        state = self._pools.get(pool)
        offset = state.offset(address) if state else None
        if state is None or offset is None:
            return False
        while (ahead := state.leaving.get(offset)) is not None:
            await asyncio.shield(ahead)
        if not state.addresses.holds(offset) or offset in state.pending:
            return False
        state.leaving[offset] = asyncio.get_running_loop().create_future()
        return await self._to_its_end(self._remove_lease(state, offset, serial))

    # Choosing

    def _choose(self, request: PoolRequest, occupied: Sequence[Occupied]) -> IPNetwork:
        """Return the next free subnet.

        A route counts even where it covers a whole default pool, as a VPN's may; only a default
        route does not, which every host has.
        """
        family = request.family
        sources = [
            Source.of(each.base, each.size)
            for each in self._defaults
            if each.base.version == family
        ]
        routes = [
            each
            for each in occupied
            if each.network.version == family and each.network.prefixlen > 0
        ]
        excluded = [
            Occupied(network=network, why="excluded by the configuration")
            for network in self._exclude
            if network.version == family
        ]
        avoid = Runs(block(each.network) for each in (*routes, *excluded))
        subnets = self._subnets.get((request.space, family)) or Subnets()
        picked = subnets.pick(sources, avoid=avoid, prefix=request.prefix)
        if picked is not None:
            return IPNetwork(f"{IPAddress(picked[0], family)}/{picked[1]}")
        raise refusals.no_subnet_left(
            [each.base for each in self._defaults if each.base.version == family],
            family=family,
            prefix=request.prefix,
            space=request.space,
            pools=len(subnets),
            blockers=[
                each
                for each in sorted((*routes, *excluded), key=lambda each: each.network.prefixlen)
                if any(_meet(block(each.network), (s.first, s.last)) for s in sources)
            ],
        )

    def _check_overlap(self, space: str, subnet: IPNetwork) -> None:
        subnets = self._subnets.get((space, int(subnet.version)))
        other = subnets.overlapping(block(subnet)) if subnets else None
        if other is None:
            return
        state = self._pools.get(other)
        pool = state.pool if state else self._coming[other]
        raise refusals.overlap(subnet, pool, leaving=bool(state and state.closing))

    def _check_gateway(self, state: _State) -> None:
        coming = next(
            (each for each in state.pending.values() if each.kind is LeaseKind.GATEWAY), None
        )
        if state.gateway is not None or coming is not None:
            raise refusals.second_gateway(state.pool, state.gateway)

    async def _pick(self, state: _State, request: AddressRequest) -> int:
        """Return a free offset; it is free when this returns, and the caller takes it at once."""
        if request.address is not None:
            return await self._wanted(state, request.address, request.kind)
        if request.kind is LeaseKind.GATEWAY:
            offset = state.addresses.pick_gateway()
        else:
            offset = state.addresses.pick()
        if offset is None:
            raise await self._full(state, request.kind)
        return offset

    async def _wanted(self, state: _State, address: IPAddress, kind: LeaseKind) -> int:
        offset = state.offset(address)
        if offset is None:
            raise refusals.outside(address, state.pool)
        if not state.addresses.usable(offset):
            raise refusals.unusable(address, state.pool)
        while (ahead := state.leaving.get(offset)) is not None:
            await asyncio.shield(ahead)
        if state.addresses.holds(offset):
            holder = state.pending.get(offset) or await self.lease(state.pool.id, address)
            raise refusals.taken(address, state.pool, wanted_as=kind, holder=holder)
        return offset

    async def _full(self, state: _State, kind: LeaseKind) -> ExhaustedError:
        holders = await self._store.holders(state.pool.id, names=5)
        everywhere = kind is LeaseKind.GATEWAY or state.pool.window is None
        return refusals.full(
            state.pool,
            window=None if everywhere else state.pool.window,
            addresses=state.addresses.capacity if everywhere else state.addresses.dynamic,
            holders=holders,
        )

    # Memory and store

    def _restore(self, stored: StoredPool) -> None:
        pool = stored.pool
        other = self._subnets_of(pool).overlapping(block(pool.subnet))
        if other is not None:
            raise StoreError(
                f"the store holds two pools that overlap, {pool.id} and {other}; it was not "
                "changed. Restore it from a backup"
            )
        self._subnets_of(pool).add(block(pool.subnet), pool.id)
        self._pools[pool.id] = _State(pool, _addresses(pool, stored), gateway=stored.gateway)

    async def _add_pool(self, state: _State) -> None:
        pool = state.pool
        added = False
        try:
            added = await self._store.add_pool(pool)
        finally:
            del self._coming[pool.id]
            if added:
                self._pools[pool.id] = state
            else:
                self._forget_subnet(pool)
        if not added:
            raise refusals.overlap(pool.subnet, pool, leaving=True)

    async def _remove_pool(self, state: _State, decided: asyncio.Future[None]) -> bool:
        try:
            removed = await self._store.remove_pool(state.pool.id)
        except BaseException:
            state.closing = None
            raise
        else:
            del self._pools[state.pool.id]
            self._forget_subnet(state.pool)
        finally:
            decided.set_result(None)
        return removed

    async def _add_lease(self, state: _State, offset: int, lease: Lease) -> bool:
        free = True
        try:
            added = await self._store.add_lease(lease)
            # If not, another user of the store has the address: it stays taken here.
            free = False
        finally:
            del state.pending[offset]
            if free:
                state.addresses.put_back(offset)
        if added:
            self._remember(offset, lease)
            if lease.kind is LeaseKind.GATEWAY:
                state.gateway = lease
        return added

    async def _give_back(self, lease: Lease) -> None:
        await self.release_address(lease.pool, lease.address, serial=lease.serial)

    async def _remove_lease(self, state: _State, offset: int, serial: int | None) -> bool:
        address = IPAddress(state.first + offset, state.pool.family)
        try:
            removed = await self._store.remove_lease(state.pool.id, address, serial=serial)
            if removed:
                state.addresses.put_back(offset)
                self._recent.pop((state.pool.id, offset), None)
                if state.gateway is not None and state.gateway.address == address:
                    state.gateway = None
        finally:
            state.leaving.pop(offset).set_result(None)
        return removed

    def _forget_subnet(self, pool: Pool) -> None:
        key = (pool.space, pool.family)
        self._subnets[key].remove(block(pool.subnet), pool.id)
        if not len(self._subnets[key]):
            del self._subnets[key]

    def _subnets_of(self, pool: Pool) -> Subnets:
        return self._subnets.setdefault((pool.space, pool.family), Subnets())

    def _remember(self, offset: int, lease: Lease) -> None:
        self._recent[(lease.pool, offset)] = lease
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]

    def _new_id(self, space: str, subnet: IPNetwork) -> PoolId:
        rest = f"/{subnet}/{self._epoch}.{next(self._pool_numbers)}"
        return PoolId(space[: _POOL_ID_CHARACTERS - len(rest)] + rest)

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
            self._own(_ended(task, undo))
            raise

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _ended(
    task: asyncio.Task[Any], undo: Callable[[], Coroutine[Any, Any, object]] | None
) -> None:
    """Wait for what a cancelled caller began, and take back what nobody waits for."""
    try:
        await task
        if undo is not None:
            await undo()
    except IpamError as error:
        # What was to be released, or given back, is still held; the caller heard of no success.
        log.warning("ipam.unfinished error=%r", str(error))


def _addresses(pool: Pool, stored: StoredPool | None = None) -> Addresses:
    window = None
    if pool.window is not None:
        first, last = block(pool.window)
        window = (first - pool.subnet.first, last - pool.subnet.first)
    return Addresses(
        family=pool.family,
        prefix=pool.subnet.prefixlen,
        window=window,
        taken=stored.taken if stored else None,
    )


def _usage(state: _State) -> Usage:
    addresses = state.addresses
    return Usage(held=addresses.held, capacity=addresses.capacity, free=addresses.free)


def _meet(one: Block, other: Block) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
