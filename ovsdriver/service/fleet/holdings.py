"""The pools that this host has of segments, held in the northbound database as long as it has them.

They are lost there when somebody forgets a host that is only away, and with the last pool a segment
goes. The host that comes back makes them again: its networks stand, and its containers run.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

from ipam import Pool, PoolId
from ovsdriver.domain.plan import segment_planning
from ovsdriver.domain.records.segments import segment_of
from ovsdriver.errors import ConflictError
from ovsdriver.ports import Northbound, SegmentPool, State
from ovsdriver.service.aspects.aspect import Aspect, Finding
from ovsdriver.service.fleet.debts import Debts
from ovsdriver.service.fleet.fleet_name import FleetName
from ovsdriver.service.fleet.pools import SegmentPools


class SegmentHoldings(Aspect):
    """Mended before the ports that are on them."""

    name = "pools of segments"
    mended_first = True
    needs_switch = False

    def __init__(
        self,
        *,
        state: State,
        northbound: Northbound,
        pools: SegmentPools,
        debts: Debts,
        host: FleetName,
    ) -> None:
        self._state = state
        self._northbound = northbound
        self._pools = pools
        self._debts = debts
        self._host = host

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` after each connection, and once for each pool that is lost during it.

        What happened before a connection is not known.
        """
        told: set[PoolId] = set()

        def changed(segments: Collection[str] | None) -> None:
            here = [
                pool
                for pool in self._standing()
                if segments is None or segment_of(pool.space) in segments
            ]
            lost = {pool.id for pool in here if self._lost(pool)}
            news = lost - told
            told.difference_update(pool.id for pool in here)
            told.update(lost)
            if segments is None or news:
                callback()

        self._northbound.on_change(changed)

    async def clear(self) -> None:
        """Take back all that this host has of segments, or may have: a debt is no note after it."""
        if self._pools.pools() or self._debts.waiting() or self._host.kept:
            await self.clear_unread()

    async def clear_unread(self) -> None:
        """Take back what the northbound database has under this host's name."""
        await self._northbound.forget_host(self._host())

    async def find(self) -> Sequence[Finding]:
        """Compare this host's pools of networks that stand with those in the database."""
        if not self._northbound.status().connected:
            return []
        return [
            Finding(
                what=f"segment {segment_of(pool.space)}: this host's pool {pool.subnet} was not in "
                "OVN's northbound database",
                mend=partial(self._mend, pool),
            )
            for pool in self._standing()
            if self._lost(pool)
        ]

    def _standing(self) -> Iterator[Pool]:
        """Give the pools of networks that stand."""
        for pool in self._pools.pools():
            if self._state.network_of_pool(pool.id) is not None:
                yield pool

    def _lost(self, pool: Pool) -> bool:
        segment = self._northbound.segment(segment_of(pool.space) or "")
        return segment is None or all(each.id != pool.id for each in segment.pools)

    async def _mend(self, pool: Pool) -> bool:
        network = self._state.network_of_pool(pool.id)
        name = segment_of(pool.space)
        if network is None or name is None or not self._lost(pool):
            return False
        key = SegmentPool(id=pool.id, host=self._host())
        stands = await self._northbound.hold(name, pool.subnet, key)
        if self._pools.pool(pool.id) is None:  # released meanwhile
            await self._northbound.let_go(name, pool.id)
            return False
        if pool.subnet not in stands.subnets:
            await self._northbound.let_go(name, pool.id)
            raise ConflictError(
                f"segment {name} was made anew with {', '.join(map(str, stands.subnets))}; remove "
                f"network {network.id[:12]} and make it again"
            )
        await self._northbound.describe(name, segment_planning.common(network))
        return True
