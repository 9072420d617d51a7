"""Routers between segments: what is agreed on, what containers are told, and what is refused."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import PoolId
from ovsdriver.domain.plan import segment_planning
from ovsdriver.domain.plan.inputs import KnownPool
from ovsdriver.domain.records.model import Mode, Network, Way
from ovsdriver.domain.records.requests import NewNetwork
from ovsdriver.domain.records.segments import OvnSegment, Router, space_of
from ovsdriver.errors import DriverError
from ovsdriver.words import options
from tests.builders import RED, a_network, a_subnet, new_network

FOUR, SIX = IPNetwork("10.50.0.0/24"), IPNetwork("fd50::/64")
MAIN = {"ovs.router": "main"}


def settled(
    typed: Mapping[str, str],
    said: Mapping[str, str] | None = None,
    *,
    gateway: str | None = None,
    subnets: tuple[IPNetwork, ...] = (FOUR, SIX),
) -> NewNetwork:
    new = replace(
        new_network(RED, *((str(each), None) for each in subnets)),
        options=options.network(typed, internal=False),
    )
    pools = [
        KnownPool(
            id=PoolId(f"segment:blue/{each.version}/aaaa"),
            space=space_of("blue"),
            subnet=each,
            gateway=IPAddress(gateway) if gateway and IPAddress(gateway) in each else None,
            gateway_typed=gateway is not None and IPAddress(gateway) in each,
        )
        for each in subnets
    ]
    return segment_planning.settled(new, "blue", said, pools)


def a_plan(new: NewNetwork) -> Network:
    segment = OvnSegment(segment="blue", router=segment_planning.router(new))
    subnets = tuple(
        replace(a_subnet(str(each.cidr), None), space=space_of("blue")) for each in new.subnets
    )
    return a_network(segment=segment, mode=Mode.GWBRIDGE, subnets=subnets)


def gateways(new: NewNetwork) -> list[str]:
    router = segment_planning.router(new)
    return [str(each) for each in router.gateways] if router is not None else []


def test_a_router_has_the_first_address_of_each_subnet_or_what_is_typed() -> None:
    assert gateways(settled(MAIN)) == ["10.50.0.1/24", "fd50::1/64"]
    assert gateways(settled(MAIN, gateway="10.50.0.9")) == ["10.50.0.9/24", "fd50::1/64"]
    assert gateways(settled({})) == []


def test_further_hosts_have_the_router_of_the_first_one() -> None:
    typed = {**MAIN, "ovs.routes": "10.60.0.0/16+fd60::/32"}
    said = segment_planning.common(a_plan(settled(typed, gateway="10.50.0.9")))
    assert said["router"] == "main"
    again = settled({}, said)
    assert segment_planning.common(a_plan(again)) == said
    assert gateways(again) == ["10.50.0.9/24", "fd50::1/64"]
    assert settled(typed, said, gateway="10.50.0.9") == replace(
        settled(typed, said), subnets=again.subnets
    )


def test_a_family_that_comes_later_has_its_first_address_for_the_router() -> None:
    said = segment_planning.common(a_plan(settled(MAIN, subnets=(FOUR,))))
    assert gateways(settled({}, said)) == ["10.50.0.1/24", "fd50::1/64"]
    with pytest.raises(DriverError, match="segment blue has fd50::1 on all hosts"):
        settled({}, said, gateway="fd50::9")


@pytest.mark.parametrize(
    ("typed", "said", "why"),
    [
        pytest.param(
            {"ovs.router": "other"}, {"router": "main"}, "has ovs.router=main on all", id="other"
        ),
        pytest.param(MAIN, {"mtu": "1442"}, "has no ovs.router on all hosts", id="none"),
        pytest.param(
            {"ovs.routes": "10.9.0.0/16"}, {"router": "main"}, "has no ovs.routes", id="routes"
        ),
        pytest.param({"ovs.routes": "10.9.0.0/16"}, None, "no router leads there", id="no router"),
        pytest.param(
            {**MAIN, "ovs.uplink": "eth1"}, None, "do not reach a VLAN of a wire", id="wire"
        ),
    ],
)
def test_a_router_that_cannot_be_is_refused(
    typed: Mapping[str, str], said: Mapping[str, str] | None, why: str
) -> None:
    with pytest.raises(DriverError, match=why):
        settled(typed, said)


def test_a_network_of_this_host_alone_has_no_router() -> None:
    segment_planning.refuse_router(options.network({}, internal=False))
    with pytest.raises(DriverError, match="is for segments"):
        segment_planning.refuse_router(options.network(MAIN, internal=False))


def test_containers_are_told_the_other_segments_and_what_was_typed() -> None:
    segment = OvnSegment(
        segment="blue",
        router=Router(
            name="main",
            gateways=(IPNetwork("10.50.0.1/24"),),
            routes=(IPNetwork("10.60.0.0/16"), IPNetwork("10.51.0.0/24"), IPNetwork("fd60::/32")),
        ),
    )
    others = [("blue", (FOUR,)), ("red", (IPNetwork("10.51.0.0/24"), IPNetwork("fd51::/64")))]
    via = IPAddress("10.50.0.1")
    assert segment_planning.ways(segment, others) == [
        Way(to=IPNetwork("10.51.0.0/24"), via=via),
        Way(to=IPNetwork("10.60.0.0/16"), via=via),
    ]
    assert segment_planning.ways(OvnSegment(segment="blue"), others) == ()


def test_segments_on_one_router_do_not_meet() -> None:
    plan = a_plan(settled(MAIN))
    apart = [("blue", (FOUR,)), ("red", (IPNetwork("10.51.0.0/24"),))]
    segment_planning.refuse_meeting(plan, apart)
    with pytest.raises(DriverError, match=r"10\.50\.0\.0/24 meets 10\.50\.0\.0/16 of segment red"):
        segment_planning.refuse_meeting(plan, [*apart, ("red", (IPNetwork("10.50.0.0/16"),))])
