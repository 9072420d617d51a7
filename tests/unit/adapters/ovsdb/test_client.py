"""The client against a scripted server: old ones, silent ones, ones that talk nonsense."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ovsdriver.adapters.ovsdb import Address, OvsdbClient, RowChange
from ovsdriver.adapters.ovsdb.wire.framing import Splitter
from ovsdriver.errors import ConfigurationError
from tests.unit.adapters.ovsdb.small_schema import SCHEMA, WATCHED

UUID = "11111111-1111-4111-8111-111111111111"
Reply = Callable[[Sequence[Any]], Any]


def unknown(_: Sequence[Any]) -> Any:
    return ValueError("unknown method")


class ScriptedServer:
    """Answers each method as its script says; an exception is an error reply, None silence."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {
            "get_schema": lambda _: SCHEMA,
            "monitor_cond": lambda _: {"Port": {UUID: {"initial": {"name": "p1", "tag": 5}}}},
            "transact": lambda params: [{"count": 1} for _ in params[1:]],
            "echo": lambda params: params,
        }
        self.received: list[Any] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        splitter = Splitter()
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                for text in splitter.feed(data):
                    self._answer(writer, json.loads(text))
        writer.close()

    def send(self, message: Any) -> None:
        self.writers[-1].write(json.dumps(message).encode())

    def update(self, method: str, updates: Any) -> None:
        self.send({"id": None, "method": method, "params": ["ovsnet", updates]})

    def methods(self) -> list[str]:
        return [message["method"] for message in self.received if "method" in message]

    def _answer(self, writer: asyncio.StreamWriter, message: Any) -> None:
        self.received.append(message)
        if "method" not in message:
            return
        reply = self.replies.get(message["method"], unknown)
        result = reply(message["params"])
        if isinstance(result, Exception):
            answer = {"id": message["id"], "result": None, "error": str(result)}
        else:
            answer = {"id": message["id"], "result": result, "error": None}
        if result is not None:
            writer.write(json.dumps(answer).encode())


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def changes() -> list[Sequence[RowChange] | None]:
    return []


@pytest.fixture
async def client(
    server: ScriptedServer, changes: list[Sequence[RowChange] | None], tmp_path: Path
) -> AsyncIterator[OvsdbClient]:
    path = str(tmp_path / "db.sock")
    async with await asyncio.start_unix_server(server.serve, path):
        async with running(f"unix:{path}", changes) as client:
            yield client
        for writer in server.writers:
            writer.close()


@asynccontextmanager
async def running(
    address: str, changes: list[Sequence[RowChange] | None]
) -> AsyncIterator[OvsdbClient]:
    client = OvsdbClient(address, WATCHED, on_change=changes.append, probe_s=0.3)
    task = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def eventually(condition: Callable[[], Any]) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within 30 s")


def tag_of(client: OvsdbClient, name: str) -> int | None:
    row = client.replica.named("Port", name) if client.replica else None
    return row["tag"] if row else None


async def test_the_replica_is_filled_and_followed(
    client: OvsdbClient, server: ScriptedServer, changes: list[Sequence[RowChange] | None]
) -> None:
    await eventually(lambda: client.replica)
    assert tag_of(client, "p1") == 5

    server.update("update2", {"Port": {UUID: {"modify": {"tag": 6}}}})
    await eventually(lambda: tag_of(client, "p1") == 6)

    assert changes[0] is None
    assert changes[1] is not None
    assert [change.table for change in changes[1]] == ["Port"]


async def test_a_server_without_conditions_is_asked_for_a_plain_monitor(
    client: OvsdbClient, server: ScriptedServer
) -> None:
    del server.replies["monitor_cond"]
    server.replies["monitor"] = lambda _: {"Port": {UUID: {"new": {"name": "p1", "tag": 5}}}}
    await eventually(lambda: client.replica)
    assert tag_of(client, "p1") == 5

    server.update("update", {"Port": {UUID: {"old": {}, "new": {"name": "p1", "tag": 7}}}})

    await eventually(lambda: tag_of(client, "p1") == 7)


async def test_an_update_right_behind_the_first_reply_is_not_lost(
    client: OvsdbClient, server: ScriptedServer
) -> None:
    def monitor(_: Sequence[Any]) -> Any:
        rows = {f"{UUID[:-4]}{n:04}": {"initial": {"name": f"q{n}"}} for n in range(3000)}
        update = {"Port": {UUID: {"insert": {"name": "p1", "tag": 9}}}}
        asyncio.get_running_loop().call_soon(server.update, "update2", update)
        return {"Port": rows}

    server.replies["monitor_cond"] = monitor

    await eventually(lambda: tag_of(client, "p1") == 9)
    assert client.connections == 1


async def test_the_servers_echo_is_answered(client: OvsdbClient, server: ScriptedServer) -> None:
    await eventually(lambda: client.replica)

    server.send({"id": "echo", "method": "echo", "params": ["x"]})

    answer = {"id": "echo", "result": ["x"], "error": None}
    await eventually(lambda: answer in server.received)


@pytest.mark.slow
async def test_a_quiet_server_that_answers_probes_is_kept(
    client: OvsdbClient, server: ScriptedServer
) -> None:
    await eventually(lambda: server.methods().count("echo") >= 3)

    assert client.connections == 1


@pytest.mark.slow
async def test_a_silent_server_is_given_up_and_tried_again(
    client: OvsdbClient, server: ScriptedServer, changes: list[Sequence[RowChange] | None]
) -> None:
    await eventually(lambda: client.replica)
    server.replies["echo"] = lambda _: None

    await eventually(lambda: client.connections == 2)

    assert changes[:3] == [None, None, None]
    assert tag_of(client, "p1") == 5
    assert "hangs" in client.last_error


@pytest.mark.slow
async def test_a_server_that_never_tells_its_schema_is_tried_again(
    client: OvsdbClient, server: ScriptedServer
) -> None:
    server.replies["get_schema"] = lambda _: None
    server.replies["echo"] = lambda _: None

    await eventually(lambda: len(server.writers) == 2)

    assert client.replica is None


async def test_a_commit_whose_connection_breaks_is_tried_on_the_next(
    client: OvsdbClient, server: ScriptedServer
) -> None:
    def breaking(_: Sequence[Any]) -> Any:
        server.replies["transact"] = lambda params: [{"count": 1} for _ in params[1:]]
        server.writers[-1].close()

    server.replies["transact"] = breaking

    async with asyncio.timeout(30):
        assert await client.submit(
            lambda _: [{"op": "insert", "table": "Port", "row": {"name": "x"}}], subject="x"
        )

    assert client.connections == 2
    assert server.methods().count("transact") == 2


@pytest.mark.parametrize(
    "refusal",
    [
        [{"error": "not leader", "details": ""}],
        [{}, {"error": "cluster error"}],
        ValueError("canceled"),
        [{"error": "database not available"}],
    ],
    ids=str,
)
async def test_a_server_that_will_not_do_is_left_and_the_plan_asked_again(
    client: OvsdbClient, server: ScriptedServer, refusal: Any
) -> None:
    def refusing(_: Sequence[Any]) -> Any:
        server.replies["transact"] = lambda params: [{"count": 1} for _ in params[1:]]
        return refusal

    server.replies["transact"] = refusing

    async with asyncio.timeout(30):
        assert await client.submit(
            lambda _: [{"op": "insert", "table": "Port", "row": {"name": "x"}}], subject="x"
        )

    assert client.connections == 2


@pytest.mark.parametrize(
    "nonsense",
    [
        b"}",
        b'{"a" "b"}',
        b'{"neither":1}',
        b'{"id":null,"method":"update2","params":["ovsnet",{"Port":{"x":{"modify":7}}}]}',
        b'{"id":null,"method":"update2","params":["ovsnet",{"Nowhere":{"x":{"delete":null}}}]}',
        b'{"id":null,"method":"update2","params":[]}',
        b'{"id":null,"method":"update2","params":["ovsnet",5]}',
        b'{"id":null,"method":"update2","params":["\xff"]}',
    ],
)
async def test_after_nonsense_a_new_connection_is_made(
    client: OvsdbClient, server: ScriptedServer, nonsense: bytes
) -> None:
    await eventually(lambda: client.replica)

    server.writers[-1].write(nonsense)

    await eventually(lambda: client.connections == 2)


async def test_rows_of_another_schema_are_no_reason_to_stop(
    client: OvsdbClient, server: ScriptedServer
) -> None:
    replies = [{"Port": {UUID: {"initial": {"name": "p1", "tag": 8}}}}, {"Port": 5}]
    server.replies["monitor_cond"] = lambda _: replies.pop() if replies else None

    await eventually(lambda: tag_of(client, "p1") == 8)


async def test_messages_that_nobody_asked_for_are_ignored(
    client: OvsdbClient, server: ScriptedServer
) -> None:
    await eventually(lambda: client.replica)
    server.send({"id": 987654, "result": [], "error": None})
    server.send({"id": None, "method": "locked", "params": ["x"]})
    server.update("update2", {"Port": {UUID: {"modify": {"tag": 6}}}})

    await eventually(lambda: tag_of(client, "p1") == 6)
    assert client.connections == 1


async def test_nobody_there_is_a_reason_and_no_crash(
    changes: list[Sequence[RowChange] | None], tmp_path: Path
) -> None:
    async with running(f"unix:{tmp_path}/none.sock", changes) as client:
        await eventually(lambda: "No such file" in client.last_error)

    assert changes == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_tcp_addresses_are_connected_to(
    server: ScriptedServer, changes: list[Sequence[RowChange] | None], host: str
) -> None:
    async with await asyncio.start_server(server.serve, host.strip("[]"), 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with running(f"tcp:{host}:{port}", changes) as client:
            await eventually(lambda: client.replica)
        for writer in server.writers:
            writer.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/db.sock", Address("unix:/run/db.sock", path="/run/db.sock")),
        ("tcp:10.0.0.1:6641", Address("tcp:10.0.0.1:6641", host="10.0.0.1", port=6641)),
        ("tcp:db.example", Address("tcp:db.example", host="db.example", port=6640)),
        ("tcp:[fd00::1]:7", Address("tcp:[fd00::1]:7", host="fd00::1", port=7)),
        ("tcp:[fd00::1]", Address("tcp:[fd00::1]", host="fd00::1", port=6640)),
        ("ssl:n:1", Address("ssl:n:1", host="n", port=1, encrypted=True)),
    ],
)
def test_addresses_are_read_as_open_vswitch_writes_them(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "/run/db.sock",
        "tcp:",
        "tcp::6640",
        "tcp:host:port",
        "tcp:host:0",
        "tcp:host:65536",
        "tcp:fd00::1:6640",
        "ssl:",
        "pssl:host:6640",
        "ssl:central..lan:6641",
        f"tcp:{64 * 'a'}:6640",
    ],
)
def test_what_is_no_address_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigurationError, match="tcp:HOST:PORT"):
        Address.parse(text)
