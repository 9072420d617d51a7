"""Docker's API in memory."""

import asyncio

from ovsdriver.domain.model import EndpointId, NetworkId
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import EngineEndpoint, EngineView


class FakeEngine:
    """The port ``Engine``. Tests change its attributes as containers come and go."""

    def __init__(self, *, id: str = "ENGINE", version: str = "26.1.5") -> None:  # noqa: A002
        self.id = id
        self.version = version
        self.up = True
        self._gone = asyncio.Event()
        self._networks: dict[NetworkId, str] = {}
        self._endpoints: dict[EndpointId, EngineEndpoint] = {}

    def add_network(self, network: NetworkId, name: str) -> None:
        self._networks[network] = name

    def remove_network(self, network: NetworkId) -> None:
        del self._networks[network]

    def add_endpoint(self, endpoint: EndpointId, network: NetworkId, container: str) -> None:
        self._endpoints[endpoint] = EngineEndpoint(
            endpoint=endpoint, network=network, container=container
        )

    def remove_endpoint(self, endpoint: EndpointId) -> None:
        del self._endpoints[endpoint]

    def end(self) -> None:
        """Let the daemon end."""
        self.up = False
        self._gone.set()

    def begin(self) -> None:
        """Let the daemon begin again."""
        self.up = True
        self._gone = asyncio.Event()

    async def until_gone(self) -> None:
        if not self.up:
            raise UnavailableError("Docker cannot be reached; is dockerd running?")
        await self._gone.wait()

    async def read(self) -> EngineView:
        if not self.up:
            raise UnavailableError("Docker cannot be reached; is dockerd running?")
        return EngineView(
            id=self.id,
            version=self.version,
            networks=dict(self._networks),
            endpoints=dict(self._endpoints),
        )
