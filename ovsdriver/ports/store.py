"""What is kept over a restart."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from netaddr import IPAddress

from ipam import PoolId
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network, NetworkId
from ovsdriver.domain.wires.sandbox_link import SandboxLink


class State(Protocol):
    """Records, durable before a writing call returns; reading is from memory and immediate."""

    def networks(self) -> Sequence[Network]:
        """Return every network."""
        ...

    def network(self, network: NetworkId) -> Network | None:
        """Return one network."""
        ...

    def network_of_pool(self, pool: PoolId) -> Network | None:
        """Return the network that ``pool`` is bound to."""
        ...

    def endpoints(self, network: NetworkId | None = None) -> Sequence[Endpoint]:
        """Return every endpoint, or those of one network."""
        ...

    def endpoint(self, endpoint: EndpointId) -> Endpoint | None:
        """Return one endpoint."""
        ...

    def endpoints_in(self, sandbox: str) -> Sequence[Endpoint]:
        """Return the endpoints in one sandbox."""
        ...

    def endpoint_at(self, network: NetworkId, address: IPAddress) -> Endpoint | None:
        """Return the endpoint of ``network`` with that address; one that has not ended first."""
        ...

    async def put_network(self, network: Network) -> None:
        """Write or replace; ConflictError if the segment or a pool is another network's."""
        ...

    async def put_networks(self, networks: Sequence[Network]) -> None:
        """Write or replace several, all or none; errors as of :meth:`put_network`."""
        ...

    async def forget_network(self, network: NetworkId) -> bool:
        """Forget a network, its endpoints, and what was noted of options changed on it.

        False if it was not known.
        """
        ...

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        """Write or replace; UnknownObjectError if its network was forgotten meanwhile."""
        ...

    async def forget_endpoint(self, endpoint: EndpointId) -> bool:
        """Forget an endpoint; False if it was not known."""
        ...

    def drop_endpoint(self, endpoint: EndpointId) -> None:
        """Forget an ended one: here at once, and durably a little later, with what else is written.

        A crash in between, or a disk that does not take it, brings the ended one back.
        """
        ...


class SandboxMemory(Protocol):
    """What endpoints' links were like inside of their containers, durably.

    An endpoint that is forgotten is forgotten here too.
    """

    def sandbox_link(self, endpoint: EndpointId) -> SandboxLink | None:
        """Return what an endpoint's link was like when it was noted last."""
        ...

    async def put_sandbox_link(self, endpoint: EndpointId, link: SandboxLink) -> None:
        """Write or replace; nothing happens for an endpoint that is forgotten by now."""
        ...


class HostNotes(Protocol):
    """What we changed on the host and must put back: small durable key and value pairs."""

    def notes(self) -> Mapping[str, str]:
        """Return all notes."""
        ...

    async def put_note(self, key: str, value: str) -> None:
        """Write or replace one."""
        ...

    async def forget_note(self, key: str) -> bool:
        """Forget one; False if it was not known."""
        ...
