from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import (
    AddressRequest,
    DefaultPool,
    ExhaustedError,
    InvalidPoolError,
    Ipam,
    OverlapError,
    PoolId,
    PoolRequest,
    StoreError,
    UnknownPoolError,
)


def explicit(subnet: str, *, space: str = "ovsnet", **more) -> PoolRequest:
    network = IPNetwork(subnet)
    window = more.pop("window", None)
    return PoolRequest(
        space=space,
        subnet=network,
        window=IPNetwork(window) if window else None,
        family=more.pop("family", network.version),
        **more,
    )


def automatic(*, space: str = "ovsnet", family: int = 4, prefix: int | None = None) -> PoolRequest:
    return PoolRequest(space=space, family=family, prefix=prefix)


async def subnets(ipam: Ipam, request: PoolRequest, times: int) -> list[str]:
    return [str((await ipam.request_pool(request)).subnet) for _ in range(times)]


async def test_a_named_subnet_is_given_as_it_was_named(ipam, store):
    pool = await ipam.request_pool(explicit("10.40.0.0/16", window="10.40.5.0/24"))
    assert (str(pool.subnet), str(pool.window)) == ("10.40.0.0/16", "10.40.5.0/24")
    assert (pool.automatic, pool.space, pool.created > 0) == (False, "ovsnet", True)
    assert ipam.pools() == (pool,)
    assert ipam.pool(pool.id) == pool
    assert store.pools == {pool.id: pool}


@pytest.mark.parametrize(
    "subnet",
    [
        *("10.0.0.0/8", "10.1.2.0/30", "10.1.2.2/31", "10.1.2.3/32", "192.0.2.0/24"),
        *("fd00::/48", "fd00::/64", "fd00::4/127", "fd00::5/128", "2001:db8::/56"),
    ],
)
async def test_subnets_of_every_usual_length_are_given(ipam, subnet):
    assert str((await ipam.request_pool(explicit(subnet))).subnet) == subnet


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        pytest.param(explicit("10.0.0.5/24"), "type 10.0.0.0/24", id="host bits"),
        pytest.param(explicit("fd00::5/64"), "type fd00::/64", id="IPv6 host bits"),
        pytest.param(explicit("10.0.0.0/24", family=6), "is IPv4, but an IPv6", id="wrong family"),
        pytest.param(explicit("10.0.0.0/7"), "8 to 32", id="too short"),
        pytest.param(explicit("0.0.0.0/0"), "8 to 32", id="everything"),
        pytest.param(explicit("2000::/3"), "16 to 128", id="IPv6 too short"),
        pytest.param(explicit("127.5.0.0/16"), "loopback", id="loopback"),
        pytest.param(explicit("224.1.0.0/16"), "multicast", id="multicast"),
        pytest.param(explicit("0.1.0.0/16"), "this network", id="network 0"),
        pytest.param(explicit("fe80::/64"), "link-local", id="IPv6 link-local"),
        pytest.param(explicit("ff05::/64"), "multicast", id="IPv6 multicast"),
        pytest.param(explicit("::ffff:0:0/96"), "IPv4-mapped", id="IPv4-mapped"),
        pytest.param(
            explicit("10.0.0.0/24", window="10.0.1.0/25"), "not inside of subnet", id="range away"
        ),
        pytest.param(
            explicit("10.0.0.0/24", window="10.0.0.0/23"), "not inside of subnet", id="range around"
        ),
        pytest.param(
            explicit("10.0.0.0/24", window="10.0.0.130/25"),
            "type 10.0.0.128/25",
            id="range with host bits",
        ),
        pytest.param(
            explicit("10.0.0.0/24", window="fd00::/80"), "IPv6 and subnet", id="range of IPv6"
        ),
        pytest.param(
            explicit("10.0.0.0/24", window="10.0.0.255/32"), "holds no address", id="empty range"
        ),
        pytest.param(
            PoolRequest(space="ovsnet", window=IPNetwork("10.0.0.0/25")),
            "add --subnet",
            id="range without subnet",
        ),
        pytest.param(explicit("10.0.0.0/24", prefix=26), "contradicts", id="prefix and subnet"),
        pytest.param(automatic(prefix=33), "8 to 32", id="prefix too long"),
        pytest.param(automatic(prefix=0), "8 to 32", id="prefix of 0"),
        pytest.param(automatic(prefix=-1), "8 to 32", id="negative prefix"),
        pytest.param(automatic(prefix=16), "the largest is 172.24.0.0/22", id="prefix too short"),
        pytest.param(automatic(family=6, prefix=129), "16 to 128", id="IPv6 prefix too long"),
        pytest.param(automatic(family=5), "ask for 4 or 6", id="IPv5"),
        pytest.param(automatic(space=""), "address space ''", id="no space"),
        pytest.param(automatic(space="a b"), "address space 'a b'", id="space in the space"),
        pytest.param(automatic(space="../etc"), "address space", id="path as space"),
        pytest.param(automatic(space="x" * 64), "1 to 63", id="long space"),
        pytest.param(automatic(space="n\n"), "address space", id="line feed in the space"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_what_to_type(ipam, store, request_, says):
    with pytest.raises(InvalidPoolError) as refusal:
        await ipam.request_pool(request_)
    assert says in str(refusal.value)
    assert refusal.value.status == 400
    assert ipam.pools() == ()
    assert store.writes == 0


async def test_a_window_of_the_whole_subnet_is_none(ipam):
    assert (await ipam.request_pool(explicit("10.0.0.0/24", window="10.0.0.0/24"))).window is None


async def test_an_overlap_in_one_space_is_refused_naming_the_other_pool(ipam):
    other = await ipam.request_pool(explicit("10.40.0.0/16"))
    with pytest.raises(OverlapError) as refusal:
        await ipam.request_pool(explicit("10.40.7.0/24"))
    for part in ("10.40.7.0/24", "10.40.0.0/16", other.id, "space ovsnet", "ipam.space=NAME"):
        assert part in str(refusal.value)
    assert ipam.pools() == (other,)


async def test_two_spaces_may_have_the_same_subnet(ipam):
    one = await ipam.request_pool(explicit("10.40.0.0/16"))
    other = await ipam.request_pool(explicit("10.40.0.0/16", space="blue"))
    assert one.id != other.id
    first = await ipam.request_address(AddressRequest(pool=one.id))
    second = await ipam.request_address(AddressRequest(pool=other.id))
    assert first.address == second.address


async def test_a_named_subnet_is_not_compared_with_the_host(ipam, host):
    host.use("10.40.0.0/16", "route via eth0")
    assert await ipam.request_pool(explicit("10.40.0.0/24"))
    assert host.asked == 0


async def test_every_automatic_request_gets_a_new_subnet(ipam):
    assert await subnets(ipam, automatic(), 5) == [
        *("172.24.0.0/24", "172.24.1.0/24", "172.24.2.0/24", "172.24.3.0/24", "10.128.0.0/25")
    ]
    assert all(pool.automatic for pool in ipam.pools())


async def test_automatic_ipv6_subnets_come_from_the_ipv6_default_pools(ipam):
    assert await subnets(ipam, automatic(family=6), 2) == ["fd00:1::/64", "fd00:1:0:1::/64"]


async def test_a_wanted_prefix_length_is_cut_from_the_same_default_pools(ipam):
    assert await subnets(ipam, automatic(prefix=26), 2) == ["172.24.0.0/26", "172.24.0.64/26"]
    assert await subnets(ipam, automatic(), 1) == ["172.24.1.0/24"]
    assert await subnets(ipam, automatic(prefix=23), 2) == ["172.24.2.0/23", "10.128.0.0/23"]


async def test_spaces_choose_independently_of_each_other(ipam):
    assert await subnets(ipam, automatic(), 1) == ["172.24.0.0/24"]
    assert await subnets(ipam, automatic(space="ovsnet-global"), 1) == ["172.24.0.0/24"]


async def test_automatic_choice_avoids_routes_name_servers_pools_and_exclusions(start, host):
    ipam = await start(exclude=[IPNetwork("172.24.2.128/25"), IPNetwork("fd00:1::/64")])
    host.use("172.24.0.7/32", "name server")
    host.use("172.24.1.0/26", "route via eth0")
    await ipam.request_pool(explicit("172.24.3.16/28"))
    assert await subnets(ipam, automatic(), 1) == ["10.128.0.0/25"]
    assert await subnets(ipam, automatic(family=6), 1) == ["fd00:1:0:1::/64"]


async def test_a_default_route_is_not_in_the_way(ipam, host):
    host.use("0.0.0.0/0", "default route via eth0")
    assert await subnets(ipam, automatic(), 1) == ["172.24.0.0/24"]


async def test_a_covering_route_is_avoided_while_something_else_is_left(ipam, host):
    host.use("172.16.0.0/12", "route via tun0")
    assert await subnets(ipam, automatic(), 1) == ["10.128.0.0/25"]


async def test_what_the_host_throws_away_is_avoided_while_something_else_is_left(ipam, host):
    host.use("172.24.0.0/24", "blackhole route", firm=False)
    host.use("172.24.1.0/24", "route via eth0")
    assert await subnets(ipam, automatic(), 2) == ["172.24.2.0/24", "172.24.3.0/24"]
    host.use("0.0.0.0/1", "blackhole route", firm=False)
    host.use("10.128.0.0/22", "route via eth1")
    assert await subnets(ipam, automatic(), 1) == ["172.24.0.0/24"]
    with pytest.raises(ExhaustedError) as refusal:
        await ipam.request_pool(automatic())
    assert "10.128.0.0/22 (route via eth1)" in str(refusal.value)
    assert "blackhole" not in str(refusal.value)


async def test_when_a_covering_route_leaves_nothing_the_refusal_names_it(ipam, host):
    host.use("0.0.0.0/1", "route via tun0")
    host.use("128.0.0.0/1", "route via tun0")
    host.use("192.168.0.0/16", "route via eth0")
    with pytest.raises(ExhaustedError) as refusal:
        await ipam.request_pool(automatic())
    text = str(refusal.value)
    for part in ("0.0.0.0/1 (route via tun0)", "172.24.0.0/22, 10.128.0.0/22", "--subnet"):
        assert part in text
    assert "192.168.0.0/16" not in text


async def test_the_refusal_names_no_routes_of_the_pools_own_networks(ipam, host):
    for subnet in ("172.24.0.0/22", "10.128.0.0/23"):
        await ipam.request_pool(explicit(subnet))
        host.use(subnet, "route via br-1")
    host.use("10.128.0.9/32", "route via br-2")
    host.use("10.128.2.0/23", "route via eth0")
    with pytest.raises(ExhaustedError) as refusal:
        await ipam.request_pool(automatic())
    assert "has 2 IPv4 pools, and in the way are 10.128.2.0/23 (route via eth0);" in str(
        refusal.value
    )


async def test_when_the_default_pools_are_used_up_the_refusal_counts_the_pools(ipam):
    await subnets(ipam, automatic(family=6), 4)
    with pytest.raises(ExhaustedError) as refusal:
        await ipam.request_pool(automatic(family=6))
    assert "4 IPv6 pools" in str(refusal.value)
    assert "fd00:1::/62" in str(refusal.value)


async def test_without_default_pools_of_a_family_a_subnet_must_be_named(start):
    ipam = await start(defaults=())
    with pytest.raises(ExhaustedError, match="--subnet"):
        await ipam.request_pool(automatic())


@pytest.mark.parametrize(
    ("base", "size", "says"),
    [
        pytest.param("10.0.0.1/8", 24, "write 10.0.0.0/8", id="host bits"),
        pytest.param("10.0.0.0/24", 16, "smaller than its pools", id="base too small"),
        pytest.param("10.0.0.0/24", 33, "8 to 32", id="size too long"),
        pytest.param("fd00::/8", 8, "16 to 128", id="IPv6 size too short"),
    ],
)
async def test_a_senseless_default_pool_is_refused_at_start(start, base, size, says):
    pool = DefaultPool(base=IPNetwork(base), size=size)
    with pytest.raises(InvalidPoolError, match=says):
        await start(defaults=[pool])


async def test_pool_ids_are_short_printable_and_never_used_again(start):
    seen = set()
    for _ in range(2):
        ipam = await start()
        for _ in range(2):
            for request in (
                explicit("10.0.0.0/24"),
                explicit("2001:db8:1234:5678:9abc:def0:1234:5678/128", space="x" * 63),
            ):
                pool = await ipam.request_pool(request)
                assert len(pool.id) <= 64
                assert pool.id.isascii()
                assert not set(pool.id) & set(" \"'\\")
                assert pool.id not in seen
                seen.add(pool.id)
                await ipam.release_pool(pool.id)


async def test_releasing_a_pool_frees_its_addresses_and_its_subnet(ipam, store):
    pool = await ipam.request_pool(explicit("10.40.0.0/24"))
    await ipam.request_address(AddressRequest(pool=pool.id))
    assert await ipam.release_pool(pool.id)
    assert (ipam.pools(), store.pools, store.held) == ((), {}, {})
    again = await ipam.request_pool(explicit("10.40.0.0/24"))
    assert await ipam.leases(again.id) == []


async def test_releasing_a_pool_twice_succeeds(ipam):
    pool = await ipam.request_pool(explicit("10.40.0.0/24"))
    assert await ipam.release_pool(pool.id) is True
    assert await ipam.release_pool(pool.id) is False


async def test_a_released_pool_gives_no_addresses_and_takes_them_back_without_complaint(ipam):
    pool = await ipam.request_pool(explicit("10.40.0.0/24"))
    await ipam.release_pool(pool.id)
    with pytest.raises(UnknownPoolError, match="docker network rm") as refusal:
        await ipam.request_address(AddressRequest(pool=pool.id))
    assert refusal.value.status == 400
    assert await ipam.release_address(pool.id, IPAddress("10.40.0.2")) is False
    assert ipam.gateway(pool.id) is None
    assert ipam.pool(pool.id) is None
    assert await ipam.leases(pool.id) == ()
    with pytest.raises(UnknownPoolError):
        ipam.usage(pool.id)


async def test_a_subnet_that_another_user_of_the_store_took_is_refused(ipam, store):
    mine = await ipam.request_pool(explicit("10.40.0.0/24"))
    store.pools[PoolId("theirs")] = replace(
        mine, id=PoolId("theirs"), subnet=IPNetwork("10.50.0.0/24")
    )
    with pytest.raises(OverlapError, match=r"subnet 10.50.0.0/24"):
        await ipam.request_pool(explicit("10.50.0.0/24"))
    assert ipam.pools() == (mine,)
    assert await ipam.request_pool(explicit("10.50.0.0/25"))


async def test_a_pool_that_could_not_be_written_is_not_there(ipam, store):
    store.broken = "the disk is full"
    with pytest.raises(StoreError, match="the disk is full"):
        await ipam.request_pool(explicit("10.40.0.0/24"))
    assert ipam.pools() == ()
    store.broken = None
    assert await ipam.request_pool(explicit("10.40.0.0/24"))


async def test_a_pool_whose_release_could_not_be_written_stays_and_works(ipam, store):
    pool = await ipam.request_pool(explicit("10.40.0.0/24"))
    store.broken = "the disk is full"
    with pytest.raises(StoreError, match="the disk is full"):
        await ipam.release_pool(pool.id)
    store.broken = None
    assert ipam.pools() == (pool,)
    assert await ipam.request_address(AddressRequest(pool=pool.id))
    assert await ipam.release_pool(pool.id)


async def test_a_restart_finds_the_same_pools(start):
    ipam = await start()
    await ipam.request_pool(explicit("10.40.0.0/16", window="10.40.5.0/24"))
    await ipam.request_pool(automatic())
    again = await start()
    assert again.pools() == ipam.pools()
    with pytest.raises(OverlapError):
        await again.request_pool(explicit("10.40.7.0/24"))
    assert await subnets(again, automatic(), 1) == ["172.24.1.0/24"]


async def test_a_store_with_overlapping_pools_is_refused(start, store):
    ipam = await start()
    await ipam.request_pool(explicit("10.40.0.0/16"))
    inside = await ipam.request_pool(explicit("10.40.7.0/24", space="blue"))
    (outer,) = (pool for pool in ipam.pools() if pool.space == "ovsnet")
    store.pools[inside.id] = type(inside)(
        id=inside.id, space=outer.space, subnet=inside.subnet, created=inside.created
    )
    with pytest.raises(StoreError, match="overlap"):
        await start()
