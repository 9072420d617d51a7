"""Addresses that someone had before: by name, or asked for with --ip."""

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, LeaseKind, PoolId, PoolRequest, StoreError
from ipam.choice.last_given import NAMED_S
from tests.unit.ipam.conftest import unfinished


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ipam(start, clock):
    return await start(clock=clock)


@pytest.fixture
async def pool(ipam) -> PoolId:
    return await new_pool(ipam)


async def new_pool(ipam, subnet: str = "10.40.0.0/24", window: str | None = None) -> PoolId:
    request = PoolRequest(
        space="ovsnet", subnet=IPNetwork(subnet), window=IPNetwork(window) if window else None
    )
    return (await ipam.request_pool(request)).id


async def given(ipam, pool: PoolId, name: str = "", address: str | None = None, **what) -> str:
    wanted = IPAddress(address) if address else None
    request = AddressRequest(pool=pool, name=name, address=wanted, **what)
    return str((await ipam.request_address(request)).address)


async def release(ipam, pool: PoolId, *addresses: str) -> None:
    for address in addresses:
        assert await ipam.release_address(pool, IPAddress(address))


async def test_the_same_name_gets_the_same_address_again(ipam, pool):
    for name in ("web", "db", "cache"):
        await given(ipam, pool, name)
    await release(ipam, pool, "10.40.0.1", "10.40.0.2", "10.40.0.3")
    assert await given(ipam, pool, "cache") == "10.40.0.3"
    assert await given(ipam, pool, "web") == "10.40.0.1"
    assert await given(ipam, pool, "db") == "10.40.0.2"


async def test_others_get_an_address_that_nobody_had_while_there_is_one(ipam, pool):
    await given(ipam, pool, "web")
    await release(ipam, pool, "10.40.0.1")
    assert await given(ipam, pool) == "10.40.0.2"
    assert await given(ipam, pool, "db") == "10.40.0.3"
    assert await given(ipam, pool, "web") == "10.40.0.1"


async def test_a_container_without_a_name_leaves_the_lowest_address_to_the_next(ipam, pool):
    await given(ipam, pool)
    await release(ipam, pool, "10.40.0.1")
    assert await given(ipam, pool) == "10.40.0.1"


async def test_an_address_once_asked_for_is_given_to_others_last(ipam):
    pool = await new_pool(ipam, "10.40.0.0/29")
    await given(ipam, pool, address="10.40.0.1")
    await release(ipam, pool, "10.40.0.1")
    others = [await given(ipam, pool) for _ in range(6)]
    assert others == [f"10.40.0.{n}" for n in (2, 3, 4, 5, 6, 1)]


async def test_an_address_once_asked_for_can_be_asked_for_again(ipam, pool):
    await given(ipam, pool, address="10.40.0.1")
    await release(ipam, pool, "10.40.0.1")
    assert await given(ipam, pool) == "10.40.0.2"
    assert await given(ipam, pool, address="10.40.0.1") == "10.40.0.1"


async def test_an_address_that_others_got_in_the_end_is_remembered_no_more(ipam):
    pool = await new_pool(ipam, "10.40.0.0/30")
    await given(ipam, pool, address="10.40.0.1")
    await release(ipam, pool, "10.40.0.1")
    assert [await given(ipam, pool) for _ in range(2)] == ["10.40.0.2", "10.40.0.1"]
    await release(ipam, pool, "10.40.0.2", "10.40.0.1")
    assert await given(ipam, pool) == "10.40.0.1"


async def test_a_name_whose_address_is_taken_gets_another_one_and_has_that_from_then_on(ipam, pool):
    await given(ipam, pool, "web")
    await release(ipam, pool, "10.40.0.1")
    await given(ipam, pool, address="10.40.0.1")
    assert await given(ipam, pool, "web") == "10.40.0.2"
    await release(ipam, pool, "10.40.0.1", "10.40.0.2")
    assert await given(ipam, pool, "web") == "10.40.0.2"


async def test_a_name_that_is_in_use_gets_a_second_address(ipam, pool):
    assert await given(ipam, pool, "web") == "10.40.0.1"
    assert await given(ipam, pool, "web") == "10.40.0.2"


async def test_a_name_does_not_bring_back_an_address_outside_of_the_window(ipam):
    pool = await new_pool(ipam, window="10.40.0.128/25")
    assert await given(ipam, pool, "web", "10.40.0.5") == "10.40.0.5"
    await release(ipam, pool, "10.40.0.5")
    assert await given(ipam, pool, "web") == "10.40.0.128"


async def test_the_gateway_and_aux_addresses_are_not_remembered(ipam, pool):
    await given(ipam, pool, address="10.40.0.1", kind=LeaseKind.GATEWAY)
    await given(ipam, pool, address="10.40.0.2", kind=LeaseKind.AUX)
    await release(ipam, pool, "10.40.0.1", "10.40.0.2")
    assert [await given(ipam, pool) for _ in range(2)] == ["10.40.0.1", "10.40.0.2"]


async def test_a_gateway_too_leaves_remembered_addresses_alone(ipam, pool):
    await given(ipam, pool, "web")
    await release(ipam, pool, "10.40.0.1")
    assert await given(ipam, pool, kind=LeaseKind.GATEWAY) == "10.40.0.2"


async def test_too_many_names_make_the_oldest_forgotten_in_the_store_too(ipam, store):
    pool = await new_pool(ipam, "10.40.0.0/28")
    for number in range(1, 6):
        await given(ipam, pool, f"c{number}")
    await release(ipam, pool, *(f"10.40.0.{number}" for number in range(1, 6)))
    await ipam.close()
    assert {memory.name for memory in store.memories[pool].values()} == {"c3", "c4", "c5"}
    assert await given(ipam, pool) == "10.40.0.1"


async def test_a_name_is_forgotten_after_thirty_days_in_the_store_too(ipam, pool, store, clock):
    await given(ipam, pool, "web")
    await release(ipam, pool, "10.40.0.1")
    clock.now += NAMED_S
    assert await given(ipam, pool) == "10.40.0.1"
    await ipam.close()
    assert store.memories[pool] == {}


async def test_what_is_remembered_survives_a_restart(ipam, pool, start, clock):
    await given(ipam, pool, "web")
    await given(ipam, pool, address="10.40.0.2")
    await given(ipam, pool, "db")
    await release(ipam, pool, "10.40.0.1", "10.40.0.2", "10.40.0.3")
    await ipam.close()
    again = await start(clock=clock)
    assert await given(again, pool) == "10.40.0.4"
    assert await given(again, pool, "db") == "10.40.0.3"
    assert await given(again, pool, "web") == "10.40.0.1"


async def test_a_restart_while_the_name_is_back_does_not_remember_it_twice(
    ipam, pool, start, clock
):
    await given(ipam, pool, "web")
    await release(ipam, pool, "10.40.0.1")
    await given(ipam, pool, "web")
    await ipam.close()
    again = await start(clock=clock)
    assert again.usage(pool).held == 1
    await release(again, pool, "10.40.0.1")
    assert await given(again, pool, "web") == "10.40.0.1"


async def test_an_address_given_to_somebody_without_a_name_is_forgotten_in_the_store(
    ipam, store, start, clock
):
    pool = await new_pool(ipam, "10.40.0.4/31")
    await given(ipam, pool, address="10.40.0.4")
    await release(ipam, pool, "10.40.0.4")
    assert [await given(ipam, pool) for _ in range(2)] == ["10.40.0.5", "10.40.0.4"]
    await ipam.close()
    assert store.memories[pool] == {}


async def test_an_address_that_could_not_be_written_is_still_remembered(ipam, pool, store):
    await given(ipam, pool, "web")
    await release(ipam, pool, "10.40.0.1")
    await ipam.close()
    store.broken = "the disk is full"
    with pytest.raises(StoreError):
        await given(ipam, pool, address="10.40.0.1")
    store.broken = None
    assert await given(ipam, pool) == "10.40.0.2"
    assert await given(ipam, pool, "web") == "10.40.0.1"


async def test_a_memory_that_could_not_be_written_is_logged_and_the_release_stands(
    ipam, pool, store, caplog, monkeypatch
):
    async def broken(*args, **more):
        raise StoreError("the disk is full")

    await given(ipam, pool, "web")
    monkeypatch.setattr(store, "remember", broken)
    await release(ipam, pool, "10.40.0.1")
    await ipam.close()
    assert unfinished(caplog) == ["the disk is full"]
    assert await given(ipam, pool, "web") == "10.40.0.1"
