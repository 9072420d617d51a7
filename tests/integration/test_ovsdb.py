"""The OVSDB client against a real ovsdb-server, without ovs-vswitchd."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from types import FrameType
from typing import Any

import pytest

from ovsdriver.adapters.ovsdb import (
    ConnectionLostError,
    Operation,
    OvsdbClient,
    RefusedError,
    Replica,
    RowChange,
)
from tests.integration.ovs import PrivateOvs, eventually, private_ovs
from tests.integration.relay import relayed

pytestmark = [pytest.mark.ovs, pytest.mark.netns]

WATCHED = {
    "Open_vSwitch": ("bridges",),
    "Bridge": ("name", "ports"),
    "Port": ("name", "tag", "interfaces", "external_ids"),
    "Interface": ("name", "type"),
}
PATIENCE_S = 30.0
Plan = Callable[[Replica], Sequence[Operation]]


@pytest.fixture
def database() -> Iterator[PrivateOvs]:
    """An ovsdb-server alone, with a bridge."""
    with private_ovs(vswitchd=False) as ovs:
        ovs.vsctl("--no-wait", "add-br", "br", "--", "set", "Bridge", "br", "datapath_type=netdev")
        yield ovs


@asynccontextmanager
async def connected(
    address: str, changes: list[Sequence[RowChange] | None] | None = None, probe_s: float = 5.0
) -> AsyncIterator[OvsdbClient]:
    changes = [] if changes is None else changes
    client = OvsdbClient(address, WATCHED, on_change=changes.append, probe_s=probe_s)
    running = asyncio.create_task(client.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await client.connected()
        yield client
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def adding(name: str, **columns: Any) -> Plan:
    """Return a plan that adds a port with these columns, if it is not there."""

    def plan(replica: Replica) -> list[Operation]:
        return [] if replica.named("Port", name) else blindly(replica)

    def blindly(replica: Replica) -> list[Operation]:
        bridge = replica.named("Bridge", "br")
        assert bridge is not None
        interface = {"name": name, "type": "internal"}
        port = {"name": name, "interfaces": ["named-uuid", f"i_{name}"], **columns}
        return [
            {"op": "insert", "table": "Interface", "row": interface, "uuid-name": f"i_{name}"},
            {"op": "insert", "table": "Port", "row": port, "uuid-name": f"p_{name}"},
            {
                "op": "mutate",
                "table": "Bridge",
                "where": [["_uuid", "==", ["uuid", bridge["_uuid"]]]],
                "mutations": [["ports", "insert", ["named-uuid", f"p_{name}"]]],
            },
        ]

    return plan


async def outcomes(futures: Sequence[asyncio.Future[bool]]) -> list[bool | BaseException]:
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.gather(*futures, return_exceptions=True)


def ports(ovs: PrivateOvs) -> set[str]:
    return set(ovs.vsctl("--no-wait", "list-ports", "br").split())


async def test_the_replica_shows_a_change_before_its_caller_goes_on(database: PrivateOvs) -> None:
    async with connected(database.address) as client:
        for number in range(20):
            assert await client.submit(adding(f"p{number}", tag=5), subject=f"p{number}")

            assert client.replica is not None
            row = client.replica.named("Port", f"p{number}")
            assert row is not None
            holder = client.replica.holder("Bridge", "ports", row["_uuid"])
            assert holder is client.replica.named("Bridge", "br")


async def test_a_bad_value_fails_its_caller_only(database: PrivateOvs) -> None:
    async with connected(database.address) as client:
        plans = {f"p{number}": adding(f"p{number}", tag=number) for number in range(20)}
        plans["bad1"], plans["bad2"] = adding("bad1", tag=99999), adding("bad2", tag="x")
        results = await outcomes([client.submit(plan, subject=s) for s, plan in plans.items()])

        assert results[:20] == [True] * 20
        assert [type(result) for result in results[20:]] == [RefusedError, RefusedError]
        assert client.transactions <= 2
    assert ports(database) == {f"p{number}" for number in range(20)}


async def test_an_operation_that_the_server_refuses_fails_its_caller_only(
    database: PrivateOvs,
) -> None:
    # fits the schema, and is refused when it is carried out
    wait = {"op": "wait", "table": "Port", "timeout": 0, "where": [], "columns": ["name"]}

    def refused(_: Replica) -> list[Operation]:
        return [{**wait, "until": "==", "rows": []}]

    async with connected(database.address) as client:
        futures = [client.submit(adding(f"p{n}", tag=n), subject=f"p{n}") for n in range(10)]
        futures.insert(5, client.submit(refused, subject="refused"))
        results = await outcomes(futures)

        assert isinstance(results.pop(5), RefusedError)
        assert results == [True] * 10
        assert client.transactions <= 3
    assert len(ports(database)) == 10


async def test_a_name_that_is_taken_fails_its_caller_only(database: PrivateOvs) -> None:
    async with connected(database.address) as client:
        await client.submit(adding("taken"), subject="taken")

        def blind(replica: Replica) -> Sequence[Operation]:
            empty = Replica(replica.schema, WATCHED)
            rows: dict[str, Any] = {table: {} for table in WATCHED}
            bridge = replica.named("Bridge", "br")
            assert bridge is not None
            rows["Bridge"] = {bridge["_uuid"]: {"insert": {"name": "br"}}}
            empty.apply(rows)
            return adding("taken")(empty)

        before = client.transactions
        futures = [client.submit(adding(f"p{n}"), subject=f"p{n}") for n in range(20)]
        futures.append(client.submit(blind, subject="blind"))
        results = await outcomes(futures)

        assert results[:20] == [True] * 20
        assert isinstance(results[20], RefusedError)
        assert "constraint violation" in str(results[20])
        # the reply names nobody, so the batch is halved: two transactions for each halving
        assert client.transactions - before <= 12


async def test_a_hundred_changes_at_once_are_a_few_transactions(database: PrivateOvs) -> None:
    async with connected(database.address) as client:
        results = await outcomes(
            [client.submit(adding(f"p{n}", tag=n), subject=f"p{n}") for n in range(100)]
        )

        assert results == [True] * 100
        assert client.commits == 100
        assert client.transactions <= 2
    assert len(ports(database)) == 100


async def test_changes_of_others_arrive(database: PrivateOvs) -> None:
    changes: list[Sequence[RowChange] | None] = []
    async with connected(database.address, changes) as client:
        assert client.replica is not None
        database.vsctl("--no-wait", "add-port", "br", "theirs", "tag=5")
        await eventually(lambda: client.replica and client.replica.named("Port", "theirs"), "added")
        database.vsctl("--no-wait", "set", "Port", "theirs", "tag=6", "external_ids:a=b")
        database.vsctl("--no-wait", "remove", "Port", "theirs", "external_ids", "a")
        database.vsctl("--no-wait", "set", "Port", "theirs", "external_ids:c=d")

        def row() -> dict[str, Any]:
            assert client.replica is not None
            return client.replica.named("Port", "theirs") or {}

        await eventually(lambda: row().get("external_ids") == {"c": "d"}, "changed")
        assert row()["tag"] == 6
        database.vsctl("--no-wait", "del-port", "theirs")
        await eventually(lambda: not row(), "removed")

    tables = {change.table for each in changes if each for change in each}
    assert tables >= {"Bridge", "Port", "Interface"}


async def test_killed_and_restarted_it_is_found_again(database: PrivateOvs) -> None:
    changes: list[Sequence[RowChange] | None] = []
    async with connected(database.address, changes) as client:
        database.kill_db()
        await eventually(lambda: client.replica is None, "the loss is noticed")
        waiting = client.submit(adding("p1"), subject="p1")
        await asyncio.sleep(0.05)
        assert not waiting.done()

        database.start_db()

        assert await outcomes([waiting]) == [True]
        assert client.connections == 2
    # connected, lost, connected again, stopped
    assert [each for each in changes if each is None] == [None] * 4
    assert ports(database) == {"p1"}


async def test_a_server_that_was_stopped_is_not_woken_by_connecting(database: PrivateOvs) -> None:
    """systemd goes on listening for the server, and would start it for a connection."""
    socket_of_systemd = database.folder / "systemd.sock"
    async with (
        relayed(database.socket, path=socket_of_systemd) as relay,
        connected(relay.address) as client,
    ):
        database.kill_db(signal.SIGTERM)
        await eventually(lambda: "was stopped" in client.last_error, "it is noticed")

        database.start_db()

        assert await outcomes([client.submit(adding("p1"), subject="p1")]) == [True]
        assert client.connections == relay.connections == 2


async def test_what_was_committed_with_the_connection_lost_is_not_done_twice(
    database: PrivateOvs,
) -> None:
    async with relayed(database.socket) as relay, connected(relay.address) as client:
        relay.drop_replies = True
        lost = client.submit(adding("p1", tag=5), subject="p1")
        await eventually(lambda: "p1" in ports(database), "committed, and nobody told us")

        relay.drop_replies = False
        relay.cut()

        # Found in the new replica: there was nothing left to change.
        assert await outcomes([lost]) == [False]
        assert client.transactions == 1
        assert client.connections == 2


async def test_a_frozen_server_is_noticed_and_found_again(database: PrivateOvs) -> None:
    async with connected(database.address, probe_s=0.3) as client:
        with database.frozen_db():
            waiting = client.submit(adding("p1"), subject="p1")
            await eventually(lambda: client.replica is None, "the probe fails")

        result = await outcomes([waiting])

        # whether the first attempt was carried out after all is up to the server
        assert result in ([True], [False])
    assert ports(database) == {"p1"}


async def test_a_server_over_tcp_with_messages_in_pieces(database: PrivateOvs) -> None:
    async with relayed(database.socket, piece=7) as relay, connected(relay.address) as client:
        results = await outcomes(
            [client.submit(adding(f"p{n}", tag=n), subject=f"p{n}") for n in range(10)]
        )

        assert results == [True] * 10
        assert client.connections == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_ovsdb_servers_own_tcp_listener(host: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from ovsdriver.adapters.ovs.rows import OvsSwitch\n"
        "async def main():\n"
        "    switch = OvsSwitch(sys.argv[1], owner='ovsnet')\n"
        "    running = asyncio.create_task(switch.run())\n"
        f"    await switch.connected({PATIENCE_S})\n"
        "    print(*switch.bridges())\n"
        "    running.cancel()\n"
        "asyncio.run(main())\n"
    )
    with private_ovs(vswitchd=False, remotes=(f"ptcp:6640:{host}",)) as ovs:
        ovs.vsctl("--no-wait", "add-br", "br")

        assert ovs.run(sys.executable, "-c", program, f"tcp:{host}:6640").split() == ["br"]


async def test_an_emptied_database_is_followed(database: PrivateOvs) -> None:
    async with connected(database.address) as client:
        database.kill_db()
        database.create_database()
        database.start_db()
        await eventually(lambda: client.connections == 2, "reconnected")

        assert client.replica is not None
        assert list(client.replica.rows("Bridge")) == []


async def test_stopping_fails_those_who_wait(database: PrivateOvs) -> None:
    async with connected(database.address) as client:
        database.kill_db()
        await eventually(lambda: client.replica is None, "the loss is noticed")
        waiting = client.submit(adding("p1"), subject="p1")

    [result] = await outcomes([waiting])
    assert isinstance(result, ConnectionLostError)


async def test_starting_costs_as_much_as_there_is_to_read(database: PrivateOvs) -> None:
    fill(database, 0, 500)
    small = await calls_to_connect(database)
    fill(database, 500, 1000)
    large = await calls_to_connect(database)

    assert large <= 2.5 * small


def fill(ovs: PrivateOvs, first: int, last: int) -> None:
    """Add ports in one transaction of our own."""
    operations: list[Any] = []
    names = [f"f{number}" for number in range(first, last)]
    for name in names:
        interface = {"name": name, "type": "internal"}
        ids = ["map", [["note", "x" * 200]]]
        port = {"name": name, "interfaces": ["named-uuid", f"i{name}"], "external_ids": ids}
        operations += [
            {"op": "insert", "table": "Interface", "row": interface, "uuid-name": f"i{name}"},
            {"op": "insert", "table": "Port", "row": port, "uuid-name": f"p{name}"},
        ]
    references = ["set", [["named-uuid", f"p{name}"] for name in names]]
    operations.append(
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", "br"]],
            "mutations": [["ports", "insert", references]],
        }
    )
    request = {"id": 1, "method": "transact", "params": ["Open_vSwitch", *operations]}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(ovs.socket))
        connection.sendall(json.dumps(request).encode())
        assert connection.recv(100).startswith(b'{"')
    assert len(ports(ovs)) == last


async def calls_to_connect(ovs: PrivateOvs) -> int:
    """Count the calls of our own functions from connecting to a complete replica."""
    count = 0

    def note(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call" and "/adapters/ovsdb/" in frame.f_code.co_filename

    sys.setprofile(note)
    try:
        async with connected(ovs.address):
            pass
    finally:
        sys.setprofile(None)
    assert count > 1000
    return count
