"""Requests in any other form than dockerd's, read by aiohttp: chunked, in pieces, or no HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from ovsdriver.http.served_socket import stop_reading

_NEVER_S = 10 * 365 * 86400.0


class AnyHttp(web.Server):
    """Makes a connection's protocol, as aiohttp does it, but for what is not HTTP."""

    def __init__(
        self,
        handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        unreadable: Callable[[str], web.StreamResponse],
        body_limit: int,
    ) -> None:
        """Take what answers a request, and what answers something that is none, given why."""
        super().__init__(
            handle,
            request_factory=partial(
                web.BaseRequest, loop=asyncio.get_running_loop(), client_max_size=body_limit
            ),
        )
        self._unreadable = unreadable

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of one more connection."""
        return OtherConnection(self, asyncio.get_running_loop(), unreadable=self._unreadable)

    def open(self) -> list["OtherConnection"]:
        """Return the connections that are not closed."""
        return [
            each
            for each in self.connections
            if isinstance(each, OtherConnection) and each.transport is not None
        ]


class OtherConnection(web.RequestHandler):
    """A connection. What aiohttp cannot parse is one line in our log, and not its traceback.

    It was begun by a first request.
    """

    __slots__ = ("_last", "_refuse")

    def __init__(
        self,
        manager: AnyHttp,
        loop: asyncio.AbstractEventLoop,
        *,
        unreadable: Callable[[str], web.StreamResponse],
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # what aiohttp's own runners pass
            auto_decompress=False,
            keepalive_timeout=_NEVER_S,
        )
        self._refuse = unreadable
        self._last: StreamReader | None = None

    @property
    def idle(self) -> bool:
        """Whether it waits for a request; one may be there that was not read yet."""
        return self._waiter is not None and not self._waiter.done()

    def retire(self) -> None:
        """Read no more than what was sent already, if it is idle."""
        if self.idle and isinstance(self.transport, asyncio.Transport):
            stop_reading(self.transport)

    def data_received(self, data: bytes) -> None:
        """Parse, and note the body of the last request."""
        super().data_received(data)
        if self._messages:
            self._last = self._messages[-1][1]

    def eof_received(self) -> bool:  # type: ignore[override]  # what asyncio asks for
        """Close, after the answer if there is one to give: its caller may still listen."""
        if self.idle or (self._last is not None and not self._last.is_eof()):
            return False
        self.close()  # after the answer
        return True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed, or what failed around a call."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        # The rest of aiohttp's message shows the bytes in question, with a caret below them.
        return self._refuse((message or "").partition("\n")[0].rstrip(" :"))
