"""Where netlink's blocking calls are made: off the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.worker import Worker

T = TypeVar("T")


class NetlinkThread:
    """One thread with one rtnetlink socket; what it is given is done in order, one by one.

    It is in the network namespace of the thread that makes the first call.
    """

    def __init__(self) -> None:
        self._worker = Worker("netlink")
        self._routes: RouteSocket | None = None

    def call(self, work: Callable[[RouteSocket], T]) -> asyncio.Future[T]:
        """Do ``work`` on the thread. Cancelled before its turn, it is not done at all."""
        return self._worker.call(lambda: self._with_socket(work))

    def tell(self, callback: Callable[[], None]) -> None:
        """Call back on the loop, from ``work``."""
        self._worker.tell(callback)

    def close(self) -> None:
        """Finish what was given and close the socket; blocks."""
        self._worker.end()
        self._worker.join()
        if self._routes is not None:
            self._routes.close()
            self._routes = None

    @property
    def changes(self) -> int:
        """How many changes the kernel has made."""
        return self._routes.changes if self._routes else 0

    def _with_socket(self, work: Callable[[RouteSocket], T]) -> T:
        if self._routes is None:
            self._routes = RouteSocket()
        return work(self._routes)


async def on_own_thread(work: Callable[[], T], *, name: str) -> T:
    """Do ``work`` on a new thread that ends with it.

    For work that changes the thread's namespace, or that waits. ``work`` bounds its own waits: it
    goes on when its caller was cancelled.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        if outcome.set_running_or_notify_cancel():
            try:
                outcome.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                outcome.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(outcome)
