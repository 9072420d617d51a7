"""The database's own schema, as python-ovs reads it: checks what we write, reads what we watch.

python-ovs' ``Idl`` drops a value that the schema forbids and commits the rest: a port with the
tag 99999 becomes a port without a tag, a trunk of all VLANs. Here such a value is an error of
the caller before anything is sent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from sys import intern
from typing import Any
from uuid import UUID

import ovs.db.error
from ovs.db.data import Datum
from ovs.db.schema import DbSchema
from ovs.db.types import BaseType, StringType, Type, UuidType

from ovsdriver.adapters.ovsdb.errors import RefusedError
from ovsdriver.adapters.ovsdb.tables.fitting import Fits, plainly

_SOME_UUID = UUID(int=0)

Operation = Mapping[str, Any]
"""One operation of ``transact``, as RFC 7047 section 5.2 writes it."""


class Schema:
    """What tables and columns there are, and what fits into them."""

    def __init__(self, json: Mapping[str, Any]) -> None:
        """Read ``get_schema``'s reply.

        Raises:
            RefusedError: it is not a schema.
        """
        self.json = json
        self._kinds: dict[tuple[str, str, str], tuple[Type, Fits]] = {}
        try:
            self._tables = DbSchema.from_json(dict(json)).tables
        except ovs.db.error.Error as error:
            raise RefusedError("bad schema", str(error)) from error

    def columns(self, table: str, wanted: Iterable[str]) -> dict[str, "Column"]:
        """Return those of ``wanted`` that this version of the database has."""
        if table not in self._tables:
            raise RefusedError("unknown table", f"the database has no table {table}")
        known = self._tables[table].columns
        return {name: Column(known[name].type) for name in wanted if name in known}

    def check(self, operations: Sequence[Operation]) -> None:
        """Check tables, columns and values of ``operations``.

        Raises:
            RefusedError: names the first that does not fit.
        """
        # python-ovs accepts ["named-uuid", …] only with a table of names that is not empty
        symbols = {str(each.get("uuid-name", "")): _SOME_UUID for each in operations}
        for operation in operations:
            table = self._tables.get(operation["table"])
            if table is None:
                raise RefusedError("unknown table", operation["table"])
            for name, value in operation.get("row", {}).items():
                self._fit(table, name, "", value, symbols)
            for name, mutator, value in operation.get("mutations", ()):
                if mutator in ("insert", "delete"):
                    self._fit(table, name, mutator, value, symbols)

    def _fit(
        self, table: Any, name: str, mutator: str, value: Any, symbols: dict[str, UUID]
    ) -> None:
        if mutator == "delete" and isinstance(value, list) and value[:1] == ["set"]:
            mutator = "delete keys"
        kind, fits = self._kind(table, name, mutator)
        if fits(value, symbols):
            return
        try:
            Datum.from_json(kind, value, symbols)
        except ovs.db.error.Error as error:
            raise RefusedError("constraint violation", f"{table.name}.{name}: {error}") from error

    def _kind(self, table: Any, name: str, mutator: str) -> tuple[Type, Fits]:
        """Return the type of what is written to a column, or put into it, or taken from it."""
        known = self._kinds.get((table.name, name, mutator))
        if known is not None:
            return known
        column = table.columns.get(name)
        if column is None:
            raise RefusedError("unknown column", f"{name} of {table.name}")
        kind = column.type
        if mutator == "delete keys" and kind.is_map():
            kind = Type(kind.key, None, 0, kind.n_max)  # keys alone: RFC 7047, section 5.1
        elif mutator:
            kind = Type(kind.key, kind.value, 0, kind.n_max)
        known = self._kinds[table.name, name, mutator] = kind, plainly(kind)
        return known


class Column:
    """How one column's JSON becomes a Python value.

    A scalar stays what it is, an optional one is it or None, a set a ``set``, a map a ``dict``,
    a reference the other row's uuid as text. ``Datum`` would do the same at 20 times the time,
    with one object for each atom; its checks are for what we write, the server has made its own.
    """

    __slots__ = ("_atom", "_default", "_value", "diffs", "is_map", "is_set", "refers")

    def __init__(self, kind: Type) -> None:
        self.is_map: bool = kind.is_map()
        self.is_set: bool = not self.is_map and not kind.is_scalar() and not kind.is_optional()
        self.diffs: bool = kind.n_max > 1
        """``update2`` sends the difference, not the new value (ovsdb-server(7), 4.1.15)."""
        self.refers: bool = self.is_set and kind.key.is_ref()
        # the same few words are the keys of every row's map
        words = self.is_map and kind.key.type is StringType
        self._atom: Callable[[Any], Any] = intern if words else _atom_reader(kind.key)
        self._value = _atom_reader(kind.value) if self.is_map else self._atom
        # not Atom.default(): its value is an Atom again
        self._default: Any = self._of_scalar(kind) if kind.is_scalar() else None

    @staticmethod
    def _of_scalar(kind: Type) -> Any:
        default = kind.key.type.default
        return str(default) if kind.key.type is UuidType else default

    def default(self) -> Any:
        """Return what a row has where the server sends nothing."""
        if self.is_map:
            return {}
        return set() if self.is_set else self._default

    def read(self, json: Any) -> Any:
        """Return the value of ``json``, a <value> of RFC 7047."""
        atom = self._atom
        if self.is_map:
            value = self._value
            return {atom(key): value(member) for key, member in json[1]}
        if isinstance(json, list) and json[0] == "set":
            members = {atom(member) for member in json[1]}
            if self.is_set:
                return members
            return next(iter(members), None)
        return {atom(json)} if self.is_set else atom(json)


def _atom_reader(base: BaseType) -> Callable[[Any], Any]:
    if base.type is UuidType:
        return _uuid_text
    return _same


def _uuid_text(json: Any) -> str:
    kind, value = json
    if kind != "uuid":
        raise ValueError(f"a uuid expected, not {json!r}")
    return str(value)


def _same(json: Any) -> Any:
    return json
