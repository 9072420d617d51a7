"""Values as JSON and back: for whatever is written to files, or asked and answered on sockets.

Driven by types: a dataclass is an object with a member for each of its fields, and a new field is
written and read without a line here. Fields may be texts, numbers, truth values, enumerations,
addresses, networks, ranges, MACs, other dataclasses, and of all these ``X | None``,
``tuple[X, ...]`` and ``Mapping[str, X]``; ``object`` is whatever JSON has. A field may be a named
tuple, which is an object, too.

Of a union of dataclasses each says by its ``TYPE`` which one it is, and has that as its member
``type``; an object without one is the first of the union. ``Annotated[X, Written(parse)]`` is read
by ``parse``, which may be narrower than X and has sentences of its own.

What we wrote ourselves is read tolerantly, since it outlives the program that wrote it: a member
that is not there leaves the field's default, one that no field has is skipped. What others wrote
is read with ``strict``: every member is a field, and every text is short and can be encoded.
"""

import json
import types
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import (
    Annotated,
    Any,
    NoReturn,
    Self,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from netaddr import EUI, AddrFormatError, IPAddress, IPNetwork, IPRange, mac_unix_expanded

T = TypeVar("T")

TEXT_LENGTH = 4096
"""Longest text of others."""

_TAG = "type"
_SHOWN = 80

_Reader = Callable[[Any], Any]


class UnreadableError(Exception):
    """What was read is not what it should be; the text names the place: ``subnets[0].cidr: …``."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.path = ""
        """Empty: the whole."""

    def inside(self, place: str) -> Self:
        """Return it as an error of what has the unreadable at ``place``: ``.name``, ``[2]``."""
        self.path = place + self.path
        return self

    def __str__(self) -> str:
        return f"{self.path.lstrip('.')}: {self.args[0]}" if self.path else str(self.args[0])


@dataclass(frozen=True, slots=True)
class Written:
    """Beside a type that is written as a text: how it is read, and refused with a ValueError."""

    parse: Callable[[str], object]


def encode(value: object) -> str:
    """Return ``value`` as JSON on one line; TypeError if something in it cannot be written."""
    return _ENCODER.encode(value)


def decode(kind: type[T], text: str | bytes, *, strict: bool = False) -> T:
    """Return the ``kind`` that ``text`` holds; UnreadableError if it holds none."""
    return read(kind, loads(text), strict=strict)


def read(kind: type[T], value: object, *, strict: bool = False) -> T:
    """Return the ``kind`` that parsed JSON holds; UnreadableError if it holds none."""
    return cast(T, _reader(cast(Hashable, kind), strict)(value))


def loads(text: str | bytes) -> Any:
    """Parse JSON; UnreadableError if it is none. NaN and Infinity are none."""
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not JSON: byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise UnreadableError(f"not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise UnreadableError("not usable: nested too deep") from error
    except ValueError as error:  # NaN, or more digits than an integer may have
        raise UnreadableError(f"not usable: {error}") from error


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def plain(value: Any) -> Any:
    """Return what json does not know in terms of what it does; it comes back for the inside."""
    write = _WRITERS.get(type(value))
    return members(value) if write is None else write(value)


def members(record: Any) -> dict[str, Any]:
    """Return a record's fields by name; TypeError if it is none."""
    if isinstance(record, tuple):
        return cast(dict[str, Any], cast(Any, record)._asdict())
    names, perhaps_tuples = _names(cast(Hashable, type(record)))
    found = {name: getattr(record, name) for name in names}
    for name in perhaps_tuples:
        found[name] = _object(found[name])
    word = getattr(record, "TYPE", None)
    return found if word is None else {_TAG: word} | found


@cache
def _names(kind: Hashable) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of all fields, and of those that may be named tuples."""
    types = {each.name: (each.type, *get_args(each.type)) for each in fields(cast(type, kind))}
    return tuple(types), tuple(n for n, of in types.items() if any(map(_is_named_tuple, of)))


def _is_named_tuple(kind: object) -> bool:
    return hasattr(kind, "_fields")


def _object(value: Any) -> Any:
    # json takes one that is a tuple for a list, and does not ask.
    return members(value) if isinstance(value, tuple) and _is_named_tuple(value) else value


_ENCODER = json.JSONEncoder(separators=(",", ":"), default=plain)


def shown(value: object) -> str:
    """Return a value for an error: on one line, printable and not too long."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def range_text(addresses: IPRange) -> str:
    """Return ``10.0.0.5`` or ``10.0.0.5-10.0.0.9``."""
    first, last = IPAddress(addresses[0]), IPAddress(addresses[-1])
    return str(first) if first == last else f"{first}-{last}"


def range_of(text: str) -> IPRange:
    """Read what :func:`range_text` wrote; ValueError or AddrFormatError if it is none."""
    first, _, last = text.partition("-")
    return IPRange(first, last or first)


_WRITERS: Mapping[type, Callable[[Any], Any]] = {
    EUI: lambda mac: mac.packed.hex(":"),
    IPAddress: str,
    IPNetwork: str,
    IPRange: range_text,
    types.MappingProxyType: dict,
}

_TEXTS: Mapping[type, tuple[str, Callable[[str], object]]] = {
    EUI: ("a MAC address", lambda text: EUI(text, dialect=mac_unix_expanded)),
    IPAddress: ("an address", IPAddress),
    IPNetwork: ("an address with a prefix length", IPNetwork),
    IPRange: ("a range of addresses", range_of),
}
"""What is written as a text, with the word for it."""

_KINDS: Mapping[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    types.NoneType: "null",
}


@cache
def _reader(kind: Hashable, strict: bool) -> _Reader:
    """Return what turns the JSON of a ``kind``, a type or an annotation, into a value of it."""
    kind = getattr(kind, "__supertype__", kind)  # of a NewType
    origin = get_origin(kind)
    if origin is None:
        return _class_reader(cast(type, kind), strict)
    return _annotation_reader(origin, get_args(kind), strict)


def _class_reader(kind: type, strict: bool) -> _Reader:
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return _record_reader(kind, strict)
    if kind in _TEXTS:
        word, parse = _TEXTS[kind]
        return lambda value: _parsed(parse, value, word)
    if issubclass(kind, Enum):
        return lambda value: _enumerated(kind, value)
    if kind is str and strict:
        return _others_text
    if kind is object:
        return lambda value: value
    if kind not in _KINDS:
        raise TypeError(f"{kind} cannot be read")
    return lambda value: _checked(kind, value)


def _annotation_reader(origin: Any, arguments: tuple[Any, ...], strict: bool) -> _Reader:
    if origin is Annotated:
        (written,) = arguments[1:]
        return lambda value: _parsed(written.parse, value, "")
    if origin in (Union, types.UnionType):
        return _union_reader(arguments, strict)
    if origin is tuple and arguments[1:] == (...,):
        each = _reader(arguments[0], strict)
        return lambda value: tuple(
            _inside(f"[{index}]", each, item) for index, item in enumerate(_checked(list, value))
        )
    if issubclass(origin, Mapping):
        name, member = _reader(arguments[0], strict), _reader(arguments[1], strict)
        return lambda value: types.MappingProxyType(
            {name(k): _inside(_place(k), member, v) for k, v in _checked(dict, value).items()}
        )
    raise TypeError(f"{origin} cannot be read")


def _union_reader(arguments: Sequence[Any], strict: bool) -> _Reader:
    readers = [_reader(each, strict) for each in arguments if each is not types.NoneType]
    words = [getattr(each, "TYPE", "") for each in arguments if each is not types.NoneType]
    present = readers[0] if len(readers) == 1 else _tagged(dict(zip(words, readers, strict=True)))
    if len(readers) == len(arguments):
        return present
    return lambda value: None if value is None else present(value)


def _tagged(readers: Mapping[str, _Reader]) -> _Reader:
    first = next(iter(readers))

    def read(value: Any) -> Any:
        word = _checked(dict, value).get(_TAG, first)
        if not isinstance(word, str) or word not in readers:
            words = ", ".join(readers)
            raise UnreadableError(f"{shown(word)} is none of {words}").inside(f".{_TAG}")
        return readers[word](value)

    return read


def _record_reader(kind: type, strict: bool) -> _Reader:
    hints = get_type_hints(kind, include_extras=True)
    needs = _needs(kind)
    readers = {name: _reader(hints[name], strict) for name in needs}
    needed = [name for name, needed in needs.items() if needed]
    known = readers.keys() | ({_TAG} if hasattr(kind, "TYPE") else set())

    def read(value: Any) -> Any:
        there = _checked(dict, value)
        found = {}
        name = ""
        try:
            for name, each in readers.items():
                if name in there:
                    found[name] = each(there[name])
        except UnreadableError as error:
            error.inside(f".{name}")
            raise
        for name in needed:
            if name not in found:
                raise UnreadableError("missing").inside(f".{name}")
        for name in there if strict else ():
            if name not in known:
                raise UnreadableError("there is no such member").inside(_place(name))
        return kind(**found)

    return read


def _needs(kind: Any) -> Mapping[str, bool]:
    """Return whether each field of a record has to be there."""
    if issubclass(kind, tuple):
        return {name: name not in kind._field_defaults for name in kind._fields}
    return {
        each.name: each.default is MISSING and each.default_factory is MISSING
        for each in fields(kind)
    }


def _inside(place: str, read: _Reader, value: Any) -> Any:
    try:
        return read(value)
    except UnreadableError as error:
        error.inside(place)
        raise


def _place(name: str) -> str:
    """Return the place of a member that others named."""
    return f".{name}" if name.isascii() and name.isprintable() and name else f".{shown(name)}"


def _parsed(parse: Callable[[str], object], value: Any, word: str) -> object:
    try:
        return parse(_others_text(value) if not word else _checked(str, value))
    except (ValueError, TypeError, AddrFormatError) as error:
        raise UnreadableError(f"{shown(value)} is not {word}" if word else str(error)) from error


def _enumerated(kind: type[Enum], value: Any) -> Enum:
    try:
        return kind(value)
    except ValueError as error:
        words = ", ".join(str(each.value) for each in kind)
        raise UnreadableError(f"{shown(value)} is none of {words}") from error


def _others_text(value: Any) -> str:
    text: str = _checked(str, value)
    if len(text) > TEXT_LENGTH:
        raise UnreadableError(f"{len(text)} characters; at most {TEXT_LENGTH} are read")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnreadableError(f"{shown(text)} is not Unicode text: half of a pair") from error
    return text


def _checked(kind: type, value: Any) -> Any:
    # bool is an int in Python, and 1.0 no whole number in JSON.
    if type(value) is not kind and not (kind is float and type(value) is int):
        what = _KINDS[type(value)] + (f" ({shown(value)})" if isinstance(value, str) else "")
        raise UnreadableError(f"{what}, not {_KINDS[kind]}")
    return value
