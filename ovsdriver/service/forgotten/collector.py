"""Collect what Docker forgot: endpoints whose end nobody told us, addresses that nobody used.

Collecting needs proof. The sandbox must be dead, and Docker, having answered since our start,
must not list the endpoint in two readings a minute apart. While Docker does not answer, nothing
is collected. An address that any endpoint in Docker has is never collected, whatever its network.

Here are endpoints and addresses of our own networks; ``lost_networks.py`` has these networks
themselves, and ``foreign_pools.py`` the pools that other drivers use.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from netaddr import IPAddress

from ipam import Lease, LeaseKind
from ipam.errors import IpamError
from ipam.service import Ipam
from ovsdriver.domain.records.model import Endpoint, EndpointId
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import Engine, EngineView, Links, State
from ovsdriver.service.attach.endpoints import Endpoints
from ovsdriver.service.forgotten.foreign_pools import ForeignPools, leases_of
from ovsdriver.service.forgotten.lost_networks import LostNetworks
from ovsdriver.service.forgotten.pool_claims import Claims, listed_addresses
from ovsdriver.service.networks.networks import Networks

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
"""Between two readings: longer than any call of Docker's that is on its way."""

_AGAIN_S = 0.5
"""Pause before a daemon that ended, or is not there, is looked for again."""


class Seen(NamedTuple):
    """What Docker said, and when it was asked."""

    view: EngineView
    at: float
    """Seconds since the epoch."""


class Witness:
    """What Docker said last; forgotten the moment its daemon ends."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._seen: Seen | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._readers: list[Callable[[], None]] = []
        self._view: EngineView | None = None
        self._answers = False
        self._away = False
        self._began: float | None = None

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when a daemon that has answered ends."""
        self._callbacks.append(callback)

    def on_read(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever the daemon was read."""
        self._readers.append(callback)

    def answers(self) -> bool:
        """Whether a daemon answered that has not ended since."""
        return self._answers

    def began(self) -> float | None:
        """Return since when the daemon that runs now answers, in seconds since the epoch.

        None: none does, or it did already when it was looked for first.
        """
        return self._began

    def lists(self, endpoint: EndpointId) -> bool:
        """Whether the daemon that runs now listed ``endpoint`` when it was last read."""
        return self._view is not None and endpoint in self._view.endpoints

    def seen(self) -> Seen | None:
        """Return what the daemon that runs now said last, while it is read anew as well."""
        return self._seen

    def version(self) -> str:
        """Return the version of the daemon that runs now; empty until it was read."""
        return "" if self._seen is None else self._seen.view.version

    async def read(self) -> EngineView:
        """Read and remember; UnavailableError if the daemon does not answer."""
        self._view, at = None, self._clock()
        self._view = await self._engine.read()
        self._seen = Seen(self._view, at)
        for callback in self._readers:
            callback()
        return self._view

    def _answered(self) -> None:
        self._answers = True
        self._began = self._clock() if self._away else None

    async def run(self) -> None:
        """Notice the daemon's end, until cancelled."""
        while True:
            try:
                await self._engine.until_gone(self._answered)
            except UnavailableError:
                log.debug("docker.not-there")
            self._view = self._seen = self._began = None
            self._away = True
            answered, self._answers = self._answers, False
            for callback in self._callbacks if answered else ():
                callback()
            await asyncio.sleep(_AGAIN_S)


class Collector:
    """Compares our endpoints with Docker's, in the background."""

    def __init__(
        self,
        *,
        witness: Witness,
        state: State,
        ipam: Ipam,
        links: Links,
        networks: Networks,
        endpoints: Endpoints,
        interval_s: float = INTERVAL_S,
        foreign_pools: ForeignPools | None = None,
        lost_networks: LostNetworks | None = None,
    ) -> None:
        """Build it.

        Args:
            witness: Docker.
            state: our networks and endpoints.
            ipam: the addresses.
            links: tells dead sandboxes from live ones.
            networks: notes which daemon a network is of.
            endpoints: ends what is collected.
            interval_s: between two readings.
            foreign_pools: None: one with its own patience.
            lost_networks: None: one with its own patience.
        """
        self._witness = witness
        self._state = state
        self._ipam = ipam
        self._links = links
        self._networks = networks
        self._endpoints = endpoints
        self._interval_s = interval_s
        self._foreign_pools = foreign_pools or ForeignPools(state=state, ipam=ipam, links=links)
        self._lost_networks = lost_networks or LostNetworks(state=state, networks=networks)
        self._endpoint_suspects: set[EndpointId] = set()
        self._lease_suspects: set[Lease] = set()

    def doubted(self) -> Sequence[str]:
        """Return what is removed if Docker goes on not listing it, a phrase each."""
        # What has gone since the last reading is no more to be removed.
        endpoints = [each for each in map(self._state.endpoint, self._endpoint_suspects) if each]
        networks = map(self._state.network, self._lost_networks.doubted())
        return (
            *(
                f"endpoint {each.id[:12]}, whose container has ended"
                for each in endpoints
                if not each.ended
            ),
            *(
                f"address {each.address}, which no endpoint has"
                for each in self._lease_suspects
                if self._ipam.holds(each)
            ),
            *(
                f"network {each.id[:12]}, without endpoints"
                for each in networks
                if each and not each.ended and not self._state.endpoints(each.id)
            ),
        )

    async def run(self) -> None:
        """Look every ``interval_s``, until cancelled."""
        while True:
            try:
                await self.collect()
            except (DriverError, IpamError) as error:
                log.debug("collector.no-look", extra={"why": str(error)})
            await asyncio.sleep(self._interval_s)

    async def collect(self) -> None:
        """Look once: end who was suspected at the last look and is still not listed.

        Raises:
            UnavailableError: Docker does not answer; the earlier suspicions stand.
        """
        view = await self._witness.read()
        for network in self._state.networks():
            if not network.engine and network.id in view.networks:
                await self._networks.note_engine(network.id, view.id)
        endpoints = {each.id async for each in self._forgotten(view)}
        for each in endpoints & self._endpoint_suspects:
            endpoint = self._state.endpoint(each)
            if endpoint is not None:
                await self._endpoints.collect(
                    endpoint, "its sandbox is dead and Docker does not list it, twice a minute"
                )
        self._endpoint_suspects = endpoints
        listed = listed_addresses(view)
        leases = {each async for each in self._unclaimed(listed)}
        for lease in leases & self._lease_suspects:
            if await self._ipam.release_address(lease.pool, lease.address, serial=lease.serial):
                log.warning(
                    "lease.collected",
                    extra={
                        "pool": lease.pool,
                        "address": lease.address,
                        "why": "no endpoint came for it in more than a minute",
                    },
                )
        self._lease_suspects = leases
        await self._lost_networks.collect(view)
        await self._foreign_pools.collect(view, Claims(view, self._state.networks()), listed)

    async def _forgotten(self, view: EngineView) -> AsyncIterator[Endpoint]:
        for endpoint in self._state.endpoints():
            if endpoint.ended or endpoint.id in view.endpoints:
                continue
            if endpoint.sandbox is None or not await self._links.sandbox_alive(endpoint.sandbox):
                yield endpoint

    async def _unclaimed(self, listed: AbstractSet[IPAddress]) -> AsyncIterator[Lease]:
        """Give the leases for endpoints of our networks that no endpoint has.

        Docker takes an address and then makes its endpoint, within moments; it forgets the one
        if the other fails, as when the second family's pool is full (26 and 29).
        """
        for network in self._state.networks():
            serials = {s for each in self._state.endpoints(network.id) for s in each.leases}
            for subnet in network.subnets if network.made and not network.ended else ():
                if subnet.pool is None or self._ipam.pool(subnet.pool) is None:
                    continue
                async for lease in leases_of(self._ipam, subnet.pool):
                    if (
                        lease.kind is LeaseKind.ENDPOINT
                        and lease.serial not in serials
                        and lease.address not in subnet.auxiliary
                        and lease.address not in listed
                    ):
                        yield lease
