"""The admin socket, for who may change things, and the view socket, for who may only look.

Beside the plugin sockets and not on them: Docker never speaks to them, so here names of Docker's
may be looked up, and 404 means what it says. On the admin socket ``POST /ask/list-pools`` has the
request as its body; on the view socket ``GET /ask/list-pools?ask={"of":"lab"}`` has the same JSON
in its query. Either gets the answer, or ``{"error": "…"}`` with another status than 200.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ipam.errors import IpamError
from ovsdriver import codec
from ovsdriver.admin import asks, peers
from ovsdriver.admin.desk import Desk
from ovsdriver.admin.events.stream import Streams
from ovsdriver.causes import because
from ovsdriver.errors import DriverError, InvalidRequestError, UnknownObjectError
from ovsdriver.logs import event
from ovsdriver.metrics import CONTENT_TYPE

log = logging.getLogger(__name__)

_http = logging.getLogger(f"{__name__}.http")
_SHOWN = 100
"""Characters of why a request cannot be read."""

BODY_BYTES = 8 << 20
"""A full space's reservations, each with a long name and a long note."""


def application(desk: Desk) -> web.Application:
    """Return the application of the admin socket."""
    pages = _Pages(desk)
    app = web.Application(middlewares=[_errors])
    app.router.add_get("/healthz", pages.health)
    app.router.add_get("/metrics", pages.metrics)
    app.router.add_post("/ask/{word}", pages.ask)
    _add_streams(app, desk)
    return app


def view(desk: Desk) -> web.Application:
    """Return the application of the view socket, where nothing can be changed."""
    pages = _Pages(desk)
    app = web.Application(middlewares=[_only_get, _errors])
    app.router.add_get("/healthz", pages.health, allow_head=False)
    app.router.add_get("/metrics", pages.metrics, allow_head=False)
    app.router.add_get("/ask/{word}", pages.look, allow_head=False)
    _add_streams(app, desk)
    return app


def _add_streams(app: web.Application, desk: Desk) -> None:
    streams = Streams(desk)
    app.on_shutdown.append(streams.end)
    app.router.add_get("/events", streams.follow, allow_head=False)


def metrics_alone(desk: Desk) -> web.Application:
    """Return what is answered over TCP: metrics, which whoever reaches the port may read."""
    app = web.Application(middlewares=[_only_get, _errors])
    app.router.add_get("/metrics", _Pages(desk).metrics, allow_head=False)
    return app


def runner(app: web.Application) -> web.AppRunner:
    """Return what serves ``app``; a request that cannot be read is a line in the log, no fault."""
    return web.AppRunner(app, access_log=None, logger=_http, shutdown_timeout=1.0)


def _readable(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ConnectionResetError):
        return False
    if not isinstance(error, HttpProcessingError):
        return True
    # The rest of aiohttp's message shows the bytes in question.
    event(log, "admin.unreadable", why=error.message.partition("\n")[0][:_SHOWN])
    return False


_http.addFilter(_readable)


class _Pages:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def health(self, _request: web.Request) -> web.Response:
        degraded = self._desk.degraded()
        return web.Response(text=f"{degraded or 'ok'}\n", status=503 if degraded else 200)

    async def metrics(self, _request: web.Request) -> web.Response:
        body = await self._desk.metrics()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def ask(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        async with asyncio.timeout(kind.SECONDS):
            by = await asyncio.to_thread(peers.user, request)
            with because("user", **({"by": by} if by else {})):
                return await self._answer(kind, await _body(request))

    async def look(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        if not kind.LOOKS:
            text = (
                f"{asks.word(kind)} may change something; ask for it on the admin socket, as root"
            )
            return _failure(403, text)
        async with asyncio.timeout(kind.SECONDS):
            return await self._answer(kind, request.query.get(asks.IN_QUERY, "").encode())

    async def _answer(self, kind: type[asks.Ask[object]], said: bytes) -> web.Response:
        # Thousands of reservations take long to read, and of endpoints to write down; the loop
        # has other callers.
        asked = await asyncio.to_thread(_request, kind, said)
        answer = await self._desk.answer(asked)
        return web.json_response(text=await asyncio.to_thread(codec.encode, answer))


def _kind(request: web.Request) -> type[asks.Ask[object]]:
    kind = asks.BY_WORD.get(request.match_info["word"])
    if kind is None:
        raise web.HTTPNotFound
    return kind


def _request(kind: type[asks.Ask[object]], body: bytes) -> asks.Ask[object]:
    try:
        return codec.decode(kind, body or b"{}", strict=True)
    except codec.UnreadableError as error:
        raise InvalidRequestError(
            str(error) if error.path else f"the request is {error}"
        ) from error


async def _body(request: web.Request) -> bytes:
    parts = []
    size = 0
    async for part in request.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > BODY_BYTES:
            raise InvalidRequestError(
                f"the request is longer than {BODY_BYTES >> 20} MiB; give the reservations in "
                "several files"
            )
    return b"".join(parts)


@web.middleware
async def _only_get(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.method == "GET":
        return await handler(request)
    refused = _failure(405, f"{request.method}: only GET is answered here, for it changes nothing")
    refused.headers["Allow"] = "GET"
    return refused


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except UnknownObjectError as error:
        return _failure(404, str(error))
    except (DriverError, IpamError) as error:
        return _failure(error.status, str(error))
    except TimeoutError:
        return _failure(504, f"{request.path}: no answer in time; try again")
    except web.HTTPException as error:
        return _failure(error.status, f"{request.method} {request.path}: {error.reason}")
    except ConnectionResetError:
        raise  # who asked went away in the middle of it
    except Exception as error:  # noqa: BLE001 - the last one to see it
        event(log, "admin.crashed", level=logging.ERROR, fault=error, path=request.path)
        return _failure(500, f"{request.path}: internal error, see the log of ovsnet")


def _failure(status: int, text: str) -> web.Response:
    return web.json_response(text=codec.encode(asks.Refused(error=text)), status=status)
