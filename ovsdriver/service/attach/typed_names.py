"""Names of containers' interfaces that were typed: engines before 29.8 give others."""

import logging
from collections.abc import Callable

from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.wires import interface_names
from ovsdriver.service.aspects.aspect import Aspect

log = logging.getLogger(__name__)


class TypedNames(Aspect):
    """Only Docker can give them, so all there is to do is to say when it does not."""

    def __init__(self, *, docker_version: Callable[[], str]) -> None:
        """``docker_version``: what Docker said of itself last; empty: nothing yet."""
        self._docker_version = docker_version
        self._unsure: list[Endpoint] = []
        """With names that Docker may not give: it has not said what it is."""

    def given(self, endpoint: Endpoint) -> str:
        """Return the name that Docker gives an interface; empty: it numbers the prefix."""
        version = self._docker_version()
        return endpoint.interface if version and interface_names.given_by(version) else ""

    async def joined(self, network: Network, endpoint: Endpoint) -> None:
        """Say in the log that Docker does not give a name, if it is known what Docker is."""
        if endpoint.network == network.id and endpoint.interface:
            self._unsure.append(endpoint)
            self.tell()

    def tell(self) -> None:
        """Say it of those that came before Docker said what it is."""
        version = self._docker_version()
        if not version:
            return
        for endpoint in self._unsure:
            if not interface_names.given_by(version):
                log.warning(
                    "endpoint.name-not-given",
                    extra={
                        "network": endpoint.network,
                        "endpoint": endpoint.id,
                        "why": interface_names.not_given(endpoint.interface, version),
                    },
                )
        self._unsure.clear()
