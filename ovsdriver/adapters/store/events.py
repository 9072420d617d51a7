"""Events: rows in SQLite, the newest ones in memory too.

An event is numbered when it is told, on the loop, and the order of numbers is that of the commits.
It is shown to readers when its commit is on the disk and never before, as records are. What is in
memory are the rows: most of them nobody reads.
"""

import asyncio
import json
import logging
import sqlite3
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from types import MappingProxyType

from ovsdriver.adapters.store.database import Database
from ovsdriver.causes import CAUSE
from ovsdriver.domain.events.event import Event, EventType, Happening
from ovsdriver.logs import event as log_event

log = logging.getLogger(__name__)

IN_MEMORY = 10_000
KEPT = 100_000
"""About 25 MB of the store."""
KEPT_S = 7 * 86_400.0

_TIDIED_S = 3600.0
_TIDIED_AFTER = 5000
"""Events; what is too old goes when so many came, and every hour."""
_AT_ONCE = 500
"""Rows that go with one commit: those who wait for it hardly notice."""

Row = tuple[int, float, str, str, str, str, str, str, str]
"""Id, time, type, action, network, endpoint, container, cause, attributes."""

_COLUMNS = "id, time, type, action, network, endpoint, container, cause, attributes"
_ADD = f"INSERT INTO event ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours
_LAST = f"SELECT {_COLUMNS} FROM event ORDER BY id DESC LIMIT ?"  # noqa: S608
_AFTER = f"SELECT {_COLUMNS} FROM event WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
_SINCE = "SELECT max(id) FROM event WHERE time < ?"
# The newest one stays: numbers go on from it.
_FORGET = """
    DELETE FROM event WHERE id IN (
        SELECT id FROM event WHERE id <= ? AND id < (SELECT max(id) FROM event)
        ORDER BY id LIMIT ?
    )
"""
_NAME = "INSERT OR REPLACE INTO event_name (id, name, seen) VALUES (?, ?, ?)"

_id = itemgetter(0)
_text = json.encoder.encode_basestring


class SqliteEvents:
    """The ports ``Journal``, ``Events`` and ``Readers``."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        """Use :meth:`load`."""
        self._database = database
        self._clock = clock
        self._rows: deque[Row] = deque(maxlen=IN_MEMORY)
        self._numbered = 0
        self._shown = 0
        self._names: dict[str, tuple[str, int]] = {}
        """And the newest event by then."""
        self._positions: dict[str, int] = {}
        self._positions_queued = False
        self._callbacks: list[Callable[[], None]] = []
        self._untidied = asyncio.Event()
        self._since_tidied = 0

    @classmethod
    async def load(
        cls, database: Database, *, clock: Callable[[], float] = time.time
    ) -> "SqliteEvents":
        """Read what is in memory; UnavailableError if the file cannot be read."""
        events = cls(database, clock=clock)
        rows, names, positions = await database.read(_everything)
        events._rows.extend(reversed(rows))
        events._numbered = events._shown = events._rows[-1][0] if rows else 0
        events._names.update({key: (name, seen) for key, name, seen in names})
        events._positions.update(positions)
        return events

    # For who tells something

    def tell(self, happening: Happening, *, level: int = logging.INFO) -> None:
        row = self.row(happening)
        _log(row, level)
        self._database.write_later(lambda c: keep(c, (row,)), lambda _: self.show((row,)))

    def row(self, happening: Happening) -> Row:
        """Number what is told; it goes into the next unit that is queued, by :func:`keep`."""
        self._numbered += 1
        cause, about = CAUSE.get()
        attributes = {**happening.attributes, **about} if about else happening.attributes
        return (
            self._numbered,
            self._clock(),
            happening.type.value,
            happening.action,
            happening.network,
            happening.endpoint,
            happening.container,
            cause,
            _encode(attributes),
        )

    def show(self, rows: Sequence[Row]) -> None:
        """Show to readers what is on the disk.

        What is told of every container is not logged: its calls are.
        """
        if not rows:
            return
        for row in rows:
            self._rows.append(row)
            if row[2] == "network" or row[3] == "changed":
                _log(row, logging.INFO)
        self._shown = rows[-1][0]
        self._since_tidied += len(rows)
        if self._since_tidied >= _TIDIED_AFTER:
            self._untidied.set()
        for callback in self._callbacks:
            callback()

    # For who reads

    @property
    def newest(self) -> int:
        return self._shown

    async def oldest(self) -> int:
        if len(self._rows) < IN_MEMORY:
            return self._rows[0][0] if self._rows else 0
        return await self._database.read(_oldest)

    async def since(self, time: float) -> int:
        if self._rows and self._rows[0][1] < time:
            # a clock that was set back does not hide what came after
            return next((row[0] for row in reversed(self._rows) if row[1] < time), 0)
        (found,) = await self._database.read(lambda c: c.execute(_SINCE, (time,)).fetchone())
        return int(found or 0)

    async def after(self, last: int, *, limit: int) -> Sequence[Event]:
        rows = self._rows
        if len(rows) < IN_MEMORY or last >= rows[0][0] - 1:
            first = bisect_left(rows, last + 1, key=_id)
            found = list(islice(rows, first, first + limit))
        else:
            found = await self._database.read(lambda c: c.execute(_AFTER, (last, limit)).fetchall())
        return [self._event(row) for row in found if row[0] <= self._shown]

    def latest(self, kind: EventType) -> Mapping[str, str]:
        return {row[5]: row[3] for row in self._rows if row[2] == kind.value}

    def of_now(self, happening: Happening) -> Event:
        return self._event((0, self._clock(), *happening[:5], "", _encode(happening.attributes)))

    def on_event(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def note_names(self, names: Mapping[str, str]) -> None:
        known = self._names
        new = [
            (key, name, self._shown)
            for key, name in names.items()
            if key not in known or known[key][0] != name
        ]
        if new:
            known.update({key: (name, seen) for key, name, seen in new})
            self._database.write_along(lambda c: c.executemany(_NAME, new))

    def names(self) -> Mapping[str, str]:
        return {key: name for key, (name, _) in self._names.items()}

    def _event(self, row: Row) -> Event:
        number, at, kind, action, network, endpoint, container, cause, attributes = row
        return Event(
            id=number,
            time=at,
            type=kind,
            action=action,
            network=self._name(network) or network[:12],
            container=container or self._name(endpoint),
            endpoint=endpoint,
            network_id=network,
            cause=cause,
            attributes=json.loads(attributes),
        )

    def _name(self, key: str) -> str:
        return self._names[key][0] if key in self._names else ""

    # For those who are told

    def positions(self) -> Mapping[str, int]:
        return MappingProxyType(self._positions)

    def note_position(self, reader: str, position: int) -> None:
        self._positions[reader] = position
        if not self._positions_queued:  # one unit, however long nothing else is written
            self._positions_queued = True
            self._database.write_along(self._write_positions)

    def _write_positions(self, connection: sqlite3.Connection) -> None:
        # On the writer thread. What is noted from here on is for the next unit.
        self._positions_queued = False
        connection.executemany(
            "INSERT OR REPLACE INTO event_reader (reader, position) VALUES (?, ?)",
            list(self._positions.items()),
        )

    def forget_reader(self, reader: str) -> None:
        if self._positions.pop(reader, None) is not None:
            self._database.write_along(
                lambda c: c.execute("DELETE FROM event_reader WHERE reader = ?", (reader,))
            )

    # What is too old

    async def run(self) -> None:
        """Remove what is too old or too much, a little at a time, until cancelled."""
        while True:
            await self.tidy()
            self._untidied.clear()
            try:
                async with asyncio.timeout(_TIDIED_S):
                    await self._untidied.wait()
            except TimeoutError:
                continue

    async def tidy(self) -> None:
        """Remove it now; UnavailableError leaves the rest to the next time."""
        self._since_tidied = 0
        last = max(await self.since(self._clock() - KEPT_S), self._shown - KEPT)
        first = await self.oldest()
        while first and first <= last and first < self._shown:
            first = await self._database.write(partial(_forget, last))
        while self._rows and self._rows[0][0] <= min(last, self._shown - 1):
            self._rows.popleft()
        gone = [key for key, (_, seen) in self._names.items() if seen < last]
        for key in gone:
            del self._names[key]
        if gone:
            self._database.write_along(
                lambda c: c.execute("DELETE FROM event_name WHERE seen < ?", (last,))
            )


def _encode(attributes: Mapping[str, str]) -> str:
    """Return texts by names as JSON: a tenth of what ``json.dumps`` takes, for each container."""
    return f"{{{','.join(f'{_text(name)}:{_text(value)}' for name, value in attributes.items())}}}"


def keep(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write down what was told, in a unit."""
    if rows:
        connection.executemany(_ADD, rows)


def _forget(last: int, connection: sqlite3.Connection) -> int:
    """Remove some rows up to ``last``; return the first that is left."""
    connection.execute(_FORGET, (last, _AT_ONCE))
    return _oldest(connection)


def _oldest(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("SELECT min(id) FROM event").fetchone()
    return int(found or 0)


def _log(row: Row, level: int) -> None:
    _, _, kind, action, network, endpoint, container, cause, attributes = row
    log_event(
        log,
        f"{kind}.{action}",
        level=level,
        network=network or None,
        endpoint=endpoint or None,
        container=container or None,
        cause=cause,
        **json.loads(attributes),
    )


def _everything(
    connection: sqlite3.Connection,
) -> tuple[list[Row], list[tuple[str, str, int]], list[tuple[str, int]]]:
    return (
        connection.execute(_LAST, (IN_MEMORY,)).fetchall(),
        connection.execute("SELECT id, name, seen FROM event_name").fetchall(),
        connection.execute("SELECT reader, position FROM event_reader").fetchall(),
    )
