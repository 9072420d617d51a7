"""Addresses of a network that its IPAM chooses for no container.

A router's (``ovs.gateway``), which a container may ask for: then that is the router. And this
host's (``ovs.host_address``).
"""

from collections.abc import Callable, Collection, Sequence

from netaddr import IPAddress

from ipam import AddressRequest, LeaseKind, PoolId
from ipam.errors import AddressError, LimitError
from ipam.leasing import Leasing
from ovsdriver.domain.records.model import Network, NetworkId
from ovsdriver.errors import ConflictError
from ovsdriver.ports import State
from ovsdriver.service.aspects.aspect import Aspect


class KeptAddresses(Aspect):
    """Leases of nobody's, and what is given only to who asks for it."""

    name = "addresses of routers and of this host"
    needs_switch = False

    def __init__(
        self,
        *,
        state: State,
        ipam: Leasing,
        give_on_request: Callable[[PoolId, Collection[IPAddress]], None],
    ) -> None:
        """``give_on_request``: as ``ipam.service.Ipam`` does; what it is told, it forgets."""
        self._state = state
        self._ipam = ipam
        self._give_on_request = give_on_request
        self._held: dict[NetworkId, tuple[IPAddress, ...]] = {}

    def recall(self) -> None:
        """Tell the IPAM of all networks, before it chooses an address."""
        for network in self._state.networks():
            self._tell(network)

    async def check_network(self, network: Network) -> None:
        """Refuse an address of this host that a container has: ConflictError."""
        for subnet in network.subnets:
            for each in network.host_addresses:
                if subnet.pool is None or each.ip not in subnet.cidr:
                    continue
                lease = await self._ipam.lease(subnet.pool, each.ip)
                if lease is not None and lease.kind is LeaseKind.ENDPOINT:
                    raise ConflictError(
                        f"ovs.host_address={each}: a container has that address; choose another "
                        "one, or remove that container first"
                    )

    async def ensure_network(self, network: Network) -> None:
        """Hold what a network keeps from containers, and let go of what it kept before."""
        self._tell(network)
        wanted = _kept(network)
        if network.mode.has_gateway or self._held.get(network.id) == wanted:
            return
        for subnet in network.subnets:
            if subnet.pool is not None:
                mine = [each for each in wanted if each in subnet.cidr]
                await self._hold(subnet.pool, mine, alone=network.over_hosts is None)
        self._held[network.id] = wanted

    async def _hold(self, pool: PoolId, wanted: Sequence[IPAddress], *, alone: bool) -> None:
        """Hold addresses of a pool, and no others if it is of this host ``alone``."""
        for each in await self._ipam.leases(pool) if alone else ():
            if each.kind is LeaseKind.AUX and each.address not in wanted:
                await self._ipam.release_address(pool, each.address, serial=each.serial)
        for address in wanted:
            if await self._ipam.lease(pool, address) is None:
                request = AddressRequest(pool=pool, address=address, kind=LeaseKind.AUX)
                try:
                    await self._ipam.request_address(request)
                except (AddressError, LimitError) as error:
                    raise ConflictError(str(error)) from error

    async def remove_network(self, network: Network) -> None:
        """Forget it; its pools are gone."""
        self._held.pop(network.id, None)

    def _tell(self, network: Network) -> None:
        if network.mode.has_gateway or network.ended:
            return
        for subnet in network.subnets:
            if subnet.pool is not None:
                routers = [each for each in _routers(network) if each in subnet.cidr]
                self._give_on_request(subnet.pool, routers)


def _kept(network: Network) -> tuple[IPAddress, ...]:
    return (*_routers(network), *(each.ip for each in network.host_addresses))


def _routers(network: Network) -> tuple[IPAddress, ...]:
    """Return the addresses of routers that were typed; a container that is named has its own."""
    if network.mode.has_gateway or network.gateway_container:
        return ()
    return tuple(each.gateway for each in network.subnets if each.gateway is not None)
