"""Read Docker soon after a network was made or a container was put on one.

When Docker has a network no more and nobody told us, only the word of its own daemon counts
(``lost_networks.py``). The collector's readings are a minute apart: a network that was made, used
and removed between two of them would have no daemon, and if its end got lost it would stay. And
refusals and reports would tell ids where people know names.
"""

import asyncio
import logging
import time

from ovsdriver.errors import DriverError
from ovsdriver.ports import Engine, State
from ovsdriver.service.forgotten.collector import Witness
from ovsdriver.service.networks.networks import Networks

log = logging.getLogger(__name__)

SOON_S = 2.0
"""After CreateNetwork: Docker lists a network when it has done its own part. One question serves
all that were made meanwhile."""

_SHARE = 20
"""A reading of everything, for names, is followed by a rest of this many times its length: with
thousands of containers that come and go it must not be Docker's main work."""


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
        unknown = [each.id for each in self._state.networks() if not each.engine]
        if not unknown:
            return
        daemon, listed = await self._engine.list_networks()
        for each in unknown:
            if each in listed:
                await self._networks.note_engine(each, daemon)
