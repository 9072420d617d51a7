"""Where netlink's blocking calls are made: off the event loop, within a time, in people's words."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.worker import Worker
from ovsdriver.errors import UnavailableError

_LONG_S = 8.0
"""The kernel walks all routes where one is asked for: a million take it about a second."""

T = TypeVar("T")


class NetlinkThread:
    """One thread with one rtnetlink socket; what it is given is done in order, one by one.

    It is in the network namespace of the thread that makes the first call.
    """

    def __init__(self, name: str = "netlink") -> None:
        self._worker = Worker(name)
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


class Netlink:
    """The threads that ask the kernel for all parts, and how long that may take.

    The kernel does the work inside of a request, under one lock, so one thread makes them one after
    the other. What may be long, because it walks a router's routes or moves a NIC's, has another
    one and holds up nobody who wants a link. Threads belong to the namespace of the thread that
    asks first; what is done inside of a sandbox has each its own, which ends there: one thread for
    all would have to find its way back, and one that does not is lost to everybody.
    """

    def __init__(self, *, timeout_s: float = 5.0) -> None:
        """Take what a call may take at most."""
        self.timeout_s = timeout_s
        self._thread = NetlinkThread()
        self._long = NetlinkThread("netlink-long")

    async def ask(self, what: str, work: Callable[[RouteSocket], T]) -> T:
        """Do ``work`` in its turn.

        Raises:
            UnavailableError: the kernel refused it, or it was not done in time; ``what`` is the
                subject of the sentence.
        """
        async with self.bounded(what):
            return await self._thread.call(work)

    async def ask_long(
        self, what: str, work: Callable[[RouteSocket], T], *, within_s: float = _LONG_S
    ) -> T:
        """Do ``work`` as :meth:`ask`, among what may be long."""
        async with self.bounded(what, within_s):
            return await self._long.call(work)

    async def ask_apart(self, what: str, work: Callable[[], T], *, name: str = "sandbox") -> T:
        """Do ``work``, which may change its thread's namespace, as :func:`on_own_thread`."""
        async with self.bounded(what):
            return await on_own_thread(work, name=name)

    def call(self, work: Callable[[RouteSocket], T]) -> asyncio.Future[T]:
        """Do ``work`` in its turn, for who has a time and words of his own."""
        return self._thread.call(work)

    def tell(self, callback: Callable[[], None]) -> None:
        """Call back on the loop, from ``work``."""
        self._thread.tell(callback)

    @asynccontextmanager
    async def bounded(self, what: str, within_s: float | None = None) -> AsyncIterator[None]:
        """Bound what is done in the block, and translate its errors, as of :meth:`ask`."""
        bound = self.timeout_s if within_s is None else within_s
        with translated(what, bound):
            async with asyncio.timeout(bound):
                yield

    @property
    def changes(self) -> int:
        """How many changes the kernel has made for those who take turns."""
        return self._thread.changes

    async def close(self) -> None:
        """Finish what was given and end the threads."""

        def end() -> None:
            self._thread.close()
            self._long.close()

        await on_own_thread(end, name="netlink-end")


async def on_own_thread(work: Callable[[], T], *, name: str) -> T:
    """Do ``work`` on a new thread that ends with it.

    For work that changes the thread's namespace, or that waits. ``work`` bounds its own waits: it
    goes on when its caller was cancelled.
    """
    return await asyncio.wrap_future(started(work, name=name))


def started(work: Callable[[], T], *, name: str) -> "Future[T]":
    """Begin ``work`` on a new thread that ends with it, for who waits without a loop."""
    outcome: Future[T] = Future()

    def run() -> None:
        if outcome.set_running_or_notify_cancel():
            try:
                outcome.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                outcome.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome


@contextmanager
def translated(what: str, timeout_s: float) -> Iterator[None]:
    """Raise UnavailableError for what the kernel refuses or does not do in time."""
    try:
        yield
    except TimeoutError as error:
        raise UnavailableError(f"{what}: no answer within {timeout_s:g} s; try again") from error
    except OSError as error:
        raise UnavailableError(f"{what}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename:
        reason += f" ({error.filename})"
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        reason += (
            "; ovsnet must run as root, or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN, and "
            "with a writable /proc/sys"
        )
    return reason
