"""Whether the picture may have changed, for who waits for that."""

import asyncio

MOST_S = 10.0
"""Longest wait: who asks is answered in time all the same."""


class News:
    """Counts changes; costs nothing while nobody waits."""

    def __init__(self) -> None:
        self.version = 0
        self._came = asyncio.Event()

    def note(self, _: object = None) -> None:
        """Something changed."""
        self.version += 1
        self._came.set()

    async def other_than(self, seen: int, wait_s: float) -> None:
        """Return when the version is not ``seen``, at the latest after ``wait_s``."""
        try:
            async with asyncio.timeout(min(wait_s, MOST_S)):
                while self.version == seen:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return
