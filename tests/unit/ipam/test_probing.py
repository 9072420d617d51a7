"""``ipam.probe``: the segment is asked before a container gets an address."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from netaddr import IPAddress

from ipam import AddressError, ExhaustedError, LeaseKind, PoolId
from ipam.ledger import CONTESTED_S
from tests.unit.ipam.wishes import Clock, given, new_pool, release


class Segment:
    """Somebody answers for some addresses."""

    def __init__(self) -> None:
        self.there: dict[str, str] = {}
        self.asked: list[list[str]] = []
        self.within_s = 0.0
        self.begun = asyncio.Event()
        self.silent = asyncio.Event()
        self.silent.set()

    async def claimed(
        self, pool: PoolId, addresses: Sequence[IPAddress], *, within_s: float
    ) -> Mapping[IPAddress, str]:
        self.asked.append([str(each) for each in addresses])
        self.within_s += within_s
        self.begun.set()
        await self.silent.wait()
        return {each: self.there[str(each)] for each in addresses if str(each) in self.there}

    def squat(self, *lasts: int) -> None:
        self.there |= {f"10.40.0.{last}": f"02:00:00:00:00:{last:02x}" for last in lasts}


@pytest.fixture
def segment() -> Segment:
    return Segment()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ipam(start, segment, clock):
    return await start(prober=segment, clock=clock)


@pytest.fixture
async def pool(ipam):
    return await new_pool(ipam, "10.40.0.0/24", probe=True)


async def test_an_address_for_which_nobody_answers_is_given(ipam, pool, segment):
    assert await given(ipam, pool) == "10.40.0.1"
    assert segment.asked == [["10.40.0.1"]]


async def test_addresses_of_others_are_passed_over(ipam, pool, segment):
    segment.squat(1, 2, 4)
    assert await given(ipam, pool) == "10.40.0.3"
    assert segment.asked[0] == ["10.40.0.1"]
    assert segment.asked[1][:3] == ["10.40.0.2", "10.40.0.3", "10.40.0.4"]
    assert segment.within_s <= 1
    assert ipam.usage(pool.id).held == 1


async def test_what_was_answered_for_is_not_asked_again_for_a_while(ipam, pool, segment, clock):
    segment.squat(1)
    assert await given(ipam, pool) == "10.40.0.2"
    segment.asked.clear()
    assert await given(ipam, pool) == "10.40.0.3"
    assert segment.asked == [["10.40.0.3"]]
    segment.there.clear()
    clock.passes(CONTESTED_S)
    assert await given(ipam, pool) == "10.40.0.1"


async def test_a_wanted_address_of_somebody_else_is_refused_with_the_mac(ipam, pool, segment):
    segment.squat(9)
    with pytest.raises(AddressError, match="is in use on the network's segment by 02:00:00:00:00"):
        await given(ipam, pool, "10.40.0.9")
    segment.there.clear()
    assert await given(ipam, pool, "10.40.0.9") == "10.40.0.9"


async def test_a_name_does_not_get_the_address_that_somebody_took_meanwhile(ipam, pool, segment):
    await given(ipam, pool, name="web")
    await release(ipam, pool, "10.40.0.1")
    segment.squat(1)
    assert await given(ipam, pool, name="web") == "10.40.0.2"


async def test_a_stretch_that_others_have_is_passed_in_several_tries(ipam, pool, segment):
    segment.squat(*range(1, 30))
    with pytest.raises(ExhaustedError, match=r"the next 16 free addresses .* 10.40.0.1 by 02:"):
        await given(ipam, pool)
    assert await given(ipam, pool) == "10.40.0.30"


async def test_a_pool_in_which_others_have_everything_is_full(ipam, segment):
    pool = await new_pool(ipam, "10.40.0.0/30", probe=True)
    segment.squat(1, 2)
    with pytest.raises(ExhaustedError, match="the next 2 free addresses"):
        await given(ipam, pool)
    with pytest.raises(ExhaustedError, match="2 not given again yet; try again in 60 s"):
        await given(ipam, pool)
    assert ipam.usage(pool.id).held == 0


async def test_gateways_and_pools_that_do_not_want_it_are_not_asked_for(ipam, pool, segment):
    await given(ipam, pool, kind=LeaseKind.GATEWAY)
    await given(ipam, await new_pool(ipam, "10.41.0.0/24"))
    assert segment.asked == []


async def test_requests_at_once_ask_for_different_addresses(ipam, pool, segment):
    leases = await asyncio.gather(*(given(ipam, pool) for _ in range(20)))
    assert len(set(leases)) == 20
    assert sorted(segment.asked) == sorted([each] for each in leases)


async def test_an_address_that_is_asked_for_is_nobodys_yet(ipam, pool, segment):
    segment.silent.clear()
    asking = asyncio.create_task(given(ipam, pool))
    await segment.begun.wait()
    assert ipam.usage(pool.id).held == 0
    assert not await ipam.release_address(pool.id, IPAddress("10.40.0.1"))
    with pytest.raises(AddressError, match="just being given"):
        await given(ipam, pool, "10.40.0.1")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    segment.silent.set()
    assert await given(ipam, pool, "10.40.0.1") == "10.40.0.1"


async def test_a_pool_that_is_released_meanwhile_gives_nothing(ipam, pool, segment):
    segment.silent.clear()
    asking = asyncio.create_task(given(ipam, pool))
    await segment.begun.wait()
    assert await ipam.release_pool(pool.id)
    segment.silent.set()
    with pytest.raises(Exception, match="is not known here, or it was released"):
        await asking


async def test_without_anybody_to_ask_addresses_are_given_all_the_same(start):
    ipam = await start()
    assert await given(ipam, await new_pool(ipam, probe=True)) == "10.40.0.1"
