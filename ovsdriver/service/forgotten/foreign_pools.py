"""Collect what Docker forgot of pools that no network of ours has.

Docker's bridge and macvlan drivers tell us nothing, so all that is known of such a network is what
Docker's API says: whether it is there, and which addresses its endpoints have.

**Addresses.** Docker takes an address, then makes the endpoint, and lists it from then on. It
forgets the address where what comes in between fails: if the IPv6 address is refused, the IPv4
one is never released (26 and 29). An address that no endpoint has may also be that of a container
which is just starting; two readings tell these apart. Between RequestAddress and the endpoint's
record dockerd waits for our answer about the other family and for the network driver; our answers
have a deadline of seconds, and dockerd gives up on a plugin that is away after 30 s. So an
address whose endpoint is still to come at the first reading has one at a reading a minute later,
and if its serial is the same then, it is that very lease. The lease is read after Docker is, so
one that is given meanwhile is doubted too early at most, which the next reading corrects. The
patience is twice that minute, since a network driver by other people may take its time.

**Pools.** ReleasePool is sent once, or never. A pool that no network in Docker can stand for is
released if nothing was ever attached to it, no route of this host leads into it (a bridge of
another daemon's has one), and three readings of one daemon over ten minutes agree. One that has
addresses of endpoints may be in use by somebody whom Docker does not list; it is left to people,
to whom ``ovsnet status`` names it.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet

from netaddr import IPAddress

from ipam import Lease, LeaseKind, Pool, PoolId
from ipam.leasing import Leasing
from ovsdriver.domain.records import names
from ovsdriver.ports import EngineView, Links, State
from ovsdriver.service.forgotten.doubts import Doubts
from ovsdriver.service.forgotten.pool_claims import Claims

log = logging.getLogger(__name__)

LEASE_PATIENCE_S = 120.0
LEASE_READINGS = 2
READINGS_APART_S = 60.0
POOL_PATIENCE_S = 600.0
POOL_READINGS = 3

_PAGE = 1000
"""Leases read at once: a pool may have many, and commits wait meanwhile."""


class ForeignPools:
    """Looks at one reading of Docker after the other."""

    def __init__(
        self,
        *,
        state: State,
        ipam: Leasing,
        links: Links,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._ipam = ipam
        self._links = links
        self._clock = clock
        self._leases: Doubts[Lease] = Doubts(
            patience_s=LEASE_PATIENCE_S, readings=LEASE_READINGS, apart_s=READINGS_APART_S
        )
        self._pools: Doubts[PoolId] = Doubts(
            patience_s=POOL_PATIENCE_S, readings=POOL_READINGS, apart_s=READINGS_APART_S
        )

    async def collect(
        self, view: EngineView, claims: Claims, listed: AbstractSet[IPAddress]
    ) -> None:
        """Release what this reading leaves no doubt about.

        Args:
            view: what Docker said just now.
            claims: the same, sorted.
            listed: addresses that are never collected.
        """
        now = self._clock()
        leases = [each async for each in self._lost(claims, listed)]
        for lease in self._leases.look(leases, now=now, daemon=view.id):
            await self._collect_lease(lease)
        empty = [each async for each in self._empty(claims)]
        for pool in self._pools.look(empty, now=now, daemon=view.id):
            await self._collect_pool(pool)

    def _unbound(self) -> Sequence[Pool]:
        pools = self._ipam.pools()
        return [each for each in pools if self._state.network_of_pool(each.id) is None]

    async def _lost(self, claims: Claims, listed: AbstractSet[IPAddress]) -> AsyncIterator[Lease]:
        """Give the leases for endpoints of which the pool's network has none."""
        for pool in self._unbound():
            claim = claims.certain(pool)
            if claim is None:
                continue
            async for lease in leases_of(self._ipam, pool.id):
                if (
                    lease.kind is LeaseKind.ENDPOINT
                    and lease.address not in listed
                    and lease.address not in claim.kept
                ):
                    yield lease

    async def _empty(self, claims: Claims) -> AsyncIterator[PoolId]:
        """Give the pools that nobody in Docker has and that no endpoint has an address of."""
        for pool in self._unbound():
            # Swarm's managers keep a network that this daemon may not list.
            if pool.space.endswith("-global") or claims.possible(pool):
                continue
            if not await attached(self._ipam, pool.id):
                yield pool.id

    async def _collect_lease(self, lease: Lease) -> None:
        if await self._ipam.release_address(lease.pool, lease.address, serial=lease.serial):
            log.warning(
                "lease.collected",
                extra={
                    "pool": lease.pool,
                    "address": lease.address,
                    "why": "Docker lists no endpoint with it, in readings over "
                    f"{LEASE_PATIENCE_S:.0f} s",
                },
            )

    async def _collect_pool(self, pool_id: PoolId) -> None:
        pool = self._ipam.pool(pool_id)
        if pool is None:  # ReleasePool came after all
            return
        # The same subnet in another space may be a network of ours.
        ours = {names.gateway_link(each.id) for each in self._state.networks()}
        for route in await self._links.routes([pool.subnet]):
            if route.destination in pool.subnet and route.link not in ours:
                log.debug(
                    "pool.kept",
                    extra={
                        "pool": pool_id,
                        "why": f"Docker lists no network with it, but {route.destination} is "
                        f"routed to {route.link or 'somewhere'} on this host",
                    },
                )
                return
        # Asked again at the last moment, the one that needs no wait last.
        if await attached(self._ipam, pool_id) or self._state.network_of_pool(pool_id) is not None:
            return
        if not await self._ipam.release_pool(pool_id):
            return
        log.warning(
            "pool.collected",
            extra={
                "pool": pool_id,
                "subnet": pool.subnet,
                "why": "no endpoint has an address of it and Docker lists no network with it, in "
                f"readings over {POOL_PATIENCE_S:.0f} s",
            },
        )


async def attached(ipam: Leasing, pool: PoolId) -> bool:
    """Whether an endpoint may have an address of a pool; it may while that is not known.

    Beside its gateway a pool holds few addresses that are not endpoints': one page tells.
    """
    if not ipam.readable(pool):
        return True
    page = await ipam.leases(pool, limit=_PAGE)
    return len(page) == _PAGE or any(each.kind is LeaseKind.ENDPOINT for each in page)


async def leases_of(ipam: Leasing, pool: PoolId) -> AsyncIterator[Lease]:
    """Give a pool's leases by ascending address, read page by page."""
    after: IPAddress | None = None
    while True:
        page = await ipam.leases(pool, after=after, limit=_PAGE)
        for lease in page:
            yield lease
        if len(page) < _PAGE:
            return
        after = page[-1].address
