"""``ipam.exclude``: holes in the window."""

import pytest
from netaddr import IPNetwork

from ipam import ExhaustedError, InvalidPoolError, LeaseKind
from tests.unit.ipam.wishes import given, lease, new_pool, ranges


async def test_excluded_addresses_are_never_chosen(ipam):
    pool = await new_pool(ipam, excluded=ranges("10.40.0.1-10.40.0.2", "10.40.0.5"))
    assert [await given(ipam, pool) for _ in range(3)] == ["10.40.0.3", "10.40.0.4", "10.40.0.6"]
    with pytest.raises(ExhaustedError, match="of its 3 addresses that are not excluded"):
        await given(ipam, pool)


async def test_an_excluded_address_is_given_to_who_asks_for_it(ipam):
    pool = await new_pool(ipam, excluded=ranges("10.40.0.1-10.40.0.4"))
    assert await given(ipam, pool, "10.40.0.3") == "10.40.0.3"
    assert await given(ipam, pool, "10.40.0.1", kind=LeaseKind.GATEWAY) == "10.40.0.1"
    assert ipam.usage(pool.id).free == 2


async def test_a_gateway_is_not_chosen_among_the_excluded(ipam):
    pool = await new_pool(ipam, excluded=ranges("10.40.0.1"))
    assert await given(ipam, pool, kind=LeaseKind.GATEWAY) == "10.40.0.2"


async def test_a_name_does_not_get_an_excluded_address_back(ipam):
    pool = await new_pool(ipam, excluded=ranges("10.40.0.4"))
    await given(ipam, pool, "10.40.0.4", name="web")
    assert await ipam.release_address(pool.id, IPNetwork("10.40.0.4").ip)
    assert await given(ipam, pool, name="web") == "10.40.0.1"


@pytest.mark.parametrize(
    ("subnet", "window", "excluded", "expected"),
    [
        pytest.param("10.0.0.0/8", None, "10.0.0.1-10.200.0.0", "10.200.0.1", id="most of a /8"),
        pytest.param("fd00::/64", None, "fd00::1-fd00::ffff:ffff", "fd00::1:0:0", id="in a /64"),
        pytest.param(
            "10.0.0.0/24", "10.0.0.128/25", "10.0.0.100-10.0.0.130", "10.0.0.131", id="a window"
        ),
    ],
)
async def test_large_exclusions_cost_one_step(ipam, subnet, window, excluded, expected):
    pool = await new_pool(
        ipam, subnet, window=IPNetwork(window) if window else None, excluded=ranges(excluded)
    )
    assert await given(ipam, pool) == expected


async def test_exclusions_stay_after_a_restart(start):
    ipam = await start()
    pool = await new_pool(ipam, excluded=ranges("10.40.0.1-10.40.0.3"))
    await given(ipam, pool)
    ipam = await start()
    assert ipam.pool(pool.id) == pool
    assert await given(ipam, pool) == "10.40.0.5"
    assert ipam.usage(pool.id).free == 1


async def test_a_range_of_another_subnet_of_the_network_is_left_out(ipam):
    pool = await new_pool(ipam, excluded=ranges("10.99.0.1", "fd00::1", "10.40.0.2"))
    assert pool.excluded == ranges("10.40.0.2")


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        pytest.param(
            {"excluded": ranges("10.40.0.6-10.40.0.9")},
            "crosses the border of subnet 10.40.0.0/29",
            id="across the border",
        ),
        pytest.param({"excluded": ranges("10.40.0.0-10.40.0.7")}, "exclude less", id="everything"),
        pytest.param(
            {"excluded": ranges("10.40.0.1"), "subnet": ""}, "add --subnet", id="of no subnet"
        ),
        pytest.param({"excluded": ranges("10.40.0.1") * 65}, "at most 64", id="too many"),
        pytest.param({"quarantine_s": 8 * 86400.0}, "0 s to 7 days", id="too long a quarantine"),
        pytest.param({"limit": 0}, "1 or more", id="a limit of nothing"),
    ],
)
async def test_wishes_that_make_no_sense_are_refused(ipam, wishes, sentence):
    with pytest.raises(InvalidPoolError, match=sentence):
        await new_pool(ipam, **wishes)
    assert list(ipam.pools()) == []


async def test_what_is_excluded_and_taken_is_counted_once(start):
    ipam = await start()
    pool = await new_pool(ipam, excluded=ranges("10.40.0.2-10.40.0.3"))
    await lease(ipam, pool, "10.40.0.2")
    for each in (ipam, await start()):
        usage = each.usage(pool.id)
        assert (usage.held, usage.capacity, usage.free) == (1, 6, 4)
