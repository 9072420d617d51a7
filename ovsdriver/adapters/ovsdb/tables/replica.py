"""A slim copy of the watched tables, kept by the server's notifications.

Costs of an update are those of the rows in it, not of the rows there are: a set such as
``Bridge.ports`` is changed in place by the difference that ``update2`` brings.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ovsdriver.adapters.ovsdb.tables.schema import Schema

Row = dict[str, Any]
"""Column values by name, and the row's own uuid as ``_uuid``.

A changed row is a new ``dict``; only the sets of references in it are the same objects.
"""

_ROWS_PER_STEP = 500


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that a notification made, changed or removed."""

    table: str
    old: Row | None
    new: Row | None


class Replica:
    """Rows by uuid, by name, and by what refers to them."""

    def __init__(self, schema: Schema, watched: Mapping[str, Sequence[str]]) -> None:
        self.schema = schema
        self.version = 0
        """Grows with every notification."""
        self._columns = {table: schema.columns(table, names) for table, names in watched.items()}
        self._rows: dict[str, dict[str, Row]] = {table: {} for table in watched}
        self._names: dict[str, dict[str, str]] = {table: {} for table in watched}
        self._holders: dict[tuple[str, str], dict[str, str]] = {
            (table, name): {}
            for table, columns in self._columns.items()
            for name, column in columns.items()
            if column.refers
        }

    def requests(self) -> dict[str, list[dict[str, Any]]]:
        """Return the <monitor-cond-requests> that bring what this copy needs."""
        return {table: [{"columns": list(columns)}] for table, columns in self._columns.items()}

    def rows(self, table: str) -> Iterable[Row]:
        """Return every row of ``table``."""
        return self._rows[table].values()

    def row(self, table: str, uuid: str) -> Row | None:
        """Return the row with that uuid."""
        return self._rows[table].get(uuid)

    def named(self, table: str, name: str) -> Row | None:
        """Return the row whose column ``name`` has this value; unique where we ask."""
        uuid = self._names[table].get(name)
        return self._rows[table][uuid] if uuid else None

    def holder(self, table: str, column: str, uuid: str) -> Row | None:
        """Return the row of ``table`` whose ``column``, a set of references, has ``uuid``."""
        holder = self._holders[table, column].get(uuid)
        return self._rows[table].get(holder) if holder else None

    async def load(self, initial: Mapping[str, dict[str, Any]]) -> None:
        """Take the reply to ``monitor_cond`` or ``monitor``, giving way to other tasks.

        It is emptied on the way: the copy takes the memory that it gives back.
        """
        count = 0
        for table, rows in initial.items():
            while rows:
                uuid, update = rows.popitem()
                self._apply(table, uuid, update)
                count += 1
                if count % _ROWS_PER_STEP == 0:
                    await asyncio.sleep(0)
        self.version += 1

    def apply(self, updates: Mapping[str, Any]) -> list[RowChange]:
        """Take the tables of an ``update2`` or ``update`` notification.

        Raises:
            LookupError, TypeError, ValueError, AttributeError: they do not fit what is here.
        """
        changes = [self._apply(table, uuid, update) for table, uuid, update in _each(updates)]
        self.version += 1
        return changes

    def _apply(self, table: str, uuid: str, update: Mapping[str, Any]) -> RowChange:
        old = self._rows[table].get(uuid)
        if "modify" in update:
            if old is None:
                raise LookupError(f"{table} has no row {uuid} to modify")
            new = self._modified(table, old, update["modify"])
        elif "delete" in update or ("old" in update and "new" not in update):
            new = None
        else:
            body = update.get("insert") or update.get("initial") or update.get("new") or {}
            new = self._made(table, uuid, body)
        self._index(table, old, new)
        if new is None:
            self._rows[table].pop(uuid, None)
        else:
            self._rows[table][uuid] = new
        return RowChange(table, old, new)

    def _made(self, table: str, uuid: str, body: Mapping[str, Any]) -> Row:
        row: Row = {
            name: column.read(body[name]) if name in body else column.default()
            for name, column in self._columns[table].items()
        }
        row["_uuid"] = uuid
        for name, column in self._columns[table].items():
            if column.refers:
                self._refer(table, name, uuid, toggled=row[name], now=row[name])
        return row

    def _modified(self, table: str, old: Row, body: Mapping[str, Any]) -> Row:
        row = dict(old)
        for name, json in body.items():
            column = self._columns[table][name]
            value = column.read(json)
            if not column.diffs:
                row[name] = value
            elif column.is_map:
                row[name] = _toggled_map(old[name], value)
            elif column.refers:
                row[name].symmetric_difference_update(value)
                self._refer(table, name, row["_uuid"], toggled=value, now=row[name])
            else:
                row[name] = old[name] ^ value
        return row

    def _refer(
        self, table: str, column: str, uuid: str, *, toggled: Iterable[str], now: set[str]
    ) -> None:
        holders = self._holders[table, column]
        for member in toggled:
            if member in now:
                holders[member] = uuid
            elif holders.get(member) == uuid:
                del holders[member]

    def _index(self, table: str, old: Row | None, new: Row | None) -> None:
        if "name" in self._columns[table]:
            names = self._names[table]
            # a row of the same name may have come before the old one went
            if old is not None and names.get(old["name"]) == old["_uuid"]:
                del names[old["name"]]
            if new is not None:
                names[new["name"]] = new["_uuid"]
        if old is not None:
            for name, column in self._columns[table].items():
                if column.refers and (new is None or new[name] is not old[name]):
                    gone = old[name] - new[name] if new else old[name]
                    self._refer(table, name, old["_uuid"], toggled=gone, now=set())


def _each(updates: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for table, rows in updates.items():
        for uuid, update in rows.items():
            yield table, uuid, update


def _toggled_map(old: Mapping[str, Any], difference: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``old`` with the pairs of ``difference``; a pair that is the same goes."""
    result = dict(old)
    for key, value in difference.items():
        if key in result and result[key] == value:
            del result[key]
        else:
            result[key] = value
    return result
