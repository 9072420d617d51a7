"""What the page asks of its server."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path

from aiohttp import web

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.views import EndpointReport, LeaseUse, NetworkReport
from ovsdriver.ports import Verdict
from ovsdriver.web import grid, programs
from ovsdriver.web.asking import AnsweredError, Asking
from ovsdriver.web.door import HEADERS, SESSION, Door, Handler, refusal
from ovsdriver.web.programs import Programs
from ovsdriver.web.watching import Watch
from ovsdriver.words import in_force
from ovsdriver.words.options import Scope, rows

STATIC = Path(__file__).with_name("static")
LIBRARIES = STATIC / "libraries"
VIEWS = ("", "networks", "map", "path", "addresses", "events")
"""The page's own addresses; all are the same file."""
CHANGED_HERE = frozenset({"ovs.delay", "ovs.jitter", "ovs.link", "ovs.loss"})
"""Options that the page changes, with ``--write``."""

_PULSE_S = 15.0
"""A line for who looks, after which a browser that is gone is noticed."""
_BODY = 4096


class Pages:
    """Answers the page."""

    def __init__(
        self, *, asking: Asking, watch: Watch, started: Programs, door: Door, write: bool
    ) -> None:
        self._asking = asking
        self._watch = watch
        self._programs = started
        self._door = door
        self._write = write

    def application(self) -> web.Application:
        """Return all of it behind the door."""
        app = web.Application(middlewares=[_errors, self._door.middleware()], client_max_size=_BODY)
        router = app.router
        for view in VIEWS:
            router.add_get(f"/{view}", _index)
        router.add_static("/static", STATIC)
        router.add_post(SESSION, self._door.trade)
        router.add_get("/api/about", self.about)
        router.add_get("/api/live", self.live)
        router.add_get("/api/options/{kind}/{id}", self.options)
        router.add_get("/api/rules/{id}", self.rules)
        router.add_get("/api/grid", self.grid)
        router.add_get("/api/trace", self.trace)
        router.add_get("/api/capture", self.capture)
        if self._write:
            router.add_post("/api/set", self.change)
        app.on_response_prepare.append(_headers)
        app.on_shutdown.append(self._ended)
        return app

    async def _ended(self, _app: web.Application) -> None:
        await self._watch.close()

    async def about(self, _request: web.Request) -> web.Response:
        """Return what this server can do, which does not change while it runs."""
        return _json({"write": self._write, "charts": (LIBRARIES / "uPlot.js").is_file()})

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Stream what is to be shown, as server-sent events."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async with aclosing(_pulsing(self._watch.looks())) as shown:
            with suppress(ConnectionResetError):  # the browser went away
                async for kind, text in shown:
                    await response.write(f"event: {kind}\ndata: {text}\n\n".encode())
        return response

    async def options(self, request: web.Request) -> web.Response:
        """Return what is in force of a network or an endpoint, and who said it."""
        kind, wanted = request.match_info["kind"], request.match_info["id"]
        report = await self._asking.look(asks.ShowState())
        networks = {each.network.id: each for each in report.networks}
        if kind == "network":
            network = next((each for each in report.networks if each.network.id == wanted), None)
            if network is None:
                raise AnsweredError("this network is not there any more", 404)
            return _json(_of_network(network))
        endpoint = next((each for each in report.endpoints if each.endpoint.id == wanted), None)
        if endpoint is None:
            raise AnsweredError("this container is not on that network any more", 404)
        return _json(_of_endpoint(networks[endpoint.endpoint.network], endpoint))

    async def rules(self, request: web.Request) -> web.Response:
        """Return the access rules of an endpoint, and what each has met; none: it has no rules."""
        report = await self._asking.look(asks.ShowRules(target=request.match_info["id"]))
        return _json(
            [
                {
                    "side": met.side,
                    "about": met.about,
                    "passes": met.verdict is Verdict.ALLOWED,
                    "packets": met.packets,
                    "said": met.said_by,
                }
                for end in report.ends
                for met in end.rules
            ]
        )

    async def grid(self, request: web.Request) -> web.Response:
        """Return a pool's addresses."""
        wanted = request.query.get("pool", "")
        pools = await self._asking.look(asks.ListPools())
        pool = next((each for each in pools if each.pool.id == wanted), None)
        if pool is None:
            raise AnsweredError("this pool is not there any more", 404)
        leases: list[LeaseUse] = []
        after = None
        while True:
            page = await self._asking.look(
                asks.ListLeases(pool=wanted, after=after, limit=asks.PAGE_MOST)
            )
            leases += page.leases
            after = page.next
            if after is None:
                break
        reserved = await self._asking.look(asks.ListReservations(pool=wanted))
        return _json(await asyncio.to_thread(grid.grid, pool, leases, reserved))

    async def trace(self, request: web.Request) -> web.Response:
        """Return why one place reaches another, or does not."""
        source, target = request.query.get("from", ""), request.query.get("to", "")
        if not source or not target:
            raise AnsweredError("a trace needs both ends; choose where from and where to", 400)
        return _json(await self._programs.trace(source, target, request.query.get("what", "")))

    async def capture(self, request: web.Request) -> web.StreamResponse:
        """Stream the packets of a container or a network as a pcap file."""
        query = request.query
        target = query.get("of", "")
        pieces = self._programs.capture(
            target,
            seconds=_number(query.get("seconds", "10"), "seconds", programs.CAPTURE_MOST_S),
            count=int(_number(query["count"], "packets", 1e9)) if query.get("count") else None,
            only=query.get("filter", ""),
        )
        async with aclosing(pieces):
            first = await anext(pieces)
            name = "".join(each if each.isalnum() or each in "._-" else "-" for each in target)
            response = web.StreamResponse(
                headers={
                    "Content-Type": "application/vnd.tcpdump.pcap",
                    "Content-Disposition": f'attachment; filename="{name}.pcap"',
                }
            )
            await response.prepare(request)
            with suppress(ConnectionResetError):
                await response.write(first)
                async for piece in pieces:
                    await response.write(piece)
        return response

    async def change(self, request: web.Request) -> web.Response:
        """Change the line of a container or a network: delay, loss, its cable."""
        try:
            said = codec.decode(asks.SetOptions, await request.read(), strict=True)
        except codec.UnreadableError as error:
            raise AnsweredError(f"the request cannot be read: {error}", 400) from error
        others = sorted(said.options.keys() - CHANGED_HERE)
        if others:
            raise AnsweredError(
                f"the page does not change {', '.join(others)}; type `ovsnet set`", 403
            )
        return _json(await self._asking.change(said))


def _of_network(found: NetworkReport) -> object:
    values = in_force.of_network(found.network)
    said = found.network.options
    return _listed(values, Scope.NETWORK, lambda name, _: "network" if name in said else "")


def _of_endpoint(network: NetworkReport, found: EndpointReport) -> object:
    values = in_force.of_endpoint(network.network, found.endpoint)
    own, networks = found.endpoint.port.said(), network.network.options

    def who(name: str, field: str) -> str:
        if field.removeprefix("port.") in own:
            return "container"
        return "network" if name in networks else ""

    return _listed(values, Scope.ENDPOINT, who)


def _listed(
    values: Mapping[str, str | None], scope: Scope, who: Callable[[str, str], str]
) -> object:
    return [
        {
            "option": row.name,
            "value": values[row.name],
            "said": who(row.name, row.field),
            "help": row.help,
        }
        for row in rows(scope)
        if values.get(row.name)
    ]


async def _index(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "index.html")


async def _pulsing(
    shown: AsyncGenerator[tuple[str, str], None],
) -> AsyncGenerator[tuple[str, str], None]:
    """Yield what is shown, and something when there was nothing for a while."""
    coming: asyncio.Future[tuple[str, str]] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(shown))
            done, _ = await asyncio.wait({coming}, timeout=_PULSE_S)
            if done:
                yield coming.result()
                coming = None
            else:
                yield "pulse", '""'
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait({coming})
        await shown.aclose()


def _number(text: str, what: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        raise AnsweredError(f"{what}: {text!r} is not a number between 0 and {most:g}", 400)
    return number


def _json(value: object) -> web.Response:
    return web.json_response(text=codec.encode(value))


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except AnsweredError as error:
        return refusal(error.status, str(error))
    except web.HTTPRequestEntityTooLarge:
        return refusal(413, "the request is too long")
    except web.HTTPNotFound:
        return refusal(404, f"{request.path} is not here; the page begins at /")


async def _headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
