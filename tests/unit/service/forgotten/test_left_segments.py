"""What a host that was installed anew has left of segments, given back when nobody knows it."""

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ipam import LeaseKind, PoolId, PoolRequest
from ovsdriver.ports import SegmentPool, SharedLease
from ovsdriver.service.fleet.debts import Debts, LeftPool
from ovsdriver.service.fleet.fleet_name import FleetName
from ovsdriver.service.fleet.pools import SegmentPools
from ovsdriver.service.forgotten.left_segments import LeftSegments
from ovsdriver.service.forgotten.pool_claims import Claims
from tests.builders import RED
from tests.fakes.engine import FakeEngine
from tests.fakes.firewall import MemoryNotes
from tests.fakes.northbound import FakeNorthbound, nobody_lives_there
from tests.fakes.surroundings import Alone
from tests.fakes.switch import FakeSwitch

SUBNET = IPNetwork("10.50.0.0/24")
OLD = SegmentPool(id=PoolId("segment:blue/4/of-before"), host="host1")
OTHERS = SegmentPool(id=PoolId("segment:blue/4/others"), host="host2")


class NoWire:
    async def claimed(self, *_: object, **__: object) -> dict[IPAddress, str]:
        return {}


class Case:
    """``host1`` anew, in a fleet that knows a pool and a lease of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.engine = FakeEngine()
        self.northbound = FakeNorthbound()
        self.switch = FakeSwitch()
        self.switch.system_id = "host1"
        notes = MemoryNotes()
        self.debts = Debts(notes=notes, northbound=self.northbound)
        host = FleetName(switch=self.switch, notes=notes)
        self.pools = SegmentPools(
            northbound=self.northbound,
            notes=notes,
            debts=self.debts,
            surroundings=Alone(),
            prober=NoWire(),
            host=host,
            clock=lambda: 1.0,
            resident=nobody_lives_there,
        )
        self.left = LeftSegments(
            northbound=self.northbound,
            pools=self.pools,
            debts=self.debts,
            host=host,
            clock=lambda: self.now,
        )

    async def begin(self) -> "Case":
        for pool in (OLD, OTHERS):
            await self.northbound.hold("blue", SUBNET, pool)
            await self.take(pool, 10 + len(pool.id))
        return self

    async def take(self, pool: SegmentPool, number: int) -> None:
        lease = SharedLease(
            segment="blue",
            address=IPAddress(f"10.50.0.{number}"),
            kind=LeaseKind.ENDPOINT,
            host=pool.host,
            pool=pool.id,
            serial=number,
            mac=EUI("0a:58:0a:32:00:05"),
        )
        await self.northbound.take(lease)

    async def look(self, times: int = 3) -> None:
        """Read Docker every five minutes."""
        for _ in range(times):
            view = await self.engine.read()
            await self.left.collect(view, Claims(view, ()))
            self.now += 300.0

    @property
    def held(self) -> set[PoolId]:
        return {each.id for each in self.northbound.segments()["blue"].pools}


@pytest.fixture
async def case() -> Case:
    return await Case().begin()


async def test_what_neither_notes_nor_docker_know_is_given_back(case: Case) -> None:
    await case.look()
    assert case.held == {OTHERS.id}
    assert {each.host for each in case.northbound.leases("blue").values()} == {"host2"}


async def test_two_readings_are_no_proof(case: Case) -> None:
    await case.look(2)
    assert case.held == {OLD.id, OTHERS.id}
    assert "pool segment:blue/4/of-before" in case.left.doubted()[0]


async def test_what_the_host_has_now_stays(case: Case) -> None:
    new = await case.pools.request_pool(PoolRequest(space="segment:blue"))
    await case.look()
    assert case.held == {new.id, OTHERS.id}


async def test_what_a_network_in_docker_may_have_stays(case: Case) -> None:
    case.engine.add_network(RED, "blue")
    case.engine.add_subnet(RED, str(SUBNET), options={"ipam.segment": "blue"})
    await case.look(5)
    assert OLD.id in case.held


async def test_what_is_about_to_be_given_back_is_no_doubt(case: Case) -> None:
    case.northbound.available = False
    await case.debts.note(LeftPool(segment="blue", pool=OLD.id))
    case.northbound.available = True
    await case.look(2)
    assert case.left.doubted() == []


async def test_a_pool_that_is_in_use_stays(case: Case) -> None:
    for number in range(100, 106):
        await case.take(OLD, number)
        await case.look(1)
    assert OLD.id in case.held


async def test_a_copy_that_may_be_old_proves_nothing(case: Case) -> None:
    case.northbound.available = False
    await case.look()
    case.northbound.available = True
    assert OLD.id in case.held
    assert case.left.doubted() == []


async def test_a_host_without_a_name_has_left_nothing(case: Case) -> None:
    case.switch.system_id = ""
    await case.look()
    assert OLD.id in case.held
