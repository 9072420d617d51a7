"""Docker's API in memory."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.tracing.name_servers import Servers
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import EngineEndpoint, EngineSubnet, EngineView


class FakeEngine:
    """The port ``Engine``. Tests change its attributes as containers come and go."""

    def __init__(self, *, id: str = "ENGINE", version: str = "26.1.5") -> None:  # noqa: A002
        self.id = id
        self.version = version
        self.up = True
        self._gone = asyncio.Event()
        self._networks: dict[NetworkId, str] = {}
        self._endpoints: dict[EndpointId, EngineEndpoint] = {}
        self._subnets: list[EngineSubnet] = []
        self._containers: set[str] = set()
        self.asking: dict[str, Servers] = {}
        """Whom containers ask for names, by what they are called."""
        self._aliases: dict[EndpointId, list[str]] = {}

    def add_network(self, network: NetworkId, name: str) -> None:
        self._networks[network] = name

    def remove_network(self, network: NetworkId) -> None:
        del self._networks[network]
        self._subnets = [each for each in self._subnets if each.network != network]

    def add_subnet(
        self,
        network: NetworkId,
        cidr: str,
        *,
        ipam: str = "ovsipam",
        options: Mapping[str, str] | None = None,
        scope: str = "local",
        kept: Sequence[str] = (),
    ) -> None:
        """Let a network have a subnet, with ``kept`` as its gateway and auxiliary addresses."""
        self._subnets.append(
            EngineSubnet(
                network=network,
                cidr=IPNetwork(cidr),
                ipam=ipam,
                options=options or {},
                local=scope == "local",
                kept={
                    IPAddress(each): f"host{each}" if number else ""
                    for number, each in enumerate(kept)
                },
            )
        )

    def add_endpoint(
        self, endpoint: EndpointId, network: NetworkId, container: str, *addresses: str
    ) -> None:
        self._containers.add(container * 8)
        self._endpoints[endpoint] = EngineEndpoint(
            endpoint=endpoint,
            network=network,
            container=container,
            container_id=container * 8,
            addresses=tuple(IPNetwork(each).ip for each in addresses),
        )

    def add_alias(self, endpoint: EndpointId, alias: str) -> None:
        self._aliases.setdefault(endpoint, []).append(alias)

    def forget(self) -> None:
        """Let there be nothing."""
        self._networks.clear()
        self._endpoints.clear()
        self._subnets.clear()

    def remove_endpoint(self, endpoint: EndpointId) -> None:
        del self._endpoints[endpoint]

    def remove_container(self, container: str) -> None:
        self._containers.discard(container * 8)

    def end(self) -> None:
        """Let the daemon end."""
        self.up = False
        self._gone.set()

    def begin(self) -> None:
        """Let the daemon begin again."""
        self.up = True
        self._gone = asyncio.Event()

    async def asks(self, container: str) -> Servers:
        if not self.up or container not in self.asking:
            raise UnavailableError(f"/etc/resolv.conf of {container} could not be read")
        return self.asking[container]

    async def until_gone(self, answered: Callable[[], None]) -> None:
        if not self.up:
            raise UnavailableError("Docker cannot be reached; is dockerd running?")
        answered()
        await self._gone.wait()

    async def called(
        self, network: NetworkId, endpoints: Collection[EndpointId]
    ) -> Mapping[EndpointId, Sequence[str]]:
        view = await self.read()
        return {
            each.endpoint: (each.container, *self._aliases.get(each.endpoint, ()))
            for each in view.endpoints.values()
            if each.network == network and each.endpoint in endpoints
        }

    async def list_networks(self) -> tuple[str, frozenset[NetworkId]]:
        view = await self.read()
        return view.id, frozenset(view.networks)

    async def read(self) -> EngineView:
        if not self.up:
            raise UnavailableError("Docker cannot be reached; is dockerd running?")
        return EngineView(
            id=self.id,
            version=self.version,
            networks=dict(self._networks),
            endpoints=dict(self._endpoints),
            subnets=tuple(self._subnets),
            containers=frozenset(self._containers),
        )
