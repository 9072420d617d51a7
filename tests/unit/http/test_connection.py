"""What dockerd sends is answered without aiohttp; whatever else comes is answered all the same."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovsdriver.http import server as server_module
from ovsdriver.http.connection import Answer, PlainConnection
from ovsdriver.http.fallback import AnyHttp
from ovsdriver.http.server import Call, PluginServer
from ovsdriver.metrics import Metrics
from ovsdriver.words.fields import Fields
from tests.unit.wire.conversation import Connection, connect

AS_DOCKERD = (
    "POST /{call} HTTP/1.1\r\nHost: plugin.moby.localhost\r\nUser-Agent: Go-http-client/1.1\r\n"
    "Content-Length: {length}\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n\r\n"
)


def request(body: bytes, *, head: str = AS_DOCKERD, call: str = "Test.Echo") -> bytes:
    return head.format(call=call, length=len(body)).encode() + body


class Served:
    """A server of the call ``Test.Echo``, and how often aiohttp was needed for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handed_over = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def echo(self, body: Fields) -> dict[str, object]:
        await self.go_on.wait()
        return dict(body.items())

    async def connect(self) -> Connection:
        return await connect(self.path)


@asynccontextmanager
async def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    served = Served(folder / "echo.sock")

    class Counted(AnyHttp):
        def __call__(self):
            served.handed_over += 1
            return super().__call__()

    monkeypatch.setattr(server_module, "AnyHttp", Counted)
    sock = server_module.socket.socket(server_module.socket.AF_UNIX)
    sock.bind(str(served.path))
    server = PluginServer(metrics=Metrics())
    await server.listen(sock, {"Test.Echo": Call(served.echo)})
    try:
        yield served
    finally:
        served.go_on.set()
        await server.drain(30)


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    async with serving(tmp_path, monkeypatch) as running:
        yield running


async def test_what_dockerd_sends_needs_no_aiohttp(served: Served):
    connection = await served.connect()
    for number in range(3):
        answer = await connection.send(request(b'{"n": %d}' % number))
        assert answer.status == 200
        assert answer.json == {"n": number}
        assert answer.headers["content-type"] == "application/vnd.docker.plugins.v1.2+json"
        assert answer.headers["date"].endswith(" GMT")
    assert (await connection.send(request(b"{}", call="No.Such"))).status == 404
    assert (await connection.send(request(b"{"))).status == 400
    assert served.handed_over == 0
    await connection.close()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("POST /{call} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n", id="no host"),
        pytest.param(
            "POST /{call} HTTP/1.1\r\nHost: x\r\ncontent-length: {length}\r\n\r\n",
            id="small letters",
        ),
        pytest.param(
            AS_DOCKERD.replace("Host:", "Traceparent: 1\r\nHost:"),
            id="another line",
        ),
        pytest.param(
            AS_DOCKERD.replace("Host:", "Expect: 100-continue\r\nHost:"), id="a question first"
        ),
    ],
)
async def test_other_forms_are_answered_the_same(served: Served, head: str):
    connection = await served.connect()
    await connection.send(request(b'{"n": 0}'))
    connection.writer.write(request(b'{"n": 1}', head=head))
    answer = await connection.receive()
    if answer.status == 100:
        answer = await connection.receive()
    assert (answer.status, answer.json) == (200, {"n": 1})
    assert (await connection.send(request(b'{"n": 2}'))).json == {"n": 2}
    await connection.close()


async def test_two_lengths_are_refused(served: Served):
    connection = await served.connect()
    head = AS_DOCKERD.replace("Accept:", "Content-Length: 3\r\nAccept:")
    answer = await connection.send(request(b"{}", head=head))
    assert answer.status == 400
    assert served.handed_over == 1
    await connection.close()


async def test_what_comes_before_the_answer_is_answered_after_it(served: Served):
    served.go_on.clear()
    connection = await served.connect()
    connection.writer.write(request(b'{"n": 1}'))
    await connection.writer.drain()
    await asyncio.sleep(0.02)
    for number in (2, 3):
        connection.writer.write(request(b'{"n": %d}' % number))
        await connection.writer.drain()
        await asyncio.sleep(0.02)
    served.go_on.set()
    assert [(await connection.receive()).json["n"] for _ in range(3)] == [1, 2, 3]
    await connection.close()


class Stopped(asyncio.Transport):
    """Remembers whether it is to be read, and what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.written = b""

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        self.written += data


def test_nothing_is_read_from_who_reads_no_answers_or_does_not_wait_for_them():
    asked: list[Callable[[Answer], None]] = []
    transport = Stopped()
    connection = PlainConnection(
        lambda name, body, answered: asked.append(answered),
        body_limit=100,
        last=lambda: False,
        others=asyncio.Protocol,
        closed=lambda _: None,
    )
    connection.connection_made(transport)
    connection.pause_writing()
    assert not transport.reading
    connection.resume_writing()
    assert transport.reading
    connection.data_received(request(b"1"))
    connection.data_received(request(b"2"))
    assert not transport.reading
    connection.resume_writing()
    assert not transport.reading
    asked[0](Answer(200, b"{}", "ok"))
    assert transport.reading
    assert len(asked) == 2
    connection.connection_lost(None)
    asked[1](Answer(200, b"{}", "ok"))
    assert transport.written.count(b"HTTP/1.1 200 OK") == 1


_BODIES = st.lists(st.integers(0, 10**6), min_size=1, max_size=6)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(numbers=_BODIES, data=st.data())
def test_requests_are_answered_in_their_order_however_they_are_cut(
    numbers: list[int], data: st.DataObject
):
    stream = b"".join(request(json.dumps({"n": number}).encode()) for number in numbers)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=4).map(sorted))

    async def converse() -> None:
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            async with serving(Path(folder), patch) as served:
                connection = await served.connect()
                for first, last in zip([0, *cuts], [*cuts, len(stream)], strict=True):
                    connection.writer.write(stream[first:last])
                    await connection.writer.drain()
                    await asyncio.sleep(0)
                async with asyncio.timeout(60):
                    answers = [await connection.receive() for _ in numbers]
                assert [answer.json["n"] for answer in answers] == numbers
                await connection.close()

    asyncio.run(converse())
