"""What every ``Northbound`` does: the fake in memory, and OVN's database of its real schema."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Protocol

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ipam import LeaseKind, PoolId
from ovsdriver.adapters.ovn import OvnNorthbound
from ovsdriver.adapters.ovsdb import Servers
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.options.shaping import Metered
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Northbound
from ovsdriver.ports.northbound import (
    SegmentPool,
    SharedGateway,
    SharedLease,
    SharedName,
    SharedPort,
    SharedSegment,
)
from tests.fakes.northbound import FakeCentral, FakeNorthbound
from tests.integration.ovn import Cluster, northbound, running_northbound
from tests.integration.ovs import eventually

PATIENCE_S = 30.0
SUBNET = IPNetwork("10.50.0.0/24")
SUBNET6 = IPNetwork("fd50::/64")
ADDRESS = IPAddress("10.50.0.5")
ADDRESS6 = IPAddress("fd50::5")
MAC = EUI("0a:58:0a:32:00:05")
ENDPOINT = EndpointId("e" * 64)
POOL_A = SegmentPool(id=PoolId("segment:blue/4/aaaa"), host="a")
POOL_B = SegmentPool(id=PoolId("segment:blue/4/bbbb"), host="b")
POOL_A6 = SegmentPool(id=PoolId("segment:blue/6/aaaa"), host="a")
LEASE = SharedLease(
    segment="blue",
    address=ADDRESS,
    kind=LeaseKind.ENDPOINT,
    host="a",
    pool=POOL_A.id,
    serial=2**62 + 7,
    wanted=True,
    name="web é",
    created=1795957463.25,
    mac=MAC,
)
LEASE6 = replace(LEASE, address=ADDRESS6, pool=POOL_A6.id, serial=3, mac=None, wanted=False)
GATEWAY = SharedLease(
    segment="blue", address=IPAddress("10.50.0.1"), kind=LeaseKind.GATEWAY, host="", serial=4
)
PORT = SharedPort(
    segment="blue", addresses=(ADDRESS, ADDRESS6), mac=MAC, endpoint=ENDPOINT, host="a"
)
NAME = SharedName(
    segment="blue",
    endpoint=ENDPOINT,
    host="a",
    names=("web", "alias", "db"),
    addresses=(ADDRESS, ADDRESS6),
)


GATE4, GATE6 = IPNetwork("10.50.0.1/24"), IPNetwork("fd50::1/64")
GATE = SharedGateway(segment="blue", router="main", addresses=(GATE4,))


class Fleet(Protocol):
    """Two hosts on one northbound database."""

    @property
    def a(self) -> Northbound: ...

    @property
    def b(self) -> Northbound: ...

    def stop_answering(self) -> None: ...

    def answer_again(self) -> None: ...

    def called(self) -> int: ...

    def unanswered(self) -> Northbound:
        """Return a host's that no server has ever answered."""
        ...


class FakeFleet:
    def __init__(self) -> None:
        central = FakeCentral()
        self.a, self.b = FakeNorthbound(central), FakeNorthbound(central)

    def stop_answering(self) -> None:
        self.a.available = self.b.available = False

    def answer_again(self) -> None:
        self.a.available = self.b.available = True

    def called(self) -> int:
        return self.a.central.called

    def unanswered(self) -> Northbound:
        host = FakeNorthbound()
        host.available = False
        return host


class OvnFleet:
    def __init__(self, database: Cluster, a: Northbound, b: Northbound) -> None:
        self.database = database
        self.a, self.b = a, b

    def stop_answering(self) -> None:
        self.database.members[0].kill()

    def answer_again(self) -> None:
        self.database.members[0].start()

    def called(self) -> int:
        return int(self.database.nbctl("get", "NB_Global", ".", "nb_cfg"))

    def unanswered(self) -> Northbound:
        nobody = Servers.parse(["unix:/nobody.sock"], clustered=True)
        return OvnNorthbound(nobody, timeout_s=0.05)


@pytest.fixture(scope="module")
def database() -> Iterator[Cluster]:
    with northbound() as database:
        yield database


FAKE = pytest.param("fake", id="fake")
MARKS = [pytest.mark.ovs, pytest.mark.ovn]
OVN = pytest.param(PATIENCE_S, marks=MARKS, id="ovn")
HASTY = pytest.param(0.5, marks=MARKS, id="ovn")
"""The number is the adapter's patience: generous, for a machine that does other things, too."""


@pytest.fixture(params=[FAKE, OVN])
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    if request.param == "fake":
        yield FakeFleet()
        return
    database = request.getfixturevalue("database")
    async with AsyncExitStack() as stack:
        hosts = [
            await stack.enter_async_context(running_northbound(database, timeout_s=request.param))
            for _ in "ab"
        ]
        yield OvnFleet(database, *hosts)
        with suppress(AssertionError):
            database.members[0].start()
    for line in database.nbctl("ls-list").splitlines():
        database.nbctl("ls-del", line.split()[0])
    database.nbctl("--all", "destroy", "DNS")
    database.nbctl("--all", "destroy", "Logical_Router")
    database.nbctl("--all", "destroy", "Port_Group")
    database.nbctl("--all", "destroy", "Address_Set")


async def seen(condition: Callable[[], object]) -> None:
    """Wait until a copy shows what another host did."""
    await eventually(condition, "the other host's copy shows it")


async def pools_are(host: Northbound, name: str, *pools: SegmentPool) -> None:
    """Wait until a segment has these pools, for that host."""
    await seen(lambda: segment_of(host, name).pools == pools)


async def names_are(host: Northbound, *names: SharedName) -> None:
    """Wait until these are all names, for that host."""
    await seen(lambda: list(host.names()) == list(names))


async def test_the_first_pool_makes_a_segment_that_all_hosts_see(fleet: Fleet) -> None:
    made = await fleet.a.hold("blue", SUBNET, POOL_A)

    assert made == SharedSegment(name="blue", subnets=(SUBNET,), pools=(POOL_A,))
    assert fleet.a.segment("blue") == made
    await seen(lambda: fleet.b.segment("blue") == made)
    assert dict(fleet.b.segments()) == {"blue": made}
    assert fleet.b.segment("red") is None


async def test_what_another_host_wrote_is_there_after_catching_up(fleet: Fleet) -> None:
    for number in range(20):
        await fleet.b.hold(f"blue{number}", SUBNET, POOL_B)
        await fleet.a.catch_up()
        assert f"blue{number}" in fleet.a.segments()


async def test_a_later_pool_gets_the_subnet_that_is_there(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)

    later = await fleet.b.hold("blue", IPNetwork("10.99.0.0/24"), POOL_B)

    assert later.subnets == (SUBNET,)
    assert later.pools == (POOL_A, POOL_B)


async def test_each_family_has_its_subnet(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET6, POOL_A6)
    both = await fleet.a.hold("blue", SUBNET, POOL_A)

    assert both.subnets == (SUBNET, SUBNET6)


async def test_holding_a_pool_twice_is_holding_it(fleet: Fleet) -> None:
    once = await fleet.a.hold("blue", SUBNET, POOL_A)

    assert await fleet.a.hold("blue", SUBNET, POOL_A) == once


async def test_two_hosts_that_make_a_segment_at_once_make_one(fleet: Fleet) -> None:
    other = IPNetwork("10.99.0.0/24")
    for number in range(20):
        name = f"n{number}"
        one, two = await asyncio.gather(
            fleet.a.hold(name, SUBNET, POOL_A), fleet.b.hold(name, other, POOL_B)
        )

        assert one.subnets == two.subnets
        await pools_are(fleet.a, name, POOL_A, POOL_B)
        await pools_are(fleet.b, name, POOL_A, POOL_B)


async def test_the_first_network_says_the_options(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    first = await fleet.a.describe("blue", {"ovs.mtu": "1400"})
    second = await fleet.b.describe("blue", {"ovs.mtu": "1300", "ovs.guard": "off"})

    assert first == second
    assert (first.described, dict(first.options)) == (True, {"ovs.mtu": "1400"})


async def test_no_options_are_options_too(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    assert not segment_of(fleet.a, "blue").described
    await fleet.a.describe("blue", {})

    later = await fleet.a.describe("blue", {"ovs.mtu": "1400"})

    assert (later.described, dict(later.options)) == (True, {})


@pytest.mark.parametrize("what", ["describe", "take", "put_name", "put_gateway"])
async def test_without_its_segment_nothing_is_written(fleet: Fleet, what: str) -> None:
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "describe": lambda: fleet.a.describe("blue", {}),
        "take": lambda: fleet.a.take(LEASE),
        "put_name": lambda: fleet.a.put_name(NAME),
        "put_gateway": lambda: fleet.a.put_gateway(GATE),
    }

    with pytest.raises(UnavailableError, match="segment blue is gone"):
        await calls[what]()


async def test_a_lease_is_kept_as_it_was_taken(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.hold("blue", SUBNET6, POOL_A6)

    for lease in (LEASE, LEASE6, GATEWAY):
        assert await fleet.a.take(lease) == lease
        assert fleet.a.lease("blue", lease.address) == lease

    await seen(lambda: len(fleet.b.leases("blue")) == 3)
    assert dict(fleet.b.leases("blue")) == {each.address: each for each in (LEASE, LEASE6, GATEWAY)}
    assert ADDRESS in fleet.b.leases("blue")
    assert IPAddress("10.50.0.6") not in fleet.b.leases("blue")
    assert dict(fleet.b.leases("red")) == {}
    assert list(fleet.b.held("blue", 4)) == [int(GATEWAY.address), int(ADDRESS)]
    assert list(fleet.b.held("blue", 6)) == [int(ADDRESS6)]
    assert list(fleet.b.held("red", 4)) == []
    assert dict(fleet.b.leases_of(POOL_A.id)) == {ADDRESS: LEASE}
    assert dict(fleet.b.leases_of(POOL_B.id)) == {}


async def test_a_held_address_is_answered_with_its_holder(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.b.hold("blue", SUBNET, POOL_B)
    await fleet.a.take(LEASE)

    assert await fleet.b.take(replace(LEASE, host="b", pool=POOL_B.id, serial=99)) == LEASE
    assert await fleet.a.take(LEASE) == LEASE


async def test_without_its_pool_a_host_takes_nothing(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.b.hold("blue", SUBNET, POOL_B)
    await pools_are(fleet.a, "blue", POOL_A, POOL_B)

    taken, gone = await asyncio.gather(
        fleet.a.take(LEASE), fleet.b.forget_host("a"), return_exceptions=True
    )

    assert taken == LEASE or isinstance(taken, UnavailableError)
    assert not isinstance(gone, BaseException)
    with pytest.raises(UnavailableError, match="this host has no pool of it"):
        await fleet.a.take(replace(LEASE, address=SUBNET[9], serial=9))
    await seen(lambda: not fleet.a.leases("blue") and not fleet.b.leases("blue"))


async def test_one_address_in_two_segments_is_two(fleet: Fleet) -> None:
    red = replace(LEASE, segment="red", pool=PoolId("segment:red/4/x"), serial=8)
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.hold("red", SUBNET, SegmentPool(id=PoolId("segment:red/4/x"), host="a"))

    assert await fleet.a.take(LEASE) == LEASE
    assert await fleet.a.take(red) == red


async def test_of_two_hosts_that_take_an_address_at_once_one_gets_it(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.b.hold("blue", SUBNET, POOL_B)
    for number in range(20, 60):
        mine = replace(LEASE, address=SUBNET[number], serial=number)
        theirs = replace(mine, host="b", pool=POOL_B.id, serial=1000 + number)

        one, two = await asyncio.gather(fleet.a.take(mine), fleet.b.take(theirs))

        assert one == two
        assert one in (mine, theirs)
    await seen(lambda: len(fleet.a.leases("blue")) == len(fleet.b.leases("blue")) == 40)


async def test_a_lease_ends_by_its_own_request_only(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.take(LEASE)

    assert not await fleet.a.release("blue", ADDRESS, LEASE.serial + 1)
    assert not await fleet.a.release("red", ADDRESS, LEASE.serial)
    assert fleet.a.lease("blue", ADDRESS) == LEASE
    assert await fleet.a.release("blue", ADDRESS, LEASE.serial)
    assert fleet.a.lease("blue", ADDRESS) is None
    assert not await fleet.a.release("blue", ADDRESS, LEASE.serial)
    again = replace(LEASE, serial=5)
    assert await fleet.a.take(again) == again


async def test_a_port_is_shown_with_its_lease(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.take(LEASE)

    for port in (
        PORT,
        replace(PORT, guard=False),
        replace(PORT, mac=EUI("02:00:00:00:00:01")),
        replace(PORT, sent=Metered(rate=2000, burst=200)),
        replace(PORT, sent=Metered(rate=4000, burst=200)),
        PORT,
        replace(PORT, sent=Metered(rate=4000, burst=200), apart=True),
        replace(PORT, guard=False, apart=True),
        PORT,
        replace(PORT, apart=True),
    ):
        await fleet.a.set_port(port)
        await fleet.a.set_port(port)

        assert fleet.a.lease("blue", ADDRESS) == replace(LEASE, mac=port.mac, port=port)
    await seen(lambda: fleet.b.lease("blue", ADDRESS) == fleet.a.lease("blue", ADDRESS))


async def test_ports_that_are_kept_apart_are_so_on_all_hosts_until_their_leases_end(
    fleet: Fleet,
) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.hold("blue", SUBNET, POOL_B)
    theirs_mac = EUI("0a:58:0a:32:00:06")
    theirs = replace(LEASE, address=IPAddress("10.50.0.6"), host="b", pool=POOL_B.id, serial=5)
    theirs = replace(theirs, mac=theirs_mac)
    await fleet.a.take(LEASE)
    await fleet.b.take(theirs)
    port = replace(PORT, addresses=(ADDRESS,), apart=True)
    other = replace(
        port, addresses=(theirs.address,), endpoint=EndpointId("f" * 64), host="b", mac=theirs_mac
    )
    await asyncio.gather(fleet.a.set_port(port), fleet.b.set_port(other))

    def apart(host: Northbound) -> list[bool]:
        leases = host.leases("blue").values()
        return [each.port.apart for each in leases if each.port is not None]

    for host in (fleet.a, fleet.b):
        await seen(lambda host=host: apart(host) == [True, True])  # type: ignore[misc]
    await fleet.a.release("blue", ADDRESS, LEASE.serial)
    await fleet.a.take(replace(LEASE, serial=6))
    await fleet.a.set_port(replace(port, apart=False))
    await seen(lambda: sorted(apart(fleet.b)) == [False, True])


async def test_a_port_of_an_address_that_is_not_held_is_refused(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    with pytest.raises(UnavailableError, match=r"address 10\.50\.0\.5 of segment blue"):
        await fleet.a.set_port(PORT)
    await fleet.a.take(LEASE)

    with pytest.raises(UnavailableError, match="not this host's"):
        await fleet.a.set_port(replace(PORT, host="b"))


async def test_a_name_is_said_changed_and_taken_back(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)

    for name in (NAME, replace(NAME, names=("web",), addresses=(ADDRESS,))):
        await fleet.a.put_name(name)
        await fleet.a.put_name(name)

        assert list(fleet.a.names()) == [name]
        await names_are(fleet.b, name)
        assert fleet.b.name(ENDPOINT) == name
        for each in NAME.names:
            found = [name] if each in name.names else []
            assert list(fleet.b.called("blue", each)) == found
        assert not fleet.b.called("red", "web")
    assert await fleet.a.forget_name(ENDPOINT)
    assert list(fleet.a.names()) == []
    assert fleet.a.name(ENDPOINT) is None
    assert not fleet.a.called("blue", "web")
    assert not await fleet.a.forget_name(ENDPOINT)


async def test_a_pool_goes_with_its_leases_and_leaves_the_others(fleet: Fleet) -> None:
    theirs = replace(LEASE, address=SUBNET[9], host="b", pool=POOL_B.id, serial=9)
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.b.hold("blue", SUBNET, POOL_B)
    await fleet.a.take(LEASE)
    await fleet.b.take(theirs)
    await fleet.b.take(GATEWAY)
    await seen(lambda: len(fleet.a.leases("blue")) == 3)

    assert await fleet.a.let_go("blue", POOL_A.id)

    assert dict(fleet.a.leases("blue")) == {theirs.address: theirs, GATEWAY.address: GATEWAY}
    assert list(fleet.a.held("blue", 4)) == [int(GATEWAY.address), int(theirs.address)]
    assert dict(fleet.a.leases_of(POOL_A.id)) == {}
    assert segment_of(fleet.a, "blue").pools == (POOL_B,)
    assert not await fleet.a.let_go("blue", POOL_A.id)


async def test_with_its_last_pool_a_segment_goes_and_all_that_is_on_it(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.hold("blue", SUBNET6, POOL_A6)
    for lease in (LEASE, LEASE6, GATEWAY):
        await fleet.a.take(lease)
    await fleet.a.put_name(NAME)

    assert await fleet.a.let_go("blue", POOL_A.id)
    assert ADDRESS6 in fleet.a.leases("blue")
    assert await fleet.a.let_go("blue", POOL_A6.id)

    assert dict(fleet.a.segments()) == {}
    assert dict(fleet.a.leases("blue")) == {}
    assert not fleet.a.held("blue", 4)
    assert not fleet.a.held("blue", 6)
    assert list(fleet.a.names()) == []
    await seen(lambda: not fleet.b.segments() and not fleet.b.leases("blue"))


async def test_of_two_hosts_that_let_go_at_once_neither_leaves_the_segment(fleet: Fleet) -> None:
    for number in range(20):
        name = f"n{number}"
        await fleet.a.hold(name, SUBNET, POOL_A)
        await fleet.b.hold(name, SUBNET, POOL_B)
        await pools_are(fleet.a, name, POOL_A, POOL_B)

        gone = await asyncio.gather(
            fleet.a.let_go(name, POOL_A.id), fleet.b.let_go(name, POOL_B.id)
        )

        assert all(gone)

        await seen(lambda: not fleet.a.segments() and not fleet.b.segments())


async def test_a_host_that_comes_while_the_last_one_goes_has_its_segment(fleet: Fleet) -> None:
    for number in range(20):
        name, theirs = f"n{number}", replace(LEASE, host="b", pool=POOL_B.id)
        await fleet.a.hold(name, SUBNET, POOL_A)
        await pools_are(fleet.b, name, POOL_A)

        gone, there = await asyncio.gather(
            fleet.a.let_go(name, POOL_A.id), fleet.b.hold(name, SUBNET, POOL_B)
        )

        assert gone
        assert POOL_B in there.pools
        lease = replace(theirs, segment=name)
        assert await fleet.b.take(lease) == lease
        await pools_are(fleet.a, name, POOL_B)


async def test_a_segment_is_put_on_a_router_and_stays_there_with_further_addresses(
    fleet: Fleet,
) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    both = replace(GATE, addresses=(GATE4, GATE6))
    for asked, stands in ((GATE, GATE), (GATE, GATE), (both, both), (GATE, both)):
        await fleet.a.put_gateway(asked)
        assert fleet.a.gateway("blue") == stands
    await seen(lambda: fleet.b.gateway("blue") == both)
    assert fleet.b.gateway("red") is None
    assert dict(fleet.b.leases("blue")) == {}
    await fleet.a.let_go("blue", POOL_A.id)
    assert fleet.a.gateway("blue") is None
    await seen(lambda: fleet.b.gateway("blue") is None)


async def test_segments_are_put_on_one_router_at_once_and_leave_it_at_once(fleet: Fleet) -> None:
    red = SegmentPool(id=PoolId("segment:red/4/bbbb"), host="b")
    theirs = replace(GATE, segment="red", addresses=(IPNetwork("10.51.0.1/24"),))
    for _ in range(10):
        await fleet.a.hold("blue", SUBNET, POOL_A)
        await fleet.b.hold("red", SUBNET, red)
        await asyncio.gather(fleet.a.put_gateway(GATE), fleet.b.put_gateway(theirs))
        await seen(lambda: fleet.a.gateway("red") == theirs)
        await seen(lambda: fleet.b.gateway("blue") == GATE)
        await asyncio.gather(fleet.a.let_go("blue", POOL_A.id), fleet.b.let_go("red", red.id))
        await seen(lambda: not fleet.a.gateway("red") and not fleet.b.gateway("blue"))
        if isinstance(fleet, OvnFleet):
            assert fleet.database.nbctl("--bare", "--columns=name", "list", "Logical_Router") == ""


async def test_two_hosts_that_put_a_segment_on_its_router_at_once_do_it_once(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.b.hold("blue", SUBNET, POOL_B)
    await asyncio.gather(fleet.a.put_gateway(GATE), fleet.b.put_gateway(GATE))
    await seen(lambda: fleet.a.gateway("blue") == fleet.b.gateway("blue") == GATE)


async def test_a_host_is_forgotten_with_all_that_it_had(fleet: Fleet) -> None:
    red = SegmentPool(id=PoolId("segment:red/4/a"), host="a")
    theirs = replace(LEASE, address=SUBNET[9], host="b", pool=POOL_B.id, serial=9)
    await fleet.a.hold("red", SUBNET, red)
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.b.hold("blue", SUBNET, POOL_B)
    await fleet.a.take(LEASE)
    await fleet.a.put_name(NAME)
    other = replace(NAME, endpoint=EndpointId("f" * 64), host="b", names=("other",))
    await fleet.b.put_name(other)
    await fleet.b.take(theirs)
    await seen(lambda: fleet.b.lease("blue", ADDRESS))

    assert list(await fleet.b.forget_host("a")) == [LEASE]

    assert set(fleet.b.segments()) == {"blue"}
    assert segment_of(fleet.b, "blue").pools == (POOL_B,)
    assert dict(fleet.b.leases("blue")) == {theirs.address: theirs}
    assert list(fleet.b.names()) == [other]
    assert list(await fleet.b.forget_host("a")) == []


async def test_what_is_every_hosts_goes_with_none(fleet: Fleet) -> None:
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.take(GATEWAY)

    assert list(await fleet.a.forget_host("")) == []

    assert fleet.a.lease("blue", GATEWAY.address) == GATEWAY


async def test_a_host_is_not_forgotten_before_it_is_known_what_it_has(fleet: Fleet) -> None:
    host = fleet.unanswered()

    with pytest.raises(UnavailableError, match="does not answer"):
        await host.forget_host("a")


async def test_a_container_with_ipv6_alone_has_a_port(fleet: Fleet) -> None:
    port = replace(PORT, addresses=(ADDRESS6,))
    await fleet.a.hold("blue", SUBNET6, POOL_A6)
    await fleet.a.take(LEASE6)

    await fleet.a.set_port(port)

    assert fleet.a.lease("blue", ADDRESS6) == replace(LEASE6, mac=MAC, port=port)


async def test_changes_are_told_by_segment(fleet: Fleet) -> None:
    told: list[Collection[str] | None] = []
    fleet.b.on_change(told.append)

    await fleet.a.hold("blue", SUBNET, POOL_A)
    await seen(lambda: told)
    assert {name for each in told for name in each or ()} == {"blue"}

    changes: Sequence[Callable[[], Awaitable[object]]] = (
        lambda: fleet.a.take(LEASE),
        lambda: fleet.a.set_port(PORT),
        lambda: fleet.a.put_name(NAME),
        lambda: fleet.a.forget_name(ENDPOINT),
        lambda: fleet.a.release("blue", ADDRESS, LEASE.serial),
        lambda: fleet.a.let_go("blue", POOL_A.id),
    )
    for change in changes:
        told.clear()
        await change()
        await seen(lambda: told)
        assert {name for each in told for name in each or ()} == {"blue"}


async def test_leases_that_end_are_told_whoever_ends_them(fleet: Fleet) -> None:
    ended: list[SharedLease] = []
    fleet.b.on_end(ended.extend)
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.take(LEASE)
    await fleet.a.set_port(PORT)
    await fleet.a.release("blue", ADDRESS, LEASE.serial)
    await seen(lambda: ended)
    assert ended == [replace(LEASE, port=PORT)]

    again = replace(LEASE, serial=9)
    await fleet.a.take(again)
    await fleet.a.let_go("blue", POOL_A.id)
    await seen(lambda: len(ended) > 1)
    assert ended[1:] == [again]


async def test_hosts_can_be_called_by_each_of_them(fleet: Fleet) -> None:
    before = fleet.called()
    await fleet.a.call()
    await fleet.b.call()
    assert fleet.called() == before + 2


async def test_names_that_come_or_go_are_told_with_their_segment(fleet: Fleet) -> None:
    told: set[tuple[str, str]] = set()
    fleet.b.on_names(told.update)
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.take(LEASE)
    await seen(lambda: fleet.b.lease("blue", ADDRESS))
    assert not told
    every = {("blue", name) for name in NAME.names}

    changes: Sequence[tuple[Callable[[], Awaitable[object]], set[tuple[str, str]]]] = (
        (lambda: fleet.a.put_name(replace(NAME, names=("web",))), {("blue", "web")}),
        (lambda: fleet.a.put_name(NAME), every),
        (lambda: fleet.a.forget_name(ENDPOINT), every),
        (lambda: fleet.a.put_name(NAME), every),
        (lambda: fleet.a.let_go("blue", POOL_A.id), every),
    )
    for change, names in changes:
        told.clear()
        await change()
        await seen(lambda: told)
        assert told == names


async def test_names_are_told_by_host(fleet: Fleet) -> None:
    other = replace(NAME, endpoint=EndpointId("f" * 64), host="b", names=("other",))
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.put_name(NAME)
    await fleet.a.put_name(other)

    assert list(fleet.a.names("a")) == [NAME]
    assert list(fleet.a.names("b")) == [other]
    assert not fleet.a.names("c")


@pytest.mark.parametrize("fleet", [FAKE, HASTY], indirect=True)
async def test_without_an_answer_calls_are_refused_and_what_was_known_stays(fleet: Fleet) -> None:
    told: list[Collection[str] | None] = []
    await fleet.a.hold("blue", SUBNET, POOL_A)
    await fleet.a.take(LEASE)
    fleet.a.on_change(told.append)
    assert fleet.a.status().connected

    fleet.stop_answering()

    await seen(lambda: told == [None])
    with pytest.raises(UnavailableError, match="does not answer"):
        await fleet.a.take(replace(LEASE, address=SUBNET[6], serial=6))
    with pytest.raises(UnavailableError, match="does not answer"):
        await fleet.a.release("blue", ADDRESS, LEASE.serial)
    status = fleet.a.status()
    assert not status.connected
    assert status.why
    assert status.server
    assert fleet.a.lease("blue", ADDRESS) == LEASE
    assert set(fleet.a.segments()) == {"blue"}

    fleet.answer_again()

    await fleet.a.connected(PATIENCE_S)
    assert await fleet.a.release("blue", ADDRESS, LEASE.serial)
    assert fleet.a.lease("blue", SUBNET[6]) is None


def segment_of(host: Northbound, name: str) -> SharedSegment:
    return host.segment(name) or SharedSegment(name="")
