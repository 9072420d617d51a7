"""Note which daemon a network is of, soon after it was made.

When Docker has a network no more and nobody told us, only the word of its own daemon counts
(``lost_networks.py``). The collector's readings are a minute apart: a network that was made, used
and removed between two of them would have no daemon, and if its end got lost it would stay.
"""

import asyncio
import logging

from ovsdriver.errors import DriverError
from ovsdriver.ports import Engine, State
from ovsdriver.service.networks import Networks

log = logging.getLogger(__name__)

SOON_S = 2.0
"""After CreateNetwork: Docker lists a network when it has done its own part. One question serves
all that were made meanwhile."""


class Origins:
    """Asks Docker in the background. What it does not list then is left to the collector."""

    def __init__(
        self, *, engine: Engine, state: State, networks: Networks, soon_s: float = SOON_S
    ) -> None:
        self._engine = engine
        self._state = state
        self._networks = networks
        self._soon_s = soon_s
        self._made = asyncio.Event()
        networks.on_made(self._made.set)

    async def run(self) -> None:
        """Ask whenever a network was made, until cancelled."""
        while True:
            await self._made.wait()
            await asyncio.sleep(self._soon_s)
            self._made.clear()
            try:
                await self.note()
            except DriverError as error:
                log.debug("origins.no-look", extra={"why": str(error)})

    async def note(self) -> None:
        """Note the daemon of every network that has none, if it lists it now.

        Raises:
            UnavailableError: Docker does not answer, or the store.
        """
        unknown = [each.id for each in self._state.networks() if not each.engine]
        if not unknown:
            return
        daemon, listed = await self._engine.list_networks()
        for each in unknown:
            if each in listed:
                await self._networks.note_engine(each, daemon)
