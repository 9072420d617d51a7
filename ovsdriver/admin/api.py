"""The admin socket: what the command line, health checks and Prometheus ask for.

Beside the plugin sockets and not on them: Docker never speaks to it, so here names of Docker's
may be looked up, and 404 means what it says.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ipam.errors import IpamError
from ovsdriver.admin.report import RepairReport, Report, Status
from ovsdriver.errors import DriverError, UnknownObjectError
from ovsdriver.logs import event
from ovsdriver.metrics import CONTENT_TYPE
from ovsdriver.service.forgotten.purge import Purged

T = TypeVar("T")

log = logging.getLogger(__name__)

_http = logging.getLogger(f"{__name__}.http")
_SHOWN = 100
"""Characters of why a request cannot be read."""

READ_S = 15.0
"""For an answer that is read from memory, and for Docker, which has 10 s to tell its names."""

CHANGE_S = 120.0
"""For removing and mending: every port of a large purge waits for the switch."""


class Console(Protocol):
    """What a person may ask of the running process."""

    def degraded(self) -> str:
        """Return why only a part of the work is done; empty if all is well. Immediate."""
        ...

    async def status(self) -> Status:
        """Return the process as a whole; works while degraded."""
        ...

    async def report(self) -> Report:
        """Return everything there is; UnavailableError while the store cannot be read."""
        ...

    def in_force(self, object_id: str) -> Mapping[str, str | None]:
        """Return the value of every option of a network or an endpoint. Immediate."""
        ...

    async def remove_network(self, name: str, *, force: bool) -> str:
        """Remove a network and what belongs to it; returns its id.

        Raises:
            UnknownObjectError: there is none such.
            ConflictError: the name fits several, or the network is still needed and ``force`` is
                not said.
        """
        ...

    async def reconcile(self, *, dry_run: bool) -> RepairReport:
        """Look at everything now and mend it, or only say what would be mended."""
        ...

    async def purge(self) -> Purged:
        """Remove everything with our mark."""
        ...

    def metrics(self) -> bytes:
        """Return Prometheus' text format."""
        ...


def application(console: Console, *more: web.RouteDef) -> web.Application:
    """Return the application of the admin socket, with ``more`` pages of others."""
    pages = _Pages(console)
    app = web.Application(middlewares=[_errors])
    app.router.add_routes(more)
    app.router.add_get("/healthz", pages.health)
    app.router.add_get("/metrics", pages.metrics)
    app.router.add_get("/status", pages.status)
    app.router.add_get("/state", pages.state)
    app.router.add_get("/in-force/{id}", pages.in_force)
    app.router.add_delete("/networks/{name}", pages.remove_network)
    app.router.add_post("/reconcile", pages.reconcile)
    app.router.add_post("/purge", pages.purge)
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
    def __init__(self, console: Console) -> None:
        self._console = console

    async def health(self, _request: web.Request) -> web.Response:
        degraded = self._console.degraded()
        return web.Response(text=f"{degraded or 'ok'}\n", status=503 if degraded else 200)

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._console.metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def status(self, _request: web.Request) -> web.Response:
        return await _answer(await _bounded(self._console.status(), READ_S))

    async def state(self, _request: web.Request) -> web.Response:
        return await _answer(await _bounded(self._console.report(), READ_S))

    async def in_force(self, request: web.Request) -> web.Response:
        return web.json_response({"values": self._console.in_force(request.match_info["id"])})

    async def remove_network(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        force = request.query.get("force", "").lower() in ("1", "true")
        removed = await _bounded(self._console.remove_network(name, force=force), CHANGE_S)
        event(log, "admin.network-removed", network=removed, forced=force)
        return web.json_response({"removed": removed})

    async def reconcile(self, request: web.Request) -> web.Response:
        dry_run = request.query.get("dry_run", "").lower() in ("1", "true")
        found = await _bounded(self._console.reconcile(dry_run=dry_run), CHANGE_S)
        return await _answer(found)

    async def purge(self, _request: web.Request) -> web.Response:
        return await _answer(await _bounded(self._console.purge(), CHANGE_S))


async def _bounded(work: Awaitable[T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await work


async def _answer(record: Any) -> web.Response:
    # Thousands of endpoints take long to write down; the loop has other callers.
    text = await asyncio.to_thread(lambda: json.dumps(asdict(record)))
    return web.json_response(text=text)


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
    return web.json_response({"error": text}, status=status)
