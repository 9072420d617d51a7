"""One conversation with a bridge's management socket."""

import asyncio
import itertools
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from ovsdriver.adapters.ovs.openflow import messages
from ovsdriver.adapters.ovs.openflow.messages import HEADER, Bundle, MalformedError, Type

_HELLO_FAILED = 0


class RefusedError(Exception):
    """The switch answered with an error."""

    def __init__(self, kind: int, code: int) -> None:
        super().__init__(f"OpenFlow error {kind}, code {code}")
        self.kind = kind
        self.code = code


class WrongVersionError(Exception):
    """The bridge does not speak OpenFlow 1.4."""


class Conversation:
    """A connection to one bridge, from its greeting to its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._xids = itertools.count(1)
        self._greeted = False
        # Requests go right behind it: each answer that is waited for costs a turn of vswitchd's.
        writer.write(messages.hello(self.xid()))

    def xid(self) -> int:
        """Return a number for a message."""
        return next(self._xids)

    async def greet(self) -> None:
        """Wait for the other side's greeting, unless it has come.

        Raises:
            WrongVersionError: the bridge's ``protocols`` leave OpenFlow 1.4 out.
        """
        if self._greeted:
            return
        version, kind, _, body = await self._next()
        if kind is not Type.HELLO or not _speaks(version, body):
            raise WrongVersionError
        self._greeted = True

    async def ask(self, request: bytes) -> Sequence[bytes]:
        """Send a request and return the bodies of its answer, of which there may be several."""
        (found,) = (await self.ask_all({0: request})).values()
        return found

    async def ask_all(self, requests: Mapping[int, bytes]) -> Mapping[int, Sequence[bytes]]:
        """Send requests and return, under the same keys, what :meth:`ask` returns."""
        self._writer.writelines(requests.values())
        keys = {HEADER.unpack_from(each)[3]: key for key, each in requests.items()}
        found: dict[int, list[bytes]] = {key: [] for key in requests}
        while keys:
            kind, xid, body = await self._read()
            if xid not in keys:
                continue
            found[keys[xid]].append(body)
            if kind is not Type.MULTIPART_REPLY or not messages.more(body):
                del keys[xid]
        return found

    async def tell(self, requests: Sequence[bytes]) -> None:
        """Send what has no answer, and return when all of it is done.

        Raises:
            RefusedError: one of them was refused, the first that was.
        """
        self._writer.writelines(requests)
        await self.ask(messages.message(Type.BARRIER_REQUEST, self.xid()))

    async def at_once(self, requests: Sequence[bytes]) -> None:
        """Have all of ``requests`` carried out in one moment, or none of them (a bundle)."""
        self._writer.write(messages.bundle_control(Bundle.OPEN, self.xid(), 1))
        self._writer.writelines(messages.bundle_add(each, 1) for each in requests)
        await self.ask(messages.bundle_control(Bundle.COMMIT, self.xid(), 1))

    @property
    def alive(self) -> bool:
        """Whether the other side has not ended it, as far as is known."""
        return not (self._reader.at_eof() or self._writer.is_closing())

    def close(self) -> None:
        """End it."""
        self._writer.close()

    async def listen(self) -> None:
        """Keep the line alive until the other side ends it, by an EOFError."""
        while True:
            await self._read()

    async def _read(self) -> tuple[Type | None, int, bytes]:
        """Return kind, number and body of the next message; answers what keeps the line alive."""
        await self.greet()
        while True:
            version, kind, xid, body = await self._next()
            if version != messages.VERSION:
                raise MalformedError(f"a message of version {version}")
            if kind is not Type.ECHO_REQUEST:
                return kind, xid, body
            self._writer.write(messages.message(Type.ECHO_REPLY, xid, body))

    async def _next(self) -> tuple[int, Type | None, int, bytes]:
        await self._writer.drain()
        version, number, length, xid = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        if length < HEADER.size:
            raise MalformedError(f"a message of {length} bytes")
        body = await self._reader.readexactly(length - HEADER.size)
        kind = Type(number) if number in _KNOWN else None
        if kind is Type.ERROR:
            _refuse(body)
        return version, kind, xid, body


_KNOWN = frozenset(Type)


def _refuse(body: bytes) -> None:
    kind, code = struct.unpack_from(">HH", body)
    if kind == _HELLO_FAILED:
        raise WrongVersionError
    raise RefusedError(kind, code)


def _speaks(highest: int, greeting: bytes) -> bool:
    """Whether a greeting offers our version; without a list it offers all up to its own."""
    at = 0
    while at + 4 <= len(greeting):
        kind, length = struct.unpack_from(">HH", greeting, at)
        if kind == 1 and length >= 8:
            (bitmap,) = struct.unpack_from(">I", greeting, at + 4)
            return bool(bitmap & 1 << messages.VERSION)
        at += max(length, 4) + 7 & ~7
    return highest >= messages.VERSION


async def conversation(path: Path) -> Conversation:
    """Connect to a management socket; OSError if nobody listens. The caller closes it."""
    return Conversation(*await asyncio.open_unix_connection(path))
