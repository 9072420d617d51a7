"""``ipam.quarantine``: a released address is not chosen again for a while."""

import pytest

from ipam import ExhaustedError, LeaseKind
from tests.unit.ipam.wishes import Clock, given, new_pool, release


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ipam(start, clock):
    return await start(clock=clock)


@pytest.fixture
async def pool(ipam):
    return await new_pool(ipam, quarantine_s=30.0)


async def test_a_released_address_is_chosen_again_when_its_quarantine_is_over(ipam, pool, clock):
    await given(ipam, pool)
    await release(ipam, pool, "10.40.0.1")
    clock.passes(29)
    assert await given(ipam, pool) == "10.40.0.2"
    clock.passes(1)
    assert await given(ipam, pool) == "10.40.0.1"


async def test_a_pool_full_but_for_quarantine_says_when_to_try_again(ipam, pool, clock):
    for _ in range(6):
        await given(ipam, pool)
    await release(ipam, pool, "10.40.0.4")
    clock.passes(10)
    with pytest.raises(ExhaustedError, match=r"1 not given again yet; try again in 20 s"):
        await given(ipam, pool)
    assert (ipam.usage(pool.id).free, ipam.usage(pool.id).resting) == (0, 1)
    clock.passes(20)
    assert ipam.usage(pool.id).free == 1
    assert await given(ipam, pool) == "10.40.0.4"


async def test_who_asks_for_the_address_gets_it(ipam, pool):
    await given(ipam, pool)
    await release(ipam, pool, "10.40.0.1")
    assert await given(ipam, pool, "10.40.0.1") == "10.40.0.1"
    assert ipam.usage(pool.id).resting == 0


async def test_the_name_that_had_the_address_gets_it(ipam, pool):
    await given(ipam, pool, name="web")
    await release(ipam, pool, "10.40.0.1")
    assert await given(ipam, pool, name="db") == "10.40.0.2"
    assert await given(ipam, pool, name="web") == "10.40.0.1"


async def test_a_quarantine_goes_on_after_a_restart(ipam, pool, start, clock):
    await given(ipam, pool)
    await given(ipam, pool, name="web")
    await release(ipam, pool, "10.40.0.1")
    await release(ipam, pool, "10.40.0.2")
    clock.passes(10)
    ipam = await start(clock=clock)
    assert await given(ipam, pool) == "10.40.0.3"
    clock.passes(20)
    ipam = await start(clock=clock)
    assert await given(ipam, pool) == "10.40.0.1"


async def test_a_gateway_needs_no_quarantine(ipam, pool):
    await given(ipam, pool, kind=LeaseKind.GATEWAY)
    await release(ipam, pool, "10.40.0.1")
    assert await given(ipam, pool, kind=LeaseKind.GATEWAY) == "10.40.0.1"


async def test_a_clock_that_is_set_back_ends_quarantines(ipam, pool, clock):
    await given(ipam, pool)
    await release(ipam, pool, "10.40.0.1")
    clock.passes(-3600)
    assert await given(ipam, pool) == "10.40.0.1"


async def test_what_was_in_quarantine_leaves_nothing_in_the_store(ipam, pool, store, clock):
    for _ in range(3):
        await given(ipam, pool)
    for last in (1, 2, 3):
        await release(ipam, pool, f"10.40.0.{last}")
    assert len(store.memories[pool.id]) == 3
    clock.passes(30)
    await given(ipam, pool)
    await ipam.close()
    assert store.memories[pool.id] == {}


async def test_a_name_that_moved_on_leaves_its_quarantine_behind(ipam, pool, start, clock):
    await given(ipam, pool, "10.40.0.1", name="web")
    await given(ipam, pool, "10.40.0.2", name="web")
    await release(ipam, pool, "10.40.0.1")
    await release(ipam, pool, "10.40.0.2")
    for each in (ipam, await start(clock=clock)):
        assert each.usage(pool.id).resting == 2
    clock.passes(30)
    assert await given(await start(clock=clock), pool, name="web") == "10.40.0.2"
