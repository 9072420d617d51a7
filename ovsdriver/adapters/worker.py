"""A thread that does what it is given, one thing after the other, and tells the event loop.

The two hand-overs, there and back, are most of what a short job costs; a future of the standard
library's executors would double them.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

Job = Callable[[], None]


class Worker:
    """Belongs to the loop that makes it, which is where results arrive.

    The thread is born at the first job, as a child of the thread that gives it, and is therefore in
    that thread's network namespace.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do ``work`` and return its result; cancelled before its turn, it is not done at all."""
        future: asyncio.Future[T] = self._loop.create_future()

        def job() -> None:
            if future.cancelled():
                return
            try:
                outcome: Any = work()
            except BaseException as error:  # noqa: BLE001 - it belongs to the waiting coroutine
                outcome = Raised(error)
            self.tell(settle, future, outcome)

        self.do(job)
        return future

    def do(self, job: Job) -> None:
        """Do ``job``, which raises nothing and tells by itself what is to be told."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Call back on the loop, from a job; not if the loop has ended without waiting for it."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def end(self) -> None:
        """Let the thread end after what it was given."""
        self._jobs.put(None)

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for its end; blocks."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class Raised:
    """An exception on its way to the caller."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def settle(future: asyncio.Future[Any], outcome: Any) -> None:
    """Give a future its result, or what was :class:`Raised`; not one that was cancelled."""
    if future.done():
        return
    if isinstance(outcome, Raised):
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome)
