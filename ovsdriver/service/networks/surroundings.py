"""What of the address space is in use that no pool tells of."""

from collections.abc import Sequence

from netaddr import IPNetwork

from ipam import Occupied
from ipam.service import Surroundings as HostSurroundings
from ovsdriver.ports import State


class Surroundings:
    """The host's own, and what our records of networks still stand on."""

    def __init__(self, host: HostSurroundings, *, state: State) -> None:
        self._host = host
        self._state = state

    async def occupied(self, within: Sequence[IPNetwork]) -> Sequence[Occupied]:
        """Return routes that meet subnets, name servers, and those of networks with a gateway.

        Docker releases a network's pools before the network: a new one that got its subnet in
        between would be refused because of its record.
        """
        return [
            *await self._host.occupied(within),
            *(
                Occupied(network=subnet.cidr.cidr, why=f"network {network.id[:12]}")
                for network in self._state.networks()
                if network.mode.has_gateway
                for subnet in network.subnets
            ),
        ]
