import pytest
from netaddr import IPAddress, IPNetwork

from ipam import (
    AddressError,
    AddressRequest,
    ExhaustedError,
    InvalidNameError,
    LeaseKind,
    PoolId,
    PoolRequest,
    StoreError,
    UnknownPoolError,
    Usage,
)


async def new_pool(ipam, subnet: str, window: str | None = None) -> PoolId:
    network = IPNetwork(subnet)
    request = PoolRequest(
        space="ovsnet",
        subnet=network,
        window=IPNetwork(window) if window else None,
        family=network.version,
    )
    return (await ipam.request_pool(request)).id


async def given(ipam, pool: PoolId, **what) -> str:
    return str((await lease(ipam, pool, **what)).address)


async def lease(ipam, pool: PoolId, address: str | None = None, **what):
    wanted = IPAddress(address) if address else None
    return await ipam.request_address(AddressRequest(pool=pool, address=wanted, **what))


async def test_the_lowest_free_address_is_given(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24")
    assert [await given(ipam, pool) for _ in range(3)] == ["10.40.0.1", "10.40.0.2", "10.40.0.3"]
    assert await ipam.release_address(pool, IPAddress("10.40.0.2"))
    assert await given(ipam, pool) == "10.40.0.2"
    assert await given(ipam, pool) == "10.40.0.4"


@pytest.mark.parametrize(
    ("subnet", "addresses"),
    [
        pytest.param("10.0.0.0/8", ["10.0.0.1", "10.0.0.2"], id="a /8"),
        pytest.param("10.0.0.4/30", ["10.0.0.5", "10.0.0.6"], id="a /30"),
        pytest.param("10.0.0.4/31", ["10.0.0.4", "10.0.0.5"], id="a /31"),
        pytest.param("10.0.0.4/32", ["10.0.0.4"], id="a /32"),
        pytest.param("fd00::/48", ["fd00::1", "fd00::2"], id="an IPv6 /48"),
        pytest.param("fd00:0:0:8::/64", ["fd00:0:0:8::1", "fd00:0:0:8::2"], id="an IPv6 /64"),
        pytest.param("fd00::4/127", ["fd00::4", "fd00::5"], id="an IPv6 /127"),
        pytest.param("fd00::5/128", ["fd00::5"], id="an IPv6 /128"),
    ],
)
async def test_every_size_of_pool_begins_at_its_first_usable_address(ipam, subnet, addresses):
    pool = await new_pool(ipam, subnet)
    assert [await given(ipam, pool) for _ in addresses] == addresses


async def test_a_lease_tells_all_that_was_asked_and_when(ipam, store):
    pool = await new_pool(ipam, "10.40.0.0/24")
    dynamic = await lease(ipam, pool, name="web")
    wanted = await lease(ipam, pool, "10.40.0.9", kind=LeaseKind.AUX)
    assert (dynamic.kind, dynamic.wanted, dynamic.name) == (LeaseKind.ENDPOINT, False, "web")
    assert (wanted.kind, wanted.wanted, wanted.pool) == (LeaseKind.AUX, True, pool)
    assert 0 < dynamic.serial < wanted.serial
    assert 0 < dynamic.created < wanted.created
    assert await ipam.leases(pool) == [dynamic, wanted]
    assert await ipam.lease(pool, wanted.address) == wanted
    assert list(store.held[pool].values()) == [dynamic, wanted]


async def test_the_gateway_is_the_first_address_of_the_subnet_also_outside_of_the_window(ipam):
    pool = await new_pool(ipam, "10.40.0.0/16", "10.40.5.0/24")
    gateway = await lease(ipam, pool, kind=LeaseKind.GATEWAY)
    assert (str(gateway.address), gateway.wanted) == ("10.40.0.1", False)
    assert ipam.gateway(pool) == gateway
    assert await given(ipam, pool) == "10.40.5.0"


async def test_a_wanted_gateway_is_remembered_as_wanted(ipam):
    pool = await new_pool(ipam, "10.40.0.0/16", "10.40.5.0/24")
    await lease(ipam, pool, "10.40.0.254", kind=LeaseKind.GATEWAY)
    assert ipam.gateway(pool).wanted
    assert str(ipam.gateway(pool).address) == "10.40.0.254"


async def test_gateway_aux_and_wanted_addresses_may_lie_outside_of_the_window(ipam):
    pool = await new_pool(ipam, "10.90.0.0/16", "10.90.5.0/24")
    assert await given(ipam, pool, address="10.90.0.254", kind=LeaseKind.GATEWAY)
    assert await given(ipam, pool, address="10.90.5.1", kind=LeaseKind.AUX)
    assert await given(ipam, pool, address="10.90.99.1", kind=LeaseKind.AUX)
    assert await given(ipam, pool, address="10.90.99.2")
    assert [await given(ipam, pool) for _ in range(2)] == ["10.90.5.0", "10.90.5.2"]


async def test_an_ipv6_subnets_first_address_is_given_only_when_named(ipam):
    pool = await new_pool(ipam, "fd00::/126")
    assert [await given(ipam, pool) for _ in range(3)] == ["fd00::1", "fd00::2", "fd00::3"]
    assert await given(ipam, pool, address="fd00::") == "fd00::"


async def test_a_far_address_of_an_ipv6_pool_can_be_named(ipam):
    pool = await new_pool(ipam, "fd00::/48")
    far = "fd00::ffff:ffff:ffff:ffff:ffff"
    assert await given(ipam, pool, address=far) == far
    assert await given(ipam, pool) == "fd00::1"
    assert [str(each.address) for each in await ipam.leases(pool)] == ["fd00::1", far]


@pytest.mark.parametrize(
    ("subnet", "address", "says"),
    [
        pytest.param("10.4.0.0/24", "10.4.1.1", "10.4.0.1 to 10.4.0.254", id="above"),
        pytest.param("10.4.0.0/24", "10.3.255.255", "not in subnet 10.4.0.0/24", id="below"),
        pytest.param("10.4.0.0/24", "fd00::1", "not in subnet", id="of the other family"),
        pytest.param("fd00::/64", "10.4.0.1", "not in subnet", id="IPv4 in IPv6"),
        pytest.param("fd00::/64", "fd00:0:0:1::", "not in subnet", id="above in IPv6"),
        pytest.param("10.4.0.0/24", "10.4.0.0", "network address", id="network"),
        pytest.param("10.4.0.0/24", "10.4.0.255", "10.4.0.1 to 10.4.0.254", id="broadcast"),
        pytest.param("10.4.0.4/30", "10.4.0.7", "broadcast address", id="broadcast of a /30"),
    ],
)
@pytest.mark.parametrize("kind", LeaseKind)
async def test_an_address_that_no_host_can_have_is_refused(ipam, subnet, address, says, kind):
    pool = await new_pool(ipam, subnet)
    with pytest.raises(AddressError) as refusal:
        await lease(ipam, pool, address, kind=kind)
    assert says in str(refusal.value)
    assert await ipam.leases(pool) == []


async def test_a_taken_address_is_refused_naming_who_holds_it_and_since_when(start):
    ipam = await start(clock=lambda: 1_790_000_000.0)
    pool = await new_pool(ipam, "10.40.0.0/24")
    await lease(ipam, pool, "10.40.0.9", name="web")
    with pytest.raises(AddressError) as refusal:
        await lease(ipam, pool, "10.40.0.9", name="db")
    assert str(refusal.value) == (
        "address 10.40.0.9 of 10.40.0.0/24 is held by container web since "
        "2026-09-21 14:13:20 UTC; choose another one, or remove that container first"
    )


async def test_who_holds_an_address_is_known_after_a_restart_too(start):
    ipam = await start()
    pool = await new_pool(ipam, "10.40.0.0/24")
    await lease(ipam, pool, "10.40.0.9", name="web")
    with pytest.raises(AddressError, match="held by container web since 2023"):
        await lease(await start(), pool, "10.40.0.9")


async def test_an_address_whose_holder_goes_at_that_moment_is_refused_with_try_again(start, store):
    ipam = await start()
    pool = await new_pool(ipam, "10.40.0.0/24")
    await lease(ipam, pool, "10.40.0.9")
    again = await start()
    store.held[pool].clear()
    with pytest.raises(AddressError, match="try again"):
        await lease(again, pool, "10.40.0.9")


async def test_the_same_request_again_is_refused_as_taken(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24")
    await lease(ipam, pool, "10.40.0.9")
    with pytest.raises(AddressError, match="held by a container or as an --aux-address since"):
        await lease(ipam, pool, "10.40.0.9")


async def test_a_container_cannot_have_the_gateway(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24")
    await lease(ipam, pool, kind=LeaseKind.GATEWAY)
    with pytest.raises(AddressError, match=r"is the gateway of 10.40.0.0/24.*choose another"):
        await lease(ipam, pool, "10.40.0.1")


async def test_an_aux_address_equal_to_the_gateway_is_refused_with_what_to_leave_out(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24")
    await lease(ipam, pool, kind=LeaseKind.GATEWAY)
    with pytest.raises(AddressError, match=r"no --gateway was named; leave this --aux-address out"):
        await lease(ipam, pool, "10.40.0.1", kind=LeaseKind.AUX)


async def test_an_aux_address_is_kept_from_containers_and_from_a_second_name(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24")
    await lease(ipam, pool, "10.40.0.1", kind=LeaseKind.AUX)
    for kind in LeaseKind:
        with pytest.raises(AddressError, match="kept back for its network"):
            await lease(ipam, pool, "10.40.0.1", kind=kind)
    assert await given(ipam, pool) == "10.40.0.2"


@pytest.mark.parametrize("address", [None, "10.40.0.77", "10.40.0.1"])
async def test_a_pool_has_one_gateway(ipam, address):
    pool = await new_pool(ipam, "10.40.0.0/24")
    await lease(ipam, pool, kind=LeaseKind.GATEWAY)
    with pytest.raises(AddressError, match=r"has the gateway 10.40.0.1; it cannot have a second"):
        await lease(ipam, pool, address, kind=LeaseKind.GATEWAY)


async def test_a_released_gateway_can_be_asked_for_again(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24")
    await lease(ipam, pool, kind=LeaseKind.GATEWAY)
    assert await ipam.release_address(pool, IPAddress("10.40.0.1"))
    assert ipam.gateway(pool) is None
    assert await given(ipam, pool, kind=LeaseKind.GATEWAY) == "10.40.0.1"


async def test_a_full_pool_tells_how_many_addresses_there_are_who_has_them_and_what_to_do(ipam):
    pool = await new_pool(ipam, "10.40.0.0/29")
    await lease(ipam, pool, kind=LeaseKind.GATEWAY)
    await lease(ipam, pool, "10.40.0.6", kind=LeaseKind.AUX)
    for name in ("web", "db", "", "cache"):
        await lease(ipam, pool, name=name)
    with pytest.raises(ExhaustedError) as refusal:
        await lease(ipam, pool)
    assert str(refusal.value) == (
        "subnet 10.40.0.0/29 is full: of its 6 addresses 4 are held by containers (web, db, cache "
        "and 1 more), 1 by the gateway and 1 by --aux-address, ovs.gateway or "
        "ovs.host_address (`ovsnet ipam leases 10.40.0.0/29`); remove containers, or "
        "create a network with a larger subnet"
    )


async def test_a_full_window_says_that_addresses_outside_of_it_can_be_named(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24", "10.40.0.128/31")
    await lease(ipam, pool, kind=LeaseKind.GATEWAY)
    for _ in range(2):
        await lease(ipam, pool)
    with pytest.raises(ExhaustedError) as refusal:
        await lease(ipam, pool)
    assert str(refusal.value) == (
        "range 10.40.0.128/31 of subnet 10.40.0.0/24, 2 addresses, is full: in the subnet 2 are "
        "held by containers and 1 by the gateway (`ovsnet ipam leases 10.40.0.0/24`); name a free "
        "address outside of the range with --ip, remove containers, or create a network with a "
        "larger subnet"
    )
    assert await given(ipam, pool, address="10.40.0.2") == "10.40.0.2"


async def test_a_pool_of_one_address_is_full_after_it(ipam):
    pool = await new_pool(ipam, "10.40.0.7/32")
    assert await given(ipam, pool, kind=LeaseKind.GATEWAY) == "10.40.0.7"
    with pytest.raises(ExhaustedError, match="of its 1 address 1 is held by the gateway"):
        await lease(ipam, pool)


async def test_no_gateway_is_left_in_a_full_subnet(ipam):
    pool = await new_pool(ipam, "10.40.0.4/31")
    for _ in range(2):
        await lease(ipam, pool)
    with pytest.raises(ExhaustedError, match="is full"):
        await lease(ipam, pool, kind=LeaseKind.GATEWAY)


async def test_an_unknown_pool_is_refused(ipam):
    with pytest.raises(UnknownPoolError, match="not known here"):
        await lease(ipam, PoolId("nonsense"))


@pytest.mark.parametrize("name", ["a\nb", "\ud800", "x" * 256], ids=ascii)
async def test_a_name_that_cannot_be_shown_is_refused(ipam, name):
    pool = await new_pool(ipam, "10.40.0.0/24")
    with pytest.raises(InvalidNameError) as refusal:
        await lease(ipam, pool, name=name)
    assert str(refusal.value).isprintable()
    assert refusal.value.status == 400


async def test_releasing_a_lease_twice_succeeds(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24")
    held = await lease(ipam, pool)
    assert await ipam.release_address(pool, held.address) is True
    assert await ipam.release_address(pool, held.address) is False
    assert ipam.usage(pool).held == 0


@pytest.mark.parametrize("address", ["10.40.0.9", "10.40.0.0", "10.99.0.1", "fd00::1"])
async def test_releasing_what_nobody_holds_succeeds(ipam, store, address):
    pool = await new_pool(ipam, "10.40.0.0/24")
    before = store.writes
    assert await ipam.release_address(pool, IPAddress(address)) is False
    assert store.writes == before


async def test_releasing_a_lease_by_its_serial_spares_a_later_one(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24")
    old = await lease(ipam, pool)
    await ipam.release_address(pool, old.address)
    new = await lease(ipam, pool)
    assert new.address == old.address
    assert await ipam.release_address(pool, old.address, serial=old.serial) is False
    assert await ipam.lease(pool, new.address) == new
    assert await given(ipam, pool) == "10.40.0.2"
    assert await ipam.release_address(pool, new.address, serial=new.serial) is True
    assert await ipam.lease(pool, new.address) is None


async def test_an_address_that_could_not_be_written_is_free_again(ipam, store):
    pool = await new_pool(ipam, "10.40.0.0/24")
    store.broken = "the disk is full"
    for what in ({}, {"address": "10.40.0.9"}, {"kind": LeaseKind.GATEWAY}):
        with pytest.raises(StoreError, match="the disk is full"):
            await lease(ipam, pool, **what)
    store.broken = None
    assert (ipam.usage(pool).held, ipam.gateway(pool)) == (0, None)
    assert await given(ipam, pool, kind=LeaseKind.GATEWAY) == "10.40.0.1"
    assert await given(ipam, pool, address="10.40.0.9") == "10.40.0.9"


async def test_an_address_whose_release_could_not_be_written_is_still_held(ipam, store):
    pool = await new_pool(ipam, "10.40.0.0/24")
    held = await lease(ipam, pool)
    store.broken = "the disk is full"
    with pytest.raises(StoreError, match="the disk is full"):
        await ipam.release_address(pool, held.address)
    store.broken = None
    assert await ipam.lease(pool, held.address) == held
    assert await given(ipam, pool) == "10.40.0.2"
    assert await ipam.release_address(pool, held.address) is True


async def test_an_address_that_another_user_of_the_store_took_is_skipped(ipam, store):
    pool = await new_pool(ipam, "10.40.0.0/24")
    foreign = await lease(ipam, pool, "10.40.0.200", name="elsewhere")
    store.held[pool][int(IPAddress("10.40.0.1"))] = foreign
    store.held[pool][int(IPAddress("10.40.0.2"))] = foreign
    assert await given(ipam, pool) == "10.40.0.3"
    with pytest.raises(AddressError, match="held by container elsewhere"):
        await lease(ipam, pool, "10.40.0.2")


@pytest.mark.slow
async def test_a_recent_lease_is_known_without_asking_the_store_and_an_old_one_too(ipam, store):
    pool = await new_pool(ipam, "10.0.0.0/16")
    first = await lease(ipam, pool)
    assert await ipam.lease(pool, first.address) == first
    assert store.reads == 0
    for _ in range(4200):
        await lease(ipam, pool)
    assert await ipam.lease(pool, first.address) == first
    assert store.reads == 1


async def test_a_released_address_that_another_user_of_the_store_took_is_told_as_theirs(
    ipam, store
):
    pool = await new_pool(ipam, "10.40.0.0/24")
    own = await lease(ipam, pool, name="own")
    await ipam.release_address(pool, own.address)
    store.held[pool][int(own.address)] = own._replace(name="theirs")
    assert await given(ipam, pool) == "10.40.0.2"
    with pytest.raises(AddressError, match="held by container theirs"):
        await lease(ipam, pool, str(own.address))


async def test_usage_counts_what_is_held_and_what_is_left(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24", "10.40.0.128/25")
    assert ipam.usage(pool) == Usage(held=0, capacity=254, free=127)
    await lease(ipam, pool, kind=LeaseKind.GATEWAY)
    await lease(ipam, pool)
    assert ipam.usage(pool) == Usage(held=2, capacity=254, free=126)


async def test_leases_can_be_read_in_parts(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24")
    every = [await lease(ipam, pool) for _ in range(5)]
    assert await ipam.leases(pool, limit=2) == every[:2]
    assert await ipam.leases(pool, after=every[1].address, limit=2) == every[2:4]
    assert await ipam.leases(pool, after=every[4].address) == []


async def test_nobody_holds_an_address_that_is_not_in_the_pool(ipam):
    pool = await new_pool(ipam, "10.40.0.0/24")
    assert await ipam.lease(pool, IPAddress("10.41.0.1")) is None
    assert await ipam.lease(PoolId("nonsense"), IPAddress("10.40.0.1")) is None


async def test_a_restart_finds_the_same_leases_and_goes_on_behind_them(start):
    ipam = await start()
    pool = await new_pool(ipam, "10.40.0.0/24", "10.40.0.64/26")
    gateway = await lease(ipam, pool, "10.40.0.254", kind=LeaseKind.GATEWAY)
    await lease(ipam, pool, name="web")
    again = await start()
    assert await again.leases(pool) == await ipam.leases(pool)
    assert again.gateway(pool) == gateway
    assert again.usage(pool) == ipam.usage(pool)
    new = await lease(again, pool)
    assert str(new.address) == "10.40.0.65"


async def test_serials_are_not_used_again_after_a_restart(start):
    seen = set()
    pool = await new_pool(await start(), "10.40.0.0/24")
    for _ in range(3):
        ipam = await start()
        for _ in range(3):
            held = await lease(ipam, pool)
            await ipam.release_address(pool, held.address)
            assert held.serial not in seen
            seen.add(held.serial)
