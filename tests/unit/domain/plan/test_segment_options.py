"""What a segment's first network says for those of all hosts, and what each may say itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import PoolId
from ovsdriver.domain.plan import segment_planning
from ovsdriver.domain.plan.inputs import KnownPool
from ovsdriver.domain.records.model import Mode, Network, Segment
from ovsdriver.domain.records.options.port_options import PortOptions, VlanTag
from ovsdriver.domain.records.requests import NewNetwork
from ovsdriver.domain.records.segments import OvnSegment, space_of
from ovsdriver.errors import DriverError
from ovsdriver.words import options
from tests.builders import RED, a_network, a_segment, a_subnet, new_network

SUBNET = "10.50.0.0/24"
ON_WIRE = {"ovs.uplink": "eth1"}


def a_pool(gateway: str | None = None) -> KnownPool:
    return KnownPool(
        id=PoolId("segment:blue/4/aaaa"),
        space=space_of("blue"),
        subnet=IPNetwork(SUBNET),
        gateway=IPAddress(gateway) if gateway else None,
        gateway_typed=gateway is not None,
    )


def settled(
    typed: Mapping[str, str],
    said: Mapping[str, str] | None = None,
    *,
    gateway: str | None = None,
) -> NewNetwork:
    new = replace(
        new_network(RED, (SUBNET, gateway)), options=options.network(typed, internal=False)
    )
    return segment_planning.settled(new, "blue", said, [a_pool(gateway)])


def a_plan(**changes: Any) -> Network:
    """A network on VLAN 30 of a wire."""
    subnet = replace(a_subnet(SUBNET, "10.50.0.254"), space=space_of("blue"))
    on = a_segment("br-eth1", 30, adopted=True)
    return a_network(**({"segment": on, "mode": Mode.FLAT, "subnets": (subnet,)} | changes))


def test_on_a_wire_the_first_network_says_vlan_and_router() -> None:
    said = segment_planning.common(a_plan())
    assert said == {"vlan": "30", "gateway": "10.50.0.254"}
    inherited = settled(ON_WIRE, said).options
    assert (inherited.port.vlan, inherited.gateways.addresses) == (
        30,
        (IPAddress("10.50.0.254"),),
    )
    assert (inherited.port.mtu, inherited.port.guard, inherited.mode) == (None, None, None)


def test_untagged_frames_are_a_segment_too() -> None:
    said = segment_planning.common(a_plan(segment=a_segment("br-eth1", 0, adopted=True)))
    assert said["vlan"] == "none"
    assert settled(ON_WIRE, said).options.port == PortOptions(vlan=VlanTag(0))


@pytest.mark.parametrize(
    ("typed", "said", "gateway", "why"),
    [
        pytest.param({}, {"vlan": "30"}, None, "is VLAN 30 of a wire on all hosts", id="no wire"),
        pytest.param(ON_WIRE, {"mtu": "1442"}, None, "is OVN's on all hosts", id="a wire"),
        pytest.param(
            {**ON_WIRE, "ovs.vlan": "31"}, {"vlan": "30"}, None, "has ovs.vlan=30", id="vlan"
        ),
        pytest.param(
            ON_WIRE,
            {"vlan": "30", "gateway": "10.50.0.254"},
            "10.50.0.9",
            r"gateway 10\.50\.0\.9: segment blue has 10\.50\.0\.254",
            id="gateway",
        ),
    ],
)
def test_who_says_something_else_than_the_first_network_is_refused(
    typed: Mapping[str, str], said: Mapping[str, str], gateway: str | None, why: str
) -> None:
    with pytest.raises(DriverError, match=why):
        settled(typed, said, gateway=gateway)


def test_a_router_may_be_said_again() -> None:
    said = {"vlan": "30", "gateway": "10.50.0.254"}
    assert settled(ON_WIRE, said, gateway="10.50.0.254").options.gateways


@pytest.mark.parametrize(
    ("segment", "subnet", "why"),
    [
        pytest.param(a_segment("br-eth1", 30, adopted=True), SUBNET, "VLAN of the wire", id="wire"),
        pytest.param(OvnSegment(segment="blue"), "fd00:50::/64", "no IPv4 subnet", id="IPv6"),
        pytest.param(OvnSegment(segment="blue"), SUBNET, "", id="IPv4"),
    ],
)
def test_it_is_said_where_containers_are_not_found_by_name_over_hosts(
    segment: Segment, subnet: str, why: str
) -> None:
    on = replace(a_subnet(subnet), space=space_of("blue"))
    told = segment_planning.warnings(a_plan(segment=segment, subnets=(on,)))
    assert [why in each for each in told] == ([True] if why else [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"mode": Mode.NAT}, "every host would hold its gateway", id="nat"),
        pytest.param({"segment": a_segment("br-lab", 30)}, "br-lab leads to no wire", id="inside"),
    ],
)
def test_a_vlan_that_would_end_on_its_host_is_refused(changes: dict[str, Any], why: str) -> None:
    segment_planning.refuse_unfit_plan(a_plan(), "blue")
    with pytest.raises(DriverError, match=why):
        segment_planning.refuse_unfit_plan(a_plan(**changes), "blue")
