"""One asyncio lock for each network or endpoint id; outer before inner (network, then endpoint)."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

PLANNING = "planning"
"""Held from the plan of a network until it is recorded, since two must not choose the same tag; and
while something goes that a plan may count on."""


class Locks:
    """Keyed locks that exist only while someone holds or wants them."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Whether someone holds or wants the lock of ``key``."""
        return key in self._locks

    @asynccontextmanager
    async def held(self, key: Hashable) -> AsyncIterator[None]:
        """Hold the lock of ``key``; waits for whoever holds it, without a limit of its own."""
        lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)
