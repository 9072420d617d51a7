"""The records in memory, with an index for each question that is asked of them."""

from collections.abc import Sequence
from typing import TypeVar

from netaddr import IPAddress

from ipam import PoolId
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network, NetworkId
from ovsdriver.domain.wires.sandbox_link import SandboxLink

K = TypeVar("K")

_AddressKey = tuple[NetworkId, int, int]
"""Network, version and value: a netaddr object costs ten times as much to hash."""


class Records:
    """Networks and endpoints. Nothing here waits, checks or fails."""

    def __init__(self) -> None:
        self.networks: dict[NetworkId, Network] = {}
        self.endpoints: dict[EndpointId, Endpoint] = {}
        self.sandbox_links: dict[EndpointId, SandboxLink] = {}
        self._pools: dict[PoolId, NetworkId] = {}
        self._of_network: dict[NetworkId, dict[EndpointId, Endpoint]] = {}
        self._at_address: dict[_AddressKey, dict[EndpointId, Endpoint]] = {}
        self._in_sandbox: dict[str, dict[EndpointId, Endpoint]] = {}

    def network_of_pool(self, pool: PoolId) -> Network | None:
        """Return the network that ``pool`` is bound to."""
        network = self._pools.get(pool)
        return None if network is None else self.networks[network]

    def endpoints_of(self, network: NetworkId | None) -> Sequence[Endpoint]:
        """Return the endpoints of one network, or all."""
        if network is None:
            return tuple(self.endpoints.values())
        return tuple(self._of_network.get(network, {}).values())

    def endpoint_at(self, network: NetworkId, address: IPAddress) -> Endpoint | None:
        """Return who has ``address``.

        While an endpoint that ended is still being taken apart, its address may have a new one.
        """
        here = self._at_address.get((network, address.version, int(address)), {})
        return min(here.values(), key=lambda endpoint: endpoint.ended, default=None)

    def endpoints_in(self, sandbox: str) -> Sequence[Endpoint]:
        """Return the endpoints in one sandbox."""
        return tuple(self._in_sandbox.get(sandbox, {}).values())

    def put_network(self, network: Network) -> None:
        """Add or replace."""
        self._drop_pools(network.id)
        self.networks[network.id] = network
        for subnet in network.subnets:
            if subnet.pool is not None:
                self._pools[subnet.pool] = network.id

    def forget_network(self, network: NetworkId) -> None:
        """Drop it and its endpoints, if they are there."""
        self._drop_pools(network)
        self.networks.pop(network, None)
        for endpoint in tuple(self._of_network.get(network, ())):
            self.forget_endpoint(endpoint)

    def put_endpoint(self, endpoint: Endpoint) -> None:
        """Add or replace."""
        self._drop_endpoint(endpoint.id)
        self.endpoints[endpoint.id] = endpoint
        self._of_network.setdefault(endpoint.network, {})[endpoint.id] = endpoint
        for key in _address_keys(endpoint):
            self._at_address.setdefault(key, {})[endpoint.id] = endpoint
        if endpoint.sandbox is not None:
            self._in_sandbox.setdefault(endpoint.sandbox, {})[endpoint.id] = endpoint

    def forget_endpoint(self, endpoint: EndpointId) -> None:
        """Drop it and what was noted of its link, if it is there."""
        self._drop_endpoint(endpoint)
        self.sandbox_links.pop(endpoint, None)

    def put_sandbox_link(self, endpoint: EndpointId, link: SandboxLink) -> None:
        """Add or replace what was noted of the link of an endpoint that is there."""
        if endpoint in self.endpoints:
            self.sandbox_links[endpoint] = link

    def _drop_endpoint(self, endpoint: EndpointId) -> None:
        old = self.endpoints.pop(endpoint, None)
        if old is None:
            return
        _drop(self._of_network, old.network, endpoint)
        for key in _address_keys(old):
            _drop(self._at_address, key, endpoint)
        if old.sandbox is not None:
            _drop(self._in_sandbox, old.sandbox, endpoint)

    def _drop_pools(self, network: NetworkId) -> None:
        old = self.networks.get(network)
        for subnet in old.subnets if old else ():
            if subnet.pool is not None:
                self._pools.pop(subnet.pool, None)


def _address_keys(endpoint: Endpoint) -> list[_AddressKey]:
    return [(endpoint.network, each.version, int(each.ip)) for each in endpoint.addresses]


def _drop(index: dict[K, dict[EndpointId, Endpoint]], key: K, endpoint: EndpointId) -> None:
    here = index.get(key, {})
    here.pop(endpoint, None)
    if not here:
        index.pop(key, None)
