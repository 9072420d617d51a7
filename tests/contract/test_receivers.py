"""Webhooks' servers: one that takes, refuses, hangs, breaks off, and one that is not there."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from ovsdriver.adapters.webhooks import SIGNATURE, HttpReceivers, resolves, signature
from ovsdriver.domain.events.event import Event
from ovsdriver.domain.events.webhooks import Webhook, cloud_event
from ovsdriver.errors import UnavailableError
from tests.fakes.receivers import FakeReceivers

SECRET = "s" * 32
EVENT = cloud_event(
    Event(id=7, time=1795946700.123, type="link", action="down", network="lab", container="wéb"),
    source="host1/ovsnet",
)


class Server:
    """Answers what it is told to, and keeps what it got."""

    def __init__(self) -> None:
        self.status = 200
        self.hangs = False
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        if self.hangs:
            await asyncio.sleep(3600)
        self.got.append((dict(request.headers), await request.read()))
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_post("/in", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def hook(server: Server, host: str = "127.0.0.1") -> Webhook:
    return Webhook(url=f"http://{host}:{server.port}/in", secret=SECRET)


async def test_an_event_arrives_as_a_signed_cloud_event(server: Server) -> None:
    await HttpReceivers().send(hook(server), EVENT)
    ((headers, body),) = server.got
    assert headers["Content-Type"].startswith("application/cloudevents+json")
    assert headers[SIGNATURE] == signature(SECRET, body)
    told: dict[str, Any] = json.loads(body)
    assert (told["specversion"], told["id"], told["type"]) == ("1.0", "7", "ovsnet.link.down")
    assert told["subject"] == "lab/wéb"
    assert told["time"] == "2026-11-29T10:05:00.123+00:00"
    assert told["data"]["container"] == "wéb"


def test_the_signature_is_the_one_that_others_compute() -> None:
    # printf hello | openssl dgst -sha256 -hmac key
    assert signature("key", b"hello") == (
        "sha256=9307b3b915efb5171ff14d8cb55fbcc798c6c0ef1456d66ded1a6aa723a58b7b"
    )


@pytest.mark.parametrize("status", [302, 400, 404, 410, 500, 503])
async def test_anything_but_yes_is_no(server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(UnavailableError, match=f"it answers {status}"):
        await HttpReceivers().send(hook(server), EVENT)
    assert len(server.got) == 1  # where it leads to is not asked


async def test_one_that_hangs_is_given_up(server: Server) -> None:
    server.hangs = True
    with pytest.raises(UnavailableError, match="does not answer within"):
        await HttpReceivers(timeout_s=0.2).send(hook(server), EVENT)


async def test_one_that_is_not_there_and_one_that_cannot_be_found_are_named(
    server: Server,
) -> None:
    nowhere = Webhook(url="http://127.0.0.1:1/in", secret=SECRET)
    with pytest.raises(UnavailableError, match="no connection"):
        await HttpReceivers().send(nowhere, EVENT)
    lost = Webhook(url="http://hooks.invalid/in", secret=SECRET)
    with pytest.raises(UnavailableError, match=r"hooks\.invalid cannot be resolved"):
        await HttpReceivers().send(lost, EVENT)
    assert not await resolves("hooks.invalid")
    assert await resolves("127.0.0.1")


async def test_one_that_breaks_off_and_one_that_speaks_something_else(tmp_path) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop())
        writer.close()

    answers = [b"", b"SSH-2.0-x\r\n"]
    listening = await asyncio.start_server(rude, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    webhook = Webhook(url=f"http://127.0.0.1:{port}/", secret=SECRET)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="the connection broke"):
            await HttpReceivers(timeout_s=5).send(webhook, EVENT)
    listening.close()
    await listening.wait_closed()


async def test_the_fake_does_the_same(server: Server) -> None:
    fake = FakeReceivers()
    await fake.send(hook(server), EVENT)
    assert fake.taken == {hook(server).url: [EVENT]}
    fake.faults[hook(server).url] = "it answers 503"
    with pytest.raises(UnavailableError, match="it answers 503"):
        await fake.send(hook(server), EVENT)


def test_what_is_shown_of_a_webhook_has_no_secrets() -> None:
    webhook = Webhook(url="https://u:p@h.example:8443/in?token=abc", secret=SECRET)
    assert webhook.shown == "https://h.example:8443/in"
    assert SECRET not in repr(webhook)
