"""Records as JSON text, for the columns that nothing queries.

Driven by the fields of the dataclasses: a new field is stored without a line here. Rows outlive
the program that wrote them, so reading is tolerant: a member that is not there leaves the
field's default, one that no field has is skipped.
"""

import json
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from netaddr import EUI, AddrFormatError, IPAddress, IPNetwork, mac_unix_expanded

from ovsdriver.domain.records.names import mac_text

T = TypeVar("T")

_Reader = Callable[[Any], Any]

VERSION = 1
"""Raised when a member changes its meaning; :func:`decode` then reads the older ones too."""

_VERSION_KEY = "_version"


class UnreadableError(Exception):
    """The text is not a record of that kind, or was written by a newer program."""


def encode(record: object) -> str:
    """Return ``record``, a dataclass, as JSON text."""
    return json.dumps(
        {_VERSION_KEY: VERSION} | _members(record), separators=(",", ":"), default=_plain
    )


def decode(kind: type[T], text: str) -> T:
    """Return the record of ``kind`` that ``text`` holds; UnreadableError if it holds none."""
    try:
        members = json.loads(text)
        version = members.get(_VERSION_KEY)
        if version != VERSION:
            raise UnreadableError(f"it has version {version}, this ovsnet reads {VERSION}")
        return cast(T, _reader(cast(Hashable, kind))(members))
    except (ValueError, TypeError, KeyError, AttributeError, AddrFormatError) as error:
        raise UnreadableError(f"{type(error).__name__}: {error}") from error


def _members(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _plain(value: Any) -> Any:
    """Return what json does not know in terms of what it does; it comes back for the inside."""
    if isinstance(value, EUI):
        return mac_text(value)
    if isinstance(value, IPAddress | IPNetwork):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    return _members(value)


@cache
def _reader(kind: Hashable) -> _Reader:
    """Return what turns the JSON of a ``kind``, a type or an annotation, into a value of it."""
    kind = getattr(kind, "__supertype__", kind)  # of a NewType
    if isinstance(kind, type) and get_origin(kind) is None:
        return _class_reader(kind)
    return _annotation_reader(get_origin(kind), get_args(kind))


def _class_reader(kind: type) -> _Reader:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}
        return lambda members: kind(
            **{name: read(members[name]) for name, read in readers.items() if name in members}
        )
    if kind is EUI:
        return lambda value: EUI(value, dialect=mac_unix_expanded)
    if issubclass(kind, Enum | IPAddress | IPNetwork):
        return kind
    return lambda value: _checked(kind, value)


def _annotation_reader(origin: Any, arguments: tuple[Any, ...]) -> _Reader:
    if origin is tuple and arguments[1:] == (...,):
        each = _reader(arguments[0])
        return lambda values: tuple(map(each, values))
    if origin in (Union, types.UnionType):
        (only,) = (argument for argument in arguments if argument is not types.NoneType)
        present = _reader(only)
        return lambda value: None if value is None else present(value)
    if issubclass(origin, Mapping):
        member = _reader(arguments[1])
        return lambda value: types.MappingProxyType({k: member(v) for k, v in value.items()})
    raise TypeError(f"{origin} cannot be stored")


def _checked(kind: type, value: object) -> object:
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value
