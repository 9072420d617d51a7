"""Collect what this host has left in the northbound database, and knows nothing of any more.

A host that was installed anew has another store and the name of before. What it held of segments
stays held under that name, for no other host may say that it is dead. It is given back if neither
our notes nor Docker know of it, in three readings over ten minutes, and if no lease of it came or
went meanwhile: by a mistake another host may have this one's name.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ipam import Pool, PoolId
from ovsdriver.domain.records.segments import space_of
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import EngineView, Northbound, SegmentPool
from ovsdriver.service.fleet.debts import Debts
from ovsdriver.service.fleet.pools import SegmentPools
from ovsdriver.service.forgotten.doubts import Doubts
from ovsdriver.service.forgotten.foreign_pools import (
    POOL_PATIENCE_S,
    POOL_READINGS,
    READINGS_APART_S,
)
from ovsdriver.service.forgotten.pool_claims import Claims

log = logging.getLogger(__name__)


class _Left(NamedTuple):
    segment: str
    pool: SegmentPool
    leases: frozenset[int]
    """Their serials: a pool that is in use is another one at the next reading."""


class LeftSegments:
    """Looks at one reading of Docker after the other."""

    def __init__(
        self,
        *,
        northbound: Northbound,
        pools: SegmentPools,
        debts: Debts,
        host: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``host``: this one's name in the fleet; UnavailableError while it is not known."""
        self._northbound = northbound
        self._pools = pools
        self._debts = debts
        self._host = host
        self._clock = clock
        self._left: Doubts[_Left] = Doubts(
            patience_s=POOL_PATIENCE_S, readings=POOL_READINGS, apart_s=READINGS_APART_S
        )

    def doubted(self) -> Sequence[str]:
        """Return what is given back if nobody goes on knowing it, a phrase each."""
        return [
            f"pool {each.pool.id} of segment {each.segment}, with {len(each.leases)} addresses "
            "that no container of this host has"
            for each in self._left.doubted()
        ]

    async def collect(self, view: EngineView, claims: Claims) -> None:
        """Give back what this reading leaves no doubt about.

        Args:
            view: what Docker said just now.
            claims: the same, sorted.

        Raises:
            UnavailableError: the northbound database does not answer; the suspicions stand.
        """
        if not self._northbound.status().connected:
            return
        found = list(self._unknown(claims))
        for each in self._left.look(found, now=self._clock(), daemon=view.id):
            if await self._northbound.let_go(each.segment, each.pool.id):
                log.warning(
                    "segment-pool.collected",
                    extra={
                        "pool": each.pool.id,
                        "leases": len(each.leases),
                        "why": "neither this host's notes nor Docker know of it, in readings over "
                        f"{POOL_PATIENCE_S:.0f} s",
                    },
                )

    def _unknown(self, claims: Claims) -> Iterator[_Left]:
        try:
            host = self._host()
        except UnavailableError:
            return
        for segment in self._northbound.segments().values():
            for pool in segment.pools:
                if pool.host != host or self._known(pool.id):
                    continue
                standing = (
                    Pool(id=pool.id, space=space_of(segment.name), subnet=each)
                    for each in segment.subnets
                )
                if not any(map(claims.possible, standing)):
                    yield _Left(segment.name, pool, self._serials(pool.id))

    def _known(self, pool: PoolId) -> bool:
        return self._pools.pool(pool) is not None or self._debts.left(pool)

    def _serials(self, pool: PoolId) -> frozenset[int]:
        return frozenset(each.serial for each in self._northbound.leases_of(pool).values())
