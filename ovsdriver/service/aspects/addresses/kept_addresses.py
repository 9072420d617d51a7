"""Addresses of a network that its IPAM chooses for no container.

A router's (``ovs.gateway``), which a container may ask for: then that is the router. And this
host's (``ovs.host_address``).
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from netaddr import IPAddress

from ipam import AddressRequest, Lease, LeaseKind, PoolId
from ipam.errors import AddressError, LimitError
from ipam.leasing import Leasing
from ovsdriver.domain.records.model import Network, NetworkId
from ovsdriver.errors import ConflictError
from ovsdriver.ports import State
from ovsdriver.service.aspects.aspect import Aspect, Finding
from ovsdriver.service.locks import Locks


class KeptAddresses(Aspect):
    """Leases of nobody's, and what is given only to who asks for it."""

    name = "addresses of routers and of this host"
    needs_switch = False

    def __init__(
        self,
        *,
        state: State,
        ipam: Leasing,
        locks: Locks,
        give_on_request: Callable[[PoolId, Collection[IPAddress]], None],
    ) -> None:
        """``give_on_request``: as ``ipam.service.Ipam`` does; what it is told, it forgets."""
        self._state = state
        self._ipam = ipam
        self._locks = locks
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
        if self._doubted(network):
            await self._hold(network)

    async def find(self) -> Sequence[Finding]:
        """Doubt what an earlier process has held; it may have been killed in a change."""
        return [
            Finding(
                what=f"network {each.id[:12]}: other addresses were held than it keeps",
                about=self.name,
                amiss=partial(self._amiss, each),
                mend=partial(self._mend, each.id),
            )
            for each in self._state.networks()
            if self._doubted(each) and each.made and not each.ended
        ]

    def _doubted(self, network: Network) -> bool:
        return not network.mode.has_gateway and self._held.get(network.id) != _kept(network)

    async def _amiss(self, network: Network) -> bool:
        differences = [await self._differences(network, each) for each in _pools(network)]
        return any(surplus or lacking for surplus, lacking in differences)

    async def _mend(self, network_id: NetworkId) -> bool:
        async with self._locks.held(network_id):
            network = self._state.network(network_id)
            if network is None or network.ended or not self._doubted(network):
                return False
            return await self._hold(network)

    async def _hold(self, network: Network) -> bool:
        """Hold what a network keeps, and nothing else; False if it is so already."""
        changed = False
        for pool in _pools(network):
            surplus, lacking = await self._differences(network, pool)
            for each in surplus:
                await self._ipam.release_address(pool, each.address, serial=each.serial)
            for address in lacking:
                request = AddressRequest(pool=pool, address=address, kind=LeaseKind.AUX)
                try:
                    await self._ipam.request_address(request)
                except (AddressError, LimitError) as error:
                    raise ConflictError(str(error)) from error
            changed = changed or bool(surplus or lacking)
        self._held[network.id] = _kept(network)
        return changed

    async def _differences(
        self, network: Network, pool: PoolId
    ) -> tuple[Sequence[Lease], Sequence[IPAddress]]:
        """Return what is held of a pool and not kept, if it is of this host alone; and what lacks.

        Nobody holds for a network what a container of its has.
        """
        subnets = [each.cidr for each in network.subnets if each.pool == pool]
        wanted = [each for each in _kept(network) if any(each in cidr for cidr in subnets)]
        of_all_hosts = network.over_hosts is not None
        surplus = [
            each
            for each in (() if of_all_hosts else await self._ipam.leases(pool))
            if each.kind is LeaseKind.AUX and each.address not in wanted
        ]
        return surplus, [each for each in wanted if await self._ipam.lease(pool, each) is None]

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


def _pools(network: Network) -> Sequence[PoolId]:
    return [each.pool for each in network.subnets if each.pool is not None]


def _kept(network: Network) -> tuple[IPAddress, ...]:
    return (*_routers(network), *(each.ip for each in network.host_addresses))


def _routers(network: Network) -> tuple[IPAddress, ...]:
    """Return the addresses of routers that were typed; a container that is named has its own."""
    if network.mode.has_gateway or network.gateway_container:
        return ()
    return tuple(each.gateway for each in network.subnets if each.gateway is not None)
