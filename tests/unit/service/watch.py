"""A collector whose minutes pass when a test says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ovsdriver.service.collector import Collector
from tests.unit.service.conftest import Host


@dataclass
class Minutes:
    """The collector of a host, with its own clock."""

    host: Host
    now: float = 1000.0

    def __post_init__(self) -> None:
        host = self.host
        self.collector = Collector(
            witness=host.witness,
            state=host.state,
            ipam=host.ipam,
            links=host.links,
            networks=host.networks,
            endpoints=host.endpoints,
            **self.parts(),
        )

    def parts(self) -> Mapping[str, Any]:
        """Return what else the collector shall be made of, with this clock."""
        return {}

    async def look(self, times: int = 1) -> None:
        """Collect, and let a minute pass."""
        for _ in range(times):
            await self.collector.collect()
            self.now += 60.0
