from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from ovsdriver import codec
from ovsdriver.admin import api, asks
from ovsdriver.admin.views import Report
from tests.unit.cli.conftest import Desk
from tests.unit.cli.reports import LAB, network

CHANGING = {word for word, kind in asks.BY_WORD.items() if not kind.LOOKS}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def client(desk: Desk, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    runner = api.runner(api.view(desk))
    await runner.setup()
    await web.UnixSite(runner, tmp_path / "view.sock").start()
    connector = aiohttp.UnixConnector(str(tmp_path / "view.sock"))
    async with aiohttp.ClientSession("http://ovsnet", connector=connector) as session:
        yield session
    await runner.cleanup()


async def test_metrics_and_health_are_told(client: aiohttp.ClientSession):
    async with client.get("/metrics") as answer:
        assert "# TYPE ovsnet_calls_total counter" in await answer.text()
    async with client.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_what_changes_nothing_is_answered(client: aiohttp.ClientSession, desk: Desk):
    desk.there = Report(networks=(network("lab", LAB),))
    async with client.get("/ask/show-state") as answer:
        told = await answer.json()
    assert [each["name"] for each in told["networks"]] == ["lab"]


async def test_a_request_stands_in_the_query(client: aiohttp.ClientSession, desk: Desk):
    asked: list[str] = []

    async def show(ask: asks.ShowSegment) -> tuple[str, ...]:
        asked.append(ask.name)
        return ()

    desk.also({asks.ShowSegment: show})
    query = {"ask": codec.encode(asks.ShowSegment(name="blue"))}
    async with client.get("/ask/show-segment", params=query) as answer:
        assert answer.status == 200
    assert asked == ["blue"]
    async with client.get("/ask/show-segment", params={"ask": '{"nmae":"x"}'}) as answer:
        assert answer.status == 400
        assert "name: missing" in (await answer.json())["error"]


@pytest.mark.parametrize("word", sorted(CHANGING))
async def test_what_may_change_something_is_not_answered(
    client: aiohttp.ClientSession, desk: Desk, word: str
):
    desk.answers = {}  # nothing of it is to be reached
    async with client.get(f"/ask/{word}") as answer:
        assert answer.status == 403
        assert word in (await answer.json())["error"]


def test_what_changes_something_is_known():
    """A new request is one of these until somebody says otherwise."""
    assert {"purge", "reconcile", "set-options", "release", "remove-network"} <= CHANGING
    assert {asks.word(kind) for kind in asks.BY_WORD.values() if kind.LOOKS} == {
        "list-events",
        "list-leases",
        "list-pools",
        "list-reservations",
        "list-rules",
        "list-segments",
        "plan-network",
        "show-access",
        "show-graph",
        "show-rules",
        "show-segment",
        "show-state",
        "show-status",
        "show-traffic",
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/metrics", "/ask/purge", "/ask/show-state", "/nowhere"])
async def test_only_get_is_answered(
    client: aiohttp.ClientSession, desk: Desk, method: str, path: str
):
    async with client.request(method, path) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert desk.purges == 0


async def test_what_is_not_there_is_not_found(client: aiohttp.ClientSession):
    for path in ("/", "/nowhere", "/ask/nothing"):
        async with client.get(path) as answer:
            assert answer.status == 404
