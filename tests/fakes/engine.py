"""Docker's API in memory."""

from ovsdriver.domain.model import EndpointId, NetworkId
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import EngineEndpoint, EngineView


class FakeEngine:
    """The port ``Engine``. Tests change its attributes as containers come and go."""

    def __init__(self, *, id: str = "ENGINE", version: str = "26.1.5") -> None:  # noqa: A002
        self.id = id
        self.version = version
        self.up = True
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

    async def read(self) -> EngineView:
        if not self.up:
            raise UnavailableError("Docker cannot be reached; is dockerd running?")
        return EngineView(
            id=self.id,
            version=self.version,
            networks=dict(self._networks),
            endpoints=dict(self._endpoints),
        )
