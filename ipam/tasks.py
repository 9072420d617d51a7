"""Work that goes on to its end, whoever waits for it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ipam.errors import IpamError

log = logging.getLogger(__name__)

T = TypeVar("T")

Undo = Callable[[], Coroutine[Any, Any, object]]


class Tasks:
    """The tasks of one IPAM: none is lost, and all have ended before the store is closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._begun = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def ended(self) -> None:
        """Wait until none is left, those that these begin included."""
        while True:
            await self._idle.wait()
            unended = [task for task in self._tasks if not task.done()]
            if unended:
                await asyncio.wait(unended)
            elif not self._begun:
                return

    async def to_its_end(self, work: Coroutine[Any, Any, T], *, undo: Undo | None = None) -> T:
        """Do ``work`` in a task of its own, and ``undo`` it if the caller does not wait for it."""
        task = self._own(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # What was to be released, or given back, is still held if this fails; but the caller
            # heard of no success.
            self.in_background(_ended(task, undo))
            raise

    def begin(self) -> None:
        """Count something as unended that goes on by itself."""
        if not self._begun:
            self._idle.clear()
        self._begun += 1

    def end(self) -> None:
        """Count one of them as ended."""
        self._begun -= 1
        if not self._begun:
            self._idle.set()

    def in_background(self, work: Coroutine[Any, Any, object]) -> None:
        """Do ``work``, for which nobody waits; what it cannot do is logged."""
        self._own(_logged(work))

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def unfinished(error: BaseException) -> None:
    """Log why something for which nobody waits was not done."""
    log.warning("ipam.unfinished", extra={"why": str(error)})


async def _ended(task: asyncio.Task[Any], undo: Undo | None) -> None:
    await task
    if undo is not None:
        await undo()


async def _logged(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except IpamError as error:
        unfinished(error)
