"""Addresses of segments, over a northbound database in memory that several hosts have in common."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from netaddr import IPAddress, IPNetwork, IPRange

from ipam import AddressRequest, IpamError, Lease, LeaseKind, Occupied, Pool, PoolId, PoolRequest
from ovsdriver.domain.records.segments import space_of
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import SharedLease
from ovsdriver.service.fleet.addresses import Addresses
from ovsdriver.service.fleet.debts import Debts
from ovsdriver.service.fleet.fleet_name import FleetName
from ovsdriver.service.fleet.pools import SegmentPools
from tests.fakes.firewall import MemoryNotes
from tests.fakes.northbound import FakeCentral, FakeNorthbound, nobody_lives_there
from tests.fakes.switch import FakeSwitch

SUBNET = IPNetwork("10.50.0.0/24")
BLUE = space_of("blue")


@dataclass
class Around:
    """What a host uses for itself."""

    taken: list[Occupied] = field(default_factory=list)

    async def occupied(self, within: Sequence[IPNetwork]) -> Sequence[Occupied]:
        return self.taken


@dataclass
class Wire:
    """Who answers on it."""

    there: dict[IPAddress, str] = field(default_factory=dict)

    async def claimed(
        self, pool: PoolId, addresses: Sequence[IPAddress], *, within_s: float
    ) -> Mapping[IPAddress, str]:
        return {each: self.there[each] for each in addresses if each in self.there}


class Member:
    """A host of a fleet; a restart keeps its notes."""

    def __init__(self, central: FakeCentral, name: str) -> None:
        self.name = name
        self.central = central
        self.notes = MemoryNotes()
        self.around = Around()
        self.switch = FakeSwitch()
        self.switch.system_id = name
        self.prober = Wire()
        self.start()

    def start(self) -> None:
        self.northbound = FakeNorthbound(self.central)
        self.debts = Debts(notes=self.notes, northbound=self.northbound)
        self.pools = SegmentPools(
            northbound=self.northbound,
            notes=self.notes,
            debts=self.debts,
            surroundings=self.around,
            prober=self.prober,
            host=FleetName(switch=self.switch, notes=self.notes),
            clock=lambda: 1000.0,
            resident=nobody_lives_there,
        )

    async def pool(self, subnet: IPNetwork | None = SUBNET, **more: object) -> Pool:
        family = 4 if subnet is None else int(subnet.version)
        wanted = {"space": BLUE, "subnet": subnet, "family": family} | more
        return await self.pools.request_pool(PoolRequest(**wanted))  # type: ignore[arg-type]

    async def address(self, pool: Pool, address: str | None = None, name: str = "") -> Lease:
        wanted = IPAddress(address) if address else None
        return await self.pools.request_address(
            AddressRequest(pool=pool.id, address=wanted, name=name)
        )

    async def settled(self) -> None:
        """Let what waits be carried out."""
        running = asyncio.create_task(self.debts.run())
        for _ in range(20):
            await asyncio.sleep(0)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await self.pools.close()


@pytest.fixture
def central() -> FakeCentral:
    return FakeCentral()


@pytest.fixture
def one(central: FakeCentral) -> Member:
    return Member(central, "host1")


@pytest.fixture
def two(central: FakeCentral) -> Member:
    return Member(central, "host2")


async def test_the_first_host_says_the_subnet_and_others_inherit_it(
    one: Member, two: Member
) -> None:
    first = await one.pool()
    second = await two.pool(None)
    assert (second.subnet, second.space) == (SUBNET, BLUE)
    assert first.id != second.id
    assert len(first.id) <= 64


async def test_a_segment_that_another_host_made_a_moment_ago_is_found(
    one: Member, two: Member
) -> None:
    await one.pool()
    two.northbound.lags = True
    assert (await two.pool(None)).subnet == SUBNET


async def test_a_segment_that_nobody_has_needs_a_subnet(one: Member) -> None:
    with pytest.raises(IpamError, match="no IPv4 subnet yet; name it with --subnet"):
        await one.pool(None)


async def test_another_subnet_is_refused_with_both_named(one: Member, two: Member) -> None:
    await one.pool()
    with pytest.raises(IpamError, match=r"10\.60\.0\.0/24: segment blue has 10\.50\.0\.0/24"):
        await two.pool(IPNetwork("10.60.0.0/24"))
    assert not two.pools.pools()


async def test_a_subnet_that_the_host_uses_is_not_inherited_but_can_be_typed(
    one: Member, two: Member
) -> None:
    await one.pool()
    two.around.taken = [Occupied(network=IPNetwork("10.50.0.0/16"), why="route via eth0")]
    with pytest.raises(IpamError, match=r"route via eth0.*add --subnet 10\.50\.0\.0/24"):
        await two.pool(None)
    assert (await two.pool(SUBNET)).subnet == SUBNET


async def test_no_address_is_given_twice_over_hosts(one: Member, two: Member) -> None:
    pools = [await one.pool(), await two.pool()]
    given = await asyncio.gather(
        *(
            member.address(pool)
            for _ in range(20)
            for member, pool in zip((one, two), pools, strict=True)
        )
    )
    addresses = [each.address for each in given]
    assert len(set(addresses)) == 40
    assert min(addresses) == IPAddress("10.50.0.2")


async def test_who_was_second_goes_on_from_a_place_of_its_own(central: FakeCentral) -> None:
    members = [Member(central, f"host{number}") for number in range(8)]
    pools = [await each.pool() for each in members]
    together = [one.address(pool) for one, pool in zip(members, pools, strict=True)]
    given = [each.address for each in await asyncio.gather(*together)]
    assert len(set(given)) == 8
    assert IPAddress("10.50.0.2") in given
    tries = sum(call.startswith("take") for each in members for call in each.northbound.calls)
    assert tries < 8 + 7 + 4, "they meet again and again"


async def test_a_full_range_is_tried_to_its_end_from_every_place(one: Member, two: Member) -> None:
    small = IPNetwork("10.50.0.0/28")
    pools = await one.pool(small), await two.pool(None)
    members = (one, two) * 6
    given = await asyncio.gather(
        *(member.address(pools[member is two]) for member in members), one.address(pools[0])
    )
    assert sorted(each.address for each in given) == list(small)[2:15]
    with pytest.raises(IpamError, match="is free"):
        await two.address(pools[1])


async def test_no_lease_of_other_hosts_is_looked_at_for_one_more(
    one: Member, two: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, theirs = await one.pool(), await two.pool(None)
    for _ in range(3):
        await two.address(theirs)

    def walked(segment: str) -> Mapping[IPAddress, SharedLease]:
        raise AssertionError(f"all leases of {segment} are walked over")

    monkeypatch.setattr(one.northbound, "leases", walked)
    given = await one.address(pool)
    assert one.pools.usage(pool.id).held == 4
    assert await one.pools.leases(pool.id) == [given]
    assert await one.pools.leases(pool.id, after=given.address) == []


async def test_a_lease_says_on_which_host_it_is(one: Member) -> None:
    pool = await one.pool()
    lease = await one.address(pool)
    assert lease.host == "host1"
    assert await one.pools.leases(pool.id) == [lease]


async def test_an_address_that_another_host_has_is_refused_and_its_host_named(
    one: Member, two: Member
) -> None:
    await one.address(await one.pool(), "10.50.0.9", name="web")
    with pytest.raises(IpamError, match="is held by web on host host1"):
        await two.address(await two.pool(), "10.50.0.9")


@pytest.mark.parametrize("address", ["10.50.0.0", "10.50.0.1", "10.50.0.255", "10.51.0.1"])
async def test_an_address_that_no_container_can_have_is_refused(one: Member, address: str) -> None:
    with pytest.raises(IpamError, match="choose one from"):
        await one.address(await one.pool(), address)


async def test_a_range_and_exclusions_are_a_hosts_own(one: Member, two: Member) -> None:
    pool = await one.pool(window=IPNetwork("10.50.0.64/30"))
    given = [str((await one.address(pool)).address) for _ in range(4)]
    assert given == [f"10.50.0.{n}" for n in (64, 65, 66, 67)]
    with pytest.raises(IpamError, match=r"no address of 10\.50\.0\.64/30 is free"):
        await one.address(pool)
    assert str((await two.address(await two.pool())).address) == "10.50.0.2"


async def test_ipv6_is_given_beside_ipv4(one: Member) -> None:
    await one.pool()
    six = await one.pool(IPNetwork("fd50::/64"))
    lease = await one.address(six)
    assert str(lease.address) == "fd50::2"
    row = one.northbound.lease("blue", lease.address)
    assert row is not None
    assert row.mac is None


async def test_a_released_address_is_free_for_all_once_the_database_has_heard_of_it(
    one: Member, two: Member
) -> None:
    pool = await one.pool()
    lease = await one.address(pool)
    assert await one.pools.release_address(pool.id, lease.address)
    assert await one.pools.lease(pool.id, lease.address) is None
    assert not await one.pools.release_address(pool.id, lease.address)
    await one.settled()
    assert not one.northbound.leases("blue")
    assert not one.debts.waiting()
    assert (await two.address(await two.pool())).address == lease.address


async def test_a_release_is_answered_while_the_database_is_away_and_outlives_a_restart(
    one: Member,
) -> None:
    pool = await one.pool()
    lease = await one.address(pool)
    one.northbound.available = False
    assert await one.pools.release_address(pool.id, lease.address)
    assert await one.pools.release_pool(pool.id)
    assert len(one.debts.waiting()) == 2
    one.start()
    await one.settled()
    assert not one.central.segments
    assert not one.notes.kept


async def test_a_release_before_anything_is_known_ends_whatever_the_pool_had(
    one: Member, two: Member
) -> None:
    pool = await one.pool()
    lease = await one.address(pool)
    other = await two.address(await two.pool())
    kept, one.central = one.central, FakeCentral()
    one.start()
    assert await one.pools.release_address(pool.id, lease.address)
    assert await one.pools.release_address(pool.id, other.address)
    one.central = kept
    one.start()
    await one.settled()
    assert set(one.northbound.leases("blue")) == {other.address}


async def test_the_last_host_takes_the_segment_with_it(one: Member, two: Member) -> None:
    pools = [await one.pool(), await two.pool()]
    await one.pools.release_pool(pools[0].id)
    await one.settled()
    assert "blue" in one.central.segments
    await two.pools.release_pool(pools[1].id)
    await two.settled()
    assert not one.central.segments


async def test_an_answer_that_was_lost_leaves_nothing_behind(one: Member) -> None:
    pool = await one.pool()
    one.northbound.lost_answers = 1
    with pytest.raises(UnavailableError):
        await one.address(pool)
    await one.settled()
    assert not one.northbound.leases("blue")
    one.northbound.lost_answers = 1
    with pytest.raises(UnavailableError):
        await one.pool()
    await one.settled()
    assert [each.id for each in one.central.segments["blue"].pools] == [pool.id]


async def test_whoever_stops_waiting_leaves_nothing_behind(one: Member) -> None:
    pool = await one.pool()
    asked = asyncio.create_task(one.address(pool))
    await asyncio.sleep(0)
    asked.cancel()
    with suppress(asyncio.CancelledError):
        await asked
    await one.pools.close()
    await one.settled()
    assert not one.northbound.leases("blue")


async def test_a_host_knows_its_pools_after_a_restart_without_the_database(one: Member) -> None:
    pool = await one.pool(window=IPNetwork("10.50.0.64/26"))
    one.central = FakeCentral()
    one.start()
    one.northbound.available = False
    assert one.pools.pool(pool.id) == pool


async def test_an_address_that_this_host_has_just_released_is_given_on_request(
    one: Member, two: Member
) -> None:
    pool = await one.pool()
    lease = await one.address(pool, "10.50.0.9")
    assert await one.pools.release_address(pool.id, lease.address)
    assert one.northbound.lease("blue", lease.address)  # OVN has not heard of it yet
    with pytest.raises(IpamError, match="is held on host host1"):
        await two.address(await two.pool(None), "10.50.0.9")
    again = await one.address(pool, "10.50.0.9")
    assert again.address == lease.address
    assert again.serial != lease.serial
    await one.settled()
    assert one.pools.holds(again)


async def test_who_is_refused_an_address_that_every_host_keeps_is_told_so(one: Member) -> None:
    pool = await one.pool()
    kept = AddressRequest(pool=pool.id, address=IPAddress("10.50.0.9"), kind=LeaseKind.AUX)
    await one.pools.request_address(kept)
    with pytest.raises(IpamError, match="is held for a router, on all hosts; choose"):
        await one.address(pool, "10.50.0.9")


async def test_a_gateway_is_answered_and_held_by_nobody(one: Member) -> None:
    pool = await one.pool()
    asked = AddressRequest(pool=pool.id, kind=LeaseKind.GATEWAY)
    lease = await one.pools.request_address(asked)
    assert str(lease.address) == "10.50.0.1"
    assert one.pools.gateway(pool.id) is None
    assert not one.northbound.leases("blue")


async def test_how_full_a_segment_is_counts_all_hosts(one: Member, two: Member) -> None:
    pool, other = await one.pool(), await two.pool()
    await one.address(pool)
    await two.address(other)
    usage = one.pools.usage(pool.id)
    assert (usage.held, usage.capacity, usage.free) == (2, 254, 251)
    assert [each.address for each in await one.pools.leases(pool.id)] == [IPAddress("10.50.0.2")]


async def test_names_of_spaces_and_pools_say_which_ipam_has_them(one: Member, two: Member) -> None:
    both = Addresses(local=two.pools, segments=one.pools)
    pool = await both.request_pool(PoolRequest(space=BLUE, subnet=SUBNET))
    assert one.pools.pool(pool.id) == pool == both.pool(pool.id)
    lease = await both.request_address(AddressRequest(pool=pool.id))
    assert both.holds(lease)
    assert await both.release_address(pool.id, lease.address, serial=lease.serial)
    assert await both.release_pool(pool.id)
    assert not both.pools()


async def test_a_host_that_is_called_otherwise_than_before_is_told_so(one: Member) -> None:
    pool = await one.pool()
    one.switch.system_id = "host9"
    with pytest.raises(UnavailableError, match=r"this host is host1 in its fleet.*says host9"):
        await one.address(pool)
    one.switch.available = False
    assert (await one.address(pool)).pool == pool.id
    await one.pools.release_pool(pool.id)
    one.switch.available = True
    await one.pool()
    assert {each.host for each in one.central.segments["blue"].pools} >= {"host9"}


async def test_a_host_without_a_name_is_told_how_to_get_one(one: Member) -> None:
    one.switch.system_id = ""
    with pytest.raises(UnavailableError, match="external_ids:system-id=NAME"):
        await one.pool()
    assert not one.central.segments


async def test_an_address_that_a_machine_on_the_wire_has_is_not_given(one: Member) -> None:
    pool = await one.pool(probe=True)
    one.prober.there = {SUBNET[2]: "02:00:00:00:00:02", SUBNET[3]: "02:00:00:00:00:03"}
    assert str((await one.address(pool)).address) == "10.50.0.4"
    with pytest.raises(IpamError, match=r"10\.50\.0\.2 of .* in use .* by 02:00:00:00:00:02"):
        await one.address(pool, "10.50.0.2")
    one.prober.there = {each: "02:00:00:00:00:99" for each in SUBNET}
    with pytest.raises(IpamError, match="the next 17 free addresses"):
        await one.address(pool)


async def test_a_router_on_the_wire_keeps_its_address_from_all_hosts(
    one: Member, two: Member
) -> None:
    router = IPAddress("10.50.0.9")
    for host in (one, one, two):
        pool = await host.pool()
        wanted = AddressRequest(pool=pool.id, address=router, kind=LeaseKind.AUX)
        assert (await host.pools.request_address(wanted)).address == router
    with pytest.raises(IpamError, match=r"10\.50\.0\.9 of segment blue is held"):
        await two.address(pool, str(router))
    for host in (one, two):
        for each in host.pools.pools():
            await host.pools.release_pool(each.id)
        await host.settled()
    assert not one.central.segments


async def test_a_router_is_not_where_a_container_is(one: Member, two: Member) -> None:
    await one.address(await one.pool(), "10.50.0.9")
    wanted = AddressRequest(
        pool=(await two.pool()).id, address=IPAddress("10.50.0.9"), kind=LeaseKind.AUX
    )
    with pytest.raises(IpamError, match="is held on host host1"):
        await two.pools.request_address(wanted)


async def test_a_release_before_anything_is_known_does_not_end_what_is_given_next(
    one: Member,
) -> None:
    pool = await one.pool()
    kept, one.central = one.central, FakeCentral()
    one.start()
    assert await one.pools.release_address(pool.id, SUBNET[2])
    one.central = kept
    one.start()
    lease = await one.address(pool)
    assert lease.address == SUBNET[2]
    await one.settled()
    assert one.pools.holds(lease)
    assert not one.debts.waiting()


async def test_a_release_that_fails_keeps_no_other_one_waiting(one: Member) -> None:
    pool = await one.pool()
    for lease in [await one.address(pool) for _ in range(3)]:
        await one.pools.release_address(pool.id, lease.address)
    one.northbound.lost_answers = 1
    await one.settled()
    assert len(one.debts.waiting()) == 1
    assert not one.northbound.leases("blue")
    await one.settled()
    assert not one.debts.waiting()


async def test_a_note_that_cannot_be_read_keeps_nobody_from_the_others(one: Member) -> None:
    pool = await one.pool()
    lease = await one.address(pool)
    for key in ("segment-pool:", "segment-freed:", "segment-left:"):
        one.notes.kept[f"{key}other"] = '{"segment": 7'
    one.start()
    assert one.pools.pools() == (pool,)
    await one.pools.release_address(pool.id, lease.address)
    await one.settled()
    assert not one.northbound.leases("blue")


async def test_a_pool_is_released_also_when_the_host_is_called_otherwise(one: Member) -> None:
    pool = await one.pool()
    one.switch.system_id = "host9"
    assert await one.pools.release_pool(pool.id)
    await one.settled()
    assert not one.central.segments


async def test_a_host_keeps_its_name_for_a_pool_that_comes_while_the_last_one_goes(
    one: Member,
) -> None:
    pool = await one.pool()
    added, removed = await asyncio.gather(
        one.pool(IPNetwork("fd50::/64")), one.pools.release_pool(pool.id)
    )
    assert removed
    one.switch.system_id = "host9"
    with pytest.raises(UnavailableError, match="this host is host1 in its fleet"):
        await one.address(added)


async def test_who_has_waited_for_the_connection_waits_less_for_the_answer(one: Member) -> None:
    pool = await one.pool()
    one.northbound.connects_s = 0.1
    await one.address(pool)
    assert one.northbound.patience_s is not None
    assert 0.0 < one.northbound.patience_s <= 1.4


async def test_what_is_excluded_is_passed_over_however_much_it_is(one: Member) -> None:
    wide = IPNetwork("fd50::/64")
    excluded = (
        IPRange("fd50::", "fd50::ffff:ffff:ffff"),
        IPRange("fd50::1:0:0:0", "fd50::1:0:0:9"),
    )
    pool = await one.pool(wide, excluded=excluded)
    assert str((await one.address(pool)).address) == "fd50::1:0:0:a"
