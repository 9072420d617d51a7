"""Requests in any other form than dockerd's, read by aiohttp: chunked, in pieces, or no HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

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
        return _Connection(self, asyncio.get_running_loop(), unreadable=self._unreadable)


class _Connection(web.RequestHandler):
    """A connection. What aiohttp cannot parse is one line in our log, and not its traceback."""

    __slots__ = ("_refuse",)

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
