"""Subnets that were taken for a network which Docker then did not make, given to who asks again.

Engine 28 leaves a network's first pool when its second one is refused; a dockerd that dies while it
makes a network leaves what it had by then. The collector takes ten minutes to be sure, since others
may have what Docker does not list. Who asks for the subnet by name tells what it is wanted for, so
here it is enough that

- nothing of ours has the pool, or a network of ours that never had an endpoint and that was made
  before the daemon that answers now began;
- Docker, read ``QUIET_S`` after it last spoke of the pool, has no network that may have it. Between
  the calls that make one network are milliseconds, so of two who make the same network at once the
  second waits for what the first becomes, and is refused;
- no endpoint has an address of it.

Docker is read in the background alone. A request that meets such a pool waits for that at most
``WAIT_S``, and not at all where no Docker answers.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence

from netaddr import IPAddress

from ipam import AddressRequest, Lease, Pool, PoolId, PoolRequest
from ipam.errors import IpamError
from ipam.leasing import Leasing
from ovsdriver.errors import DriverError
from ovsdriver.ports import Engine, State
from ovsdriver.service.forgotten.foreign_pools import attached
from ovsdriver.service.forgotten.pool_claims import Claims
from ovsdriver.service.forgotten.witnesses import Witness
from ovsdriver.service.networks.networks import Networks

log = logging.getLogger(__name__)

QUIET_S = 2.0
WAIT_S = 5.0
_AGAIN_S = 1.0
"""Between two tries to read a Docker that does not answer."""

_NOTICED_S = 1.0
"""Within which a daemon that answers is known to."""


class AbandonedPools:
    """The IPAM as Docker's calls see it."""

    def __init__(
        self,
        *,
        engine: Engine,
        witness: Witness,
        state: State,
        ipam: Leasing,
        networks: Networks,
        clock: Callable[[], float] = time.monotonic,
        quiet_s: float = QUIET_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self._engine = engine
        self._witness = witness
        self._state = state
        self._ipam = ipam
        self._networks = networks
        self._clock = clock
        self._quiet_s = quiet_s
        self._wait_s = wait_s
        self._began = clock()
        self._spoken: dict[PoolId, float] = {}
        """When Docker spoke of a pool last; only of those that are still to be decided."""
        self._vacant: set[PoolId] = set()
        self._kept: set[PoolId] = set()
        self._news = asyncio.Event()
        self._looked = asyncio.Event()
        witness.on_end(self._forget)

    # What Docker calls

    async def request_pool(self, request: PoolRequest) -> Pool:
        """Give a subnet, also one that was taken for a network which nobody made."""
        began = self._clock()
        while await self._cleared(request, began):
            pass
        pool = await self._ipam.request_pool(request)
        self._speak(pool.id)
        return pool

    async def request_address(self, request: AddressRequest) -> Lease:
        """Give an address."""
        if request.pool in self._spoken or request.pool in self._vacant:
            self._speak(request.pool)
        return await self._ipam.request_address(request)

    async def release_pool(self, pool_id: PoolId) -> bool:
        """Release a pool; False if it is not there."""
        return await self._ipam.release_pool(pool_id)

    async def release_address(self, pool_id: PoolId, address: IPAddress) -> bool:
        """Release an address; False if nobody holds it."""
        return await self._ipam.release_address(pool_id, address)

    def pool(self, pool_id: PoolId) -> Pool | None:
        """Return one pool."""
        return self._ipam.pool(pool_id)

    # What goes on meanwhile

    async def run(self) -> None:
        """Look when there is something to decide, until cancelled."""
        while True:
            while self._undecided():
                await asyncio.sleep(self._rest_s())
                try:
                    await self.look()
                except (DriverError, IpamError) as error:
                    log.debug("abandoned_pools.no-look", extra={"why": str(error)})
                    await asyncio.sleep(_AGAIN_S)
            await self._news.wait()
            self._news.clear()

    async def look(self) -> None:
        """Decide about the pools of which Docker has said nothing for a while.

        Raises:
            UnavailableError: Docker does not answer.
        """
        before = self._clock() - self._quiet_s
        view = await self._engine.read()
        claims = Claims(view, self._state.networks())
        for pool in self._undecided():
            network = self._state.network_of_pool(pool.id)
            listed = network.id in view.networks if network else bool(claims.possible(pool))
            if listed or await attached(self._ipam, pool.id):
                self._kept.add(pool.id)
            elif self._spoken.get(pool.id, self._began) <= before:
                self._vacant.add(pool.id)
        undecided = {each.id for each in self._undecided()}
        self._spoken = {key: at for key, at in self._spoken.items() if key in undecided}
        there = {each.id for each in self._ipam.pools()}
        self._kept &= there
        self._vacant &= there
        self._looked.set()

    async def _cleared(self, request: PoolRequest, began: float) -> bool:
        """Remove a pool that is in the way, if nobody has it; False if there is none."""
        while (pool := self._in_the_way(request)) is not None and pool.id not in self._vacant:
            # One that has just begun may not have been noticed yet.
            wait_s = self._wait_s if self._witness.answers() else _NOTICED_S
            if self._clock() - began >= wait_s:
                return False
            self._looked.clear()
            self._news.set()
            # A pool that is bound or released meanwhile is not waited for either.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._looked.wait(), 0.1)
        if pool is None:
            return False
        network = self._state.network_of_pool(pool.id)
        self._vacant.discard(pool.id)
        if network is not None:
            await self._networks.delete(network.id)
        else:
            await self._ipam.release_pool(pool.id)
        log.warning(
            "pool.vacated",
            extra={
                "pool": pool.id,
                "subnet": pool.subnet,
                "why": "it is asked for again, and the network it was taken for was never made",
            },
        )
        return True

    def _in_the_way(self, request: PoolRequest) -> Pool | None:
        pool = self._ipam.overlapping(request)
        return pool if pool is not None and self._may_be_vacant(pool) else None

    def _may_be_vacant(self, pool: Pool) -> bool:
        # Swarm's managers keep a network that this daemon may not list.
        if (
            pool.id in self._kept
            or pool.space.endswith("-global")
            or not self._ipam.readable(pool.id)
        ):
            return False
        network = self._state.network_of_pool(pool.id)
        if network is None:
            return True
        since = self._witness.began()
        return (
            network.made
            and not network.ended
            and network.unused
            and not network.engine
            and since is not None
            and pool.created < since
            and not self._state.endpoints(network.id)
        )

    def _undecided(self) -> Sequence[Pool]:
        return [
            each
            for each in self._ipam.pools()
            if each.id not in self._vacant and self._may_be_vacant(each)
        ]

    def _rest_s(self) -> float:
        """Return how long it takes until Docker has said nothing of some pool for long enough."""
        now = self._clock()
        spoken = [self._spoken.get(each.id, self._began) for each in self._undecided()]
        return max(0.0, min(spoken, default=now) + self._quiet_s - now)

    def _speak(self, pool: PoolId) -> None:
        self._spoken[pool] = self._clock()
        self._vacant.discard(pool)
        self._news.set()

    def _forget(self) -> None:
        """A daemon ended: what it had is to be asked of the next one."""
        self._kept.clear()
        self._vacant.clear()
        self._news.set()
