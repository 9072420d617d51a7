"""Who asks, by the kernel's word."""

import os
import pwd
from pathlib import Path

import aiohttp
from aiohttp import web

from ovsdriver.admin import peers


async def test_the_user_at_the_other_end_is_named(tmp_path: Path) -> None:
    async def who(request: web.Request) -> web.Response:
        return web.Response(text=peers.user(request))

    app = web.Application()
    app.router.add_get("/", who)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, tmp_path / "s").start()
    connector = aiohttp.UnixConnector(str(tmp_path / "s"))
    try:
        async with (
            aiohttp.ClientSession("http://x", connector=connector) as session,
            session.get("/") as answer,
        ):
            named = await answer.text()
    finally:
        await runner.cleanup()
    assert named.split(" as ")[-1] == pwd.getpwuid(os.geteuid()).pw_name


async def test_over_tcp_nobody_is_named() -> None:
    async def who(request: web.Request) -> web.Response:
        return web.Response(text=peers.user(request))

    app = web.Application()
    app.router.add_get("/", who)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/") as answer,
        ):
            assert await answer.text() == ""
    finally:
        await runner.cleanup()


def test_a_user_without_a_name_is_a_number() -> None:
    assert peers._name(3_999_999) == "uid 3999999"
