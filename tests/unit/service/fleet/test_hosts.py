"""Hosts of a fleet: who answers, what each has, and the end of one that died."""

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ipam import LeaseKind, PoolId
from ovsdriver.errors import ConflictError, UnavailableError, UnknownObjectError
from ovsdriver.ports import SegmentPool, SharedLease
from ovsdriver.service.fleet.debts import Debts, FreedLease
from ovsdriver.service.fleet.hosts import FleetHosts
from tests.fakes.firewall import MemoryNotes
from tests.fakes.journal import FakeJournal
from tests.fakes.northbound import FakeCentral, FakeNorthbound
from tests.fakes.southbound import FakeSouthbound

SUBNET = IPNetwork("10.50.0.0/24")


class Case:
    """Three hosts; ``host1`` is where people ask, ``host3`` has two containers."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.central = FakeCentral()
        self.northbound = FakeNorthbound(self.central)
        self.southbound = FakeSouthbound(self.central)
        self.southbound.register("host1", "host2", "host3")
        self.debts = Debts(notes=MemoryNotes(), northbound=self.northbound)
        self.hosts = FleetHosts(
            northbound=self.northbound,
            southbound=self.southbound,
            debts=self.debts,
            host=lambda: "host1",
            journal=FakeJournal(),
            clock=lambda: self.now,
            answer_s=0.2,
        )

    async def give(self, host: str, *addresses: str) -> None:
        pool = SegmentPool(id=PoolId(f"segment:blue/4/{host}"), host=host)
        await self.northbound.hold("blue", SUBNET, pool)
        for serial, address in enumerate(addresses, 1):
            lease = SharedLease(
                segment="blue",
                address=IPAddress(address),
                kind=LeaseKind.ENDPOINT,
                host=host,
                pool=pool.id,
                serial=serial,
                created=1000.0 + serial,
                mac=EUI("0a:58:0a:32:00:05"),
            )
            await self.northbound.take(lease)


@pytest.fixture
async def case() -> Case:
    made = Case()
    await made.give("host1")
    await made.give("host3", "10.50.0.5", "10.50.0.6")
    return made


async def test_hosts_that_live_answer_a_call_made_now(case: Case):
    case.southbound.dead = {"host3"}
    found = await case.hosts.look()
    assert found.why == ""
    assert [(e.name, e.answers) for e in found.hosts] == [
        ("host1", True),
        ("host2", True),
        ("host3", False),
    ]
    assert [each.name for each in found.hosts if each.here] == ["host1"]


async def test_a_host_is_told_with_what_it_has(case: Case):
    *_, third = (await case.hosts.look()).hosts
    assert (third.segments, third.leases, third.address) == (("blue",), 2, "192.0.2.3")
    assert third.seen == case.southbound.now


async def test_a_host_that_never_answered_was_last_seen_when_it_got_an_address(case: Case):
    case.southbound.dead = {"host3"}
    *_, third = (await case.hosts.look()).hosts
    assert third.seen == 1002.0


@pytest.mark.parametrize(("now", "ahead"), [(5000.5, 0.0), (4970.0, 30.0), (5035.0, -35.0)])
async def test_a_clock_that_is_off_is_told(case: Case, now: float, ahead: float):
    case.now = now
    assert {each.ahead_s for each in (await case.hosts.look()).hosts} == {ahead}


async def test_an_address_that_this_host_is_releasing_is_not_counted(case: Case):
    case.northbound.available = False
    await case.debts.note(FreedLease(segment="blue", address=IPAddress("10.50.0.5"), serial=1))
    *_, third = (await case.hosts.look()).hosts
    assert third.leases == 1


async def test_without_the_southbound_database_hosts_are_those_with_pools(case: Case):
    case.southbound.available = False
    found = await case.hosts.look()
    assert [(each.name, each.answers) for each in found.hosts] == [("host1", None), ("host3", None)]
    assert "southbound" in found.why


async def test_without_the_northbound_database_nobody_can_be_asked(case: Case):
    case.northbound.available = False
    found = await case.hosts.look()
    assert {each.answers for each in found.hosts} == {None}
    assert "northbound" in found.why


async def test_a_northd_that_does_not_run_is_not_blamed_on_the_hosts(case: Case):
    case.southbound.passed_on = False
    found = await case.hosts.look()
    assert {each.answers for each in found.hosts} == {None}
    assert "northd" in found.why


async def test_a_dead_host_gives_its_addresses_back_and_is_not_registered(case: Case):
    case.southbound.dead = {"host3"}
    gone = await case.hosts.forget("host3")
    assert [str(each.address) for each in gone.leases] == ["10.50.0.5", "10.50.0.6"]
    assert gone.registered is False
    assert not case.northbound.leases("blue")
    assert {each.host for each in case.northbound.segments()["blue"].pools} == {"host1"}
    assert "host3" not in {each.name for each in (await case.hosts.look()).hosts}


async def test_a_registration_that_this_host_may_not_take_away_is_told(case: Case):
    case.southbound.dead, case.southbound.may_forget = {"host3"}, False
    assert (await case.hosts.forget("host3")).registered is True


async def test_addresses_are_given_back_without_the_southbound_database_too(case: Case):
    case.southbound.available = False
    gone = await case.hosts.forget("host3")
    assert (len(gone.leases), gone.registered) == (2, None)


async def test_a_host_that_answers_is_not_forgotten_by_mistake(case: Case):
    with pytest.raises(ConflictError, match="--force"):
        await case.hosts.forget("host3")
    assert len(case.northbound.leases("blue")) == 2
    assert len((await case.hosts.forget("host3", force=True)).leases) == 2


async def test_this_host_does_not_forget_itself(case: Case):
    with pytest.raises(ConflictError, match="is this host"):
        await case.hosts.forget("host1", force=True)


async def test_a_host_that_nobody_knows_is_refused(case: Case):
    with pytest.raises(UnknownObjectError, match="ovsnet host ls"):
        await case.hosts.forget("host4")


async def test_nothing_is_forgotten_while_the_northbound_database_is_away(case: Case):
    case.northbound.available = False
    with pytest.raises(UnavailableError):
        await case.hosts.forget("host3", force=True)
    assert "host3" in case.southbound.chassis
