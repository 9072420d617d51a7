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
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import count
from typing import Protocol

from netaddr import IPAddress, IPNetwork

from ipam import checks, refusals
from ipam.errors import AddressError, ExhaustedError, InvalidPoolError, StoreError
from ipam.ledger import Changes, Ledger, remembered
from ipam.model import (
    AddressRequest,
    DefaultPool,
    Lease,
    LeaseKind,
    Occupied,
    Pool,
    PoolId,
    PoolRequest,
    Reservation,
    SpaceLimit,
    Usage,
)
from ipam.probing import Prober, Probing
from ipam.refusals import Naming
from ipam.reservations import Reservations
from ipam.spaces import Spaces
from ipam.store import LeaseStore, StoredPool
from ipam.tasks import Tasks, unfinished

log = logging.getLogger(__name__)

_COUNTER_BITS = 40
"""A serial is the store's epoch and a counter of this many bits: 10^12 leases from one start."""

_POOL_ID_CHARACTERS = 64

_RECENT = 4096
"""Leases remembered in memory: a container's CreateEndpoint follows its RequestAddress."""

_NAMED = 5
"""Holders that a refusal names."""


class Surroundings(Protocol):
    """What of the address space this host uses for itself."""

    async def occupied(self, within: Sequence[IPNetwork]) -> Sequence[Occupied]:
        """Return the routes that meet one of some subnets, and name servers; in bounded time."""
        ...


class Ipam:
    """Pools and leases. Made by :meth:`load`, used on the loop that loaded it."""

    def __init__(
        self,
        store: LeaseStore,
        *,
        spaces: Spaces,
        surroundings: Surroundings,
        prober: Prober | None,
        naming: Naming,
        clock: Callable[[], float],
        epoch: int,
        reservations: Sequence[Reservation],
        keeps_first: bool,
    ) -> None:
        """Use :meth:`load`."""
        self._store = store
        self._spaces = spaces
        self._surroundings = surroundings
        self._clock = clock
        self._naming = naming
        self._probing = Probing(prober, clock=clock) if prober is not None else None
        self._epoch = epoch
        self._keeps_first = keeps_first
        self._pool_numbers = count(1)
        self._serials = count((epoch << _COUNTER_BITS) + 1)
        self._pools: dict[PoolId, Ledger] = {}
        self._reservations = Reservations(
            reservations, store=store, spaces=spaces, pools=self._pools, clock=clock
        )
        # Of an ordinary dictionary the first key costs a walk over all that were before it.
        self._recent: OrderedDict[tuple[PoolId, int], Lease] = OrderedDict()
        self._tasks = Tasks()

    @classmethod
    async def load(
        cls,
        store: LeaseStore,
        *,
        defaults: Sequence[DefaultPool],
        surroundings: Surroundings,
        clock: Callable[[], float],
        exclude: Sequence[IPNetwork] = (),
        limits: Sequence[SpaceLimit] = (),
        prober: Prober | None = None,
        naming: Naming | None = None,
        keeps_first: bool = False,
    ) -> "Ipam":
        """Return the IPAM as the store remembers it.

        Args:
            store: nobody else on this host writes to it.
            defaults: where automatic pools come from, both families, in the order of preference.
            surroundings: asked at every automatic choice.
            clock: seconds since the epoch.
            exclude: never given out by automatic choice.
            limits: at most one for each space.
            prober: asked for the pools that want it; None: nobody is.
            naming: knows more of who holds addresses than requests tell; None: nobody does.
            keeps_first: the first address of a pool without a gateway, which on most segments is a
                router's, is given only to who asks for it.

        Raises:
            InvalidPoolError: a default pool makes no sense.
            StoreError: the store cannot be read, or holds pools that overlap.
        """
        for each in defaults:
            checks.default_pool(each)
        contents = await store.load()
        ipam = cls(
            store,
            spaces=Spaces(defaults=defaults, exclude=exclude, limits=limits),
            surroundings=surroundings,
            prober=prober,
            naming=naming or Naming(),
            clock=clock,
            epoch=contents.epoch,
            reservations=contents.reservations,
            keeps_first=keeps_first,
        )
        for stored in contents.pools:
            ipam._restore(stored)
        return ipam

    async def close(self) -> None:
        """Wait for what goes on in the background. Before the store is closed."""
        await self._tasks.ended()

    # Reading

    def pools(self) -> Sequence[Pool]:
        """Return every pool, in the order in which they were made."""
        return tuple(ledger.pool for ledger in self._pools.values())

    def pool(self, pool: PoolId) -> Pool | None:
        """Return one pool."""
        ledger = self._pools.get(pool)
        return ledger.pool if ledger else None

    def overlapping(self, request: PoolRequest) -> Pool | None:
        """Return the pool that is in the way of the subnet that is asked for."""
        if request.subnet is None:
            return None
        return self._spaces.overlapping(request.space, request.subnet)

    def gateway(self, pool: PoolId) -> Lease | None:
        """Return the lease of a pool's gateway; ``wanted`` tells whether the user named it."""
        ledger = self._pools.get(pool)
        return ledger.gateway if ledger else None

    def usage(self, pool: PoolId) -> Usage:
        """Return how full a pool is; UnknownPoolError if it is not there."""
        ledger = self._require(pool)
        ledger.wake(self._clock())
        return ledger.usage

    def reservations(self) -> Sequence[Reservation]:
        """Return every reservation, by space and ascending address."""
        return self._reservations.all()

    def holds(self, lease: Lease) -> bool:
        """Whether the address of a lease is still held, as far as is known, by that lease."""
        ledger = self._pools.get(lease.pool)
        offset = ledger.offset(lease.address) if ledger else None
        if ledger is None or offset is None or not ledger.holds(offset):
            return False
        return self._recent.get((lease.pool, offset), lease).serial == lease.serial

    def readable(self, pool: PoolId) -> bool:  # noqa: ARG002 - all is kept here
        """Whether it is known now what is held of a pool: it always is."""
        return True

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
            LimitError: the space has as many pools as it may.
            StoreError: it could not be written.
        """
        checks.space(request.space)
        checks.wishes(request)
        if request.subnet is None:
            subnet = await self._choose(request)
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
            excluded=checks.excluded(subnet, request.excluded),
            quarantine_s=request.quarantine_s,
            limit=request.limit,
            probe=request.probe,
            created=self._clock(),
        )
        ledger = Ledger.of(StoredPool(pool=pool), keeps_first=self._keeps_first)
        if not ledger.addresses.dynamic:
            what = f"range {request.window}" if request.window else f"subnet {subnet}"
            less = ", exclude less" if pool.excluded else ""
            raise InvalidPoolError(
                f"{what} holds no address that a container can have; choose a larger one{less}"
            )
        self._spaces.check_pools(pool.space)
        self._spaces.add(pool)
        await self._tasks.to_its_end(
            self._add_pool(ledger), undo=partial(self.release_pool, pool.id)
        )
        return pool

    async def would_give(self, request: PoolRequest) -> IPNetwork:
        """Return the subnet that :meth:`request_pool` would give now, and take none.

        Errors as there.
        """
        checks.space(request.space)
        checks.wishes(request)
        if request.subnet is not None:
            checks.subnet(request, request.subnet)
            self._check_overlap(request.space, request.subnet)
            return request.subnet
        return await self._choose(request)

    async def _choose(self, request: PoolRequest) -> IPNetwork:
        bases = self._spaces.bases(request.family)
        checks.automatic(request, bases)
        return self._spaces.choose(request, await self._surroundings.occupied(bases))

    async def release_pool(self, pool: PoolId) -> bool:
        """Release a pool and all of its addresses; False if it is not there.

        Raises:
            StoreError: it could not be written; the pool is as it was.
        """
        while (ledger := self._pools.get(pool)) is not None:
            if ledger.closing is None:
                ledger.closing = asyncio.get_running_loop().create_future()
                return await self._tasks.to_its_end(self._remove_pool(ledger, ledger.closing))
            await asyncio.shield(ledger.closing)
        return False

    # Addresses

    async def request_address(self, request: AddressRequest) -> Lease:
        """Give an address: the wanted one, or a free one.

        That is the one that is reserved for the name, or that the same name had before; else the
        lowest that nobody asked for by ``--ip`` or had by name before; else the lowest. It lies
        in the pool's window, except for a gateway: that is the lowest of the subnet, where people
        expect it, and the window is whole for containers. One that is excluded, in quarantine or
        reserved without the name is given only to who asks for it, and so is the first one of a
        pool without a gateway if the pools here keep it.

        Raises:
            UnknownPoolError: there is no such pool.
            AddressError: the wanted address is outside, not usable, taken, or reserved.
            ExhaustedError: no address is left.
            LimitError: the pool or its space holds as many addresses as it may.
            StoreError: it could not be written.
        """
        ledger = self._require(request.pool)
        checks.holder_name(request.name)
        if request.kind is LeaseKind.GATEWAY:
            _check_gateway(ledger)
        while True:
            offset = await self._pick(ledger, request)
            if ledger.closing is not None:
                raise refusals.unknown_pool(request.pool)
            if ledger.pool.limit is not None and ledger.held >= ledger.pool.limit:
                raise refusals.limited(ledger.pool, await self._holders(ledger))
            self._spaces.check_addresses(ledger.pool.space)
            lease = Lease(
                pool=request.pool,
                address=ledger.address(offset),
                kind=request.kind,
                wanted=request.address is not None,
                name=request.name,
                serial=next(self._serials),
                created=self._clock(),
            )
            if await self._add_lease(ledger, offset, lease):
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
        return await self._tasks.to_its_end(self._remove_lease(ledger, offset, serial))

    # Reservations

    async def reserve(
        self,
        wanted: Sequence[Reservation],
        *,
        drop: Sequence[tuple[str, IPAddress]] = (),
        replace: bool = False,
        dry: bool = False,
    ) -> None:
        """Keep addresses, all or none; repeatable. Their pools need not be there (yet).

        An address that somebody holds stays theirs until it is released.

        Args:
            wanted: those that were not ``created`` are created now. What is refused because of
                one of them says so by its ``index``.
            drop: addresses, by space, whose reservations end at the same moment.
            replace: put an address aside for another name than it is.
            dry: only refuse what would be refused.

        Raises:
            InvalidReservationError: it makes no sense, or the address is a gateway.
            AddressError: the pool that is there has no such address for a container.
            ReservedError: the address, or the name's place in the pool, is reserved already.
            StoreError: it could not be written; all is as it was.
        """
        putting = self._reservations.put(wanted, drop=drop, replace=replace, dry=dry)
        await self._tasks.to_its_end(putting)

    async def reserve_any(self, pool: PoolId, *, name: str, note: str = "") -> Reservation:
        """Keep the lowest free address of a pool for a name; errors as :meth:`reserve`."""
        ledger = self._require(pool)
        self._wake(ledger)
        putting = self._reservations.put_any(ledger, name=name, note=note)
        reservation = await self._tasks.to_its_end(putting)
        if reservation is None:
            raise await self._full(ledger, LeaseKind.ENDPOINT)
        return reservation

    async def unreserve(self, keys: Sequence[tuple[str, IPAddress]]) -> Sequence[Reservation]:
        """Keep addresses, by space, for nobody any more; return the reservations that ended.

        Raises:
            StoreError: it could not be written; all are as they were.
        """
        return await self._tasks.to_its_end(self._reservations.drop(keys))

    def give_on_request(self, pool: PoolId, addresses: Collection[IPAddress]) -> None:
        """Give these addresses of a pool, until this is called again, only to who asks for them.

        A lease of the kind AUX or GATEWAY, by which nobody uses its address, is no hindrance
        then. It is not stored.
        """
        ledger = self._pools.get(pool)
        if ledger is not None:
            offsets = (ledger.offset(each) for each in addresses)
            ledger.give_on_request(frozenset(each for each in offsets if each is not None))

    # Choosing

    def _require(self, pool: PoolId) -> Ledger:
        ledger = self._pools.get(pool)
        if ledger is None:
            raise refusals.unknown_pool(pool)
        return ledger

    def _wake(self, ledger: Ledger) -> None:
        if not ledger.quiet:
            ledger.wake(self._clock())
            self._remember(ledger, ledger.unsaid())

    def _check_overlap(self, space: str, subnet: IPNetwork) -> None:
        other = self._spaces.overlapping(space, subnet)
        if other is not None:
            ledger = self._pools.get(other.id)
            raise refusals.overlap(
                subnet,
                other,
                leaving=bool(ledger and ledger.closing),
                network=self._naming.network(other),
            )

    async def _pick(self, ledger: Ledger, request: AddressRequest) -> int:
        """Return a free offset; it is free when this returns, and the caller takes it at once."""
        if request.address is not None:
            offset = await self._wanted(ledger, request.address, request)
        else:
            self._wake(ledger)
            chosen = ledger.choose(request.kind, request.name)
            if chosen is None:
                raise await self._full(ledger, request.kind)
            offset = chosen
        if ledger.pool.probe and self._probing is not None and request.kind is LeaseKind.ENDPOINT:
            return await self._probing.free(ledger, request, offset)
        return offset

    async def _wanted(self, ledger: Ledger, address: IPAddress, request: AddressRequest) -> int:
        offset = ledger.offset(address)
        if offset is None:
            raise refusals.outside(address, ledger.pool)
        if not ledger.addresses.usable(offset):
            raise refusals.unusable(address, ledger.pool)
        await _left(ledger, offset)
        if ledger.addresses.holds(offset):
            holder = ledger.pending.get(offset) or await self.lease(ledger.pool.id, address)
            if holder is not None and _yields(ledger, offset, holder, request):
                await self.release_address(ledger.pool.id, address, serial=holder.serial)
                return await self._wanted(ledger, address, request)
            raise self._taken(ledger.pool, address, request.kind, holder)
        keeper = ledger.reserved.get(offset)
        # An engine that sends no names is believed: somebody typed the address.
        asked_by = request.name or (keeper.name if keeper else "")
        if (
            keeper
            and keeper.name
            and (asked_by != keeper.name or request.kind is LeaseKind.GATEWAY)
        ):
            raise refusals.reserved(address, ledger.pool, keeper)
        return offset

    async def _full(self, ledger: Ledger, kind: LeaseKind) -> ExhaustedError:
        pool = ledger.pool
        first = ledger.addresses.first_left()
        everywhere = kind is LeaseKind.GATEWAY or (pool.window is None and not pool.excluded)
        return refusals.full(
            pool,
            window=None if kind is LeaseKind.GATEWAY else pool.window,
            addresses=ledger.addresses.capacity if everywhere else ledger.addresses.dynamic,
            holders=await self._holders(ledger),
            usage=ledger.usage,
            first=None if first is None else ledger.address(first),
            rests_s=ledger.rests_s(self._clock()),
        )

    def _taken(
        self, pool: Pool, address: IPAddress, wanted_as: LeaseKind, holder: Lease | None
    ) -> AddressError:
        kept = self._naming.auxiliary(pool)
        return refusals.taken(
            address,
            pool,
            wanted_as=wanted_as,
            holder=holder,
            container="" if holder is None else self._naming.container(pool, holder),
            auxiliary=None if kept is None else address in kept,
        )

    async def _holders(self, ledger: Ledger) -> refusals.Holders:
        """Return who holds a pool's addresses; it costs the same however many these are."""
        pool = ledger.pool
        names = dict.fromkeys(await self._store.names(pool.id, most=_NAMED))
        for address, name in self._naming.containers(pool):
            if len(names) == _NAMED:
                break
            offset = ledger.offset(address)
            if offset is not None and ledger.holds(offset):
                names[name] = None
        counts = dict(ledger.counts())
        # Docker asks for an --aux-address as for a container's; its network tells them apart.
        kept = 0
        for address in self._naming.auxiliary(pool) or ():
            offset = ledger.offset(address)
            gateway = ledger.gateway is not None and ledger.gateway.address == address
            kept += offset is not None and ledger.holds(offset) and not gateway
        counts[LeaseKind.ENDPOINT] -= kept
        counts[LeaseKind.AUX] += kept
        return refusals.Holders(counts=counts, names=tuple(names))

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
        ledger = self._pools[pool.id] = Ledger.of(stored, keeps_first=self._keeps_first)
        self._spaces.hold(pool.space, ledger.held)
        self._reservations.apply(ledger)
        self._remember(ledger, ledger.recall(stored.memories, self._clock()))

    async def _add_pool(self, ledger: Ledger) -> None:
        pool = ledger.pool
        added = False
        try:
            added = await self._store.add_pool(pool)
        finally:
            if added:
                self._pools[pool.id] = ledger
                # Not before: a reservation that is made meanwhile looks for the pool there.
                self._reservations.apply(ledger)
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
            self._spaces.hold(ledger.pool.space, -ledger.held)
        finally:
            decided.set_result(None)
        return removed

    async def _add_lease(self, ledger: Ledger, offset: int, lease: Lease) -> bool:
        """Take the address now, and bring the lease into the store.

        It is given back if the caller is cancelled meanwhile.
        """
        note = ledger.begin(offset, lease)
        self._spaces.hold(ledger.pool.space, 1)
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def told(added: bool, error: BaseException | None) -> None:
            if error is not None:
                ledger.fail(offset, note)
                self._count(ledger, -1)
            else:
                ledger.succeed(offset, lease if added else None)
                if added:
                    self._know(offset, lease)
                if note is not None and not remembered(lease):
                    self._remember(ledger, Changes([], [lease.address]))
            self._pass_on(outcome, lease, added, error)
            self._tasks.end()

        self._store.add_lease(lease, told)
        self._tasks.begin()
        try:
            return await outcome
        except asyncio.CancelledError:
            # Cancelled in the moment in which it was told, so the outcome is there all the same.
            if not outcome.cancelled() and outcome.exception() is None and outcome.result():
                self._tasks.in_background(self._give_back(lease))
            raise

    def _pass_on(
        self, outcome: asyncio.Future[bool], lease: Lease, added: bool, error: BaseException | None
    ) -> None:
        if not outcome.cancelled():
            if error is None:
                outcome.set_result(added)
            else:
                outcome.set_exception(error)
        elif error is not None:
            unfinished(error)
        elif added:
            self._tasks.in_background(self._give_back(lease))

    async def _give_back(self, lease: Lease) -> None:
        await self.release_address(lease.pool, lease.address, serial=lease.serial)

    async def _remove_lease(self, ledger: Ledger, offset: int, serial: int | None) -> bool:
        pool = ledger.pool.id
        try:
            now = self._clock()
            lease = await self._store.remove_lease(
                pool,
                ledger.address(offset),
                serial=serial,
                since=now if ledger.pool.quarantine_s else None,
            )
            if lease is not None:
                self._recent.pop((pool, offset), None)
                changes = ledger.end(offset, lease, now)
                self._count(ledger, -1)
                self._remember(ledger, changes)
        finally:
            ledger.leaving.pop(offset).set_result(None)
        return lease is not None

    def _count(self, ledger: Ledger, addresses: int) -> None:
        # A pool that is gone took all of its addresses from the count with it.
        if self._pools.get(ledger.pool.id) is ledger:
            self._spaces.hold(ledger.pool.space, addresses)

    def _know(self, offset: int, lease: Lease) -> None:
        self._recent[(lease.pool, offset)] = lease
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def _remember(self, ledger: Ledger, changes: Changes) -> None:
        """Write down in the background who had which address: nobody waits for that."""
        if changes.remember or changes.forget:
            noting = self._store.remember(
                ledger.pool.id, memories=changes.remember, forget=changes.forget
            )
            self._tasks.in_background(noting)


def _check_gateway(ledger: Ledger) -> None:
    coming = any(lease.kind is LeaseKind.GATEWAY for lease in ledger.pending.values())
    if ledger.gateway is not None or coming:
        raise refusals.second_gateway(ledger.pool, ledger.gateway)


def _yields(ledger: Ledger, offset: int, holder: Lease, request: AddressRequest) -> bool:
    """Whether the holder of an address makes way for who asks for it."""
    return (
        request.kind is LeaseKind.ENDPOINT
        and offset in ledger.on_request
        and holder.kind is not LeaseKind.ENDPOINT
    )


async def _left(ledger: Ledger, offset: int) -> None:
    """Wait until it is decided whether an address is released."""
    while (ahead := ledger.leaving.get(offset)) is not None:
        await asyncio.shield(ahead)
