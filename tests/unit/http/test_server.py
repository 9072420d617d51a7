import asyncio
import gzip
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ipam
import ovsdriver.errors
from ipam import IpamError
from ovsdriver.docker import methods
from ovsdriver.errors import ConflictError, DriverError
from ovsdriver.http import server
from ovsdriver.http.connection import PlainConnection
from ovsdriver.http.fallback import OtherConnection
from ovsdriver.http.server import Call, PluginServer
from ovsdriver.logs import REQUEST, event
from ovsdriver.metrics import Metrics
from ovsdriver.words.fields import Fields
from tests.unit.wire.conversation import Connection, Plugin, connect, plugin

pytestmark = pytest.mark.slow

PLACE = {"NetworkID": "n", "EndpointID": "e"}


REQUEST_BYTES = b"POST /Test.Call HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


OTHER_BYTES = REQUEST_BYTES.replace(b"Host: x", b"Host: x\r\nX-Not-Of: dockerd")
"""The same in a form that aiohttp reads for us."""

either_form = pytest.mark.parametrize(
    "request_bytes",
    [pytest.param(REQUEST_BYTES, id="dockerd"), pytest.param(OTHER_BYTES, id="other")],
)


async def yes(_: Fields) -> dict[str, object]:
    return {}


@contextmanager
def raw(path: Path) -> Iterator[socket.socket]:
    """A connection that the test itself sends on, at once and without the loop's help."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        sock.connect(str(path))
        sock.setblocking(False)
        yield sock


@asynccontextmanager
async def kept(path: Path, request: bytes = REQUEST_BYTES) -> AsyncIterator[socket.socket]:
    """One that has had a call already, and is idle."""
    with raw(path) as sock:
        sock.sendall(request)
        assert await received(sock)
        yield sock


@asynccontextmanager
async def unused(path: Path) -> AsyncIterator[socket.socket]:
    """One that has been accepted, and has had no call."""
    with raw(path) as sock:
        async with kept(path):  # they are accepted in the order in which they came
            pass
        yield sock


async def received(sock: socket.socket) -> bytes:
    async with asyncio.timeout(60):
        return await asyncio.get_running_loop().sock_recv(sock, 65536)


class OneCall:
    """A server with the single call ``Test.Call``."""

    def __init__(self, path: Path, server: PluginServer, metrics: Metrics) -> None:
        self.path = path
        self.server = server
        self.metrics = metrics

    async def connect(self) -> Connection:
        return await connect(self.path)

    async def post(self, body: object = b"{}", *, call: str = "Test.Call"):
        connection = await self.connect()
        try:
            return await connection.post(call, body)
        finally:
            await connection.close()


@asynccontextmanager
async def one_call(
    folder: Path,
    answer: Callable[[Fields], Awaitable[Any]],
    *,
    drain_s: float = 30,
    leave: Callable[[], object] | None = None,
    **limits: Any,
):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(folder / "one.sock"))
    metrics = Metrics()
    server = PluginServer(metrics=metrics, **limits)
    await server.listen(sock, {"Test.Call": Call(answer)}, leave=leave)
    try:
        yield OneCall(folder / "one.sock", server, metrics)
    finally:
        await server.drain(drain_s)


@pytest.fixture
async def served(tmp_path: Path):
    async with plugin(tmp_path) as running:
        yield running


TABLE = methods.both_kinds(methods.Backend())
WITH_ARGUMENTS = [name for name, call in TABLE.items() if call.arguments]


@pytest.mark.parametrize("call", WITH_ARGUMENTS)
async def test_an_empty_body_is_a_broken_repetition_and_refused(served: Plugin, call: str):
    answer = await served.post(call)
    assert answer.status == 400
    assert answer.error.startswith("the request is empty. Docker repeats a call")


@pytest.mark.parametrize("call", WITH_ARGUMENTS)
@pytest.mark.parametrize("body", [b"{", b"null", b"[]", b"\xff", b'{"x": NaN}', b"[" * 100_000])
async def test_a_malformed_body_is_refused_by_every_call(served: Plugin, call: str, body: bytes):
    async with served.connection() as connection:
        answer = await connection.post(call, body)
        assert answer.status == 400
        assert answer.error.startswith("the request is not ") or "an object" in answer.error
        assert (await connection.post("Plugin.Activate")).status == 200


async def test_calls_without_arguments_do_not_mind_a_body(served: Plugin):
    for body in (None, {}, b"{", b"null"):
        assert (await served.post("Plugin.Activate", body)).status == 200


async def test_an_unknown_call_is_the_only_404(served: Plugin):
    answer = await served.post("NetworkDriver.Fly", PLACE)
    assert answer.status == 404
    assert answer.error == 'no such call: "NetworkDriver.Fly"'


def test_no_error_has_the_status_that_dockerd_takes_for_not_implemented():
    trees = [DriverError, IpamError]
    found = []
    while trees:
        kind = trees.pop()
        trees += kind.__subclasses__()
        found.append(kind)
        assert 400 <= kind.status < 600
        assert kind.status != 404
    assert len(found) > 10
    assert {ovsdriver.errors.UnknownObjectError, ipam.UnknownPoolError} <= set(found)


async def test_another_http_method_is_refused(served: Plugin):
    async with served.connection() as connection:
        answer = await connection.send(b"GET /Plugin.Activate HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.status == 405
        assert answer.error == "GET is not POST"


async def test_the_answer_is_docker_json_on_a_connection_that_stays(served: Plugin):
    async with served.connection() as connection:
        for _ in range(3):
            answer = await connection.post("Plugin.Activate")
            assert answer.headers["content-type"] == "application/vnd.docker.plugins.v1.2+json"
            assert "connection" not in answer.headers


async def test_any_content_type_or_none_is_taken(served: Plugin):
    body = json.dumps({"NetworkID": "n"}).encode()
    async with served.connection() as connection:
        for line in ("", "Content-Type: text/plain\r\n", "Content-Type: application/json\r\n"):
            answer = await connection.send(
                f"POST /NetworkDriver.DeleteNetwork HTTP/1.1\r\nHost: x\r\n{line}"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert answer.status == 200


async def test_a_chunked_body_is_read(served: Plugin):
    async with served.connection() as connection:
        answer = await connection.send(
            b"POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nHost: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
            b'7\r\n{"Netwo\r\n9\r\nrkID":"n"\r\n1\r\n}\r\n0\r\n\r\n'
        )
    assert answer.status == 200
    assert list(served.networks.created) == ["n"]


async def test_a_compressed_body_is_not_unpacked(served: Plugin):
    body = gzip.compress(b'{"NetworkID": "n"}' + b" " * 10_000_000)
    async with served.connection() as connection:
        answer = await connection.send(
            b"POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
    assert answer.status == 400
    assert "not UTF-8" in answer.error


@pytest.mark.slow
async def test_a_body_of_40_mb_gets_a_sentence_and_harms_nobody(served: Plugin):
    answer = await served.post("NetworkDriver.CreateNetwork", b" " * 40_000_000)
    assert answer.status == 413
    assert answer.error.startswith("the request has more than 33554432 bytes")
    assert (await served.post("Plugin.Activate")).status == 200


async def test_the_limit_of_a_body_can_be_set(tmp_path: Path):
    async def answer(_: Fields):
        return {}

    async with one_call(tmp_path, answer, body_limit=100) as served:
        assert (await served.post(b"{" + b" " * 98 + b"}")).status == 200
        assert (await served.post(b"{" + b" " * 99 + b"}")).status == 413


@pytest.mark.slow
async def test_a_body_of_40_mb_to_a_call_without_arguments_gets_the_sentence_too(served: Plugin):
    assert (await served.post("Plugin.Activate", b" " * 40_000_000)).status == 413


@pytest.mark.slow
async def test_a_large_but_sensible_body_is_read(served: Plugin):
    ports = [{"Proto": 6, "Port": number, "HostPort": number} for number in range(1, 65536)]
    await served.post("NetworkDriver.CreateNetwork", {"NetworkID": "n"})
    await served.post("NetworkDriver.CreateEndpoint", PLACE)
    answer = await served.post(
        "NetworkDriver.ProgramExternalConnectivity",
        {**PLACE, "Options": {"com.docker.network.portmap": ports}},
    )
    assert answer.status == 200
    (found,) = served.endpoints.published["e"]  # type: ignore[index]
    assert (found.port, found.host_port, found.count) == (1, 1, 65535)


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"hello\r\n\r\n", id="no HTTP"),
        pytest.param(b"\xff\x1b[2J" * 100 + b"\r\n\r\n", id="bytes"),
        pytest.param(b"POST /x HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", id="huge head"),
        pytest.param(b"POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="length"),
    ],
)
async def test_what_is_no_http_is_refused_in_one_line_and_its_connection_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, junk: bytes
):
    caplog.set_level(logging.INFO)

    async def answer(_: Fields):
        return {}

    async with one_call(tmp_path, answer) as served:
        connection = await served.connect()
        refused = await connection.send(junk)
        assert refused.status == 400
        assert refused.error.startswith("the request is not HTTP: ")
        assert refused.error.isprintable()
        assert len(refused.error) < 200
        assert await connection.ended()
        await connection.close()
        assert (await served.post()).status == 200
        text = served.metrics.render().decode()
    assert [record.msg for record in caplog.records] == ["request.done"] * 2
    assert caplog.records[0].exc_info is None
    assert 'ovsnet_calls_total{method="unknown",outcome="refused"} 1.0' in text


async def test_a_body_that_never_comes_ends_at_the_deadline(tmp_path: Path):
    async def answer(_: Fields):
        return {}

    async with one_call(tmp_path, answer, deadline_s=0.05) as served:
        connection = await served.connect()
        reply = await connection.send(
            b"POST /Test.Call HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        )
        assert reply.status == 504
        await connection.close()


async def test_an_error_is_in_both_members_with_the_status_of_its_class(tmp_path: Path):
    async def refuse(_: Fields):
        raise ConflictError("VLAN 5 is taken")

    async def fail(_: Fields):
        raise ipam.StoreError("the disk is full")

    for name, handler in (("a", refuse), ("b", fail)):
        (tmp_path / name).mkdir()
        async with one_call(tmp_path / name, handler) as served:
            answer = await served.post()
        assert answer.status == (409 if name == "a" else 503)
        assert answer.error == ("VLAN 5 is taken" if name == "a" else "the disk is full")


async def test_a_fault_of_ours_is_logged_told_without_details_and_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async def crash(_: Fields):
        raise ZeroDivisionError("secret")

    async with one_call(tmp_path, crash) as served:
        for _ in range(2):
            answer = await served.post()
            assert answer.status == 500
            assert answer.error == "internal error; see the log of ovsnet on this host"
    crashes = [record for record in caplog.records if record.msg == "request.crashed"]
    assert len(crashes) == 2
    assert crashes[0].exc_info is not None
    assert crashes[0].exc_info[0] is ZeroDivisionError


async def test_a_call_that_is_cut_by_its_deadline_is_undone_before_the_answer(tmp_path: Path):
    done = []

    async def slow(_: Fields):
        async def undo() -> None:
            await asyncio.sleep(0.02)
            done.append("undone")

        async with AsyncExitStack() as stack:
            stack.push_async_callback(undo)
            done.append("begun")
            await asyncio.sleep(3600)
        return {}

    async with one_call(tmp_path, slow, deadline_s=0.05) as served:
        answer = await served.post()
        assert done == ["begun", "undone"]
        assert answer.status == 504
        assert answer.error.startswith("not done within 0.05 s; what it began is undone. Try again")


async def test_an_undo_that_takes_long_holds_up_neither_the_answer_nor_itself(tmp_path: Path):
    release = asyncio.Event()
    done = []

    async def slow(_: Fields):
        try:
            await asyncio.sleep(3600)
        finally:
            await release.wait()
            done.append("undone")

    async with one_call(tmp_path, slow, deadline_s=0.05, undo_s=0.05) as served:
        answer = await served.post()
        assert answer.status == 504
        assert "what it began is still being undone" in answer.error
        assert done == []
        release.set()
    assert done == ["undone"]


async def test_a_refusal_by_the_undo_is_the_answer_of_a_call_that_was_cut(tmp_path: Path):
    async def slow(_: Fields):
        try:
            await asyncio.sleep(3600)
        finally:
            raise ConflictError("cannot be undone")

    async with one_call(tmp_path, slow, deadline_s=0.05) as served:
        assert (await served.post()).error == "cannot be undone"


async def test_a_call_that_finishes_in_the_moment_of_its_deadline_counts(tmp_path: Path):
    async def stubborn(_: Fields):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return {"done": True}

    async with one_call(tmp_path, stubborn, deadline_s=0.05) as served:
        answer = await served.post()
        assert (answer.status, answer.json) == (200, {"done": True})


async def test_a_call_whose_caller_goes_away_is_finished(tmp_path: Path):
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(_: Fields):
        begun.set()
        await go_on.wait()
        done.set()
        return {}

    async with one_call(tmp_path, slow) as served:
        connection = await served.connect()
        connection.writer.write(
            b"POST /Test.Call HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        )
        async with asyncio.timeout(60):
            await begun.wait()
            await connection.close()
            await asyncio.sleep(0.05)
            go_on.set()
            await done.wait()


async def test_a_caller_that_goes_away_within_its_request_harms_nobody(served: Plugin):
    for _ in range(3):
        async with served.connection() as connection:
            connection.writer.write(
                b"POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nHost: x\r\n"
                b'Content-Length: 100\r\n\r\n{"NetworkID"'
            )
            await connection.writer.drain()
    assert (await served.post("Plugin.Activate")).status == 200
    assert not served.networks.created


async def test_draining_finishes_open_calls_and_takes_no_new_connections(tmp_path: Path):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Fields):
        begun.set()
        await go_on.wait()
        return {}

    async with one_call(tmp_path, slow) as served:
        idle = await served.connect()
        call = asyncio.create_task(served.post())
        async with asyncio.timeout(60):
            await begun.wait()
            drain = asyncio.create_task(served.server.drain(30))
            await asyncio.sleep(0.05)
            with pytest.raises(ConnectionRefusedError):
                await served.connect()
            assert not drain.done()
            go_on.set()
            answer = await call
            await drain
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert await idle.ended()
        await idle.close()


@either_form
async def test_a_call_that_is_sent_in_the_last_moment_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_bytes: bytes
):
    kind: type[PlainConnection | OtherConnection] = (
        PlainConnection if request_bytes is REQUEST_BYTES else OtherConnection
    )
    retire = kind.retire

    def last_moment(self: Any) -> None:
        if not sent:
            sent.append(caller.send(request_bytes))
        retire(self)

    sent: list[int] = []
    async with one_call(tmp_path, yes) as served, kept(served.path, request_bytes) as caller:
        monkeypatch.setattr(kind, "retire", last_moment)
        await served.server.drain(30)
        assert sent == [len(request_bytes)]
        answer = await received(caller)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in answer
        assert await received(caller) == b""


@either_form
async def test_an_idle_connection_takes_nothing_more_while_we_drain(
    tmp_path: Path, request_bytes: bytes
):
    """Not a byte: what dockerd's client could not send at all, it sends again on another one."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(body: Fields):
        if body.flag("wait"):
            begun.set()
            await go_on.wait()
        return {}

    async with one_call(tmp_path, slow) as served, kept(served.path, request_bytes) as idle:
        call = asyncio.create_task(served.post({"wait": True}))
        async with asyncio.timeout(60):
            await begun.wait()
            drain = asyncio.create_task(served.server.drain(30))
            assert await received(idle) == b""
            with pytest.raises(BrokenPipeError):
                idle.send(request_bytes)
            go_on.set()
            assert (await call).status == 200
            await drain


async def test_the_first_call_of_a_new_connection_is_answered_while_we_drain(tmp_path: Path):
    async with one_call(tmp_path, yes) as served, unused(served.path) as caller:
        drain = asyncio.create_task(served.server.drain(30))
        await asyncio.sleep(5 * server._STEP_S)
        caller.sendall(REQUEST_BYTES)
        assert (await received(caller)).startswith(b"HTTP/1.1 200 ")
        await drain


async def test_a_connection_that_its_caller_keeps_in_store_does_not_hold_up_the_end(
    tmp_path: Path,
):
    async with one_call(tmp_path, yes) as served, unused(served.path) as caller:
        await served.server.drain(3600)
        assert await received(caller) == b""


async def test_a_socket_that_ends_with_us_is_left_after_its_idle_connections(tmp_path: Path):
    """Whoever cannot send on one of those connects anew, and must still find somebody."""
    left: list[str] = []

    async def answer(body: Fields):
        left.append("answer")
        return {}

    def leave() -> None:
        left.append("left")
        with raw(tmp_path / "one.sock") as late:
            late.sendall(REQUEST_BYTES)
            lasting.append(late.dup())

    lasting: list[socket.socket] = []
    async with one_call(tmp_path, answer, leave=leave) as served, kept(served.path) as idle:
        left.clear()
        with raw(served.path) as early:
            early.sendall(REQUEST_BYTES)  # is not accepted when the end begins
            await served.server.drain(30)
            assert (await received(early)).startswith(b"HTTP/1.1 200 ")
        assert await received(idle) == b""
    with closing(lasting.pop()) as late:  # nor is this one when the name is taken away
        assert (await received(late)).startswith(b"HTTP/1.1 200 ")
    assert left == ["answer", "left", "answer"]


async def test_on_a_socket_that_stays_the_next_process_answers(tmp_path: Path):
    path = tmp_path / "stays.sock"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        sock.bind(str(path))
        first, second = (PluginServer(metrics=Metrics()) for _ in range(2))
        await first.listen(sock.dup(), {"Test.Call": Call(yes)})
        async with kept(path) as caller:
            await first.drain(30)
            with raw(path) as next_caller:
                next_caller.sendall(REQUEST_BYTES)
                await second.listen(sock.dup(), {"Test.Call": Call(yes)})
                assert (await received(next_caller)).startswith(b"HTTP/1.1 200 ")
            assert await received(caller) == b""
        await second.drain(30)


@either_form
async def test_a_caller_that_ends_its_side_gets_its_answer(tmp_path: Path, request_bytes: bytes):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Fields):
        begun.set()
        await go_on.wait()
        return {}

    async with one_call(tmp_path, slow) as served:
        with raw(served.path) as caller:
            caller.sendall(request_bytes)
            caller.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(60):
                await begun.wait()
            await asyncio.sleep(0.05)
            go_on.set()
            assert (await received(caller)).startswith(b"HTTP/1.1 200 ")
            assert await received(caller) == b""


async def test_draining_is_bounded_and_lets_cut_calls_undo(tmp_path: Path):
    begun = asyncio.Event()
    done = []

    async def slow(_: Fields):
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.02)
            done.append("undone")

    async with one_call(tmp_path, slow, deadline_s=3600, undo_s=2) as served:
        call = asyncio.create_task(served.post())
        async with asyncio.timeout(60):
            await begun.wait()
            await served.server.drain(0.05)
            assert done == ["undone"]
            assert (await call).status == 504


async def test_a_call_that_cannot_be_ended_is_told_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    begun, release = asyncio.Event(), asyncio.Event()

    async def stuck(_: Fields):
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await release.wait()

    async with one_call(tmp_path, stuck, undo_s=0.05) as served:
        connection = await served.connect()
        connection.writer.write(
            b"POST /Test.Call HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        )
        async with asyncio.timeout(60):
            await begun.wait()
            await served.server.drain(0.05)
            answer = await connection.reader.read()
        assert b" 504 " in answer.partition(b"\r\n")[0]
        assert b"ovsnet was stopped before this was done; what it began is still being" in answer
        assert any(record.msg == "server.calls-left" for record in caplog.records)
        release.set()
        await connection.close()


async def test_each_call_is_one_line_in_the_log_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    seen = []

    async def answer(body: Fields):
        event(logging.getLogger("test"), "thing.done")
        seen.append(REQUEST.get())
        await asyncio.sleep(0)
        if body.flag("refuse"):
            raise ConflictError("no")
        return {}

    async with one_call(tmp_path, answer) as served:
        await served.post({})
        await served.post({"refuse": True})
        await served.post({}, call="Other.Call")
        text = served.metrics.render().decode()
    lines = [record for record in caplog.records if record.msg == "request.done"]
    fields = [record.event_fields for record in lines]  # type: ignore[attr-defined]
    assert [(each["method"], each["outcome"], each["why"]) for each in fields] == [
        ("Test.Call", "ok", None),
        ("Test.Call", "refused", "no"),
        ("unknown", "unknown", 'no such call: "Other.Call"'),
    ]
    assert len(set(seen)) == 2
    assert all(seen)
    assert REQUEST.get() == ""
    assert 'ovsnet_calls_total{method="Test.Call",outcome="ok"} 1.0' in text
    assert 'ovsnet_calls_total{method="Test.Call",outcome="refused"} 1.0' in text
    assert 'ovsnet_calls_total{method="unknown",outcome="unknown"} 1.0' in text
    assert "Other.Call" not in text
    assert 'ovsnet_call_duration_seconds_count{method="Test.Call"} 2.0' in text


async def test_open_calls_can_be_seen(tmp_path: Path):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Fields):
        begun.set()
        await go_on.wait()
        return {}

    async with one_call(tmp_path, slow) as served:
        call = asyncio.create_task(served.post())
        async with asyncio.timeout(60):
            await begun.wait()
            await asyncio.sleep(0)
            assert "ovsnet_open_calls 1.0" in served.metrics.render().decode()
            go_on.set()
            await call
        assert "ovsnet_open_calls 0.0" in served.metrics.render().decode()


async def test_fifty_calls_at_once_are_all_answered(served: Plugin):
    answers = await asyncio.gather(
        *(served.post("NetworkDriver.CreateNetwork", {"NetworkID": f"n{i}"}) for i in range(50))
    )
    assert {answer.status for answer in answers} == {200}
    assert len(served.networks.created) == 50


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["10.0.0.0/24", "10.0.0.5", "fd00::/64", "02:00:00:00:00:01", "n1", "/x"]),
)
_NAMES = st.one_of(
    st.text(max_size=10),
    st.sampled_from(
        [
            *("NetworkID", "EndpointID", "PoolID", "Address", "Pool", "SubPool", "Interface"),
            *("Options", "IPv4Data", "IPv6Data", "SandboxKey", "Gateway", "AuxAddresses", "V6"),
            *("MacAddress", "AddressIPv6", "AddressSpace", "Proto", "Port", "HostIP", "HostPort"),
            *("com.docker.network.generic", "com.docker.network.portmap", "ovs.vlan", "ipam.space"),
            *("com.docker.network.endpoint.macaddress", "ovs.mac", "com.docker.network.internal"),
        ]
    ),
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=6)
    ),
    max_leaves=20,
)
_OBJECTS = st.dictionaries(_NAMES, _JSON, max_size=8)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    calls=st.lists(
        st.tuples(st.sampled_from(list(TABLE)), st.one_of(_OBJECTS, _JSON, st.binary(max_size=50))),
        max_size=30,
    )
)
def test_whatever_comes_dockerd_gets_one_json_object(calls: list[tuple[str, object]]):
    async def converse() -> None:
        with TemporaryDirectory() as folder:
            async with plugin(Path(folder)) as served, served.connection() as connection:
                for call, body in calls:
                    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                    answer = await connection.post(call, raw)
                    assert answer.status in {200, 400, 409}
                    assert answer.status == 200 or answer.error.isprintable()
                assert (await connection.post("Plugin.Activate")).status == 200

    asyncio.run(converse())
