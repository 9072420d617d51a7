"""A pool's addresses as they stand in the grid."""

from dataclasses import replace

from netaddr import IPAddress, IPNetwork, IPRange

from ipam.model import Lease, LeaseKind, Pool, PoolId, Reservation, Usage
from ovsdriver.admin.views import LeaseUse, PoolUse, Reserved
from ovsdriver.web.grid import MOST_BLOCKS, Use, grid

POOL = PoolUse(
    pool=Pool(id=PoolId("p"), space="ovsnet", subnet=IPNetwork("10.1.0.0/24")),
    usage=Usage(held=0, capacity=254, free=254),
    gateway=None,
    network=None,
    network_name="",
    orphan=None,
)


def pool(subnet: str, **more: object) -> PoolUse:
    return replace(POOL, pool=replace(POOL.pool, subnet=IPNetwork(subnet), **more))


def lease(address: str, kind: LeaseKind = LeaseKind.ENDPOINT, container: str = "web") -> LeaseUse:
    held = Lease(pool=PoolId("p"), address=IPAddress(address), kind=kind, created=7.0)
    return LeaseUse(lease=held, endpoint="e", container=container, auxiliary=False)


def reserved(address: str, name: str) -> Reserved:
    return Reserved(
        reservation=Reservation(space="ovsnet", address=IPAddress(address), name=name),
        pool=None,
        subnet=None,
        network=None,
        network_name="",
        holder="",
        held_since=None,
    )


def test_each_address_is_what_it_is():
    of = pool(
        "10.1.0.0/28",
        window=IPNetwork("10.1.0.0/29"),
        excluded=(IPRange("10.1.0.5", "10.1.0.6"),),
    )
    leases = [lease("10.1.0.1", LeaseKind.GATEWAY), lease("10.1.0.2")]
    (block,) = grid(of, leases, [reserved("10.1.0.3", "mail"), reserved("10.9.0.3", "far")]).blocks
    assert [each.use for each in block.cells] == [
        *(Use.UNUSABLE, Use.GATEWAY, Use.HELD, Use.RESERVED, Use.FREE),
        *(Use.EXCLUDED, Use.EXCLUDED, Use.FREE),
        *(7 * [Use.BEYOND]),
        Use.UNUSABLE,
    ]
    assert [each.who for each in block.cells[1:4]] == ["web", "web", "mail"]


def test_who_has_a_reserved_address_is_told_of_it():
    (block,) = grid(POOL, [lease("10.1.0.9")], [reserved("10.1.0.9", "mail")]).blocks
    assert (block.cells[9].use, block.cells[9].who, block.cells[9].since) == (Use.HELD, "web", 7.0)


def test_a_large_subnet_is_shown_where_something_is():
    found = grid(pool("10.0.0.0/8"), [lease("10.200.7.9")], [])
    assert [str(each.first) for each in found.blocks] == ["10.0.0.0", "10.200.7.0"]
    assert found.left_out == 65536 - 2


def test_no_more_is_shown_than_a_browser_draws():
    leases = [lease(f"10.{each}.0.9") for each in range(40)]
    found = grid(pool("10.0.0.0/8"), leases, [])
    assert (len(found.blocks), found.left_out) == (MOST_BLOCKS, 65536 - MOST_BLOCKS)


def test_ipv6_has_no_broadcast_address():
    found = grid(pool("fd00::/64"), [lease("fd00::1:5")], [])
    assert [str(each.first) for each in found.blocks] == ["fd00::", "fd00::1:0"]
    assert found.blocks[0].cells[0].use is Use.UNUSABLE
    assert {each.use for each in found.blocks[1].cells} == {Use.FREE, Use.HELD}


def test_a_subnet_of_two_is_all_for_use():
    (block,) = grid(pool("10.1.0.0/31"), [], []).blocks
    assert [each.use for each in block.cells] == [Use.FREE, Use.FREE]
