"""Collect what Docker forgot: endpoints whose end nobody told us, addresses that nobody used.

Collecting needs proof. The sandbox must be dead, and Docker, having answered since our start,
must not list the endpoint in two readings a minute apart. While Docker does not answer, nothing
is collected. An address that any endpoint in Docker has is never collected, whatever its network.

Here are endpoints and addresses of our own networks; ``lost_networks.py`` has these networks
themselves, ``foreign_pools.py`` the pools that other drivers use, and ``left_segments.py`` those of
segments that this host had before it was installed anew.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet

from netaddr import IPAddress

from ipam import Lease, LeaseKind
from ipam.errors import IpamError
from ipam.leasing import Leasing
from ovsdriver.causes import because
from ovsdriver.domain.records.model import Endpoint, EndpointId
from ovsdriver.errors import DriverError
from ovsdriver.ports import EngineView, Links, State
from ovsdriver.service.attach.endpoints import Endpoints
from ovsdriver.service.forgotten.doubts import Doubts
from ovsdriver.service.forgotten.foreign_pools import ForeignPools, leases_of
from ovsdriver.service.forgotten.left_segments import LeftSegments
from ovsdriver.service.forgotten.lost_networks import LostNetworks
from ovsdriver.service.forgotten.pool_claims import Claims, listed_addresses
from ovsdriver.service.forgotten.witnesses import Witness
from ovsdriver.service.networks.networks import Networks

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
"""Between two readings: longer than any call of Docker's that is on its way."""

READINGS = 2
"""In which an endpoint of ours, or one for an address, is not there."""


class Collector:
    """Compares our endpoints with Docker's, in the background."""

    def __init__(
        self,
        *,
        witness: Witness,
        state: State,
        ipam: Leasing,
        links: Links,
        networks: Networks,
        endpoints: Endpoints,
        interval_s: float = INTERVAL_S,
        foreign_pools: ForeignPools | None = None,
        lost_networks: LostNetworks | None = None,
        left_segments: LeftSegments | None = None,
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
            left_segments: None: this host is in no fleet.
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
        self._left_segments = left_segments
        self._lost_endpoints: Doubts[EndpointId] = Doubts(readings=READINGS)
        self._lost_leases: Doubts[Lease] = Doubts(readings=READINGS)

    def doubted(self) -> Sequence[str]:
        """Return what is removed if Docker goes on not listing it, a phrase each."""
        # What has gone since the last reading is no more to be removed.
        endpoints = map(self._state.endpoint, self._lost_endpoints.doubted())
        networks = map(self._state.network, self._lost_networks.doubted())
        return (
            *(
                f"endpoint {each.id[:12]}, whose container has ended"
                for each in endpoints
                if each and not each.ended
            ),
            *(
                f"address {each.address}, which no endpoint has"
                for each in self._lost_leases.doubted()
                if self._ipam.holds(each)
            ),
            *(
                f"network {each.id[:12]}, without endpoints"
                for each in networks
                if each and not each.ended and not self._state.endpoints(each.id)
            ),
            *(self._left_segments.doubted() if self._left_segments is not None else ()),
        )

    async def run(self) -> None:
        """Look every ``interval_s``, until cancelled."""
        while True:
            try:
                with because("cleanup"):
                    await self.collect()
            except (DriverError, IpamError) as error:
                log.debug("collector.no-look", extra={"why": str(error)})
            await asyncio.sleep(self._interval_s)

    async def collect(self) -> None:
        """Look once: end what was doubted at the last look and is still not listed.

        Raises:
            UnavailableError: Docker does not answer; the earlier suspicions stand.
        """
        view = await self._witness.read()
        await self._networks.note_engine(view.id, view.networks.keys())
        endpoints = [each.id async for each in self._forgotten(view)]
        for each in self._lost_endpoints.look(endpoints):
            endpoint = self._state.endpoint(each)
            if endpoint is not None:
                await self._endpoints.collect(
                    endpoint,
                    "its sandbox is dead, and two readings a minute apart do not list it",
                )
        listed = listed_addresses(view)
        leases = [each async for each in self._unclaimed(listed)]
        for lease in self._lost_leases.look(leases):
            if await self._ipam.release_address(lease.pool, lease.address, serial=lease.serial):
                log.warning(
                    "lease.collected",
                    extra={
                        "pool": lease.pool,
                        "address": lease.address,
                        "why": "no endpoint came for it in more than a minute",
                    },
                )
        await self._lost_networks.collect(view)
        claims = Claims(view, self._state.networks())
        await self._foreign_pools.collect(view, claims, listed)
        if self._left_segments is not None:
            await self._left_segments.collect(view, claims)

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
