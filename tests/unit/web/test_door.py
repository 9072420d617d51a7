"""Who comes in to the page's server: all of it but the programs that it starts, over HTTP."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ovsdriver.admin import api, asks
from ovsdriver.admin.graph.views import Edge, Graph, Kind, Node, Tier
from ovsdriver.admin.views import Changed
from ovsdriver.domain.wires.observed import Traffic
from ovsdriver.errors import UnavailableError
from ovsdriver.web.asking import Asking
from ovsdriver.web.door import HEADERS, WRITE, Door
from ovsdriver.web.pages import Pages
from ovsdriver.web.programs import Programs
from ovsdriver.web.server import Serving, serve
from ovsdriver.web.watching import Watch
from tests.unit.cli.conftest import Desk

SET = {"target": "web", "options": {"ovs.delay": "20ms"}}


class Page:
    """The server, and a browser that keeps no cookie by itself."""

    def __init__(self, session: aiohttp.ClientSession, base: str, door: Door) -> None:
        self.base = base
        self.door = door
        self.cookies: dict[str, str] = {}
        self._session = session

    async def __call__(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        """Return status and the sentence, or the text."""
        async with self._session.request(
            method, self.base + path, cookies=self.cookies, **more
        ) as answer:
            for name, value in HEADERS.items():
                assert answer.headers[name] == value, (path, name)
            if "json" in answer.content_type:
                said = await answer.json()
                return answer.status, said.get("error", "") if isinstance(said, dict) else ""
            return answer.status, await answer.text()

    async def enter(self, token: str | None = None) -> int:
        async with self._session.post(
            self.base + "/session", json={"token": self.door.token if token is None else token}
        ) as answer:
            self.cookies |= {name: each.value for name, each in answer.cookies.items()}
            self.cookie = str(answer.cookies)
            return answer.status


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Return the running process, which changes what it is told to."""
    desk = Desk()
    said: list[asks.SetOptions] = []

    async def change(ask: asks.SetOptions) -> Changed:
        said.append(ask)
        return Changed(
            kind="network", id="1", name="", network="1", options=(), containers=(), pending=()
        )

    desk.also({asks.SetOptions: change})
    desk.said = said  # type: ignore[attr-defined]
    runners = []
    for name, app in (("view", api.view(desk)), ("admin", api.application(desk))):
        runner = api.runner(app)
        await runner.setup()
        await web.UnixSite(runner, tmp_path / f"{name}.sock").start()
        runners.append(runner)
    yield desk
    for runner in runners:
        await runner.cleanup()


async def served(tmp_path: Path, **how: Any) -> AsyncIterator[Page]:
    write = how.get("write", False)
    door = Door(write=write, host=how.get("host", ""))
    asking = Asking(tmp_path)
    pages = Pages(
        asking=asking,
        watch=Watch(asking),
        started=Programs(flags=(), trace_flags=()),
        door=door,
        write=write,
    )
    runner = web.AppRunner(pages.application(), shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Page(session, f"http://127.0.0.1:{runner.addresses[0][1]}", door)
    await runner.cleanup()
    await asking.close()


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async for each in served(tmp_path):
        yield each


@pytest.fixture
async def writing(tmp_path: Path, desk: Desk) -> AsyncIterator[Page]:
    async for each in served(tmp_path, write=True):
        yield each


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[Page]:
    async for each in served(tmp_path, host="lab.example.org"):
        yield each


async def test_nothing_of_the_host_is_told_without_the_link(page: Page):
    for path in (
        "about",
        "live",
        "grid?pool=1",
        "trace?from=a&to=b",
        "capture?of=web",
        "options",
        "rules/1",
    ):
        status, sentence = await page("GET", f"/api/{path}")
        assert (status, "ovsnet web" in sentence) == (401, True), path


async def test_the_token_is_traded_for_a_cookie_that_no_script_reads(page: Page):
    assert await page.enter() == 204
    assert "HttpOnly" in page.cookie
    assert "SameSite=Strict" in page.cookie
    assert (await page("GET", "/api/about"))[0] == 200


async def test_a_wrong_token_opens_nothing(page: Page):
    for token in ("", "x", page.door.token[:-1], "ä"):
        assert await page.enter(token) == 401
    assert page.cookies == {}


async def test_a_token_is_good_once(page: Page):
    await page.enter()
    status, sentence = await page("POST", "/session", json={"token": page.door.token})
    assert (status, "used already" in sentence) == (401, True)
    assert (await page("GET", "/api/about"))[0] == 200


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token":7}', b"\xff", b"{" * 5000])
async def test_a_body_that_is_no_token_is_refused(page: Page, body: bytes):
    status, _ = await page("POST", "/session", data=body)
    assert status in (401, 413)


async def test_a_wrong_cookie_opens_nothing(page: Page):
    await page.enter()
    page.cookies = dict.fromkeys(page.cookies, "x")
    assert (await page("GET", "/api/about"))[0] == 401


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/about", "/session"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "10.0.0.1", "127.0.0.1.x", ""])
async def test_another_host_is_refused_on_every_path(page: Page, path: str, host: str):
    await page.enter()
    status, sentence = await page("GET", path, headers={"Host": host})
    assert (status, "not this page's host" in sentence) == (403, True)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:9", "[::1]:8080", "127.0.0.2"])
async def test_the_port_may_be_one_that_ssh_forwards(page: Page, host: str):
    await page.enter()
    assert (await page("GET", "/api/about", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://"]
)
async def test_a_page_of_others_is_refused(page: Page, origin: str):
    await page.enter()
    assert (await page("GET", "/api/about", headers={"Origin": origin}))[0] == 403
    assert (await page("GET", "/api/about", headers={"Origin": page.base}))[0] == 200


async def test_a_request_that_another_site_began_is_refused(page: Page):
    await page.enter()
    status, _ = await page("GET", "/api/capture?of=web", headers={"Sec-Fetch-Site": "cross-site"})
    assert status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/api/set", "/api/live", "/static/app.js", "/nowhere"])
async def test_only_looking_is_answered_without_write(page: Page, method: str, path: str):
    await page.enter()
    status, sentence = await page(method, path, json=SET, headers={WRITE: "yes"})
    assert (status, "--write" in sentence) == (405, True)


async def test_a_change_needs_the_pages_own_header(writing: Page, desk: Desk):
    await writing.enter()
    assert (await writing("POST", "/api/set", json=SET))[0] == 403
    assert (await writing("POST", "/api/set", json=SET, headers={WRITE: "yes"}))[0] == 200
    assert desk.said == [asks.SetOptions(**SET)]  # type: ignore[attr-defined]


async def test_a_change_needs_the_cookie(writing: Page, desk: Desk):
    assert (await writing("POST", "/api/set", json=SET, headers={WRITE: "yes"}))[0] == 401
    assert desk.said == []  # type: ignore[attr-defined]


async def test_delay_and_loss_alone_are_changed(writing: Page, desk: Desk):
    await writing.enter()
    for body in (SET | {"options": {"ovs.icc": "false"}}, {"target": 7}, [], SET | {"more": 1}):
        status, _ = await writing("POST", "/api/set", json=body, headers={WRITE: "yes"})
        assert status in (400, 403)
    assert desk.said == []  # type: ignore[attr-defined]


async def test_behind_a_proxy_its_name_counts_and_no_token(behind: Page):
    name = {"Host": "lab.example.org"}
    assert (await behind("GET", "/api/about", headers=name))[0] == 200
    assert (await behind("GET", "/api/about"))[0] == 403
    origin = {**name, "Origin": "https://lab.example.org"}
    assert (await behind("GET", "/api/about", headers=origin))[0] == 200
    other = {**name, "Origin": "https://other.example.org"}
    assert (await behind("GET", "/api/about", headers=other))[0] == 403


async def test_what_is_not_there_is_said(page: Page):
    await page.enter()
    assert (await page("GET", "/api/nothing"))[0] == 404
    assert (await page("GET", "/static/../server.py"))[0] == 404


async def test_every_view_is_the_page(page: Page):
    for view in ("", "networks", "map", "path", "addresses", "events"):
        status, text = await page("GET", f"/{view}")
        assert (status, "<!doctype html>" in text) == (200, True)


async def test_no_file_has_script_or_style_inside_of_markup(page: Page):
    _, text = await page("GET", "/")
    assert "<style" not in text
    assert " style=" not in text
    assert "<script>" not in text
    assert " onclick" not in text


async def told(page: Page, kind: str) -> str:
    """Return the first thing of a kind that is pushed."""
    async with page._session.get(page.base + "/api/live", cookies=page.cookies) as answer:
        async for line in answer.content:
            if line == f"event: {kind}\n".encode():
                return (await answer.content.readline()).decode().removeprefix("data: ").strip()
    raise AssertionError("the stream ended")


async def test_why_nothing_is_known_is_pushed(page: Page):
    await page.enter()
    async with asyncio.timeout(10):
        assert "ovsnet is not running" in await told(page, "trouble")


async def test_the_process_is_asked_only_while_somebody_looks(page: Page, desk: Desk):
    await page.enter()
    asked: list[int] = []

    async def graph(ask: asks.ShowGraph) -> Graph:
        asked.append(ask.seen)
        await asyncio.sleep(0.01)
        return Graph(nodes=(Node(id="n", tier=Tier.NETWORK, kind=Kind.NETWORK, name="<b>lab</b>"),))

    desk.also({asks.ShowGraph: graph})
    await asyncio.sleep(0)
    assert asked == []
    async with asyncio.timeout(10):
        assert "<b>lab</b>" in await told(page, "graph")
    watched = len(asked)
    assert watched
    await asyncio.sleep(1)  # nobody looks: one that was under way may still come
    assert len(asked) <= watched + 1


async def test_a_port_in_use_is_a_sentence(tmp_path: Path):
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    wanted = Serving(run_dir=tmp_path, flags=(), trace_flags=(), port=port)
    with pytest.raises(UnavailableError, match="--port"):
        await serve(wanted, lambda _: None)
    taken.close()


async def test_what_passed_is_pushed_by_name(page: Page, desk: Desk):
    async def graph(_: asks.ShowGraph) -> Graph:
        await asyncio.sleep(0.01)
        ends = (
            Node(id="n", tier=Tier.NETWORK, kind=Kind.NETWORK, name="lab"),
            Node(id="c", tier=Tier.CONTAINER, kind=Kind.CONTAINER, name="web"),
        )
        passed = Traffic(received_bytes=7, sent_bytes=9)
        edge = Edge(id="e", kind=Kind.ENDPOINT, outer="n", inner="c", traffic=passed)
        return Graph(nodes=ends, edges=(edge,))

    desk.also({asks.ShowGraph: graph})
    await page.enter()
    async with asyncio.timeout(10):
        traffic = json.loads(await told(page, "traffic"))["e"]
    assert (traffic["received_bytes"], traffic["sent_bytes"]) == (7, 9)


async def test_a_fault_of_the_server_itself_is_shown(
    page: Page, monkeypatch: pytest.MonkeyPatch, desk: Desk
):
    monkeypatch.setattr(Asking, "look", lambda *_: 1 / 0)
    await page.enter()
    async with asyncio.timeout(10):
        assert "the page's server broke" in await told(page, "trouble")


async def test_a_socket_for_a_proxy_is_open_to_its_group_and_gone_afterwards(tmp_path: Path):
    path = tmp_path / "web.sock"
    wanted = Serving(
        run_dir=tmp_path, flags=(), trace_flags=(), socket=path, host="lab.example.org"
    )
    ready = asyncio.Event()
    serving = asyncio.create_task(serve(wanted, lambda _: ready.set()))
    async with asyncio.timeout(10):
        await ready.wait()
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    connector = aiohttp.UnixConnector(str(path))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get("http://lab.example.org/api/about") as answer,
    ):
        assert answer.status == 200
    serving.cancel()
    await asyncio.wait([serving])
    assert not path.exists()
