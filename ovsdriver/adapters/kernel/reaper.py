"""Deletes links in batches, behind everyone's back.

Deleting a veth pair makes the kernel wait 20 to 30 ms, once for a whole batch: 200 pairs in 41 ms.
So a dying link is marked with a group number, and the group is deleted in one request, on threads
and sockets of their own. A batch is what was marked while earlier ones were deleted.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from ovsdriver.adapters.kernel.codec.link_messages import delete_group
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket

log = logging.getLogger(__name__)

DYING = 0x6F76_7E0D
"""``IFLA_GROUP`` of links that are to be deleted.

The group is deleted whole, whoever put a link into it, so the number is one that nobody picks by
hand. Two daemons in one namespace may share it: what either marks is to go.
"""

_THREADS = 3
"""The kernel does most of the waiting after it has let go of its lock for links, so the next batch
can go before. What is marked has to be gone soon: dockerd comes for what it still finds."""
_RETRY_S = 1.0


class Deletion(Protocol):
    """How a batch is deleted."""

    def delete(self) -> None:
        """Delete every marked link; OSError if that did not work."""
        ...

    def close(self) -> None:
        """Let go of what it needed."""
        ...


class Reaper:
    """Deletes marked links once it is told that there are some."""

    def __init__(self, deletion: Callable[[], Deletion] | None = None) -> None:
        """Take what makes each thread's own way to delete."""
        self._deletion = deletion or GroupDeletion
        self._changed = threading.Condition()
        self._names: set[str] = set()
        self._waiting: list[Future[None]] = []
        self._closing = False
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self.flushes = 0
        """How many batches were deleted, for tests that count."""

    def add(self, name: str) -> None:
        """Have a marked link deleted, with others if there are some."""
        self._take(name, None)

    def gone(self, name: str) -> "Future[None]":
        """Have a marked link deleted; the result comes when it is."""
        done: Future[None] = Future()
        self._take(name, done)
        return done

    def close(self, timeout_s: float) -> bool:
        """Delete what is marked and end the threads; False if that took too long. Blocks."""
        until = time.monotonic() + timeout_s
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _take(self, name: str, done: "Future[None] | None") -> None:
        with self._changed:
            self._names.add(name)
            if done is not None:
                self._waiting.append(done)
            if not self._idle and len(self._threads) < _THREADS:
                thread = threading.Thread(target=self._run, name="link-reaper", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def _run(self) -> None:
        deletion = self._deletion()
        try:
            while (batch := self._batch()) is not None:
                self._flush(deletion, *batch)
        finally:
            deletion.close()

    def _batch(self) -> "tuple[set[str], list[Future[None]]] | None":
        """Wait for something to delete; None if there will not be any more."""
        with self._changed:
            while not self._names:
                if self._closing:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            batch = self._names, self._waiting
            self._names, self._waiting = set(), []
            return batch

    def _flush(self, deletion: Deletion, names: set[str], waiting: "list[Future[None]]") -> None:
        try:
            deletion.delete()
        except OSError as error:
            log.warning("links.not-deleted", extra={"count": len(names), "why": str(error)})
            self._postpone(names, waiting)
            return
        with self._changed:
            self.flushes += 1
        for done in waiting:
            if done.set_running_or_notify_cancel():
                done.set_result(None)

    def _postpone(self, names: set[str], waiting: "list[Future[None]]") -> None:
        """Try again later; the links keep their mark, so a later daemon finds them too."""
        with self._changed:
            if self._closing:
                return
            self._changed.wait(_RETRY_S)
            self._names |= names
            self._waiting += waiting


class GroupDeletion:
    """One request for the whole group, on a socket that is opened by the thread that uses it."""

    def __init__(self) -> None:
        self._routes: RouteSocket | None = None

    def delete(self) -> None:
        """Delete the links of the group :data:`DYING`."""
        if self._routes is None:
            self._routes = RouteSocket()
        try:
            delete_group(self._routes, DYING)
        except OSError as error:
            if error.errno != errno.ENODEV:  # none left: they went with their sandbox
                raise

    def close(self) -> None:
        """Close the socket."""
        if self._routes is not None:
            self._routes.close()
            self._routes = None
