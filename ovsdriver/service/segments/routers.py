"""Routers between segments: rows of OVN's, and what containers are told of them."""

from collections.abc import Sequence
from functools import partial

from ipam import AddressRequest, LeaseKind
from ovsdriver.domain.plan import segment_planning
from ovsdriver.domain.records.model import Endpoint, Network, NetworkId, Way
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.ports import Northbound, SharedGateway, State
from ovsdriver.ports.northbound import on_router
from ovsdriver.service.aspects.aspect import Aspect, Finding
from ovsdriver.service.fleet.pools import SegmentPools
from ovsdriver.service.locks import Locks


class SegmentRouters(Aspect):
    """Every host makes what is every host's; it goes with the segment, which the last one ends."""

    name = "routers between segments"
    needs_switch = False

    def __init__(
        self, *, state: State, northbound: Northbound, pools: SegmentPools, locks: Locks
    ) -> None:
        self._state = state
        self._northbound = northbound
        self._pools = pools
        self._locks = locks

    def ways(self, network: Network, endpoint: Endpoint) -> Sequence[Way]:  # noqa: ARG002
        """Return the routes to the segments that are on the router now, and those typed."""
        segment = network.segment
        if not isinstance(segment, OvnSegment) or segment.router is None:
            return ()
        return segment_planning.ways(segment, on_router(self._northbound, segment.router.name))

    async def ensure_network(self, network: Network) -> None:
        """Put a segment on its router, and keep the router's addresses from containers."""
        gateway = _gateway(network)
        if gateway is None or not self._lacks(gateway):
            return
        for subnet in network.subnets:
            for each in gateway.addresses:
                if each.ip in subnet.cidr and subnet.pool is not None:
                    await self._pools.request_address(
                        AddressRequest(pool=subnet.pool, address=each.ip, kind=LeaseKind.AUX)
                    )
        await self._northbound.put_gateway(gateway)

    async def find(self) -> Sequence[Finding]:
        """Compare routers with the networks of this host."""
        if not self._northbound.status().connected:
            return []
        return [
            Finding(
                what=f"segment {gateway.segment}: its place on router {gateway.router} was not as "
                "it should be in OVN's northbound database",
                about=f"segment {gateway.segment}: router {gateway.router}",
                mend=partial(self._mend, network.id),
            )
            for network in self._state.networks()
            if (gateway := _gateway(network)) is not None
            and network.made
            and not network.ended
            and self._lacks(gateway)
        ]

    def _lacks(self, gateway: SharedGateway) -> bool:
        there = self._northbound.gateway(gateway.segment)
        return there is None or not set(gateway.addresses) <= set(there.addresses)

    async def _mend(self, network_id: NetworkId) -> bool:
        async with self._locks.held(network_id):
            network = self._state.network(network_id)
            gateway = _gateway(network) if network is not None and not network.ended else None
            if network is None or gateway is None or not self._lacks(gateway):
                return False
            await self.ensure_network(network)
            return True


def _gateway(network: Network) -> SharedGateway | None:
    segment = network.segment
    if not isinstance(segment, OvnSegment) or segment.router is None:
        return None
    return SharedGateway(
        segment=segment.segment, router=segment.router.name, addresses=segment.router.gateways
    )
