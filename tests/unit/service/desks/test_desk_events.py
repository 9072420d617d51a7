"""What happened on a host, as it is told to who asks and to who follows."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from ovsdriver.admin import api, asks
from ovsdriver.admin.desk import Desk
from ovsdriver.admin.events import stream
from ovsdriver.admin.events.desk import EventDesk
from ovsdriver.admin.events.views import EventPage
from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.domain.events.query import Query
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.errors import InvalidRequestError
from ovsdriver.metrics import Metrics
from ovsdriver.service.forgotten.purge import Purged
from tests.builders import FIRST, RED
from tests.unit.service.conftest import Host

MENDED = Happening(EventType.REPAIR, "mended", attributes={"what": "a port"})


@pytest.fixture
def events(host: Host) -> EventDesk:
    return EventDesk(
        events=host.admin.events, state=host.state, called=host.admin.called, clock=time.time
    )


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker knows names at once here, or never."""
    monkeypatch.setattr("ovsdriver.service.events.called.NAMED_S", 0.2)


def told(page: EventPage) -> list[str]:
    return [f"{each.type}.{each.action}" for each in page.events]


async def test_a_life_is_told_in_order(host: Host, events: EventDesk) -> None:
    await host.create_network()
    await host.run_container()
    host.engine.add_network(NetworkId(RED), "lab")
    host.engine.add_endpoint(EndpointId(FIRST), NetworkId(RED), "web")
    await host.witness.read()
    await host.endpoints.leave(NetworkId(RED), EndpointId(FIRST))
    await host.endpoints.delete(NetworkId(RED), EndpointId(FIRST))
    await host.networks.delete(NetworkId(RED))
    page = await events.page(asks.ListEvents())
    assert told(page) == [
        "network.created",
        "lease.given",
        "endpoint.attached",
        "endpoint.detached",
        "network.deleted",
    ]
    assert {each.network for each in page.events} == {"lab"}
    assert [each.container for each in page.events] == ["", "", "web", "web", ""]
    assert page.events[0].time.endswith("Z")
    assert not page.more
    assert not page.missed


async def test_what_was_repaired_is_told_with_its_cause(host: Host, events: EventDesk) -> None:
    await host.create_network()
    await host.run_container()
    await host.switch.remove_port(names.host_link(EndpointId(FIRST)))
    await host.reconciler.reconcile()
    await host.create_network("b" * 64)
    page = await events.page(asks.ListEvents(types=("repair",)))
    assert told(page) == ["repair.mended"]
    assert page.events[0].cause == "repair"
    assert FIRST[:12] in page.events[0].attributes["what"]


async def test_pages_are_as_long_as_asked_and_follow_each_other(
    host: Host, events: EventDesk
) -> None:
    await host.create_network()
    await host.run_container()
    first = await events.page(asks.ListEvents(limit=2))
    assert told(first) == ["network.created", "lease.given"]
    assert first.more
    second = await events.page(asks.ListEvents(limit=2, after=first.last))
    assert told(second) == ["endpoint.attached"]
    assert not second.more
    with pytest.raises(InvalidRequestError, match="limit"):
        await events.page(asks.ListEvents(limit=0))


async def test_only_what_is_asked_for_is_told(host: Host, events: EventDesk) -> None:
    await host.create_network()
    await host.run_container()
    page = await events.page(asks.ListEvents(types=("lease", "network.created"), network=RED[:12]))
    assert told(page) == ["network.created", "lease.given"]
    page = await events.page(asks.ListEvents(container=FIRST[:12]))
    assert told(page) == ["endpoint.attached"]
    assert told(await events.page(asks.ListEvents(since=time.time() + 60))) == []


async def test_what_is_asked_for_by_a_name_that_docker_only_just_tells_is_told(
    host: Host, events: EventDesk
) -> None:
    await host.create_network()
    host.engine.add_network(NetworkId(RED), "lab")
    assert told(await events.page(asks.ListEvents(network="lab"))) == ["network.created"]


async def test_what_is_there_is_told_first(host: Host, events: EventDesk) -> None:
    await host.create_network()
    await host.run_container()
    page = await events.page(asks.ListEvents(initial_state=True, since=time.time() + 60))
    assert [(each.id, f"{each.type}.{each.action}") for each in page.events] == [
        (0, "network.present"),
        (0, "endpoint.present"),
    ]
    assert page.last == host.admin.events.newest


async def test_who_follows_hears_what_comes_with_names_of_containers_that_start(
    host: Host, events: EventDesk
) -> None:
    await host.create_network()
    pages = events.follow(Query(types=frozenset({"endpoint"})), None)
    async with asyncio.timeout(20):
        first = await anext(pages)
        assert (first.events, first.last) == ((), host.admin.events.newest)
        await host.run_container()
        host.engine.add_endpoint(EndpointId(FIRST), NetworkId(RED), "web")
        page = await anext(pages)
        assert told(page) == ["endpoint.attached"]
        assert page.events[0].container == "web"
        await pages.aclose()


async def test_a_container_without_a_name_holds_nobody_up_for_good(
    host: Host, events: EventDesk
) -> None:
    host.engine.up = False
    await host.create_network()
    await host.run_container()
    async with asyncio.timeout(20):
        pages = events.follow(Query(), 1)
        assert told(await anext(pages)) == []
        assert told(await anext(pages)) == ["lease.given", "endpoint.attached"]
        await pages.aclose()


async def test_who_comes_again_hears_what_was_missed(host: Host, events: EventDesk) -> None:
    await host.create_network()
    await host.run_container()
    newest = host.admin.events.newest
    # a number that is not ours: of a store that was restored since
    assert (await events.page(asks.ListEvents(after=newest + 50))).missed
    async with asyncio.timeout(20):
        pages = events.follow(Query(), newest + 50)
        assert (await anext(pages)).missed
        assert told(await anext(pages))[0] == "network.created"
        await pages.aclose()


# By HTTP


@asynccontextmanager
async def served(host: Host, path: Path, *, ready: bool = True) -> AsyncIterator[str]:
    async def purge_unread() -> Purged:
        return Purged()

    desk = Desk(
        owner="ovsnet",
        switch=host.switch,
        engine=host.engine,
        metrics=Metrics(),
        degraded=str,
        closed=lambda _: asynccontextmanager(_nothing)(),
        purge_unread=purge_unread,
    )
    if ready:
        desk.ready(host.admin)
    runner = api.runner(api.view(desk))
    await runner.setup()
    await web.UnixSite(runner, path / "view.sock").start()
    try:
        yield str(path / "view.sock")
    finally:
        async with asyncio.timeout(20):
            await runner.cleanup()


async def _nothing() -> AsyncIterator[None]:
    yield


def session(path: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession("http://ovsnet", connector=aiohttp.UnixConnector(path))


async def block(response: aiohttp.ClientResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    while line := (await response.content.readline()).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        found[name] = value
    return found


async def test_a_stream_goes_on_after_the_number_that_was_seen_last(
    host: Host, tmp_path: Path
) -> None:
    async with asyncio.timeout(30), served(host, tmp_path) as path, session(path) as client:
        async with client.get("/events") as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            assert await block(response) == {"id": "0"}
            await host.create_network()
            created = await block(response)
            told = json.loads(created["data"])
            assert (told["type"], told["action"], told["cause"]) == ("network", "created", "ovsnet")
        await host.run_container()
        async with client.get("/events", headers={"Last-Event-ID": created["id"]}) as response:
            assert await block(response) == {"id": created["id"]}
            assert json.loads((await block(response))["data"])["type"] == "lease"


async def test_a_stream_says_that_something_was_missed(host: Host, tmp_path: Path) -> None:
    await host.create_network()
    async with (
        asyncio.timeout(30),
        served(host, tmp_path) as path,
        session(path) as client,
        client.get("/events", params={"after": "999"}) as response,
    ):
        assert await block(response) == {"event": "missed", "data": "{}"}


async def test_streams_end_with_the_process(host: Host, tmp_path: Path) -> None:
    async with asyncio.timeout(30), session(str(tmp_path / "view.sock")) as client:
        async with served(host, tmp_path):
            response = await client.get("/events")
            await block(response)
        assert await response.content.read() == b""
        response.close()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"types": "lnik"}, "no type of events"),
        ({"after": "x"}, "Last-Event-ID"),
        ({"nework": "lab"}, "nework"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(
    host: Host, tmp_path: Path, query: dict[str, str], words: str
) -> None:
    async with (
        asyncio.timeout(30),
        served(host, tmp_path) as path,
        session(path) as client,
        client.get("/events", params=query) as response,
    ):
        assert response.status == 400
        assert words in (await response.json())["error"]


async def test_there_is_no_stream_before_the_store_is_open(host: Host, tmp_path: Path) -> None:
    async with (
        asyncio.timeout(30),
        served(host, tmp_path, ready=False) as path,
        session(path) as client,
        client.get("/events") as response,
    ):
        assert response.status == 503


@pytest.mark.slow
async def test_who_takes_nothing_is_cut_off(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SLOW_S", 0.3)
    async with asyncio.timeout(60), served(host, tmp_path) as path:
        reader, writer = await asyncio.open_unix_connection(path, limit=1024)
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        long = Happening(EventType.REPAIR, "mended", attributes={"what": "x" * 50_000})
        for _ in range(40):  # more than sockets and buffers hold
            host.admin.events.tell(long)  # type: ignore[attr-defined]
        await host.create_network()
        while not writer.transport.is_closing() and not reader.at_eof():
            if reader.exception() is not None:
                break
            await asyncio.sleep(0.1)
            if host.admin.events._callbacks == []:  # type: ignore[attr-defined]
                break
        assert host.admin.events._callbacks == []  # type: ignore[attr-defined]
        writer.transport.abort()
