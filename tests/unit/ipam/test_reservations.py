"""Addresses that are kept for a container's name, or for who asks for them by address."""

import asyncio

import pytest
from netaddr import IPAddress

from ipam import (
    AddressError,
    ExhaustedError,
    InvalidReservationError,
    LeaseKind,
    Reservation,
    ReservedError,
    StoreError,
    UnknownPoolError,
)
from ipam.reservations import MOST
from tests.unit.ipam.wishes import given, new_pool, release


def kept(address: str, name: str = "", space: str = "ovsnet", **more) -> Reservation:
    return Reservation(space=space, address=IPAddress(address), name=name, **more)


def addresses(ipam) -> list[str]:
    return [f"{each.space} {each.address} {each.name}" for each in ipam.reservations()]


async def test_a_name_gets_the_address_that_is_reserved_for_it(ipam):
    pool = await new_pool(ipam)
    await ipam.reserve([kept("10.40.0.5", "web")])
    assert await given(ipam, pool, name="web") == "10.40.0.5"
    assert await given(ipam, pool, name="web") == "10.40.0.1"


async def test_nobody_else_is_given_a_reserved_address(ipam):
    pool = await new_pool(ipam)
    await ipam.reserve([kept("10.40.0.1", "web"), kept("10.40.0.2")])
    assert ipam.usage(pool.id).free == 4
    assert [await given(ipam, pool, name="db") for _ in range(4)] == [
        *("10.40.0.3", "10.40.0.4", "10.40.0.5", "10.40.0.6")
    ]
    with pytest.raises(ExhaustedError, match=r"2 reserved \(`ovsnet ipam reserve`\)"):
        await given(ipam, pool)


async def test_one_for_a_name_is_refused_to_other_names_and_given_without_one(ipam):
    pool = await new_pool(ipam)
    await ipam.reserve([kept("10.40.0.5", "web")])
    with pytest.raises(ReservedError, match="is reserved for container web since"):
        await given(ipam, pool, "10.40.0.5", name="db")
    with pytest.raises(ReservedError):
        await given(ipam, pool, "10.40.0.5", kind=LeaseKind.GATEWAY)
    # Engines before 29 send no name: somebody typed that address.
    assert await given(ipam, pool, "10.40.0.5") == "10.40.0.5"


async def test_one_without_a_name_is_for_who_asks_for_it(ipam):
    pool = await new_pool(ipam)
    await ipam.reserve([kept("10.40.0.5")])
    assert await given(ipam, pool, "10.40.0.5", name="web") == "10.40.0.5"


async def test_a_reservation_comes_before_its_pool_and_outlives_it(start):
    ipam = await start()
    await ipam.reserve([kept("10.40.0.1", "web", note="rack 4")])
    for _ in range(2):
        pool = await new_pool(ipam)
        assert await given(ipam, pool) == "10.40.0.2"
        assert await given(ipam, pool, name="web") == "10.40.0.1"
        ipam = await start()
        await ipam.release_pool(pool.id)
    (there,) = ipam.reservations()
    assert (there.name, there.note, there.created > 0) == ("web", "rack 4", True)


async def test_a_reservation_is_of_its_space(ipam):
    await ipam.reserve([kept("10.40.0.1", "web", space="blue")])
    red, blue = await new_pool(ipam), await new_pool(ipam, space="blue")
    assert [await given(ipam, each) for each in (red, blue)] == ["10.40.0.1", "10.40.0.2"]


async def test_a_gateway_is_not_chosen_among_the_reserved(ipam):
    await ipam.reserve([kept("10.40.0.1", "web")])
    assert await given(ipam, await new_pool(ipam), kind=LeaseKind.GATEWAY) == "10.40.0.2"


async def test_who_holds_an_address_keeps_it_when_it_is_reserved(start):
    ipam = await start()
    pool = await new_pool(ipam)
    await given(ipam, pool, name="db")
    await ipam.reserve([kept("10.40.0.1", "web")])
    ipam = await start()
    assert await given(ipam, pool, name="web") == "10.40.0.2"
    await release(ipam, pool, "10.40.0.1")
    assert await given(ipam, pool, name="db") == "10.40.0.3"
    assert await given(ipam, pool, name="web") == "10.40.0.1"


async def test_the_same_reservation_again_changes_its_note_alone(ipam):
    for note in ("old", "new"):
        await ipam.reserve([kept("10.40.0.1", "web", note=note)])
    assert [each.note for each in ipam.reservations()] == ["new"]


async def test_an_address_is_not_taken_from_another_name(ipam):
    await ipam.reserve([kept("10.40.0.1", "web")])
    with pytest.raises(ReservedError, match="is reserved for container web already"):
        await ipam.reserve([kept("10.40.0.1", "db")])
    await ipam.reserve([kept("10.40.0.1", "db")], replace=True)
    assert addresses(ipam) == ["ovsnet 10.40.0.1 db"]
    pool = await new_pool(ipam)
    assert await given(ipam, pool, name="web") == "10.40.0.2"
    assert await given(ipam, pool, name="db") == "10.40.0.1"


async def test_a_name_has_one_address_in_a_pool(ipam):
    await new_pool(ipam)
    await ipam.reserve([kept("10.40.0.1", "web"), kept("10.99.0.1", "web")])
    with pytest.raises(ReservedError, match=r"container web has 10.40.0.1 of 10.40.0.0/29"):
        await ipam.reserve([kept("10.40.0.2", "web")])
    with pytest.raises(ReservedError, match=r"container db has 10.40.0.2"):
        await ipam.reserve([kept("10.40.0.2", "db"), kept("10.40.0.3", "db")])
    assert addresses(ipam) == ["ovsnet 10.40.0.1 web", "ovsnet 10.99.0.1 web"]


async def test_of_two_that_came_before_the_pool_the_lowest_counts_until_it_goes(ipam):
    await ipam.reserve([kept("10.40.0.5", "web"), kept("10.40.0.3", "web")])
    pool = await new_pool(ipam)
    assert await given(ipam, pool, name="web") == "10.40.0.3"
    await release(ipam, pool, "10.40.0.3")
    await ipam.unreserve([("ovsnet", IPAddress("10.40.0.3"))])
    assert await given(ipam, pool, name="web") == "10.40.0.5"


@pytest.mark.parametrize(
    ("reservation", "sentence"),
    [
        pytest.param(kept("10.40.0.0"), "is the network address", id="network address"),
        pytest.param(kept("10.40.0.7"), "is the broadcast address", id="broadcast address"),
        pytest.param(kept("10.40.0.1", "web"), "is the gateway of 10.40.0.0/29", id="gateway"),
        pytest.param(kept("127.0.0.1"), "loopback", id="loopback"),
        pytest.param(kept("ff02::1"), "multicast", id="multicast"),
        pytest.param(kept("10.40.0.5", "a\nb"), "printable", id="name"),
        pytest.param(kept("10.40.0.5", note="x" * 201), "200 printable", id="note"),
        pytest.param(kept("10.40.0.5", space="no space"), "address space 'no space'", id="space"),
    ],
)
async def test_what_no_container_could_have_is_refused(ipam, reservation, sentence):
    await given(ipam, await new_pool(ipam), kind=LeaseKind.GATEWAY)
    with pytest.raises((InvalidReservationError, AddressError), match=sentence):
        await ipam.reserve([kept("10.40.0.3", "fine"), reservation])
    assert addresses(ipam) == []


async def test_one_that_was_made_before_its_pool_and_is_no_address_there_means_nothing(ipam):
    await ipam.reserve([kept("10.40.0.8", "web")])
    await new_pool(ipam, "10.40.0.8/29")
    second = await new_pool(ipam, "10.40.0.0/29")
    assert await given(ipam, second, name="web") == "10.40.0.1"


@pytest.mark.slow
async def test_a_space_has_a_bounded_number_of_them(ipam):
    first = int(IPAddress("10.60.0.1"))
    many = [kept(str(IPAddress(first + n))) for n in range(MOST + 1)]
    with pytest.raises(InvalidReservationError, match=f"more than {MOST} reservations"):
        await ipam.reserve(many)
    await ipam.reserve(many[:-1])
    await ipam.reserve(many[:-1])
    assert len(ipam.reservations()) == MOST


async def test_removing_a_reservation_frees_its_address(start):
    ipam = await start()
    pool = await new_pool(ipam)
    await ipam.reserve([kept("10.40.0.1", "web")])
    key = ("ovsnet", IPAddress("10.40.0.1"))
    assert [each.name for each in await ipam.unreserve([key, key])] == ["web"]
    assert list(await ipam.unreserve([key])) == []
    assert await given(ipam, pool) == "10.40.0.1"
    assert list((await start()).reservations()) == []


async def test_the_lowest_free_address_is_reserved_for_a_name_that_names_none(ipam):
    pool = await new_pool(ipam)
    await given(ipam, pool)
    reservations = await asyncio.gather(
        *(ipam.reserve_any(pool.id, name=name) for name in ("web", "db", "web"))
    )
    assert [str(each.address) for each in reservations] == [
        *("10.40.0.2", "10.40.0.3", "10.40.0.2")
    ]
    assert await given(ipam, pool, name="db") == "10.40.0.3"


async def test_there_is_nothing_to_reserve_in_a_full_pool_or_none(ipam):
    pool = await new_pool(ipam, "10.40.0.4/31")
    for _ in range(2):
        await given(ipam, pool)
    with pytest.raises(ExhaustedError):
        await ipam.reserve_any(pool.id, name="web")
    await ipam.release_pool(pool.id)
    with pytest.raises(UnknownPoolError):
        await ipam.reserve_any(pool.id, name="web")


async def test_what_could_not_be_written_is_not_reserved(ipam, store):
    pool = await new_pool(ipam)
    await ipam.reserve([kept("10.40.0.1", "web")])
    store.broken = "the disk is full"
    with pytest.raises(StoreError):
        await ipam.reserve([kept("10.40.0.1", "db"), kept("10.40.0.2")], replace=True)
    with pytest.raises(StoreError):
        await ipam.unreserve([("ovsnet", IPAddress("10.40.0.1"))])
    store.broken = None
    assert addresses(ipam) == ["ovsnet 10.40.0.1 web"]
    assert await given(ipam, pool, name="db") == "10.40.0.2"
    assert await given(ipam, pool, name="web") == "10.40.0.1"


async def test_nobody_gets_an_address_while_its_reservation_is_on_its_way(ipam, store):
    pool = await new_pool(ipam)
    store.gate.clear()
    reserving = asyncio.create_task(ipam.reserve([kept("10.40.0.1", "web")]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.gate.set()
    assert await given(ipam, pool) == "10.40.0.2"
    await reserving


async def test_a_reservation_that_is_made_while_its_pool_is_on_its_way_counts(ipam, store):
    store.gate.clear()
    making = asyncio.create_task(new_pool(ipam))
    for _ in range(3):
        await asyncio.sleep(0)
    reserving = asyncio.create_task(ipam.reserve([kept("10.40.0.1", "web")]))
    for _ in range(3):
        await asyncio.sleep(0)
    store.gate.set()
    pool, _ = await asyncio.gather(making, reserving)
    assert await given(ipam, pool) == "10.40.0.2"
