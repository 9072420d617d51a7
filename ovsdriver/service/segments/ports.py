"""Containers' ports on segments: a row of OVN's for each, and OVN's word that it is plugged in."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from netaddr import IPAddress, IPNetwork

from ipam import LeaseKind
from ipam.tasks import Tasks
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.domain.wires import desired
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import Bindings, Northbound, SharedLease, SharedPort, State
from ovsdriver.service.aspects.aspect import Aspect, Finding

log = logging.getLogger(__name__)

BIND_WAIT_S = 5.0
"""How long Join waits for OVN's controller."""


class SegmentPorts(Aspect):
    """Rows are made when an address is given; here they get what their container is like."""

    name = "ports of segments"

    def __init__(
        self,
        *,
        state: State,
        northbound: Northbound,
        switch: Bindings,
        host: Callable[[], str],
    ) -> None:
        self._state = state
        self._northbound = northbound
        self._switch = switch
        self._host = host
        self._tasks = Tasks()

    async def recorded(self, network: Network, endpoint: Endpoint) -> None:
        """Say what a container's port is like.

        It is waited for where the row must change before a packet passes; else it tells only whose
        the row is.
        """
        port = self._wanted(network, endpoint)
        if port is None:
            return
        if _differs(port, network):
            await self._northbound.set_port(port)
        else:
            self._tasks.in_background(self._tell(port))

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Wait until OVN has made the flows of a port."""
        if isinstance(network.segment, OvnSegment):
            await self._switch.bound(names.port(endpoint), BIND_WAIT_S)

    async def find(self) -> Sequence[Finding]:
        """Compare the rows of containers that run here with their records."""
        found: list[Finding] = []
        if not self._northbound.status().connected:
            return found
        for endpoint in self._state.endpoints():
            network = self._state.network(endpoint.network)
            if network is None or network.ended or endpoint.ended or endpoint.sandbox is None:
                continue
            port = self._wanted(network, endpoint)
            if port is not None:
                found += self._compared(network, endpoint, port)
        return found

    def _compared(
        self, network: Network, endpoint: Endpoint, port: SharedPort
    ) -> Sequence[Finding]:
        what = f"endpoint {endpoint.id[:12]}"
        found = []
        for address, serial in zip(endpoint.addresses, endpoint.leases, strict=False):
            row = self._northbound.lease(port.segment, address.ip)
            if row is not None and row.serial != serial:
                return [
                    Finding(
                        what=f"{what}: its address {address.ip} was given to host {row.host}, and "
                        "OVN lets nothing of it pass; start the container again"
                    )
                ]
            if row is None:
                found.append(
                    Finding(
                        what=f"{what}: its lease of {address.ip} was not in OVN's database",
                        mend=partial(self._take_again, network, endpoint, address.ip, serial),
                    )
                )
        first = self._northbound.lease(port.segment, port.addresses[0])
        if found or first is None or first.port != port:
            found.append(
                Finding(
                    what=f"{what}: its row in OVN's database was not as it should be",
                    mend=partial(self._northbound.set_port, port),
                )
            )
        return found

    async def _take_again(
        self, network: Network, endpoint: Endpoint, address: IPAddress, serial: int
    ) -> bool:
        subnet = next(each for each in network.subnets if address in each.cidr)
        port = self._wanted(network, endpoint)
        if port is None:
            return False
        lease = SharedLease(
            segment=port.segment,
            address=address,
            kind=LeaseKind.ENDPOINT,
            host=self._host(),
            pool=subnet.pool,
            serial=serial,
            mac=port.mac if address == port.addresses[0] else None,
        )
        stands = await self._northbound.take(lease)
        if stands.serial != serial:
            raise UnavailableError(
                f"its address {address} was given to host {stands.host}; start the container again"
            )
        return True

    def _wanted(self, network: Network, endpoint: Endpoint) -> SharedPort | None:
        segment = network.segment
        if not isinstance(segment, OvnSegment) or not endpoint.addresses:
            return None
        return SharedPort(
            segment=segment.segment,
            addresses=tuple(each.ip for each in endpoint.addresses),
            mac=endpoint.mac,
            endpoint=endpoint.id,
            host=self._host(),
            guard=bool(desired.port_options(network, endpoint).guard),
        )

    async def _tell(self, port: SharedPort) -> None:
        try:
            await self._northbound.set_port(port)
        except DriverError as error:
            log.warning("segment.port-untold", extra={"why": str(error)})


def _differs(port: SharedPort, network: Network) -> bool:
    """Whether a port is to be otherwise than its lease alone has made it."""
    first = port.addresses[0]
    given = next(each for each in network.subnets if first in each.cidr).cidr
    usual = names.mac_for(IPNetwork(f"{first}/{given.prefixlen}"), network.segment)
    return len(port.addresses) > 1 or first.version == 6 or not port.guard or port.mac != usual
