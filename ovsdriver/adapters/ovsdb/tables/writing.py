"""Parts of operations (RFC 7047, section 5.1)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ovsdriver.adapters.ovsdb.tables.replica import Row
from ovsdriver.adapters.ovsdb.tables.schema import Operation


def mutate(row: Row, table: str, *mutations: Sequence[Any]) -> Operation:
    """Return a mutation of one row."""
    return {"op": "mutate", "table": table, "where": where(row), "mutations": list(mutations)}


def delete(column: str, members: Iterable[Row]) -> Sequence[Any]:
    """Return the mutation that takes references to ``members`` out of a column."""
    return [column, "delete", references(members)]


def references(rows: Iterable[Row]) -> Sequence[Any]:
    """Return a <set> of references."""
    return ["set", [["uuid", row["_uuid"]] for row in rows]]


def where(row: Row) -> Sequence[Any]:
    """Return the condition that picks this row."""
    return [["_uuid", "==", ["uuid", row["_uuid"]]]]


def to_map(pairs: Mapping[str, str]) -> Sequence[Any]:
    """Return a <map>."""
    return ["map", [[key, value] for key, value in pairs.items()]]
