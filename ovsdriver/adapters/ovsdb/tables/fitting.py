"""Values that plainly fit a column, told without python-ovs' objects.

``Datum.from_json`` makes an object of each atom: a port's three operations take it 150 us, on the
way of every container. Here the common forms of values that fit are known; of all else, those
that do not fit among it, python-ovs is asked, which has the words too.
"""

from collections.abc import Callable, Container
from typing import Any

from ovs.db.types import BaseType, BooleanType, IntegerType, StringType, Type, UuidType

Names = Container[str]
"""What ``named-uuid`` may refer to."""

Fits = Callable[[Any, Names], bool]


def plainly(kind: Type) -> Fits:
    """Return what tells of a <value> (RFC 7047, section 5.1) that it fits ``kind``."""
    key = _atom(kind.key)
    least, most = kind.n_min, kind.n_max
    if kind.is_map():
        value = _atom(kind.value)

        def fits_map(json: Any, names: Names) -> bool:
            pairs = _inner(json, "map")
            return (
                pairs is not None
                and least <= len(pairs) <= most
                and all(
                    type(each) is list
                    and len(each) == 2
                    and key(each[0], names)
                    and value(each[1], names)
                    for each in pairs
                )
                and len({each[0] for each in pairs}) == len(pairs)
            )

        return fits_map

    def fits(json: Any, names: Names) -> bool:
        members = _inner(json, "set")
        if members is None:
            return key(json, names)
        return (
            least <= len(members) <= most
            and all(key(each, names) for each in members)
            and (len(members) < 2 or len(set(map(str, members))) == len(members))
        )

    return fits


def _inner(json: Any, word: str) -> list[Any] | None:
    if type(json) is list and len(json) == 2 and json[0] == word and type(json[1]) is list:
        return json[1]
    return None


def _atom(base: BaseType) -> Fits:
    if base.type is UuidType:
        return _named
    if base.enum is not None:
        allowed = frozenset(atom.value for atom in base.enum.values)
        return lambda json, _: type(json) is str and json in allowed
    if base.type is StringType and base.min_length == 0:
        longest = base.max_length
        return lambda json, _: type(json) is str and len(json) <= longest
    if base.type is IntegerType:
        least = base.min if base.min is not None else -(2**63)
        most = base.max if base.max is not None else 2**63 - 1
        return lambda json, _: type(json) is int and least <= json <= most
    if base.type is BooleanType:
        return lambda json, _: type(json) is bool
    return lambda _json, _names: False


def _named(json: Any, names: Names) -> bool:
    return (
        type(json) is list
        and len(json) == 2
        and json[0] == "named-uuid"
        and type(json[1]) is str
        and json[1] in names
    )
