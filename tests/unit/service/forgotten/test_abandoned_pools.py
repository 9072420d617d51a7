"""Subnets that were taken for a network which nobody made, and who gets them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from netaddr import IPNetwork

from ipam import (
    DEFAULT_SPACE,
    AddressRequest,
    LeaseKind,
    OverlapError,
    Pool,
    PoolId,
    PoolRequest,
)
from ovsdriver.domain.records.model import NetworkId
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import SegmentPool
from ovsdriver.service.forgotten.abandoned_pools import QUIET_S, WAIT_S, AbandonedPools
from tests.builders import FIRST, RED
from tests.fakes.northbound import FakeCentral, FakeNorthbound
from tests.unit.service.conftest import Host

DOCKERS = NetworkId("d0" * 32)
SUBNET = "10.77.1.0/24"


def wish(subnet: str | None = SUBNET, space: str = DEFAULT_SPACE) -> PoolRequest:
    return PoolRequest(space=space, subnet=subnet and IPNetwork(subnet))


@dataclass
class Case:
    """Docker's calls as they arrive, with a clock that goes on when a test says so.

    It also goes on by half a second whenever it is read, so that every wait ends.
    """

    host: Host
    now: float = 1000.0

    def __post_init__(self) -> None:
        host = self.host
        self.abandoned_pools = AbandonedPools(
            engine=host.engine,
            witness=host.witness,
            state=host.state,
            ipam=host.ipam,
            networks=host.networks,
            clock=self._clock,
        )

    def _clock(self) -> float:
        self.now += 0.5
        return self.now

    async def left_behind(self, subnet: str = SUBNET, space: str = DEFAULT_SPACE) -> Pool:
        """Do what an engine does that makes a network and dies of it; all is quiet after."""
        pool = await self.abandoned_pools.request_pool(wish(subnet, space))
        gateway = AddressRequest(pool=pool.id, kind=LeaseKind.GATEWAY)
        await self.abandoned_pools.request_address(gateway)
        self.now += QUIET_S
        return pool

    async def refused(self, request: PoolRequest) -> str:
        with pytest.raises(OverlapError) as caught:
            await self.abandoned_pools.request_pool(request)
        return str(caught.value)

    def there(self, pool: Pool) -> bool:
        return self.host.ipam.pool(pool.id) is not None


@pytest.fixture
def case(host: Host) -> Case:
    return Case(host)


@asynccontextmanager
async def running(case: Case) -> AsyncIterator[None]:
    """Let Docker be read in the background, and its end be noticed."""
    works = [
        asyncio.create_task(each()) for each in (case.abandoned_pools.run, case.host.witness.run)
    ]
    try:
        yield
    finally:
        for work in works:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


async def test_the_subnet_of_a_network_that_was_never_made_is_given_to_who_asks_again(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    first = await case.left_behind()
    await case.abandoned_pools.look()
    assert case.there(first), "nobody asks for it yet"
    caplog.set_level(logging.WARNING)
    again = await case.abandoned_pools.request_pool(wish())
    assert (again.subnet, case.there(first)) == (first.subnet, False)
    assert again.id != first.id
    assert [each.message for each in caplog.records] == ["pool.vacated"]


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Case]:
    """A host of a fleet."""
    host = await Host.start(tmp_path, central=FakeCentral())
    host.switch.system_id = "host1"
    yield Case(host)
    await host.stop()


@pytest.mark.parametrize("subnet", [SUBNET, None])
async def test_a_pool_of_a_segment_that_was_left_behind_is_removed_for_the_next_one(
    member: Case, subnet: str | None
) -> None:
    others = SegmentPool(id=PoolId("segment:blue/4/others"), host="host2")
    assert member.host.world.northbound is not None
    await member.host.world.northbound.hold("blue", IPNetwork(SUBNET), others)
    left = [await member.left_behind(space="segment:blue")]
    left.append(await member.host.ipam.request_pool(wish(space="segment:blue")))
    other = await member.left_behind(space="segment:red")
    await member.abandoned_pools.look()
    again = await member.abandoned_pools.request_pool(wish(subnet, space="segment:blue"))
    assert set(member.host.ipam.pools()) == {again, other}
    assert again.subnet == left[0].subnet


async def test_a_pool_of_a_segment_stays_while_nobody_says_who_has_its_addresses(
    member: Case,
) -> None:
    left = await member.left_behind(space="segment:blue")
    assert isinstance(member.host.world.northbound, FakeNorthbound)
    member.host.world.northbound.available = False
    await member.abandoned_pools.look()
    with pytest.raises(UnavailableError):
        await member.abandoned_pools.request_pool(wish(space="segment:blue"))
    assert member.there(left)


async def test_a_part_of_such_a_subnet_is_given_as_well(case: Case) -> None:
    first = await case.left_behind()
    await case.abandoned_pools.look()
    await case.abandoned_pools.request_pool(wish("10.77.1.128/25"))
    assert not case.there(first)


async def test_a_request_waits_until_docker_was_read(case: Case) -> None:
    first = await case.left_behind()
    async with running(case):
        await until(case.host.witness.answers)
        await case.abandoned_pools.request_pool(wish())
    assert not case.there(first)


async def test_a_subnet_of_a_network_that_docker_lists_is_refused(case: Case) -> None:
    first = await case.left_behind()
    case.host.engine.add_network(DOCKERS, "dockers")
    case.host.engine.add_subnet(DOCKERS, SUBNET)
    await case.abandoned_pools.look()
    assert SUBNET in await case.refused(wish())
    assert case.there(first)


async def test_of_two_who_make_the_same_network_at_once_the_second_is_refused(case: Case) -> None:
    first = await case.abandoned_pools.request_pool(wish())
    await case.abandoned_pools.look()
    second = asyncio.create_task(case.abandoned_pools.request_pool(wish()))
    await asyncio.sleep(0)
    assert not second.done(), "it waits for what the first one becomes"
    case.host.engine.add_network(DOCKERS, "dockers")
    case.host.engine.add_subnet(DOCKERS, SUBNET)
    case.now += QUIET_S
    await case.abandoned_pools.look()
    with pytest.raises(OverlapError):
        await second
    assert case.there(first)


async def test_a_pool_that_docker_speaks_of_is_being_made(case: Case) -> None:
    first = await case.left_behind()
    await case.abandoned_pools.look()
    await case.abandoned_pools.request_address(AddressRequest(pool=first.id))
    assert await case.refused(wish())
    assert case.there(first)


async def test_a_pool_with_an_endpoints_address_is_left_to_the_collector(case: Case) -> None:
    first = await case.left_behind()
    await case.abandoned_pools.request_address(AddressRequest(pool=first.id))
    case.now += QUIET_S
    await case.abandoned_pools.look()
    assert await case.refused(wish())
    assert case.there(first)


@pytest.mark.parametrize("answers", [True, False])
async def test_without_a_look_at_docker_a_request_is_refused_in_time(
    case: Case, answers: bool
) -> None:
    first = await case.left_behind()
    watching = asyncio.create_task(case.host.witness.run())
    if answers:
        await until(case.host.witness.answers)
    else:
        case.host.engine.end()
    began = case.now
    assert await case.refused(wish())
    assert case.now - began < (WAIT_S + 2 if answers else 3)
    assert case.there(first)
    watching.cancel()


async def test_a_request_for_any_subnet_takes_none_of_them(case: Case) -> None:
    first = await case.left_behind()
    await case.abandoned_pools.look()
    other = await case.abandoned_pools.request_pool(wish(None))
    assert other.subnet != first.subnet
    assert case.there(first)


async def test_swarms_pools_are_left_to_people(case: Case) -> None:
    space = f"{DEFAULT_SPACE}-global"
    first = await case.left_behind(space=space)
    await case.abandoned_pools.look()
    assert await case.refused(wish(space=space))
    assert case.there(first)


async def test_what_an_ended_daemon_had_is_asked_of_the_next_one(case: Case) -> None:
    host = case.host
    first = await case.left_behind()
    host.engine.add_network(DOCKERS, "dockers")
    host.engine.add_subnet(DOCKERS, SUBNET)
    await case.abandoned_pools.look()
    watching = asyncio.create_task(host.witness.run())
    await until(host.witness.answers)
    host.engine.forget()
    host.engine.end()
    await until(lambda: not host.witness.answers())
    host.engine.begin()
    await case.abandoned_pools.look()
    await case.abandoned_pools.request_pool(wish())
    assert not case.there(first)
    watching.cancel()


# Networks of ours


async def after_a_restart_of_docker(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that began after all there is, and that lists nothing."""
    monkeypatch.setattr("ovsdriver.service.forgotten.witnesses._AGAIN_S", 0)
    engine, witness = case.host.engine, case.host.witness
    watching = asyncio.create_task(witness.run())
    await until(witness.answers)
    engine.end()
    await until(lambda: not witness.answers())
    engine.begin()
    await until(witness.began)
    watching.cancel()
    case.now += QUIET_S
    await case.abandoned_pools.look()


def subnet_of_red(host: Host) -> str:
    network = host.state.network(RED)
    assert network is not None
    return str(network.subnets[0].cidr.cidr)


async def test_a_network_of_ours_that_docker_died_of_goes_with_its_subnet(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    await case.host.create_network()
    subnet = subnet_of_red(case.host)
    await after_a_restart_of_docker(case, monkeypatch)
    await case.abandoned_pools.request_pool(wish(subnet))
    assert case.host.state.network(RED) is None


async def test_a_network_that_this_daemon_may_be_making_is_kept(case: Case) -> None:
    await case.host.create_network()
    case.now += QUIET_S
    await case.abandoned_pools.look()
    assert await case.refused(wish(subnet_of_red(case.host)))
    assert case.host.state.network(RED) is not None


async def test_a_network_that_had_a_container_is_kept(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = case.host
    await host.create_network()
    subnet = subnet_of_red(host)
    address = await host.run_container()
    await host.endpoints.delete(RED, FIRST)
    (pool,) = host.ipam.pools()
    await host.ipam.release_address(pool.id, address)
    await after_a_restart_of_docker(case, monkeypatch)
    assert await case.refused(wish(subnet))
    assert host.state.network(RED) is not None
