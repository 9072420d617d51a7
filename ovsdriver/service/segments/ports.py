"""Containers' ports on segments: a row of OVN's for each, and OVN's word that it is plugged in."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from netaddr import IPAddress

from ipam import LeaseKind
from ipam.tasks import Tasks
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network
from ovsdriver.domain.wires import desired
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import Bindings, Links, Northbound, SharedLease, SharedPort, State
from ovsdriver.service.aspects.aspect import Aspect, Finding
from ovsdriver.service.locks import Locks

log = logging.getLogger(__name__)

BIND_WAIT_S = 5.0
"""How long Join waits for OVN's controller."""
_SETTLE_S = 0.5
"""How long a look waits for it: a port may just have been plugged in."""


class SegmentPorts(Aspect):
    """Rows are made when an address is given; here they get what their container is like.

    A row that was lost is made again: an administrator has removed it, or has forgotten this host
    while it was away. An address that another host has by then is that host's. One whose container
    has ended is not taken again: Docker gives addresses back after a power failure, and tells of no
    endpoint's end.
    """

    name = "ports of segments"
    mended_first = True  # OVN takes a port that has a row
    needs_switch = False

    def __init__(
        self,
        *,
        state: State,
        northbound: Northbound,
        switch: Bindings,
        links: Links,
        locks: Locks,
        host: Callable[[], str],
    ) -> None:
        self._state = state
        self._northbound = northbound
        self._switch = switch
        self._links = links
        self._locks = locks
        self._host = host
        self._tasks = Tasks()

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the row of a container that runs here is lost."""
        self._northbound.on_end(
            lambda leases: callback() if any(map(self._in_use, leases)) else None
        )

    def _in_use(self, lease: SharedLease) -> bool:
        network = self._state.network_of_pool(lease.pool) if lease.pool is not None else None
        if network is None:
            return False
        endpoint = self._state.endpoint_at(network.id, lease.address)
        return (
            endpoint is not None
            and lease.serial in endpoint.leases
            and self._standing(endpoint) is not None
        )

    async def recorded(self, network: Network, endpoint: Endpoint) -> None:
        """Say what a container's port is like.

        It is waited for where the row must change before a packet passes; else it tells only whose
        the row is.
        """
        port = self._wanted(network, endpoint)
        if port is None:
            return
        if network.segment.by_ovn and not self._leased(port):
            await self._northbound.set_port(port)
        else:
            self._tasks.in_background(self._tell(port))

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Have OVN take a port as its record says by now."""
        if not network.segment.by_ovn:
            return
        port = self._wanted(network, endpoint)
        row = self._northbound.lease(port.segment, port.addresses[0]) if port is not None else None
        if port is not None and row is not None and row.port not in (None, port):
            await self._northbound.set_port(port)

    async def joined(self, network: Network, endpoint: Endpoint) -> None:
        """Wait until OVN has made the flows of a port.

        A repair does not: it has others to mend, and a port without its row would hold them up.
        """
        if network.segment.by_ovn:
            await self._switch.bound(names.port(endpoint), BIND_WAIT_S)

    async def find(self) -> Sequence[Finding]:
        """Compare the rows of containers that run here with their records."""
        found = await self._find_unbound()
        if not self._northbound.status().connected:
            return found
        for endpoint in self._state.endpoints():
            network = self._standing(endpoint)
            port = self._wanted(network, endpoint) if network is not None else None
            if network is not None and port is not None:
                found += await self._compared(network, endpoint, port)
        return found

    async def _find_unbound(self) -> list[Finding]:
        """Say which ports are plugged in and OVN has not made the flows of."""
        plugged = [
            each
            for each in self._state.endpoints()
            if (network := self._standing(each)) is not None
            and network.segment.by_ovn
            and self._switch.port(names.port(each)) is not None
        ]
        bound = await asyncio.gather(*(self._is_bound(each) for each in plugged))
        return [
            Finding(
                what=f"endpoint {each.id[:12]}: OVN has not taken its port, so it reaches nobody; "
                "does ovn-controller run? Try: systemctl status ovn-controller"
            )
            for each, well in zip(plugged, bound, strict=True)
            if not well and await self._runs(each)
        ]

    async def _is_bound(self, endpoint: Endpoint) -> bool:
        try:
            await self._switch.bound(names.port(endpoint), _SETTLE_S)
        except UnavailableError:
            return False
        return True

    def _standing(self, endpoint: Endpoint) -> Network | None:
        """Return the network of a container that is plugged in."""
        network = self._state.network(endpoint.network)
        gone = endpoint.ended or endpoint.sandbox is None or network is None or network.ended
        return None if gone else network

    async def _compared(
        self, network: Network, endpoint: Endpoint, port: SharedPort
    ) -> Sequence[Finding]:
        others = [
            row
            for address, serial in zip(endpoint.addresses, endpoint.leases, strict=False)
            if (row := self._northbound.lease(port.segment, address.ip)) is not None
            and row.serial != serial
        ]
        if not (others or self._amiss(endpoint, port)) or not await self._runs(endpoint):
            return []
        if others:
            return [Finding(what=_given_away(network, endpoint, others[0]))]
        return [
            Finding(
                what=f"endpoint {endpoint.id[:12]}: its rows in OVN's northbound database were not "
                "as they should be",
                about=f"endpoint {endpoint.id[:12]}: rows in OVN's northbound database",
                mend=partial(self._mend, endpoint.id),
            )
        ]

    async def _runs(self, endpoint: Endpoint) -> bool:
        return endpoint.sandbox is not None and await self._links.sandbox_alive(endpoint.sandbox)

    def _amiss(self, endpoint: Endpoint, port: SharedPort) -> bool:
        rows = [self._northbound.lease(port.segment, each.ip) for each in endpoint.addresses]
        return None in rows or rows[0] is None or rows[0].port != port

    async def _mend(self, endpoint_id: EndpointId) -> bool:
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            network = self._standing(endpoint) if endpoint is not None else None
            if endpoint is None or network is None:
                return False
            port = self._wanted(network, endpoint)
            if port is None or not self._amiss(endpoint, port) or not await self._runs(endpoint):
                return False
            for address, serial in zip(endpoint.addresses, endpoint.leases, strict=False):
                if self._northbound.lease(port.segment, address.ip) is None:
                    await self._northbound.take(self._lease(network, port, address.ip, serial))
            await self._northbound.set_port(port)
            return True

    def _lease(
        self, network: Network, port: SharedPort, address: IPAddress, serial: int
    ) -> SharedLease:
        return SharedLease(
            segment=port.segment,
            address=address,
            kind=LeaseKind.ENDPOINT,
            host=port.host,
            pool=next(each.pool for each in network.subnets if address in each.cidr),
            serial=serial,
            mac=port.mac if address == port.addresses[0] else None,
        )

    def _wanted(self, network: Network, endpoint: Endpoint) -> SharedPort | None:
        segment = network.over_hosts
        if segment is None or not endpoint.addresses:
            return None
        port = SharedPort(
            segment=segment,
            addresses=tuple(each.ip for each in endpoint.addresses),
            mac=endpoint.mac,
            endpoint=endpoint.id,
            host=self._host(),
        )
        if not network.segment.by_ovn:  # no packet meets the row
            return port
        return replace(
            port,
            guard=bool(desired.port_options(network, endpoint).guard),
            sent=desired.shaping(network, endpoint).sent,
            apart=desired.protected(network, endpoint),
        )

    def _leased(self, port: SharedPort) -> bool:
        """Whether its lease alone has made a port like that."""
        lease = self._northbound.lease(port.segment, port.addresses[0])
        if lease is None or lease.mac != port.mac or len(port.addresses) > 1:
            return False
        return port.guard and port.sent is None and not port.apart

    async def _tell(self, port: SharedPort) -> None:
        try:
            await self._northbound.set_port(port)
        except DriverError as error:
            # The next look finds it, if the container is there by then.
            log.info("segment.port-untold", extra={"why": str(error)})


def _given_away(network: Network, endpoint: Endpoint, row: SharedLease) -> str:
    now = "OVN lets nothing of it pass" if network.segment.by_ovn else "both containers have it"
    return (
        f"endpoint {endpoint.id[:12]}: its address {row.address} was given to host {row.host}, and "
        f"{now}; start the container again"
    )
