"""Collect what Docker forgot: endpoints whose end nobody told us.

Collecting needs proof. The sandbox must be dead, and Docker, having answered since our start,
must not list the endpoint in two readings a minute apart. While Docker does not answer, nothing
is collected.
"""

import asyncio
import logging

from ovsdriver.domain.model import EndpointId
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import Engine, EngineView, Links, State
from ovsdriver.service.endpoints import Endpoints

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
"""Between two readings: longer than any call of Docker's that is on its way."""

_AGAIN_S = 1.0
"""Pause before a daemon that ended, or is not there, is looked for again."""


class Witness:
    """What Docker said last; forgotten the moment its daemon ends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._view: EngineView | None = None

    def lists(self, endpoint: EndpointId) -> bool:
        """Whether the daemon that runs now listed ``endpoint`` when it was last read."""
        return self._view is not None and endpoint in self._view.endpoints

    async def read(self) -> EngineView:
        """Read and remember; UnavailableError if the daemon does not answer."""
        self._view = None
        self._view = await self._engine.read()
        return self._view

    async def run(self) -> None:
        """Notice the daemon's end, until cancelled."""
        while True:
            try:
                await self._engine.until_gone()
            except UnavailableError:
                log.debug("docker.not-there")
            self._view = None
            await asyncio.sleep(_AGAIN_S)


class Collector:
    """Compares our endpoints with Docker's, in the background."""

    def __init__(
        self,
        *,
        witness: Witness,
        state: State,
        links: Links,
        endpoints: Endpoints,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._witness = witness
        self._state = state
        self._links = links
        self._endpoints = endpoints
        self._interval_s = interval_s
        self._suspects: frozenset[EndpointId] = frozenset()

    async def run(self) -> None:
        """Look every ``interval_s``, until cancelled."""
        while True:
            try:
                await self.collect()
            except DriverError as error:
                log.debug("collector.no-look", extra={"why": str(error)})
            await asyncio.sleep(self._interval_s)

    async def collect(self) -> None:
        """Look once: end who was suspected at the last look and is still not listed.

        Raises:
            UnavailableError: Docker does not answer; the earlier suspicions stand.
        """
        view = await self._witness.read()
        suspects: set[EndpointId] = set()
        for endpoint in self._state.endpoints():
            if endpoint.ended or endpoint.id in view.endpoints:
                continue
            if endpoint.sandbox is not None and await self._links.sandbox_alive(endpoint.sandbox):
                continue
            if endpoint.id in self._suspects:
                await self._endpoints.collect(
                    endpoint, "its sandbox is dead and Docker does not list it, twice a minute"
                )
            else:
                suspects.add(endpoint.id)
        self._suspects = frozenset(suspects)
