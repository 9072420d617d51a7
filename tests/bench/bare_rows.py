"""Yardstick in process: durable rows with nothing around them, which is what the machine can do.

Callers wait for a row of one number in SQLite; all that wait share a commit on a thread. There is
no pool, no choice of an address, no lease, no undoing and nobody who could be cancelled.
"""

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.bench.measured import Measured


class BareRows:
    """A file of rows."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self.measured = Measured("bare rows, in process")
        self._connection, self._thread = connection, thread
        self._numbers = itertools.count(1)
        self._waiting: list[tuple[tuple[int], asyncio.Future[None]]] = []
        self._busy = False

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator["BareRows"]:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE bare (number INTEGER PRIMARY KEY) STRICT")
        with ThreadPoolExecutor(1) as thread:
            yield cls(connection, thread)
        connection.close()

    async def measure(self, at_once: int, total: int) -> None:
        """Write ``total`` rows, ``at_once`` at a time, and delete them again."""
        latencies: list[float] = []

        async def client(number: int) -> None:
            for _ in range(number):
                began = time.perf_counter()
                await self._row(next(self._numbers))
                latencies.append((time.perf_counter() - began) * 1000)

        used, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(client(total // at_once) for _ in range(at_once)))
        took, used = time.perf_counter() - began, time.process_time() - used
        began = time.perf_counter()
        self._connection.execute("DELETE FROM bare")
        self.measured.note(
            at_once,
            took_s=took,
            release_s=time.perf_counter() - began,
            latencies_ms=latencies,
            client_us=used / total * 1e6,
        )

    def _row(self, number: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((number,), future))
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._flush)
        return future

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        rows = [row for row, _ in batch]
        committed = asyncio.get_running_loop().run_in_executor(self._thread, self._commit, rows)
        committed.add_done_callback(lambda done: self._committed(done, batch))

    def _commit(self, rows: list[tuple[int]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO bare VALUES (?)", rows)
        self._connection.execute("COMMIT")

    def _committed(
        self,
        done: asyncio.Future[None],
        batch: list[tuple[tuple[int], asyncio.Future[None]]],
    ) -> None:
        done.result()
        for _, future in batch:
            future.set_result(None)
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        if self._waiting:
            self._flush()
        else:
            self._busy = False
