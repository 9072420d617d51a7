"""``ipam.limit`` of a pool, and the configured limits of a space."""

import asyncio

import pytest

from ipam import LeaseKind, LimitError, SpaceLimit, StoreError
from tests.unit.ipam.wishes import given, new_pool, release


async def test_a_pool_holds_as_many_addresses_as_it_may(ipam):
    pool = await new_pool(ipam, limit=3)
    await given(ipam, pool, kind=LeaseKind.GATEWAY)
    assert ipam.usage(pool.id).free == 2
    await given(ipam, pool, name="web")
    await given(ipam, pool)
    for address in ("", "10.40.0.5"):
        with pytest.raises(LimitError, match=r"may hold 3 addresses at once \(ipam.limit\): .*web"):
            await given(ipam, pool, address)
    assert ipam.usage(pool.id).free == 0
    await release(ipam, pool, "10.40.0.2")
    assert await given(ipam, pool, name="web") == "10.40.0.2"


async def test_a_limit_stays_after_a_restart(start):
    ipam = await start()
    pool = await new_pool(ipam, limit=1)
    await given(ipam, pool)
    ipam = await start()
    with pytest.raises(LimitError):
        await given(ipam, pool)


async def test_a_limit_holds_for_requests_at_once(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24", limit=20)
    results = await asyncio.gather(*(given(ipam, pool) for _ in range(200)), return_exceptions=True)
    assert sum(isinstance(each, str) for each in results) == 20
    assert sum(isinstance(each, LimitError) for each in results) == 180


async def test_a_space_has_as_many_pools_as_it_may(start):
    ipam = await start(limits=[SpaceLimit(space="ovsnet", pools=2)])
    first = await new_pool(ipam, "10.40.0.0/24")
    await new_pool(ipam, "fd00::/64")
    with pytest.raises(LimitError, match="address space ovsnet holds 2 pools already"):
        await new_pool(ipam, "10.41.0.0/24")
    await new_pool(ipam, "10.41.0.0/24", space="blue")
    await ipam.release_pool(first.id)
    await new_pool(ipam, "10.41.0.0/24")


async def test_a_space_holds_as_many_addresses_as_it_may(start):
    limits = [SpaceLimit(space="ovsnet", addresses=3)]
    ipam = await start(limits=limits)
    pools = [await new_pool(ipam, f"10.4{n}.0.0/24") for n in range(3)]
    blue = await new_pool(ipam, "10.40.0.0/24", space="blue")
    for pool in (*pools, blue):
        await given(ipam, pool)
    for again in (ipam, await start(limits=limits)):
        with pytest.raises(LimitError, match="address space ovsnet holds 3 addresses already"):
            await given(again, pools[0])
    await given(again, blue)
    await again.release_pool(pools[1].id)
    await given(again, pools[0])
    await release(again, pools[0], "10.40.0.1")
    await given(again, pools[2])
    with pytest.raises(LimitError):
        await given(again, pools[0])


async def test_what_could_not_be_written_does_not_count(start, store):
    ipam = await start(limits=[SpaceLimit(space="ovsnet", addresses=1)])
    pool = await new_pool(ipam)
    store.broken = "the disk is full"
    with pytest.raises(StoreError):
        await given(ipam, pool)
    store.broken = None
    assert await given(ipam, pool) == "10.40.0.1"
    with pytest.raises(LimitError):
        await given(ipam, pool)
