"""Many calls at once, callers that are cancelled, pools released under requests."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import (
    AddressError,
    AddressRequest,
    ExhaustedError,
    Lease,
    LeaseKind,
    OverlapError,
    PoolId,
    PoolRequest,
    UnknownPoolError,
)
from tests.unit.ipam.conftest import unfinished


@pytest.fixture
async def pool(ipam) -> PoolId:
    return (await ipam.request_pool(named("10.40.0.0/24"))).id


def named(subnet: str) -> PoolRequest:
    return PoolRequest(space="ovsnet", subnet=IPNetwork(subnet))


def any_address(pool: PoolId, **what: Any) -> AddressRequest:
    return AddressRequest(pool=pool, **what)


async def begun(call: Awaitable[Any]) -> asyncio.Task[Any]:
    """Start a call and let it go as far as it can."""
    task = asyncio.ensure_future(call)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def cancelled(call: Awaitable[Any]) -> None:
    task = await begun(call)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_two_hundred_requests_at_once_get_two_hundred_addresses(ipam, pool):
    leases = await asyncio.gather(*(ipam.request_address(any_address(pool)) for _ in range(200)))
    first = int(IPAddress("10.40.0.1"))
    assert [int(lease.address) for lease in leases] == list(range(first, first + 200))
    assert len({lease.serial for lease in leases}) == 200


async def test_two_hundred_requests_at_once_on_twenty_pools_fill_each_from_its_start(ipam):
    pools = [(await ipam.request_pool(named(f"10.60.{n}.0/24"))).id for n in range(20)]
    leases = await asyncio.gather(
        *(ipam.request_address(any_address(pools[n % 20])) for n in range(200))
    )
    for number, pool in enumerate(pools):
        given = [str(lease.address) for lease in leases if lease.pool == pool]
        assert given == [f"10.60.{number}.{host}" for host in range(1, 11)]


async def test_requests_at_once_reach_the_store_together(ipam, pool, store):
    store.gate.clear()
    before = store.writes
    calls = [await begun(ipam.request_address(any_address(pool))) for _ in range(50)]
    assert store.writes == before + 50
    assert not any(call.done() for call in calls)
    store.gate.set()
    assert len({lease.address for lease in await asyncio.gather(*calls)}) == 50


async def test_more_requests_at_once_than_there_are_addresses_fill_the_pool_exactly(ipam):
    pool = (await ipam.request_pool(named("10.41.0.0/28"))).id
    outcomes = await asyncio.gather(
        *(ipam.request_address(any_address(pool)) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(each, ExhaustedError) for each in outcomes) == 6
    assert ipam.usage(pool).free == 0


async def test_one_of_many_who_want_the_same_address_gets_it(ipam, pool):
    wanted = any_address(pool, address=IPAddress("10.40.0.9"))
    outcomes = await asyncio.gather(
        *(ipam.request_address(wanted) for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(each, AddressError) for each in outcomes) == 9


async def test_one_of_many_who_ask_for_the_gateway_gets_it(ipam, pool):
    outcomes = await asyncio.gather(
        *(ipam.request_address(any_address(pool, kind=LeaseKind.GATEWAY)) for _ in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, AddressError) for each in outcomes) == 9
    assert ipam.usage(pool).held == 1


async def test_automatic_pools_at_once_are_all_different(ipam):
    pools = await asyncio.gather(
        *(ipam.request_pool(PoolRequest(space="ovsnet", prefix=26)) for _ in range(20))
    )
    assert len({str(pool.subnet) for pool in pools}) == 20


async def test_one_of_many_who_name_overlapping_subnets_gets_it(ipam):
    outcomes = await asyncio.gather(
        *(ipam.request_pool(named(f"10.50.0.0/{prefix}")) for prefix in range(16, 26)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, OverlapError) for each in outcomes) == 9
    assert len(ipam.pools()) == 1


async def test_a_pool_on_its_way_into_the_store_is_not_shown_but_counts(ipam, store):
    store.gate.clear()
    coming = await begun(ipam.request_pool(named("10.50.0.0/16")))
    assert ipam.pools() == ()
    with pytest.raises(OverlapError, match=r"10.50.0.0/16"):
        await ipam.request_pool(named("10.50.7.0/24"))
    store.gate.set()
    assert (await coming,) == ipam.pools()


async def test_an_address_on_its_way_into_the_store_is_held_by_nobody_yet(ipam, pool, store):
    store.gate.clear()
    coming = await begun(ipam.request_address(any_address(pool, name="web")))
    address = IPAddress("10.40.0.1")
    assert await ipam.lease(pool, address) is None
    assert await ipam.release_address(pool, address) is False
    with pytest.raises(AddressError, match="held by container web"):
        await ipam.request_address(any_address(pool, address=address))
    store.gate.set()
    lease = await coming
    assert await ipam.lease(pool, address) == lease


async def test_an_address_on_its_way_out_is_given_to_nobody_until_it_is_out(ipam, pool, store):
    held = await ipam.request_address(any_address(pool))
    store.gate.clear()
    leaving = await begun(ipam.release_address(pool, held.address))
    same = await begun(ipam.request_address(any_address(pool, address=held.address)))
    other = await begun(ipam.request_address(any_address(pool)))
    assert not same.done()
    store.gate.set()
    assert await leaving is True
    assert str((await other).address) == "10.40.0.2"
    assert (await same).address == held.address


async def test_of_two_releases_at_once_one_says_that_it_did_it(ipam, pool, store):
    held = await ipam.request_address(any_address(pool))
    before = store.writes
    outcomes = await asyncio.gather(*(ipam.release_address(pool, held.address) for _ in range(3)))
    assert outcomes == [True, False, False]
    assert store.writes == before + 1


async def test_a_release_waits_for_the_one_before_it_and_tries_itself_if_that_fails(
    ipam, pool, store
):
    held = await ipam.request_address(any_address(pool))
    store.gate.clear()
    first = await begun(ipam.release_address(pool, held.address))
    second = await begun(ipam.release_address(pool, held.address))
    assert not second.done()
    first.cancel()
    store.gate.set()
    assert await second is False
    assert ipam.usage(pool).held == 0


async def test_of_two_releases_of_a_pool_at_once_one_says_that_it_did_it(ipam, pool):
    outcomes = await asyncio.gather(*(ipam.release_pool(pool) for _ in range(3)))
    assert outcomes == [True, False, False]


async def test_a_subnet_whose_pool_is_being_released_is_refused_with_try_again(ipam, pool, store):
    store.gate.clear()
    leaving = await begun(ipam.release_pool(pool))
    with pytest.raises(OverlapError, match="try again"):
        await ipam.request_pool(named("10.40.0.0/24"))
    with pytest.raises(UnknownPoolError):
        await ipam.request_address(any_address(pool))
    store.gate.set()
    await leaving
    assert await ipam.request_pool(named("10.40.0.0/24"))


@pytest.mark.parametrize("release_first", [True, False])
async def test_a_pool_released_under_requests_leaves_nothing_behind(
    ipam, pool, store, release_first
):
    store.gate.clear()
    requests = [await begun(ipam.request_address(any_address(pool))) for _ in range(10)]
    release = await begun(ipam.release_pool(pool))
    late = await begun(ipam.request_address(any_address(pool)))
    if release_first:
        requests.reverse()
    store.gate.set()
    await asyncio.gather(release, late, *requests, return_exceptions=True)
    assert isinstance(late.exception(), UnknownPoolError)
    assert (store.pools, store.held, ipam.pools()) == ({}, {}, ())
    again = (await ipam.request_pool(named("10.40.0.0/24"))).id
    assert str((await ipam.request_address(any_address(again))).address) == "10.40.0.1"


async def test_a_request_whose_caller_gave_up_leaves_no_lease(ipam, pool, store):
    store.gate.clear()
    await cancelled(ipam.request_address(any_address(pool)))
    assert ipam.usage(pool).held == 1
    store.gate.set()
    await ipam.close()
    assert (ipam.usage(pool).held, store.held[pool]) == (0, {})
    assert str((await ipam.request_address(any_address(pool))).address) == "10.40.0.1"


@pytest.mark.parametrize("turns", range(5))
async def test_a_caller_that_gives_up_around_the_commit_has_the_lease_or_leaves_none(
    ipam, pool, store, turns
):
    store.gate.clear()
    request = await begun(ipam.request_address(any_address(pool)))
    store.gate.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    request.cancel()
    (outcome,) = await asyncio.gather(request, return_exceptions=True)
    await ipam.close()
    had = isinstance(outcome, Lease)
    assert had or isinstance(outcome, asyncio.CancelledError)
    assert (ipam.usage(pool).held, len(store.held[pool])) == (had, had)


async def test_while_a_given_up_request_is_being_ended_its_address_is_given_to_nobody(
    ipam, pool, store
):
    store.gate.clear()
    await cancelled(ipam.request_address(any_address(pool)))
    other = await begun(ipam.request_address(any_address(pool)))
    assert await ipam.release_address(pool, IPAddress("10.40.0.1")) is False
    store.gate.set()
    assert str((await other).address) == "10.40.0.2"


async def test_a_request_for_a_pool_whose_caller_gave_up_leaves_no_pool(ipam, store):
    store.gate.clear()
    await cancelled(ipam.request_pool(named("10.50.0.0/16")))
    with pytest.raises(OverlapError):
        await ipam.request_pool(named("10.50.0.0/16"))
    store.gate.set()
    await ipam.close()
    assert store.pools == {}
    assert await ipam.request_pool(named("10.50.0.0/16"))


async def test_a_release_whose_caller_gave_up_is_ended_all_the_same(ipam, pool, store):
    held = await ipam.request_address(any_address(pool, kind=LeaseKind.GATEWAY))
    store.gate.clear()
    await cancelled(ipam.release_address(pool, held.address))
    store.gate.set()
    await ipam.close()
    assert (ipam.usage(pool).held, ipam.gateway(pool), store.held[pool]) == (0, None, {})


async def test_a_release_of_a_pool_whose_caller_gave_up_is_ended_all_the_same(ipam, pool, store):
    store.gate.clear()
    await cancelled(ipam.release_pool(pool))
    store.gate.set()
    await ipam.close()
    assert (ipam.pools(), store.pools) == ((), {})
    assert await ipam.request_pool(named("10.40.0.0/24"))


async def test_what_cannot_be_given_back_is_logged_and_stays_held(ipam, pool, store, caplog):
    store.gate.clear()
    await cancelled(ipam.request_address(any_address(pool)))
    await cancelled(ipam.request_pool(named("10.50.0.0/16")))
    store.broken = "the disk is full"
    store.gate.set()
    await ipam.close()
    assert unfinished(caplog) == ["the disk is full"] * 2
    store.broken = None
    assert str((await ipam.request_address(any_address(pool))).address) == "10.40.0.2"
    assert [str(each.subnet) for each in ipam.pools()] == ["10.40.0.0/24", "10.50.0.0/16"]


async def test_a_write_that_fails_after_its_caller_gave_up_changes_nothing(
    ipam, pool, store, caplog
):
    held = await ipam.request_address(any_address(pool))
    store.broken = "the disk is full"
    for call in (
        ipam.request_address(any_address(pool)),
        ipam.release_address(pool, held.address),
        ipam.request_pool(named("10.50.0.0/16")),
        ipam.release_pool(pool),
    ):
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await ipam.close()
    assert unfinished(caplog) == ["the disk is full"] * 4
    store.broken = None
    assert (ipam.usage(pool).held, len(ipam.pools())) == (1, 1)
    assert await ipam.request_pool(named("10.50.0.0/16"))
    assert await ipam.release_pool(pool)
