"""Routers between segments: who makes and mends them, and what containers are told."""

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, IpamError, LeaseKind, PoolId, PoolRequest
from ovsdriver.domain.records.model import EndpointId, NetworkId, Way
from ovsdriver.domain.records.requests import NewNetwork, OfferedSubnet
from ovsdriver.domain.records.segments import space_of
from ovsdriver.errors import ConflictError
from ovsdriver.ports import SegmentPool, SharedGateway
from ovsdriver.words import options
from tests.builders import BLUE, FIRST, RED, SECOND
from tests.fakes.northbound import FakeNorthbound
from tests.unit.service.conftest import Host
from tests.unit.service.segments.on_blue import northbound

SUBNETS = {"red": IPNetwork("10.50.0.0/24"), "blue": IPNetwork("10.51.0.0/24")}
VIA_RED = IPAddress("10.50.0.1")


@pytest.fixture
def other(member: Host) -> FakeNorthbound:
    """Another host of the fleet."""
    return FakeNorthbound(northbound(member).central)


async def create(
    host: Host, segment: str, network: str, *, subnet: IPNetwork | None = None, **said: str
) -> None:
    cidr = subnet or SUBNETS[segment]
    pool = await host.ipam.request_pool(PoolRequest(space=space_of(segment), subnet=cidr, family=4))
    typed = {"ovs.segment": segment, "ovs.router": "main"}
    typed |= {f"ovs.{name}": text for name, text in said.items()}
    await host.networks.create(
        NewNetwork(
            id=NetworkId(network),
            subnets=(OfferedSubnet(space=pool.space, cidr=cidr),),
            options=options.network(typed, internal=False),
        )
    )


async def joined_ways(
    host: Host, endpoint: str, network: str, sandbox: str = "/netns/1"
) -> tuple[Way, ...]:
    await host.create_endpoint(endpoint, network)
    return (await host.endpoints.join(NetworkId(network), EndpointId(endpoint), sandbox)).ways


async def test_a_container_is_told_of_the_segments_on_the_router_when_it_starts(
    member: Host, other: FakeNorthbound
) -> None:
    await create(member, "red", RED, routes="10.60.0.0/16")
    typed = Way(to=IPNetwork("10.60.0.0/16"), via=VIA_RED)
    assert await joined_ways(member, FIRST, RED) == (typed,)
    pool = SegmentPool(id=PoolId("segment:blue/4/aaaa"), host="host2")
    await other.hold("blue", SUBNETS["blue"], pool)
    await other.describe("blue", {"router": "main"})
    found = Way(to=SUBNETS["blue"], via=VIA_RED)
    assert await joined_ways(member, SECOND, RED, "/netns/2") == (found, typed)
    again = await member.endpoints.join(RED, FIRST, "/netns/1")
    assert again.ways == (typed,)
    record = member.state.endpoint(SECOND)
    assert record is not None
    assert record.ways == (found, typed)


async def test_what_another_endpoint_of_the_container_reaches_is_not_told_again(
    member: Host,
) -> None:
    await create(member, "red", RED)
    assert await joined_ways(member, FIRST, RED) == ()
    await create(member, "blue", BLUE)
    assert await joined_ways(member, SECOND, BLUE) == ()
    assert await joined_ways(member, "3" * 64, BLUE, "/netns/2") == (
        Way(to=SUBNETS["red"], via=IPAddress("10.51.0.1")),
    )


async def test_a_container_that_has_a_route_to_a_segment_is_told_why_it_is_not_connected(
    member: Host,
) -> None:
    await create(member, "red", RED)
    await create(member, "blue", BLUE)
    assert await joined_ways(member, FIRST, RED)
    with pytest.raises(ConflictError, match=r"reaches 10\.51\.0\.0/24 by router 10\.50\.0\.1"):
        await joined_ways(member, SECOND, BLUE)
    await member.endpoints.leave(RED, EndpointId(FIRST))
    await member.endpoints.join(BLUE, EndpointId(SECOND), "/netns/1")


async def test_a_router_is_made_with_its_network_and_goes_with_it(
    member: Host, other: FakeNorthbound
) -> None:
    await create(member, "red", RED)
    assert other.gateway("red") == SharedGateway(
        segment="red", router="main", addresses=(IPNetwork("10.50.0.1/24"),)
    )
    await member.networks.delete(RED)
    segment = other.segment("red")
    assert segment is not None  # what waits is not carried out here
    assert await other.let_go("red", segment.pools[0].id)
    assert other.gateway("red") is None


async def test_a_router_that_was_lost_is_made_again(member: Host, other: FakeNorthbound) -> None:
    await create(member, "red", RED)
    assert not (await member.reconciler.reconcile()).mended
    before = other.central.gateways.pop("red")
    (told,) = (await member.reconciler.reconcile()).mended
    assert "segment red: its place on router main" in told
    assert other.gateway("red") == before


async def test_a_router_s_address_that_was_typed_is_no_container_s(member: Host) -> None:
    space = space_of("red")
    pool = await member.ipam.request_pool(PoolRequest(space=space, subnet=SUBNETS["red"], family=4))
    gateway = IPAddress("10.50.0.9")
    await member.ipam.request_address(
        AddressRequest(pool=pool.id, address=gateway, kind=LeaseKind.GATEWAY)
    )
    typed = options.network({"ovs.segment": "red", "ovs.router": "main"}, internal=False)
    subnet = OfferedSubnet(space=space, cidr=SUBNETS["red"], gateway=gateway)
    await member.networks.create(NewNetwork(id=RED, subnets=(subnet,), options=typed))
    with pytest.raises(IpamError, match=r"10\.50\.0\.9 of segment red is held"):
        await member.ipam.request_address(AddressRequest(pool=pool.id, address=gateway))


async def test_a_subnet_that_is_on_the_router_already_is_refused(member: Host) -> None:
    await create(member, "red", RED)
    with pytest.raises(ConflictError, match=r"meets 10\.50\.0\.0/24 of segment red"):
        await create(member, "blue", BLUE, subnet=IPNetwork("10.50.0.0/16"))
