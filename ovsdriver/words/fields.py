"""Reading one JSON object by field, with the path in every error.

As Go writes and reads JSON: absent, ``null`` and empty are the same; members that nobody asks
for are ignored; a member's name matches exactly or else without regard to case.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn, Self, TypeVar

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.errors import InvalidRequestError
from ovsdriver.words import values
from ovsdriver.words.values import quote

T = TypeVar("T")

TEXT_LENGTH = 4096
"""Longest text of a member; the longest that Docker sends is a path."""

_NAME = re.compile(r"[0-9A-Za-z_.:/[\]-]{1,80}")
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,63}")
_KINDS: Mapping[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number with a fraction",
    list: "a list",
    dict: "an object",
}


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class Fields:
    """One JSON object of a request."""

    __slots__ = ("_folded", "_members", "_path")

    def __init__(self, members: Mapping[str, object], path: str = "") -> None:
        self._members = members
        self._path = path
        self._folded: Mapping[str, object] | None = None

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read the object in ``body``; refused as InvalidRequestError: all that is not one."""
        try:
            value = _DECODER.decode(body.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise InvalidRequestError(
                f"the request is not JSON: byte {error.start} is not UTF-8"
            ) from error
        except json.JSONDecodeError as error:
            raise InvalidRequestError(
                f"the request is not JSON: {error.msg} at character {error.pos}"
            ) from error
        except RecursionError as error:
            raise InvalidRequestError("the request is not usable: nested too deep") from error
        except ValueError as error:  # NaN, or more digits than an integer may have
            raise InvalidRequestError(f"the request is not usable: {error}") from error
        if not isinstance(value, dict):
            raise InvalidRequestError(
                f'the request is {_kind(value)}, not an object like {{"NetworkID": …}}'
            )
        return cls(value)

    def refusal(self, name: str, sentence: object) -> InvalidRequestError:
        """Return the error that says ``sentence`` of member ``name``."""
        # The names of an object whose keys are data are the caller's.
        shown = name if _NAME.fullmatch(name) else quote(name)
        return InvalidRequestError(f"{self._path}{shown}: {sentence}")

    def items(self) -> Iterator[tuple[str, object]]:
        """Iterate over all members, of objects whose keys are data."""
        return iter(self._members.items())

    def text(self, name: str) -> str:
        """Return a text, empty if absent."""
        value = self._of(name, str)
        if value is None:
            return ""
        if len(value) > TEXT_LENGTH:
            raise self.refusal(name, f"{len(value)} characters; at most {TEXT_LENGTH} are read")
        if not value.isascii() and not _encodes(value):
            raise self.refusal(name, f"{quote(value)} is not Unicode text: half of a pair")
        return value

    def required(self, name: str) -> str:
        """Return a text that must be there."""
        value = self.text(name)
        if not value:
            raise self.refusal(name, "missing; this call needs it")
        return value

    def identifier(self, name: str) -> str:
        """Return an id that must be there: at most 64 letters, digits, ``-``, ``_`` and ``.``.

        They become parts of link names, so nothing else may be in them.
        """
        value = self.required(name)
        if not _ID.fullmatch(value):
            raise self.refusal(
                name, f"{quote(value)} is not an id of at most 64 letters, digits, `-`, `_`, `.`"
            )
        return value

    def flag(self, name: str) -> bool:
        """Return a truth value, False if absent."""
        return self._of(name, bool) or False

    def integer(self, name: str, least: int, most: int) -> int:
        """Return a whole number between ``least`` and ``most``, 0 if absent."""
        value = self._of(name, int)
        if value is None:
            value = 0
        if not least <= value <= most:
            # A number of thousands of digits is shown by its size: str() of it may be refused.
            shown = value if abs(value) < 10**20 else f"a number of {_digits(value)} digits"
            raise self.refusal(name, f"{shown} is not between {least} and {most}")
        return value

    def inner(self, name: str) -> "Fields":
        """Return an object, without members if absent."""
        value = self._of(name, dict)
        return Fields(value or {}, f"{self._path}{name}.")

    def each(self, name: str) -> Iterator["Fields"]:
        """Iterate over a list of objects; nothing if absent."""
        for index, item in enumerate(self._of(name, list) or ()):
            if not isinstance(item, dict):
                raise self.refusal(f"{name}[{index}]", f"{_kind(item)}, not an object")
            yield Fields(item, f"{self._path}{name}[{index}].")

    def address(self, name: str) -> IPAddress | None:
        """Return a plain address, None if absent."""
        return self._parsed(name, values.address)

    def interface(self, name: str, family: int) -> IPNetwork | None:
        """Return an address of ``family`` (4 or 6) with its prefix length, None if absent."""
        return self._of_family(name, family, self._parsed(name, values.interface))

    def subnet(self, name: str, family: int | None = None) -> IPNetwork | None:
        """Return a subnet, host bits kept, None if absent; of any family unless one is said."""
        return self._of_family(name, family, self._parsed(name, values.subnet))

    def mac(self, name: str) -> EUI | None:
        """Return the MAC address of an interface, None if absent."""
        return self._parsed(name, values.mac)

    def _of_family(
        self, name: str, family: int | None, value: IPNetwork | None
    ) -> IPNetwork | None:
        if value is not None and family not in (None, value.version):
            raise self.refusal(name, f'"{value}" is not IPv{family}')
        return value

    def _parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = self.text(name)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise self.refusal(name, error) from error

    def _of(self, name: str, kind: type[T]) -> T | None:
        value = self._members.get(name)
        if value is None:
            value = self._without_case(name)
            if value is None:
                return None
        # bool is an int in Python, and 1.0 no int in JSON as Go reads it.
        if type(value) is not kind:
            raise self.refusal(name, f"{_kind(value)}, not {_KINDS[kind]}")
        return value

    def _without_case(self, name: str) -> object:
        if self._folded is None:
            self._folded = {
                key.lower(): value for key, value in self._members.items() if value is not None
            }
        return self._folded.get(name.lower())


def _kind(value: object) -> str:
    if value is None:
        return "null"
    text = _KINDS[type(value)]
    return f"{text} ({quote(value)})" if isinstance(value, str) else text


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _digits(value: int) -> int:
    return int(abs(value).bit_length() * math.log10(2)) + 1
