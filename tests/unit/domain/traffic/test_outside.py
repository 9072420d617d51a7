"""What is outside: bridges that lead there, and links through which others are reached."""

import pytest
from netaddr import IPNetwork

from ovsdriver.domain.records.model import Mode, NetworkId
from ovsdriver.domain.traffic.firewall import (
    FirewallPlan,
    GatewayRules,
    HostLink,
    HostNetwork,
    LinkRoute,
    outgoing,
    outside_bridges,
)

OURS = "ovg000000000001"


def plan(*subnets: str, outside: tuple[str, ...] = ()) -> FirewallPlan:
    return FirewallPlan(
        gateways=(
            GatewayRules(
                network=NetworkId("a" * 64),
                link=OURS,
                mode=Mode.NAT,
                subnets=tuple(map(IPNetwork, subnets or ("10.66.1.0/24", "fd66:1::/64"))),
            ),
        ),
        outside_bridges=outside,
    )


def bridge(name: str, *ports: HostLink, index: int = 10) -> tuple[HostLink, ...]:
    return (HostLink(name=name, index=index, kind="bridge"), *ports)


def port(name: str, kind: str = "", *, of: int = 10) -> HostLink:
    return HostLink(name=name, index=99, kind=kind, master=of)


def default(link: str, family: int = 4) -> LinkRoute:
    return LinkRoute(link=link, family=family, default=True)


def subnet(link: str, family: int = 4) -> LinkRoute:
    return LinkRoute(link=link, family=family)


@pytest.mark.parametrize("kind", ["", "bond", "team", "vlan"])
def test_a_bridge_with_a_wire_is_outside(kind: str) -> None:
    host = HostNetwork(links=bridge("br0", port("veth1", "veth"), port("eth0", kind)))
    assert outside_bridges(plan(), host) == {"br0"}


@pytest.mark.parametrize("kind", ["veth", "tun", "dummy", "vxlan", "openvswitch"])
def test_a_bridge_with_other_ports_is_not(kind: str) -> None:
    host = HostNetwork(links=bridge("virbr0", port("vnet0", kind)), routes=(subnet("virbr0"),))
    assert not outside_bridges(plan(), host)


@pytest.mark.parametrize("family", [4, 6])
def test_a_bridge_with_the_default_route_is_outside(family: int) -> None:
    host = HostNetwork(links=bridge("br0", port("veth1", "veth")), routes=(default("br0", family),))
    assert outside_bridges(plan(), host) == {"br0"}


@pytest.mark.parametrize("name", ["docker0", "docker_gwbridge", "br-0123456789ab"])
def test_dockers_bridges_are_outside_only_if_declared(name: str) -> None:
    host = HostNetwork(links=bridge(name, port("eth0")), routes=(default(name),))
    assert not outside_bridges(plan(), host)
    assert outside_bridges(plan(outside=(name,)), host) == {name}


def test_a_port_of_one_bridge_says_nothing_of_another() -> None:
    links = (*bridge("br0", port("eth0")), *bridge("br1", port("vnet0", "tun", of=11), index=11))
    assert outside_bridges(plan(), HostNetwork(links=links)) == {"br0"}


def test_links_of_all_routes_are_ways_out_in_their_family() -> None:
    host = HostNetwork(routes=(default("eth0"), subnet("eth1"), default("eth1", 6), subnet("wg0")))
    assert outgoing(plan(), host, family=4, outside=()) == {"eth0", "eth1", "wg0"}
    assert outgoing(plan(), host, family=6, outside=()) == {"eth1"}


def test_a_family_that_no_network_has_needs_no_way_out() -> None:
    host = HostNetwork(routes=(default("eth0"), default("eth0", 6)))
    assert not outgoing(plan("10.66.1.0/24"), host, family=6, outside=())
    assert not outgoing(FirewallPlan(), host, family=4, outside=())


def test_gateways_containers_bridges_and_lo_are_no_ways_out() -> None:
    names = (OURS, "ovg00000000beef", "docker0", "lo", "br0")
    host = HostNetwork(
        links=(*bridge("docker0"), *bridge("br0", index=11)), routes=tuple(map(subnet, names))
    )
    assert outgoing(plan(), host, family=4, outside={"br0"}) == {"br0"}


def test_a_link_whose_name_rules_cannot_carry_is_left_alone() -> None:
    """Its forwarding could not be guarded."""
    host = HostNetwork(links=bridge("br*", port("eth0")), routes=(default("eth*"), default("eth0")))
    assert outgoing(plan(), host, family=4, outside=()) == {"eth0"}
    assert not outside_bridges(plan(), host)
    assert not host.bridges
