"""Deletes links in batches, behind everyone's back.

Deleting a veth pair makes the kernel wait 20 to 30 ms under its one lock for links. A batch waits
once: 200 pairs in 41 ms. So a dying link is marked with a group number, and the group is deleted
a little later in one request, on a thread and a socket of its own.
"""

import errno
import logging
import threading
import time
from concurrent.futures import Future
from typing import Protocol

from ovsdriver.adapters.netlink.link_messages import delete_group
from ovsdriver.adapters.rtnetlink import RouteSocket

log = logging.getLogger(__name__)

DYING = 0x6F76_7E0D
"""``IFLA_GROUP`` of links that are to be deleted.

The group is deleted whole, whoever put a link into it, so the number is one that nobody picks by
hand. Two daemons in one namespace may share it: what either marks is to go.
"""

_GATHER_S = 0.03
_APART_S = 0.25
"""From one batch to the next. The kernel's lock is held as long for few links as for many, and
dockerd waits for it to move a container's link: with 50 containers at once, a batch every 30 ms
took half of all time."""
_BATCH = 64
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

    def __init__(self, deletion: Deletion | None = None) -> None:
        self._deletion = deletion or GroupDeletion()
        self._changed = threading.Condition()
        self._names: set[str] = set()
        self._waiting: list[Future[None]] = []
        self._since = 0.0
        self._flushed = -_APART_S
        self._closing = False
        self._thread: threading.Thread | None = None
        self.flushes = 0
        """How many batches were deleted, for tests that count."""

    def add(self, name: str) -> None:
        """Have a marked link deleted in 30 ms, or 250 after the last batch, or with 64 others."""
        self._take(name, None)

    def gone(self, name: str) -> "Future[None]":
        """Have a marked link deleted at once; the result comes when it is."""
        done: Future[None] = Future()
        self._take(name, done)
        return done

    def close(self, timeout_s: float) -> bool:
        """Delete what is marked and end the thread; False if that took too long. Blocks."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            thread = self._thread
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _take(self, name: str, done: "Future[None] | None") -> None:
        with self._changed:
            first = not self._names
            if first:
                self._since = time.monotonic()
            self._names.add(name)
            if done is not None:
                self._waiting.append(done)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="link-reaper", daemon=True)
                self._thread.start()
            if first or done is not None or len(self._names) >= _BATCH:
                self._changed.notify()

    def _run(self) -> None:
        try:
            while self._gather():
                self._flush()
        finally:
            self._deletion.close()

    def _gather(self) -> bool:
        """Wait until a batch is due; False if there is nothing more to do."""
        with self._changed:
            while not self._names:
                if self._closing:
                    return False
                self._changed.wait()
            while not self._closing and not self._waiting and len(self._names) < _BATCH:
                due = max(self._since + _GATHER_S, self._flushed + _APART_S)
                left = due - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return True

    def _flush(self) -> None:
        with self._changed:
            names, self._names = self._names, set()
            waiting, self._waiting = self._waiting, []
        try:
            self._deletion.delete()
        except OSError as error:
            log.warning("links.not-deleted", extra={"count": len(names), "why": str(error)})
            self._postpone(names, waiting)
            return
        self.flushes += 1
        self._flushed = time.monotonic()
        for done in waiting:
            if done.set_running_or_notify_cancel():
                done.set_result(None)

    def _postpone(self, names: set[str], waiting: list["Future[None]"]) -> None:
        """Try again later; the links keep their mark, so a later daemon finds them too."""
        with self._changed:
            if self._closing:
                self._names.clear()
                return
            self._names |= names
            self._waiting += waiting
            self._changed.wait(_RETRY_S)


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
