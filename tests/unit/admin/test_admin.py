import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from ipam.errors import StoreError
from ovsdriver.admin import api, asks
from ovsdriver.admin.views import Report
from ovsdriver.errors import ConflictError, UnavailableError, UnknownObjectError
from tests.unit.cli.conftest import Desk
from tests.unit.cli.reports import LAB, network
from tests.unit.cli.test_change import ChangeDesk


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def changes() -> ChangeDesk:
    return ChangeDesk()


@pytest.fixture
async def client(
    desk: Desk, changes: ChangeDesk, tmp_path: Path
) -> AsyncIterator[aiohttp.ClientSession]:
    runner = api.runner(api.application(desk.also(changes.answers())))
    await runner.setup()
    await web.UnixSite(runner, tmp_path / "admin.sock").start()
    connector = aiohttp.UnixConnector(str(tmp_path / "admin.sock"))
    async with aiohttp.ClientSession("http://ovsnet", connector=connector) as session:
        yield session
    await runner.cleanup()


async def test_a_healthy_process_says_ok(client: aiohttp.ClientSession):
    async with client.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_a_request_that_cannot_be_read_is_no_fault_of_ours(
    client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    async with client.get("/" + "9" * 10_000) as answer:
        assert answer.status == 400
    told = [each for each in caplog.records if each.name.startswith("ovsdriver")]
    assert [(each.msg, each.exc_info) for each in told] == [("admin.unreadable", None)]


async def test_who_goes_away_in_the_middle_of_a_request_is_no_fault_of_ours(
    client: aiohttp.ClientSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    _, writer = await asyncio.open_unix_connection(tmp_path / "admin.sock")
    writer.write(b"POST /ask/set-options HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    async with client.get("/healthz") as answer:  # by then it waits for the rest
        assert answer.status == 200
    writer.close()
    await writer.wait_closed()
    async with client.get("/healthz") as answer:
        assert answer.status == 200
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_a_degraded_process_is_not_healthy_and_says_why(
    client: aiohttp.ClientSession, desk: Desk
):
    desk.now = replace(desk.now, degraded="the store is corrupt")
    async with client.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (503, "the store is corrupt\n")
    async with client.post("/ask/show-status") as answer:
        assert answer.status == 200
        assert (await answer.json())["degraded"] == "the store is corrupt"


async def test_metrics_are_in_prometheus_format(client: aiohttp.ClientSession):
    async with client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "# TYPE ovsnet_calls_total counter" in await answer.text()


async def test_the_state_has_every_part(client: aiohttp.ClientSession, desk: Desk):
    desk.there = Report(networks=(network("lab", LAB),))
    async with client.post("/ask/show-state") as answer:
        told = await answer.json()
    assert told["endpoints"] == []
    assert [(each["name"], each["network"]["id"]) for each in told["networks"]] == [("lab", LAB)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(UnknownObjectError("not known"), 404, id="unknown"),
        pytest.param(ConflictError("still needed"), 409, id="conflict"),
        pytest.param(UnavailableError("no store"), 503, id="unavailable"),
        pytest.param(StoreError("the disk is full"), 503, id="ipam"),
    ],
)
async def test_a_refusal_has_a_status_and_a_sentence(
    client: aiohttp.ClientSession, desk: Desk, error: Exception, status: int
):
    desk.refusals["lab"] = error
    async with client.post("/ask/remove-network", json={"name": "lab"}) as answer:
        assert (answer.status, await answer.json()) == (status, {"error": str(error)})


@pytest.mark.parametrize(
    ("said", "forced"),
    [({}, False), ({"force": True}, True), ({"force": False}, False)],
)
async def test_force_is_read(
    client: aiohttp.ClientSession, desk: Desk, said: dict[str, bool], forced: bool
):
    async with client.post("/ask/remove-network", json={"name": "lab"} | said) as answer:
        assert await answer.json() == "lab" * 16
    assert desk.removed == [("lab", forced)]


async def test_a_purge_is_posted_and_never_fetched(client: aiohttp.ClientSession, desk: Desk):
    async with client.get("/ask/purge") as answer:
        assert answer.status == 405
    assert desk.purges == 0
    async with client.post("/ask/purge") as answer:
        assert (await answer.json())["ports"] == []
    assert desk.purges == 1


@pytest.mark.parametrize(
    ("said", "dry"),
    [({}, False), ({"dry_run": True}, True), ({"dry_run": False}, False)],
)
async def test_a_look_is_posted_and_may_be_dry(
    client: aiohttp.ClientSession, desk: Desk, said: dict[str, bool], dry: bool
):
    async with client.get("/ask/reconcile") as answer:
        assert answer.status == 405
    assert desk.looks == []
    async with client.post("/ask/reconcile", json=said) as answer:
        assert (await answer.json())["at"] == 1000.0
    assert desk.looks == [dry]


async def test_an_unknown_page_is_a_sentence(client: aiohttp.ClientSession):
    async with client.get("/nothing") as answer:
        assert answer.status == 404
        assert await answer.json() == {"error": "GET /nothing: Not Found"}
    async with client.post("/ask/nothing") as answer:
        assert answer.status == 404
        assert await answer.json() == {"error": "POST /ask/nothing: Not Found"}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "the request is not JSON: "),
        (b"[]", "the request is a list, not an object"),
        (b"{}", "name: missing"),
        (b'{"name": "lab", "force": "yes"}', "force: a text ('yes'), not true or false"),
        (b'{"name": "lab", "forced": true}', "forced: there is no such member"),
        (b'{"name": "\\ud800"}', "name: '\\ud800' is not Unicode text"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_and_nothing_is_done(
    client: aiohttp.ClientSession, desk: Desk, body: bytes, sentence: str
):
    async with client.post("/ask/remove-network", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"][: len(sentence)] == sentence
    assert desk.removed == []


async def test_a_crash_is_answered_and_logged_and_the_process_lives(
    client: aiohttp.ClientSession, desk: Desk, caplog: pytest.LogCaptureFixture
):
    desk.refusals["lab"] = ZeroDivisionError("division by zero")
    async with client.post("/ask/remove-network", json={"name": "lab"}) as answer:
        assert answer.status == 500
        assert "division" not in json.dumps(await answer.json())
    assert "admin.crashed" in caplog.text
    async with client.get("/healthz") as answer:
        assert answer.status == 200


async def test_an_answer_that_takes_too_long_is_given_up(
    client: aiohttp.ClientSession, desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    async def never(_: asks.ShowState) -> Report:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(asks.ShowState, "SECONDS", 0.05)
    desk.also({asks.ShowState: never})
    async with client.post("/ask/show-state") as answer:
        assert answer.status == 504
        assert "/ask/show-state: no answer in time" in (await answer.json())["error"]


async def test_options_are_changed_by_name(client: aiohttp.ClientSession, changes: ChangeDesk):
    body = {"target": "lab", "options": {"ovs.icc": "false", "ovs.mtu": ""}}
    async with client.post("/ask/set-options", json=body) as answer:
        assert answer.status == 200
        assert (await answer.json())["options"][0] == {
            "option": "ovs.icc",
            "old": None,
            "new": "false",
        }
    assert changes.wishes == [("lab", {"ovs.icc": "false", "ovs.mtu": ""})]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"target": "lab"}, 400, "options: missing"),
        ({"options": {"ovs.icc": "x"}}, 400, "target: missing"),
        ({"target": "lab", "options": {"ovs.icc": 1}}, 400, "ovs.icc"),
        ({"target": "taken", "options": {"ovs.vlan": "5"}}, 409, "carries another network"),
    ],
)
async def test_a_change_that_says_too_little_or_is_refused_changes_nothing(
    client: aiohttp.ClientSession, body: dict[str, object], status: int, words: str
):
    async with client.post("/ask/set-options", json=body) as answer:
        assert answer.status == status
        assert words in (await answer.json())["error"]
