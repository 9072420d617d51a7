"""One SQLite file, one writer thread, one durable commit for everything that waits.

A unit is a function of the connection. Units run on the writer thread, each as if it were alone;
all that arrived while the last commit was on its way to the disk share the next one. So a lone
write costs one fsync and fifty at once cost one fsync too.

Everything here that is not the writer thread's belongs to the event loop, so there are no locks.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.worker import Raised, Worker, settle
from ovsdriver.errors import UnavailableError
from ovsdriver.logs import event

T = TypeVar("T")

log = logging.getLogger(__name__)

Unit = Callable[[sqlite3.Connection], T]
"""Runs on the writer thread. Statements only: no BEGIN, COMMIT or savepoint of its own, and nothing
that would be wrong a second time, for what it did may be undone and done again."""

Alike = Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any]]
"""A unit for many: runs with what was given for each of those that follow each other, and returns
what each is told, in that order. One statement for fifty rows costs a third of fifty statements."""

Told = Callable[[Any, BaseException | None], None]
"""Hears on the loop what a unit returned, or what it raised. It raises nothing itself."""

AsError = Callable[[BaseException], BaseException]


def same(error: BaseException) -> BaseException:
    """Return an error as it is."""
    return error


CLOSE_S = 10.0

LATER_S = 0.05
"""How long what may wait does, if nothing else is written: a start or a stop of a container takes
less."""

BUSY_TIMEOUT_S = 2.0
"""How long a commit waits for another process that holds the file's write lock."""


class _Write(NamedTuple):
    alike: Alike
    given: Any
    told: Told
    as_error: AsError


class Database:
    """The store's file. Made by :meth:`open`, used on the loop that opened it."""

    def __init__(
        self, path: Path, *, busy_timeout_s: float, timed: Callable[[float], object]
    ) -> None:
        """Use :meth:`open`."""
        self._path = path
        self._timed = timed
        self._busy_timeout_s = busy_timeout_s
        self._loop = asyncio.get_running_loop()
        self._writer = Worker("store")
        self._waiting: list[_Write] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._later: asyncio.TimerHandle | None = None
        self._closed = False
        self._ended: asyncio.Future[None] | None = None
        self._connection: sqlite3.Connection | None = None
        """The writer thread's, from :meth:`_connect` on."""
        self.commits = 0
        """Commits since the start: what tests count instead of milliseconds."""

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        timed: Callable[[float], object] = lambda _: None,
    ) -> "Database":
        """Open ``path`` or make it, and bring its tables up to date.

        ``timed`` is told the seconds of each commit, on the writer thread.

        Raises:
            UnavailableError: it is corrupt, cut, locked, not writable, or of a newer ovsnet. The
                file is left as it is.
        """
        database = cls(path, busy_timeout_s=busy_timeout_s, timed=timed)
        try:
            await database._call(database._connect)
        except BaseException:
            database._closed = True
            database._end()
            raise
        return database

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def write(
        self,
        unit: Unit[T],
        then: Callable[[T], object] | None = None,
        *,
        as_error: AsError = same,
    ) -> asyncio.Future[T]:
        """Queue ``unit``; the future has its result once that is on the disk.

        A unit that raises is undone alone, and its exception is the future's; the units that share
        its commit are not touched. Who cancels the future does not take the unit back: it may be
        committed.

        Args:
            unit: what to do.
            then: called on the loop with the result of a unit that is on the disk, also when
                nobody waits any more; in the order of the units, and before any of their callers
                goes on.
            as_error: turns what is raised into what the future's user understands.

        Raises:
            UnavailableError: the file did not take it; nothing of the unit is kept.
            sqlite3.IntegrityError: a constraint refused it; the adapter finds the words.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(as_error(_closed(self._path)))
            return future
        self._queue(_Write(_alone, unit, partial(_settle, future, then), as_error))
        return future

    def write_alike(
        self, alike: Alike, given: Any, told: Told, *, as_error: AsError = same
    ) -> None:
        """Queue what may be done at once with more of the same, and be told what came of it.

        It is as if each were a unit of its own, in the order in which they came; ``alike`` may
        be called again with fewer. ``told`` is called as ``then`` of :meth:`write`, but also with
        an error: of thousands a second a future for each would be the dearest part.
        """
        if self._closed:
            self._loop.call_soon(told, None, as_error(_closed(self._path)))
            return
        self._queue(_Write(alike, given, told, as_error))

    def write_later(self, unit: Unit[T], then: Callable[[T], object] | None = None) -> None:
        """Queue ``unit``, for which nobody waits, for the next commit; there is one soon.

        In the order of what is queued, and before the file is closed. What fails is logged;
        ``then`` is called as that of :meth:`write`.
        """
        self.write_along(unit, then)
        if not self._closed and self._idle.is_set() and self._later is None:
            self._later = self._loop.call_later(LATER_S, self._start)

    def write_along(self, unit: Unit[T], then: Callable[[T], object] | None = None) -> None:
        """Queue ``unit`` as :meth:`write_later` does, but no commit is made for it.

        It is written when anything else is, and before the file is closed.
        """
        if self._closed:
            _unwritten(None, None, _closed(self._path))
            return
        self._waiting.append(_Write(_alone, unit, partial(_unwritten, then), same))

    async def read(self, unit: Unit[T]) -> T:
        """Run ``unit``, which only reads, on the writer thread between two commits.

        Raises:
            UnavailableError: the file cannot be read.
        """
        if self._closed:
            raise _closed(self._path)
        return await self._call(lambda: unit(self._opened()))

    async def close(self) -> None:
        """Commit what is queued, refuse what comes later, close the file. Repeatable.

        A disk that does not answer is given up after ``CLOSE_S``: nobody was told that what waits
        for it is kept.
        """
        self._closed = True
        self._start()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._idle.wait()
                await asyncio.shield(self._end())
        except TimeoutError:
            event(log, "store.given-up", level=logging.ERROR, path=self._path, after_s=CLOSE_S)
            self._end()

    # On the loop

    def _end(self) -> asyncio.Future[None]:
        if self._ended is None:
            self._ended = self._writer.call(self._disconnect)
            self._writer.end()
        return self._ended

    def _queue(self, write: _Write) -> None:
        self._waiting.append(write)
        self._start()

    def _start(self) -> None:
        """Have what waits committed, if that is not under way already."""
        if self._waiting and self._idle.is_set():
            self._idle.clear()
            # Not at once: what else becomes runnable in this turn of the loop shares the commit.
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        batch, self._waiting = self._waiting, []
        self._writer.do(partial(self._commit, batch))

    def _committed(self, batch: list[_Write], outcomes: list[Any]) -> None:
        for write, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Raised):
                write.told(None, write.as_error(outcome.error))
            else:
                write.told(outcome, None)
        # Behind the callers that were just woken, so that what they write next comes along.
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        if self._waiting:
            self._flush()
        else:
            self._idle.set()

    def _call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        def work() -> T:
            try:
                return function()
            except (sqlite3.Error, OSError) as error:
                translated = self._translated(error)
                raise translated from translated.__cause__

        return self._writer.call(work)

    # On the writer thread

    def _connect(self) -> None:
        self._connection = storefile.connect(self._path, busy_timeout_s=self._busy_timeout_s)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _opened(self) -> sqlite3.Connection:
        assert self._connection is not None  # noqa: S101 - open() hands out no other
        return self._connection

    def _commit(self, batch: list[_Write]) -> None:
        connection = self._opened()
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = self._run_all(connection, batch)
            began = time.monotonic()
            connection.execute("COMMIT")
            self._timed(time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - it belongs to the waiting coroutines
            if connection.in_transaction:
                connection.rollback()
            outcomes = [Raised(self._translated(error)) for _ in batch]
        else:
            self.commits += 1
        self._writer.tell(self._committed, batch, outcomes)

    def _run_all(self, connection: sqlite3.Connection, batch: list[_Write]) -> list[Any]:
        """Run a batch as it is; only if a unit raises, each again in a savepoint of its own.

        That is seldom, and two savepoint statements cost as much as what is between them.
        """
        outcomes: list[Any] = []
        try:
            for alike, some in groupby(batch, key=_alike):
                outcomes += alike(connection, [each.given for each in some])
        except Exception:
            if not connection.in_transaction:
                raise
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            return [self._run(connection, each) for each in batch]
        return outcomes

    def _run(self, connection: sqlite3.Connection, write: _Write) -> Any:
        """Return what one unit returned or raised; raise if the whole transaction is lost."""
        connection.execute("SAVEPOINT unit")
        try:
            (result,) = write.alike(connection, [write.given])
        except Exception as error:
            if not connection.in_transaction:
                # After some errors (disk full, I/O) SQLite rolls everything back by itself
                # (sqlite.org/lang_transaction.html): the units before this one are gone as well.
                raise
            connection.execute("ROLLBACK TO unit")
            result = Raised(self._translated(error))
        connection.execute("RELEASE unit")
        return result

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.IntegrityError):
            return error
        if isinstance(error, sqlite3.Error | OSError):
            translated = storefile.unavailable(self._path, error)
            translated.__cause__ = error
            return translated
        return error


_alike = attrgetter("alike")


def _alone(connection: sqlite3.Connection, units: Sequence[Unit[Any]]) -> Sequence[Any]:
    return [unit(connection) for unit in units]


def _settle(
    future: asyncio.Future[T],
    then: Callable[[T], object] | None,
    result: T,
    error: BaseException | None,
) -> None:
    if error is not None:
        settle(future, Raised(error))
        return
    if then is not None:
        then(result)
    settle(future, result)


def _unwritten(then: Callable[[T], object] | None, result: T, error: BaseException | None) -> None:
    if error is not None:
        log.warning("store.not-written", extra={"why": str(error)})
    elif then is not None:
        then(result)


def _closed(path: Path) -> UnavailableError:
    return UnavailableError(f"the store {path} is closed, ovsnet is stopping; try again")
