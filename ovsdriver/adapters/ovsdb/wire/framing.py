"""Cut the byte stream of ovsdb-server into JSON texts, and decode large ones in small steps.

The server writes JSON objects one after the other, without separator or length (RFC 7047 says
"JSON-RPC over TCP" and no more). The first reply holds the whole configuration: several MB on a
switch with thousands of ports, which must neither cost quadratic time nor hold up the loop.
"""

import asyncio
import json
import re
from collections.abc import Generator
from typing import Any

_STRING_REST = rb'[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TO_BRACE = re.compile(rb'(?:[^"{}]++|"' + _STRING_REST + rb')*+(["{}])?', re.DOTALL)
"""Skip whole strings and all else up to a brace, or to a string that the chunk does not end."""
_TO_QUOTE = re.compile(_STRING_REST, re.DOTALL)

_SPACE = re.compile(r"[ \t\r\n]*")
_SPACES = ("", " ", "\t", "\r", "\n")
_DECODER = json.JSONDecoder()
_LARGE = 128 * 1024
"""Bytes above which a text is decoded in steps; below, decoding takes 1 or 2 ms at once."""
_STEP = 64 * 1024
"""Characters decoded between two pauses."""
_OUTER_LEVELS = 4
"""Levels decoded member by member: message, result or params, tables, rows by uuid."""


def whole(data: bytes) -> tuple[list[Any], bytes]:
    """Return the objects that ``data`` begins with, decoded, and what follows the last whole one.

    For what begins with an object: nearly all that the server sends is one, or a few, in one piece.
    """
    if len(data) >= _LARGE:
        return [], data
    try:
        text = data.decode()
    except UnicodeDecodeError:  # cut within a character
        return [], data
    found: list[Any] = []
    at = 0
    while text[at : at + 1] == "{":
        try:
            value, at = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError:
            break
        found.append(value)
    return found, text[at:].encode()


class Splitter:
    """Finds where one JSON object ends. Each byte is looked at once, however chunks are cut."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._depth = 0
        self._in_string = False

    @property
    def empty(self) -> bool:
        """Whether nothing is kept: what comes next begins an object."""
        return not self._parts

    def feed(self, data: bytes) -> list[bytes]:
        """Return the texts that ``data`` completes, each one JSON object.

        Raises:
            ValueError: a closing brace without an opening one.
        """
        if self._in_string and self._parts and self._parts[-1] == b"\\":
            # the escape that the last chunk ended in, held back below
            data = self._parts.pop() + data
        done = []
        start = at = 0
        while at < len(data):
            if self._in_string:
                match = _TO_QUOTE.match(data, at)
                if match is None:
                    break
                self._in_string = False
                at = match.end()
                continue
            match = _TO_BRACE.match(data, at)
            mark = match[1] if match else None
            if match is None or mark is None:
                break
            at = match.end()
            if mark == b'"':
                self._in_string = True
            elif mark == b"{":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth < 0:
                    raise ValueError("a closing brace without an opening one")
                if self._depth == 0:
                    done.append(b"".join([*self._parts, data[start:at]]))
                    self._parts.clear()
                    start = at
        self._keep(data[start:])
        return done

    def _keep(self, rest: bytes) -> None:
        if self._in_string and (len(rest) - len(rest.rstrip(b"\\"))) % 2:
            self._parts += [rest[:-1], b"\\"]
        elif rest and not (self._depth == 0 and rest.isspace()):
            self._parts.append(rest)


async def decode(text: bytes) -> Any:
    """Return the JSON value of ``text``; give way to other tasks while a large one is decoded.

    Raises:
        ValueError: not JSON, or not UTF-8.
    """
    if len(text) < _LARGE:
        return json.loads(text)
    steps = _Steps(text.decode()).value(0, _OUTER_LEVELS)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value[0]
        await asyncio.sleep(0)


class _Steps:
    """Decodes the outer levels of one text member by member, with pauses in between."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pause_at = _STEP

    def value(self, at: int, levels: int) -> Generator[None, None, tuple[Any, int]]:
        """Decode the value at ``at``; return it and the position behind it."""
        opening = self._text[at : at + 1]
        if levels and opening == "{":
            return (yield from self._object(at + 1, levels - 1))
        if levels and opening == "[":
            return (yield from self._array(at + 1, levels - 1))
        return _DECODER.raw_decode(self._text, at)

    def _object(self, at: int, levels: int) -> Generator[None, None, tuple[Any, int]]:
        result: dict[str, Any] = {}
        at = self._skip(at)
        while self._text[at : at + 1] != "}":
            if result:
                at = self._past(",", at)
            key, at = _DECODER.raw_decode(self._text, at)
            at = self._past(":", self._skip(at))
            if levels:
                result[key], at = yield from self.value(at, levels)
            else:
                result[key], at = _DECODER.raw_decode(self._text, at)
            at = self._skip(at)
            if at >= self._pause_at:
                self._pause_at = at + _STEP
                yield
        return result, at + 1

    def _array(self, at: int, levels: int) -> Generator[None, None, tuple[Any, int]]:
        result: list[Any] = []
        at = self._skip(at)
        while self._text[at : at + 1] != "]":
            if result:
                at = self._past(",", at)
            member, at = yield from self.value(at, levels)
            result.append(member)
            at = self._skip(at)
            if at >= self._pause_at:
                self._pause_at = at + _STEP
                yield
        return result, at + 1

    def _skip(self, at: int) -> int:
        if self._text[at : at + 1] not in _SPACES:
            return at
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def _past(self, mark: str, at: int) -> int:
        """Return the position of what follows ``mark``, which must stand at ``at``."""
        if self._text[at : at + 1] != mark:
            raise ValueError(f"{mark!r} expected at character {at}")
        return self._skip(at + 1)
