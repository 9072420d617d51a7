"""Containers that run on addresses which the northbound database does not know as theirs any more.

An administrator has forgotten this host while it was away, or rows were lost: until they are made
again, the copy shows these addresses as free.
"""

from netaddr import IPAddress

from ipam import PoolId
from ovsdriver.ports import Links, State


class Residents:
    """Asks the records, and the kernel whether a container is still there."""

    def __init__(self, *, state: State, links: Links) -> None:
        self._state = state
        self._links = links

    async def __call__(self, pool: PoolId, address: IPAddress) -> bool:
        """Whether a container of this host runs on an address of a pool; UnavailableError."""
        network = self._state.network_of_pool(pool)
        endpoint = self._state.endpoint_at(network.id, address) if network is not None else None
        if endpoint is None or endpoint.ended or endpoint.sandbox is None:
            return False
        return await self._links.sandbox_alive(endpoint.sandbox)
