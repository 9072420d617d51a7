"""Many reservations changed at once: all or nothing, and which one is in the way."""

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, Ipam, LeaseKind, PoolRequest, Reservation, StoreError
from ipam.errors import AddressError, InvalidReservationError, IpamError, ReservedError
from tests.fakes.leases import FakeLeaseStore
from tests.unit.ipam.conftest import Start


def of(last: int, name: str = "", *, space: str = "s", note: str = "") -> Reservation:
    return Reservation(space=space, address=IPAddress(f"10.0.0.{last}"), name=name, note=note)


def shown(ipam: Ipam) -> list[tuple[int, str]]:
    return [(int(str(each.address).rpartition(".")[2]), each.name) for each in ipam.reservations()]


async def test_two_containers_swap_their_addresses_in_one_change(ipam: Ipam, start: Start):
    pool = await ipam.request_pool(PoolRequest(space="s", subnet=IPNetwork("10.0.0.0/29")))
    await ipam.reserve([of(2, "web"), of(3, "db"), of(4, "old")])
    drop = [("s", IPAddress(f"10.0.0.{last}")) for last in (2, 3, 4, 5)]
    await ipam.reserve([of(2, "db"), of(3, "web")], drop=drop)
    assert shown(ipam) == [(2, "db"), (3, "web")]
    assert ipam.usage(pool.id).reserved == 2
    lease = await ipam.request_address(AddressRequest(pool=pool.id, name="web"))
    assert lease.address == IPAddress("10.0.0.3")
    assert shown(await start()) == [(2, "db"), (3, "web")]


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        pytest.param(of(3, "web"), ReservedError, id="a name twice"),
        pytest.param(of(1, "x"), InvalidReservationError, id="a gateway"),
        pytest.param(of(7), AddressError, id="the broadcast address"),
        pytest.param(of(5, note="a\nb"), InvalidReservationError, id="a note of two lines"),
        pytest.param(of(2, "other"), ReservedError, id="an address twice"),
    ],
)
async def test_a_refusal_says_which_one_it_is_about_and_changes_nothing(
    ipam: Ipam, refused: Reservation, error: type[IpamError]
):
    pool = await ipam.request_pool(PoolRequest(space="s", subnet=IPNetwork("10.0.0.0/29")))
    gateway = IPAddress("10.0.0.1")
    await ipam.request_address(
        AddressRequest(pool=pool.id, address=gateway, kind=LeaseKind.GATEWAY)
    )
    await ipam.reserve([of(4, "old")])
    before = ipam.usage(pool.id)
    with pytest.raises(error) as caught:
        await ipam.reserve([of(2, "web"), refused, of(6)], drop=[("s", IPAddress("10.0.0.4"))])
    assert caught.value.index == 1
    assert shown(ipam) == [(4, "old")]
    assert ipam.usage(pool.id) == before


async def test_what_is_only_tried_is_refused_or_passes_and_changes_nothing(
    ipam: Ipam, start: Start
):
    await ipam.reserve([of(2, "web")])
    with pytest.raises(ReservedError):
        await ipam.reserve([of(2, "db")], dry=True)
    await ipam.reserve([of(2, "db"), of(3)], drop=[("s", IPAddress("10.0.0.2"))], dry=True)
    assert shown(ipam) == [(2, "web")]
    assert shown(await start()) == [(2, "web")]


async def test_a_change_that_is_not_written_is_undone_whole(ipam: Ipam, store: FakeLeaseStore):
    pool = await ipam.request_pool(PoolRequest(space="s", subnet=IPNetwork("10.0.0.0/29")))
    await ipam.reserve([of(1, "web"), of(2, "old")])
    before = ipam.reservations(), ipam.usage(pool.id)

    async def full(**_: object) -> None:
        raise StoreError("the disk is full")

    store.reserve = full  # type: ignore[method-assign]
    with pytest.raises(StoreError) as caught:
        await ipam.reserve(
            [of(2, "web"), of(3)], drop=[("s", IPAddress(f"10.0.0.{last}")) for last in (1, 2)]
        )
    assert caught.value.index is None
    assert (ipam.reservations(), ipam.usage(pool.id)) == before
    lease = await ipam.request_address(AddressRequest(pool=pool.id, name="old"))
    assert lease.address == IPAddress("10.0.0.2")


async def test_of_two_addresses_reserved_before_their_pool_a_name_gets_the_lowest_that_is_left(
    ipam: Ipam,
):
    await ipam.reserve([of(5, "web"), of(4, "web"), of(6, "web")])
    pool = await ipam.request_pool(PoolRequest(space="s", subnet=IPNetwork("10.0.0.0/29")))
    await ipam.unreserve([("s", IPAddress("10.0.0.4"))])
    lease = await ipam.request_address(AddressRequest(pool=pool.id, name="web"))
    assert lease.address == IPAddress("10.0.0.5")
    await ipam.unreserve([("s", IPAddress(f"10.0.0.{last}")) for last in (5, 6)])
    await ipam.release_address(pool.id, lease.address)
    assert ipam.usage(pool.id).reserved == 0
    assert (await ipam.request_address(AddressRequest(pool=pool.id))).address == IPAddress(
        "10.0.0.1"
    )
