"""A collector whose minutes pass when a test says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.unit.service.conftest import Host


@dataclass
class Minutes:
    """The collector of a host, with its own clock."""

    host: Host
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.collector = self.host.another_collector(**self.parts())

    def parts(self) -> Mapping[str, Any]:
        """Return what else the collector shall be made of, with this clock."""
        return {}

    async def look(self, times: int = 1) -> None:
        """Collect, and let a minute pass."""
        for _ in range(times):
            await self.collector.collect()
            self.now += 60.0
