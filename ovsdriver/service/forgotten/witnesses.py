"""What Docker said last, and when it is asked again.

When Docker has a network no more and nobody told us, only the word of its own daemon counts
(``lost_networks.py``). The collector's readings are a minute apart: a network that was made, used
and removed between two of them would have no daemon, and if its end got lost it would stay. And
refusals and reports would tell ids where people know names. So Docker is also read soon after a
network was made or a container was put on one.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from ovsdriver.domain.records.model import EndpointId
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import Engine, EngineView, State
from ovsdriver.service.networks.networks import Networks

log = logging.getLogger(__name__)

_AGAIN_S = 0.5
"""Pause before a daemon that ended, or is not there, is looked for again."""

SOON_S = 2.0
"""After CreateNetwork: Docker lists a network when it has done its own part. One question serves
all that were made meanwhile."""

_SHARE = 20
"""A reading of everything, for names, is followed by a rest of this many times its length: with
thousands of containers that come and go it must not be Docker's main work."""


class DaemonSeen(NamedTuple):
    """What Docker said, and when it was asked."""

    view: EngineView
    at: float
    """Seconds since the epoch."""


class Witness:
    """What Docker said last; forgotten the moment its daemon ends."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._seen: DaemonSeen | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._readers: list[Callable[[], None]] = []
        self._beginners: list[Callable[[], None]] = []
        self._view: EngineView | None = None
        self._answers = False
        self._away = False
        self._began: float | None = None

    def on_answer(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when a daemon has begun to answer."""
        self._beginners.append(callback)

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when a daemon that has answered ends."""
        self._callbacks.append(callback)

    def on_read(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever the daemon was read."""
        self._readers.append(callback)

    def answers(self) -> bool:
        """Whether a daemon answered that has not ended since."""
        return self._answers

    def began(self) -> float | None:
        """Return since when the daemon that runs now answers, in seconds since the epoch.

        None: none does, or it did already when it was looked for first.
        """
        return self._began

    def lists(self, endpoint: EndpointId) -> bool:
        """Whether the daemon that runs now listed ``endpoint`` when it was last read."""
        return self._view is not None and endpoint in self._view.endpoints

    def container(self, endpoint: EndpointId) -> str:
        """Return the name of the container that had ``endpoint`` then; empty if none had."""
        listed = None if self._seen is None else self._seen.view.endpoints.get(endpoint)
        return "" if listed is None else listed.container

    def seen(self) -> DaemonSeen | None:
        """Return what the daemon that runs now said last, while it is read anew as well."""
        return self._seen

    def version(self) -> str:
        """Return the version of the daemon that runs now; empty until it was read."""
        return "" if self._seen is None else self._seen.view.version

    async def read(self) -> EngineView:
        """Read and remember; UnavailableError if the daemon does not answer."""
        self._view, at = None, self._clock()
        self._view = await self._engine.read()
        self._seen = DaemonSeen(self._view, at)
        for callback in self._readers:
            callback()
        return self._view

    def _answered(self) -> None:
        self._answers = True
        self._began = self._clock() if self._away else None
        for callback in self._beginners:
            callback()

    async def run(self) -> None:
        """Notice the daemon's end, until cancelled."""
        while True:
            try:
                await self._engine.until_gone(self._answered)
            except UnavailableError:
                log.debug("docker.not-there")
            self._view = self._seen = self._began = None
            self._away = True
            answered, self._answers = self._answers, False
            for callback in self._callbacks if answered else ():
                callback()
            await asyncio.sleep(_AGAIN_S)


class Origins:
    """Asks Docker in the background. What it does not list then is left to the collector."""

    def __init__(
        self,
        *,
        engine: Engine,
        witness: Witness,
        state: State,
        networks: Networks,
        soon_s: float = SOON_S,
    ) -> None:
        self._engine = engine
        self._witness = witness
        self._state = state
        self._networks = networks
        self._soon_s = soon_s
        self._made = asyncio.Event()
        networks.on_made(self._made.set)

    def poke(self, _: str) -> None:
        """Something was put on a network, or taken off; cheap."""
        self._made.set()

    async def run(self) -> None:
        """Ask whenever something was made, until cancelled."""
        while True:
            await self._made.wait()
            await asyncio.sleep(self._soon_s)
            self._made.clear()
            try:
                await self.note()
                began = time.monotonic()
                await self._witness.read()
                await asyncio.sleep(_SHARE * (time.monotonic() - began))
            except DriverError as error:
                log.debug("origins.no-look", extra={"why": str(error)})

    async def note(self) -> None:
        """Note the daemon of every network that has none, if it lists it now.

        Raises:
            UnavailableError: Docker does not answer, or the store.
        """
        if not all(each.engine for each in self._state.networks()):
            await self._networks.note_engine(*await self._engine.list_networks())
