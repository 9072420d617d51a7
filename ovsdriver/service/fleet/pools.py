"""The addresses of segments: an IPAM whose leases all hosts of a fleet have in common.

A host's own pools are noted on the host, as it must know them while the northbound database is
away. Who holds which address is known there alone. An address is chosen from the copy, and held
once the database has taken the request; of two hosts that choose the same one, the second goes on
to the next.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import islice

from netaddr import EUI, IPAddress, IPNetwork

from ipam import (
    AddressRequest,
    ExhaustedError,
    InvalidPoolError,
    Lease,
    LeaseKind,
    OverlapError,
    Pool,
    PoolId,
    PoolRequest,
    Usage,
    checks,
    refusals,
)
from ipam.errors import AddressError
from ipam.probing import Prober
from ipam.service import Surroundings
from ovsdriver import codec
from ovsdriver.domain.plan.planning import overlap
from ovsdriver.domain.records import names
from ovsdriver.domain.records.segments import OvnSegment, router_address
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import HostNotes, Northbound, SegmentPool, SharedLease, SharedSegment
from ovsdriver.service.fleet import choice
from ovsdriver.service.fleet.choice import Candidates
from ovsdriver.service.fleet.debts import WAIT_S, Debts, FreedLease, LeftPool
from ovsdriver.service.fleet.fleet_name import FleetName
from ovsdriver.service.fleet.host_pools import (
    HostPools,
    any_noted,
    note_of,
    segment_named,
)

_PROBES = ((0.3, 1), (0.6, 16))
"""How long the wire is asked, and for how many addresses, first and if that one is in use."""

_LEAST_S = 0.3
"""What is left of ``WAIT_S`` for the answer when the connection took all of it."""


class SegmentPools(HostPools):
    """Fulfils :class:`ipam.leasing.Leasing` for spaces and pools that are a segment's."""

    def __init__(
        self,
        *,
        northbound: Northbound,
        notes: HostNotes,
        debts: Debts,
        surroundings: Surroundings,
        prober: Prober,
        host: FleetName,
        clock: Callable[[], float],
        resident: Callable[[PoolId, IPAddress], Awaitable[bool]],
    ) -> None:
        """``resident``: whether a container of this host runs on an address, lease or not."""
        super().__init__(notes)
        self._resident = resident
        self._surroundings = surroundings
        self._prober = prober
        self._northbound = northbound
        self._debts = debts
        self._host = host
        self._clock = clock
        self._naming = asyncio.Lock()
        self._taking: set[tuple[str, IPAddress]] = set()
        self._gateways: dict[PoolId, Lease] = {}
        """Those that were typed; they are refused when their network is made."""

    # Reading

    def overlapping(self, request: PoolRequest) -> Pool | None:
        same = (
            each
            for each in self._pools.values()
            if (each.space, each.family) == (request.space, request.family)
        )
        return next(same, None)  # of two, nobody tells which a network is to have

    def gateway(self, pool: PoolId) -> Lease | None:
        return self._gateways.get(pool)

    def usage(self, pool: PoolId) -> Usage:
        known = self._require(pool)
        held = self._northbound.held(segment_named(pool), known.family)
        free = sum(
            last - first + 1 - held.count(first, last) for first, last in choice.dynamic(known)
        )
        edges = 2 if known.family == 4 else 1
        return Usage(held=len(held), capacity=int(known.subnet.size) - edges, free=free)

    def holds(self, lease: Lease) -> bool:
        found = self._northbound.lease(segment_named(lease.pool), lease.address)
        return found is not None and found.serial == lease.serial

    def readable(self, pool: PoolId) -> bool:  # noqa: ARG002 - one database has them all
        return self._northbound.status().connected

    async def lease(self, pool: PoolId, address: IPAddress) -> Lease | None:
        found = self._northbound.lease(segment_named(pool), address)
        if found is None and not self.readable(pool):
            # Just started, it is not known yet; and "nobody holds it" would be no answer.
            await self._northbound.connected(WAIT_S)
            found = self._northbound.lease(segment_named(pool), address)
        return _lease(found) if found is not None and self._ours(found, pool) else None

    async def leases(
        self, pool: PoolId, *, after: IPAddress | None = None, limit: int | None = None
    ) -> Sequence[Lease]:
        there = self._northbound.leases_of(pool)
        beyond = sorted(each for each in there if after is None or each > after)
        held = (there[each] for each in beyond)
        return [_lease(each) for each in islice((h for h in held if self._ours(h, pool)), limit)]

    # Pools

    async def request_pool(self, request: PoolRequest) -> Pool:
        segment = segment_named(request.space)
        subnet = await self.would_give(request)
        if request.subnet is None:
            await self._check_apart(segment, subnet)
        if request.window is not None:
            checks.window(subnet, request.window)
        pool = Pool(
            id=PoolId(f"{request.space}/{request.family}/{secrets.token_hex(6)}"),
            space=request.space,
            subnet=subnet,
            window=None if request.window == subnet else request.window,
            automatic=request.subnet is None,
            excluded=checks.excluded(subnet, request.excluded),
            created=self._clock(),
            probe=request.probe,
        )
        await self._tasks.to_its_end(
            self._add(segment, pool), undo=partial(self.release_pool, pool.id)
        )
        return pool

    async def would_give(self, request: PoolRequest) -> IPNetwork:
        await self._northbound.connected(WAIT_S)
        segment = segment_named(request.space)
        has = _subnet_of(self._northbound.segment(segment), request.family)
        if has is None or request.subnet not in (None, has):
            # another host may have made it, or made it anew, a moment ago
            await self._northbound.catch_up()
            has = _subnet_of(self._northbound.segment(segment), request.family)
        if request.subnet is not None:
            checks.subnet(request, request.subnet)
            if has is not None and has != request.subnet:
                raise _differs(segment, has, request.subnet)
            _check_room(request.subnet)
            return request.subnet
        if has is None:
            raise InvalidPoolError(
                f"segment {segment} has no IPv{request.family} subnet yet; name it with --subnet "
                "on the first host"
            )
        return has

    async def _check_apart(self, segment: str, subnet: IPNetwork) -> None:
        """Refuse an inherited subnet that meets what this host uses for itself.

        Docker would ask again without end, as for one that was chosen badly. One that is typed it
        takes as it is.
        """
        for each in await self._surroundings.occupied([subnet]):
            if each.network.prefixlen and overlap(each.network, subnet):
                raise OverlapError(
                    f"subnet {subnet} of segment {segment} meets {each.network} ({each.why}) of "
                    f"this host; to have it all the same, add --subnet {subnet}"
                )

    async def _add(self, segment: str, pool: Pool) -> None:
        async with self._naming:
            key = SegmentPool(id=pool.id, host=await self._host.keep())
            await self._notes.put_note(note_of(pool.id), codec.encode(pool))
        try:
            stands = await self._northbound.hold(segment, pool.subnet, key)
            _check_same(stands, pool)
        except BaseException:
            # It may have been written all the same.
            await self._debts.note(LeftPool(segment=segment, pool=pool.id))
            await self._forget(pool.id)
            raise
        self._pools[pool.id] = pool

    async def _remove(self, pool: PoolId) -> bool:
        # Before the note is acted upon: who finds the pool lost must not make it again.
        left = self._pools.pop(pool, None)
        try:
            await self._debts.note(LeftPool(segment=segment_named(pool), pool=pool))
        except BaseException:
            if left is not None:
                self._pools[pool] = left
            raise
        await self._forget(pool)
        return left is not None

    async def _forget(self, pool: PoolId) -> bool:
        async with self._naming:
            await self._notes.forget_note(note_of(pool))
            # a pool that is being added has its note already
            if not any_noted(self._notes):
                await self._host.let_go()
        self._gateways.pop(pool, None)
        return self._pools.pop(pool, None) is not None

    # Addresses

    async def request_address(self, request: AddressRequest) -> Lease:
        pool = self._require(request.pool)
        checks.holder_name(request.name)
        if request.kind is LeaseKind.GATEWAY:
            return self._gateway(pool, request.address)
        segment = segment_named(pool.id)
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_S
        await self._northbound.connected(WAIT_S)
        within_s = max(until - loop.time(), _LEAST_S)
        if request.kind is LeaseKind.AUX and request.address is not None:
            return await self._keep(pool, request.address)
        chosen = Candidates(pool, partial(self._northbound.held, segment, pool.family))
        candidates: Iterator[IPAddress]
        candidates = (each for each in chosen if (segment, each) not in self._taking)
        if request.address is not None:
            await self._check_wanted(segment, pool, request.address)
            candidates = iter([request.address])
        async for address in self._unclaimed(pool, candidates, request.address):
            lease = SharedLease(
                segment=segment,
                address=address,
                kind=request.kind,
                host=self._host(),
                pool=pool.id,
                serial=secrets.randbits(63),
                wanted=request.address is not None,
                name=request.name,
                created=self._clock(),
                mac=_mac(segment, pool, address),
            )
            self._taking.add((segment, address))
            try:
                if await self._resident(pool.id, address):
                    if request.address is not None:
                        raise _inhabited(segment, address)
                    continue
                stands = await self._tasks.to_its_end(
                    self._take(lease, within_s), undo=partial(self._freed, lease)
                )
            finally:
                self._taking.discard((segment, address))
            if stands.serial == lease.serial:
                return _lease(lease)
            if request.address is not None:
                raise _taken(stands)
            chosen.begin_elsewhere(lease.host)
        raise ExhaustedError(
            f"segment {segment}: no address of {pool.window or pool.subnet} is free; remove "
            "containers, or give hosts a larger --ip-range"
        )

    async def _take(self, lease: SharedLease, within_s: float) -> SharedLease:
        if lease.pool is not None:
            await self._debts.void(lease.segment, lease.address, lease.pool)
        try:
            return await self._northbound.take(lease, within_s=within_s)
        except UnavailableError:
            await self._freed(lease)  # it may have been written all the same
            raise

    async def _freed(self, lease: SharedLease) -> None:
        await self._debts.note(
            FreedLease(segment=lease.segment, address=lease.address, serial=lease.serial)
        )

    async def release_address(
        self, pool: PoolId, address: IPAddress, *, serial: int | None = None
    ) -> bool:
        segment = segment_named(pool)
        found = self._northbound.lease(segment, address)
        if found is None and not self._northbound.segments():
            # Nothing is known of the database since the start, and Docker is not held up for it.
            debt = FreedLease(segment=segment, address=address, serial=serial, pool=pool)
            await self._tasks.to_its_end(self._debts.note(debt))
            return True
        if found is None or not self._ours(found, pool) or serial not in (None, found.serial):
            return False
        await self._tasks.to_its_end(self._freed(found))
        return True

    def _ours(self, lease: SharedLease, pool: PoolId) -> bool:
        """Whether a pool of this host has a lease, and is not about to end it."""
        return lease.pool == pool and not self._debts.freed(
            lease.segment, lease.address, lease.serial
        )

    async def _check_wanted(self, segment: str, pool: Pool, wanted: IPAddress) -> None:
        if wanted not in pool.subnet:
            raise refusals.outside(wanted, pool)
        if wanted in choice.unusable(pool):
            raise refusals.unusable(wanted, pool)
        holder = self._northbound.lease(segment, wanted)
        if holder is None:
            return
        debt = FreedLease(segment=segment, address=wanted, serial=holder.serial)
        if not self._debts.freed(segment, wanted, holder.serial):
            raise _taken(holder)
        await self._debts.settle(debt)  # this host has released it, and OVN is about to hear

    async def _unclaimed(
        self, pool: Pool, candidates: Iterator[IPAddress], wanted: IPAddress | None
    ) -> AsyncIterator[IPAddress]:
        """Pass over addresses for which somebody on the wire answers, if the pool wants that."""
        if not pool.probe:
            for each in candidates:
                yield each
            return
        claimed: dict[IPAddress, str] = {}
        for within_s, most in _PROBES:
            asked = list(islice(candidates, most))
            claimed |= await self._prober.claimed(pool.id, asked, within_s=within_s)
            for each in asked:
                if each not in claimed:
                    yield each
                elif wanted is not None:
                    raise refusals.in_use(each, pool, claimed[each])
        if claimed:
            raise refusals.all_in_use(pool, claimed)

    async def _keep(self, pool: Pool, address: IPAddress) -> Lease:
        """Keep an address from all hosts' containers as long as the segment is there.

        It is a router's on the wire, and every host may say so.
        """
        lease = Lease(pool=pool.id, address=address, kind=LeaseKind.AUX, wanted=True)
        if address not in choice.unusable(pool):
            kept = SharedLease(
                segment=segment_named(pool.id),
                address=address,
                kind=LeaseKind.GATEWAY,
                host="",
                serial=secrets.randbits(63),
                wanted=True,
                created=self._clock(),
            )
            stands = await self._northbound.take(kept)
            if stands.host:
                raise _taken(stands)
        return lease

    def _gateway(self, pool: Pool, wanted: IPAddress | None) -> Lease:
        """Answer Docker, which wants one on every network; nobody holds it on a segment."""
        address = wanted or router_address(pool.subnet)
        if address not in pool.subnet:
            raise refusals.outside(address, pool)
        if address != router_address(pool.subnet) and address in choice.unusable(pool):
            raise refusals.unusable(address, pool)
        lease = Lease(
            pool=pool.id, address=address, kind=LeaseKind.GATEWAY, wanted=wanted is not None
        )
        if lease.wanted:
            self._gateways[pool.id] = lease
        return lease


def _subnet_of(segment: SharedSegment | None, family: int) -> IPNetwork | None:
    subnets = segment.subnets if segment is not None else ()
    return next((each for each in subnets if each.version == family), None)


def _mac(segment: str, pool: Pool, address: IPAddress) -> EUI | None:
    """Return the MAC of a container's port; an IPv6 address may be beside an IPv4 one."""
    if address.version == 6:
        return None
    return names.mac_for(
        IPNetwork(f"{address}/{pool.subnet.prefixlen}"), OvnSegment(segment=segment)
    )


def _lease(shared: SharedLease) -> Lease:
    return Lease(
        pool=shared.pool or PoolId(""),
        address=shared.address,
        kind=shared.kind,
        wanted=shared.wanted,
        name=shared.name,
        serial=shared.serial,
        created=shared.created,
        host=shared.host,
    )


def _check_room(subnet: IPNetwork) -> None:
    if subnet.size < 8:
        raise InvalidPoolError(
            f"subnet {subnet} is too small for a segment; choose a /"
            f"{29 if subnet.version == 4 else 125} or larger"
        )


def _check_same(segment: SharedSegment, pool: Pool) -> None:
    """Refuse a pool whose subnet another host was first to say otherwise."""
    has = _subnet_of(segment, pool.family)
    if has is not None and has != pool.subnet:
        raise _differs(segment.name, has, pool.subnet)


def _differs(segment: str, has: IPNetwork, wanted: IPNetwork) -> OverlapError:
    return OverlapError(
        f"subnet {wanted}: segment {segment} has {has} on all its hosts; leave --subnet out"
    )


def _inhabited(segment: str, address: IPAddress) -> AddressError:
    return AddressError(
        f"address {address} of segment {segment}: a container of this host runs on it; stop that "
        "one, or choose another --ip"
    )


def _taken(lease: SharedLease) -> AddressError:
    name = f" by {lease.name}" if lease.name else ""
    where = f" on host {lease.host}" if lease.host else " for a router, on all hosts"
    return AddressError(
        f"address {lease.address} of segment {lease.segment} is held{name}{where}; choose another "
        "--ip"
    )
