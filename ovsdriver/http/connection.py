"""One connection: what dockerd sends is read here, anything else is aiohttp's.

dockerd's client sends one POST at a time, whole, in one piece and with its length (moby,
pkg/plugins/client.go, on Go's net/http). To know that form takes some microseconds; to have it
parsed, wrapped into request and response and served by a task takes aiohttp a quarter of a
millisecond, nine times for each container. So the form is all that is known here, and a connection
on which something else comes is handed over to aiohttp, with that and with all that follows.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Protocol, cast

from ovsdriver.http.served_socket import UNUSED_S, stop_reading

CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json"

_OTHER = rb"(?:(?:Host|User-Agent|Accept|Accept-Encoding|Content-Type): [ -~]*\r\n)*"
_PLAIN = re.compile(
    rb"POST /([!-~]+) HTTP/1\.1\r\n"
    + _OTHER
    + rb"Content-Length: (\d{1,8})\r\n"
    + _OTHER
    + rb"\r\n"
)
"""None of these lines changes how long the body is or what becomes of the connection."""

_HEAD_LIMIT = 4096
"""Bytes. dockerd's heads have 200; longer ones are aiohttp's to limit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call is answered."""

    status: int
    body: bytes
    """A JSON object."""
    outcome: str
    """One word, for counters and the log."""
    why: str | None = None
    """The refusal's sentence."""


class Serve(Protocol):
    """Works on a call."""

    def __call__(self, name: str, body: bytes, answered: Callable[[Answer], None], /) -> None:
        """Begin; ``answered`` is called once, perhaps at once, perhaps when nobody listens."""
        ...


class PlainConnection(asyncio.Protocol):
    """Speaks to dockerd until something else than dockerd speaks."""

    __slots__ = (
        "_answering",
        "_began",
        "_body_limit",
        "_closed",
        "_ended",
        "_held",
        "_last",
        "_others",
        "_serve",
        "_transport",
        "_used",
    )

    def __init__(
        self,
        serve: Serve,
        *,
        body_limit: int,
        last: Callable[[], bool],
        others: Callable[[], asyncio.Protocol],
        closed: Callable[["PlainConnection"], None],
    ) -> None:
        """Describe the connection.

        Args:
            serve: works on a call.
            body_limit: bytes; what is larger is left to ``others``.
            last: whether a connection ends with the answer that is about to be sent.
            others: makes the protocol that serves everything else.
            closed: told when this connection is closed, or is this one no more.
        """
        self._serve = serve
        self._body_limit = body_limit
        self._last = last
        self._others = others
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._answering = False
        self._held = b""
        self._began = time.monotonic()
        self._used = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Send nothing any more; what is being worked on goes on."""
        self._transport = None
        self._closed(self)

    def close(self) -> None:
        """Close, after what was answered is sent."""
        if self._transport is not None:
            self._transport.close()

    @property
    def idle(self) -> bool:
        """Whether it waits for a request; one may be there that was not read yet."""
        return self._transport is not None and not self._answering

    def retire(self) -> None:
        """Read no more than what was sent already, if it is idle."""
        # One whose first request is on its way would lose it: the caller takes a connection that
        # fails at once for a server that is down.
        fresh = not self._used and time.monotonic() < self._began + UNUSED_S
        if self._transport is not None and self.idle and not fresh:
            stop_reading(self._transport)

    def eof_received(self) -> bool:
        """Close, after the answer if there is one to give: its caller may still listen."""
        self._ended = True
        return self._answering

    def pause_writing(self) -> None:
        """Read nothing more from who does not read our answers."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        if self._transport is not None and not self._held:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take a call, or see that it is none of dockerd's."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._used = True
        if self._answering:
            # Nobody who waits for an answer sends more; it is looked at after that.
            self._held += data
            transport.pause_reading()
            return
        head = _PLAIN.match(data, 0, _HEAD_LIMIT)
        if head is None:
            self._hand_over(transport, data)
            return
        at, length = head.end(), int(head[2])
        if length > self._body_limit or at + length != len(data):
            self._hand_over(transport, data)
            return
        self._answering = True
        self._serve(head[1].decode("ascii"), data[at:], self._answered)

    def _answered(self, answer: Answer) -> None:
        self._answering = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        last = self._ended or self._last()
        transport.write(_head(answer, last=last) + answer.body)
        if last:
            transport.close()
        elif self._held:
            data, self._held = self._held, b""
            transport.resume_reading()
            self.data_received(data)

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        other = self._others()
        self._transport = None
        self._closed(self)
        transport.set_protocol(other)
        other.connection_made(transport)
        other.data_received(data)


def _head(answer: Answer, *, last: bool) -> bytes:
    close = "Connection: close\r\n" if last else ""
    return (
        f"{_start(answer.status)}Content-Length: {len(answer.body)}\r\n"
        f"Date: {_date(int(time.time()))}\r\n{close}\r\n"
    ).encode()


@cache
def _start(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {CONTENT_TYPE}\r\n"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
