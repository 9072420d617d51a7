"""What adapters over a database that is watched have in common."""

import asyncio

from ovsdriver.adapters.ovsdb.client import OvsdbClient
from ovsdriver.errors import UnavailableError


class OvsdbAdapter:
    """Base class: a connection that is kept, and what is counted of it."""

    def __init__(self, client: OvsdbClient, *, timeout_s: float) -> None:
        """``timeout_s``: limit of every call."""
        self._client = client
        self._timeout_s = timeout_s

    @property
    def transactions(self) -> int:
        """Transactions sent since the start."""
        return self._client.transactions

    @property
    def commits(self) -> int:
        """Changes committed since the start; above ``transactions`` where they were shared."""
        return self._client.commits

    @property
    def connections(self) -> int:
        """Connections made since the start, to a server that leads where there are several."""
        return self._client.connections

    async def run(self) -> None:
        """Keep the connection, watch and commit, until cancelled."""
        await self._client.run()

    async def connected(self, timeout_s: float) -> None:
        """Wait until the copy is complete, at most ``timeout_s``; UnavailableError after it."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._client.connected()
        except TimeoutError as error:
            raise self._silent() from error

    def _silent(self) -> UnavailableError:
        """Return what says that the database has not answered in time."""
        raise NotImplementedError
