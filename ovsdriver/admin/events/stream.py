"""Events as they come: server-sent events, which browsers read by themselves.

Each has its number as ``id``, so who comes again with ``Last-Event-ID`` gets the next one. Blocks
without data carry the number further where nothing was for this reader. ``event: missed`` comes
first where some that the reader has not seen are no longer kept.
"""

import asyncio
from contextlib import aclosing, suppress

from aiohttp import web

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.desk import Desk
from ovsdriver.admin.events.views import EventPage
from ovsdriver.errors import DriverError, InvalidRequestError, UnavailableError

SLOW_S = 10.0
"""Who takes nothing for so long is cut off; it may come again with the last number that it has."""

_LAST = "Last-Event-ID"
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}


class Streams:
    """Those who follow."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._following: set[asyncio.Task[None]] = set()

    async def end(self, _: web.Application) -> None:
        """End all streams: the process stops."""
        for each in self._following:
            each.cancel()

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /events?types=link,lease&network=lab&container=web&after=4711``.

        Without a number, what happens from now on.

        Raises:
            InvalidRequestError: the query makes no sense.
            UnavailableError: the store is not open.
        """
        wanted, after = _asked(request)
        desk = self._desk.events
        if desk is None:
            raise UnavailableError(self._desk.degraded() or "ovsnet is still starting; try again")
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)

        async def send() -> None:
            async with aclosing(desk.follow(wanted.query, after)) as pages:
                async for page in pages:
                    async with asyncio.timeout(SLOW_S):
                        await response.write(_blocks(page))

        task = asyncio.create_task(send())
        self._following.add(task)
        try:
            await asyncio.wait([task])
        finally:
            self._following.discard(task)
            task.cancel()
        if not task.cancelled():
            # It ends by a fault only, and what is still to be sent would be waited for.
            if request.transport is not None:
                request.transport.abort()
            with suppress(ConnectionError, TimeoutError, DriverError):
                task.result()
        return response


def _asked(request: web.Request) -> tuple[asks.ListEvents, int | None]:
    said = dict(request.query)
    number = request.headers.get(_LAST, said.pop("after", ""))
    if number and not (number.isascii() and number.isdecimal() and len(number) < 19):
        raise InvalidRequestError(f"{_LAST} is the number of an event")
    types = [each for each in said.pop("types", "").split(",") if each]
    try:
        wanted = codec.read(asks.ListEvents, {**said, "types": types}, strict=True)
    except codec.UnreadableError as error:
        raise InvalidRequestError(str(error)) from error
    return wanted, int(number) if number else None


def _blocks(page: EventPage) -> bytes:
    parts = ["event: missed\ndata: {}\n\n"] if page.missed else []
    parts += [f"id: {each.id}\ndata: {codec.encode(each)}\n\n" for each in page.events]
    if not page.events or page.events[-1].id != page.last:
        parts.append(f"id: {page.last}\n\n")
    return "".join(parts).encode()
