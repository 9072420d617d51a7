"""OVN's northbound database through our adapter: its rows, other people's, and its faults."""

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ipam import LeaseKind, PoolId
from ovsdriver.adapters.ovn import OvnNorthbound, rows
from ovsdriver.adapters.ovsdb import Address, ConnectionLostError, Operation, Servers
from ovsdriver.adapters.ovsdb.wire.connection import Connection
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.options.shaping import Metered
from ovsdriver.errors import UnavailableError
from ovsdriver.ports.northbound import SegmentPool, SharedLease, SharedName, SharedPort
from tests.integration.ovn import NORTHBOUND, Cluster, northbound, run, running_northbound
from tests.integration.ovs import eventually
from tests.integration.relay import relayed

pytestmark = [pytest.mark.ovs, pytest.mark.ovn]

SUBNET = IPNetwork("10.50.0.0/16")
POOL = SegmentPool(id=PoolId("segment:blue/4/aaaa"), host="a")
MAC = EUI("0a:58:0a:32:00:05")
LEASE = SharedLease(
    segment="blue",
    address=IPAddress("10.50.0.5"),
    kind=LeaseKind.ENDPOINT,
    host="a",
    pool=POOL.id,
    serial=7,
    mac=MAC,
)
LEASE6 = replace(LEASE, address=IPAddress("fd50::5"), serial=8, mac=None)
PORT = SharedPort(
    segment="blue",
    addresses=(LEASE.address, LEASE6.address),
    mac=MAC,
    endpoint=EndpointId("e" * 64),
    host="a",
)
NAME = SharedName(
    segment="blue",
    endpoint=PORT.endpoint,
    host="a",
    names=("web", "alias"),
    addresses=PORT.addresses,
)


@pytest.fixture
def database() -> Iterator[Cluster]:
    with northbound() as database:
        yield database


@pytest.fixture
async def host(database: Cluster) -> AsyncIterator[OvnNorthbound]:
    async with running_northbound(database) as host:
        await host.hold("blue", SUBNET, POOL)
        yield host


def column(database: Cluster, table: str, row: str, name: str) -> Any:
    """Return a column's value as JSON, ``["map", …]`` and ``["set", …]`` kept."""
    found = json.loads(database.nbctl("--format=json", f"--columns={name}", "list", table, row))
    return found["data"][0][0]


async def test_a_containers_row_is_what_ovn_wants(database: Cluster, host: OvnNorthbound) -> None:
    row = ("Logical_Switch_Port", "blue/10.50.0.5")
    await host.take(LEASE)

    assert column(database, *row, "addresses") == "0a:58:0a:32:00:05 10.50.0.5"
    assert column(database, *row, "port_security") == "0a:58:0a:32:00:05 10.50.0.5"
    assert column(database, *row, "options") == ["map", [["requested-chassis", "a"]]]
    assert column(database, *row, "enabled") == ["set", []]

    await host.set_port(replace(PORT, guard=False))

    packets = "0a:58:0a:32:00:05 10.50.0.5 fd50::5"
    assert column(database, *row, "addresses") == ["set", [packets, "unknown"]]
    assert column(database, *row, "port_security") == ["set", []]
    assert column(database, *row, "options") == ["map", [["requested-chassis", "a"]]]

    await host.set_port(PORT)

    assert column(database, *row, "addresses") == packets
    assert column(database, *row, "port_security") == packets


async def test_a_rate_whose_port_was_lost_is_the_new_ports(
    database: Cluster, host: OvnNorthbound
) -> None:
    slow = replace(PORT, sent=Metered(rate=2000, burst=200))
    await host.take(LEASE)
    await host.set_port(slow)
    database.nbctl("lsp-del", "blue/10.50.0.5")
    await eventually(lambda: host.lease("blue", LEASE.address) is None, "it is seen")
    await host.take(LEASE)

    await host.set_port(replace(slow, sent=Metered(rate=4000, burst=200)))

    assert database.nbctl("--bare", "--columns=bandwidth", "list", "QoS") == "burst=200 rate=4000\n"
    assert await host.release("blue", LEASE.address, LEASE.serial)
    assert not database.nbctl("list", "QoS")


async def test_the_row_of_a_container_with_ipv6_alone_lets_its_packets_pass(
    database: Cluster, host: OvnNorthbound
) -> None:
    row = ("Logical_Switch_Port", "blue/fd50::5")
    await host.take(LEASE6)

    await host.set_port(replace(PORT, addresses=(LEASE6.address,)))

    assert column(database, *row, "addresses") == "0a:58:0a:32:00:05 fd50::5"
    assert column(database, *row, "enabled") == ["set", []]


async def test_an_ipv6_address_beside_an_ipv4_one_is_a_row_that_no_packet_meets(
    database: Cluster, host: OvnNorthbound
) -> None:
    await host.take(LEASE6)

    row = ("Logical_Switch_Port", "blue/fd50::5")
    assert column(database, *row, "addresses") == ["set", []]
    assert column(database, *row, "enabled") is False


async def test_names_are_answered_on_their_segment(database: Cluster, host: OvnNorthbound) -> None:
    await host.put_name(NAME)

    [uuid] = database.nbctl("--bare", "--columns=_uuid", "list", "DNS").split()
    answer = "10.50.0.5 fd50::5"
    assert column(database, "DNS", uuid, "records") == ["map", [["alias", answer], ["web", answer]]]
    assert column(database, "Logical_Switch", "blue", "dns_records") == ["uuid", uuid]
    assert column(database, "Logical_Switch_Port", "blue/dns", "type") == "localport"


async def test_rows_of_others_are_left_and_not_shown(
    database: Cluster, host: OvnNorthbound
) -> None:
    database.nbctl("ls-add", "theirs", "--", "lsp-add", "theirs", "theirs/10.1.0.1")
    database.nbctl("ls-add", "green", "--", "set", "Logical_Switch", "green", "external_ids:a=b")
    database.nbctl("create", "DNS", "records:theirs=10.1.0.1", "external_ids:a=b")
    await eventually(lambda: host.leases("theirs"), "its copy is complete")

    assert set(host.segments()) == {"blue"}
    assert list(host.names()) == []
    assert list(await host.forget_host("a")) == []
    assert list(await host.forget_host("")) == []
    assert not host.segments()
    names = {line.split()[1] for line in database.nbctl("ls-list").splitlines()}
    assert names == {"(theirs)", "(green)"}
    assert "theirs/10.1.0.1" in database.nbctl("lsp-list", "theirs")
    assert "theirs" in database.nbctl("list", "DNS")


async def test_an_address_that_somebody_else_has_is_nobodys_to_take_or_release(
    database: Cluster, host: OvnNorthbound
) -> None:
    database.nbctl("lsp-add", "blue", "blue/10.50.0.5")
    await eventually(lambda: host.lease("blue", LEASE.address), "it is seen")

    held = await host.take(LEASE)

    assert (held.host, held.serial, held.pool) == ("", 0, None)
    assert not await host.release("blue", LEASE.address, LEASE.serial)
    assert not await host.release("blue", LEASE.address, 0)


async def test_an_answer_that_is_lost_is_settled_by_asking_again(database: Cluster) -> None:
    socket = Path(database.addresses[0].removeprefix("unix:"))
    async with (
        relayed(socket) as relay,
        running_northbound(database, addresses=[relay.address]) as host,
    ):
        await host.hold("blue", SUBNET, POOL)
        for number, call in enumerate(lost_calls(host)):
            relay.drop_replies = True
            lost = asyncio.create_task(call())
            await eventually(partial(written, database, number), "written, and nobody told us")
            relay.drop_replies = False
            relay.cut()

            assert await lost in (True, LEASE)

        assert host.connections == 4
    assert not database.nbctl("ls-list")


def lost_calls(host: OvnNorthbound) -> list[Callable[[], Coroutine[Any, Any, object]]]:
    return [
        lambda: host.take(LEASE),
        lambda: host.release("blue", LEASE.address, LEASE.serial),
        lambda: host.let_go("blue", POOL.id),
    ]


def written(database: Cluster, number: int) -> bool:
    """Whether what the call of that number does has been done."""
    if number == 2:
        return not database.nbctl("ls-list")
    return ("blue/10.50.0.5" in database.nbctl("lsp-list", "blue")) is (number == 0)


async def test_servers_that_never_answered_are_named_with_the_time() -> None:
    addresses = ["tcp:127.0.0.1:1", "tcp:127.0.0.1:2"]
    host = OvnNorthbound(
        Servers.parse(addresses, clustered=True), timeout_s=0.05, clock=lambda: 1795957463.0
    )

    with pytest.raises(UnavailableError) as refused:
        await host.take(LEASE)

    assert "since 13:04:23 UTC: tcp:127.0.0.1:1, tcp:127.0.0.1:2" in str(refused.value)
    assert len(str(refused.value).split()) <= 30
    assert dict(host.segments()) == {}


async def test_who_is_in_a_hurry_waits_no_longer_than_he_says() -> None:
    host = OvnNorthbound(Servers.parse(["tcp:127.0.0.1:1"]), timeout_s=3600.0)

    async with asyncio.timeout(30):
        with pytest.raises(UnavailableError):
            await host.take(LEASE, within_s=0.05)


async def test_a_value_that_does_not_fit_is_refused_with_its_reason(
    database: Cluster, host: OvnNorthbound
) -> None:
    database.nbctl("ls-add", "foreign", "--", "lsp-add", "foreign", "red/dns")
    pool = SegmentPool(id=PoolId("segment:red/4/x"), host="a")
    async with running_northbound(database, timeout_s=0.5) as hasty:
        with pytest.raises(UnavailableError, match="refuses it: constraint violation"):
            await hasty.hold("red", SUBNET, pool)

        assert hasty.segment("red") is None


GROWTH_LIMIT_KB = 60_000
"""Of the 120 MB that ovsnet may have in such a fleet."""

GROWN = """
import asyncio, sys
from ovsdriver.adapters.ovn import OvnNorthbound, rows
from ovsdriver.adapters.ovsdb import Address, ConnectionLostError, Operation, Servers
from ovsdriver.adapters.ovsdb.wire.connection import Connection

def resident():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])

async def main():
    host = OvnNorthbound(Servers.parse(sys.argv[1:], clustered=True))
    before = resident()
    running = asyncio.create_task(host.run())
    await host.connected(60)
    print(resident() - before, sum(len(host.leases(each)) for each in host.segments()))
    running.cancel()

asyncio.run(main())
"""


@pytest.mark.slow
async def test_ten_thousand_containers_of_a_fleet_cost_a_host_little_memory(
    database: Cluster,
) -> None:
    connection = await Connection.open(
        Address.parse(database.addresses[0]), on_notification=lambda *_: None, probe_s=60
    )
    serving = asyncio.create_task(connection.serve())
    for number in range(10):
        results = await connection.request("transact", [NORTHBOUND, *a_thousand(f"n{number}")])
        assert not [each for each in results if each and "error" in each]
    connection.close()
    with suppress(ConnectionLostError):
        await serving
    await connection.closed()

    grown, leases = run(sys.executable, "-c", GROWN, *database.addresses).split()

    assert int(leases) == 10_000
    assert int(grown) < GROWTH_LIMIT_KB


def a_thousand(segment: str) -> Iterator[Operation]:
    """Give what makes a segment with as many containers, each with a name."""
    yield from rows.new_segment(segment, SUBNET, POOL)
    for place in range(1000):
        address, endpoint = SUBNET[10 + place], EndpointId(f"{segment:>060}{place:04}")
        lease = replace(LEASE, segment=segment, address=address, serial=2**62 + place, name="web")
        yield from rows.new_lease(lease)
        name = replace(NAME, segment=segment, endpoint=endpoint, addresses=(address,))
        yield from rows.put_name(name, None)


@dataclass
class Lessee:
    """A host that takes and releases addresses as fast as it gets answers."""

    north: OvnNorthbound
    name: str
    held: list[SharedLease] = field(default_factory=list)
    asked: int = 0

    async def run(self, serials: Iterator[int], count: int) -> None:
        pool = SegmentPool(id=PoolId(f"segment:blue/4/{self.name}"), host=self.name)
        await self._insist(lambda: self.north.hold("blue", SUBNET, pool))
        while len(self.held) < count:
            free = next(
                each
                for each in map(IPAddress, range(SUBNET.first + 10, SUBNET.last))
                if each not in self.north.leases("blue")
            )
            wanted = replace(
                LEASE, address=free, host=self.name, pool=pool.id, serial=next(serials)
            )
            if await self._insist(partial(self.north.take, wanted)) == wanted:
                self.held.append(wanted)

    async def _insist(self, call: Callable[[], Any]) -> Any:
        """Ask until there is an answer, as Docker's caller would; what was doubtful is settled."""
        while True:
            self.asked += 1
            try:
                return await call()
            except UnavailableError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("fault", ["kill", "freeze", "cut off"])
async def test_while_leaders_fail_no_address_is_given_twice_and_none_is_lost(fault: str) -> None:
    with northbound(members=3) as cluster:
        async with AsyncExitStack() as stack:
            hosts = [
                Lessee(
                    await stack.enter_async_context(running_northbound(cluster, timeout_s=1.5)),
                    name,
                )
                for name in ("a", "b", "c")
            ]
            serials = itertools.count(1)
            leasing = asyncio.gather(*(each.run(serials, 150) for each in hosts))
            for already in (20, 80):
                await eventually(partial(all_hold, hosts, already), "under way")
                leader = cluster.leader()
                if fault == "kill":
                    leader.kill()
                elif fault == "cut off":
                    leader.cut_off()
                else:
                    stack.enter_context(leader.frozen())
                    break
                if already == 20:
                    await eventually(partial(all_hold, hosts, 50), "they go on")
                    leader.kill()
                    leader.start()
            await leasing

        rows = leases_in(cluster)
    held = {f"blue/{lease.address}": str(lease.serial) for each in hosts for lease in each.held}
    assert len(held) == 450
    assert rows == held


def all_hold(hosts: Sequence[Lessee], count: int) -> bool:
    return all(len(each.held) >= count for each in hosts)


def leases_in(cluster: Cluster) -> dict[str, str]:
    """Return the serial of each lease's row by its name, as the leader has them."""
    columns = "--columns=name,external_ids"
    found = json.loads(cluster.nbctl("--format=json", columns, "list", "Logical_Switch_Port"))
    rows = {name: dict(ids[1]) for name, ids in found["data"]}
    return {name: ids["ovsnet:rid"] for name, ids in rows.items() if ids}
