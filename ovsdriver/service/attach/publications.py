"""What Docker asks for an endpoint that a container's traffic goes by: ports of this host."""

from collections.abc import Sequence
from dataclasses import replace

from ovsdriver.domain.records.model import (
    Endpoint,
    EndpointId,
    NetworkId,
    PortMapping,
    Publication,
)
from ovsdriver.ports import State
from ovsdriver.service.aspects.publishing.published import Publisher
from ovsdriver.service.attach.lookup import standing_endpoint, standing_network
from ovsdriver.service.locks import Locks


class Publications:
    """Both of Docker's calls, under the endpoint's lock."""

    def __init__(self, *, state: State, publisher: Publisher, locks: Locks) -> None:
        self._state = state
        self._publisher = publisher
        self._locks = locks

    async def publish(
        self,
        network_id: NetworkId,
        endpoint_id: EndpointId,
        ports: Sequence[PortMapping],
        *,
        other_gateway6: bool = False,
    ) -> None:
        """Publish ports on this host, those and no others; again keeps what was chosen before.

        What this network cannot publish another one of the container does. If none can, that is
        no error: dockerd, which has taken the gateway from another endpoint by then, does not
        give it back.

        Args:
            network_id: Docker's.
            endpoint_id: Docker's.
            ports: of the whole container, all of whose traffic comes by this endpoint now.
            other_gateway6: but that of IPv6.

        Raises:
            ConflictError: a port of the host is taken, and the container has not started yet.
            UnsupportedError: the host has no such address, and likewise.
        """
        async with self._locks.held(endpoint_id):
            network = standing_network(self._state, network_id)
            endpoint = standing_endpoint(self._state, network_id, endpoint_id)
            if not ports and not (endpoint.published or endpoint.wanted or endpoint.unpublished):
                return
            await self._publisher.publish(network, endpoint, ports, other_gateway6=other_gateway6)

    async def revoke(self, network_id: NetworkId, endpoint_id: EndpointId) -> None:
        """Publish nothing any more for an endpoint, known or not."""
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            if endpoint is None or endpoint.network != network_id or endpoint.ended:
                return
            if endpoint.published or endpoint.wanted or endpoint.unpublished:
                for_others = tuple(p for p in endpoint.published if p.instead_of is not None)
                await self._state.put_endpoint(revoked(endpoint, for_others))
                await self._publisher.withdraw(endpoint)


def revoked(endpoint: Endpoint, published: tuple[Publication, ...] = ()) -> Endpoint:
    """Return the record of an endpoint that Docker does not ask to publish any more."""
    return replace(endpoint, published=published, unpublished=(), unpublished_why="", wanted=())
