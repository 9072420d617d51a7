"""Which flows about VLAN tags bridges and ports get."""

from dataclasses import replace
from typing import Any

import pytest

from ovsdriver.domain.records.model import Network
from ovsdriver.domain.records.options.flows import Flow, PortFlows, Vlan
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.domain.traffic import tagging
from ovsdriver.domain.wires import desired
from tests.builders import BLUE, a_network, a_segment, an_endpoint


def a_tunnel(tag: int, **changes: Any) -> Network:
    tunnel = a_network(BLUE, segment=a_segment(tag=tag), vlan_mode=VlanMode.DOT1Q_TUNNEL)
    return replace(tunnel, **changes)


def dropped(flows: frozenset[Flow], vlan: Vlan) -> set[int | None]:
    return {each.match.eth_type for each in flows if each.match.vlan == vlan and not each.passes}


def test_a_bridge_of_ours_lets_no_tag_follow_none_or_a_priority_tag() -> None:
    flows = desired.bridge_flows([a_network()], "br-ovsnet", two_tags=False).flows
    assert dropped(flows, Vlan.UNTAGGED) == set(tagging.TYPES)
    (priority,) = (each for each in flows if each.match.vlan == Vlan.PRIORITY)
    assert priority.passes
    assert priority.retags


def test_where_two_tags_are_looked_at_priority_tags_are_dropped() -> None:
    flows = desired.bridge_flows([a_network()], "br-ovsnet", two_tags=True).flows
    assert dropped(flows, Vlan.PRIORITY) == {None}


@pytest.mark.parametrize(
    "networks",
    [
        pytest.param([], id="none"),
        pytest.param([a_network(ended=True)], id="ended"),
        pytest.param([a_network(segment=a_segment("br-lab"))], id="another bridge"),
        pytest.param([a_network(segment=a_segment(adopted=True))], id="adopted"),
    ],
)
def test_other_bridges_get_no_flows_for_all_ports(networks: list[Network]) -> None:
    assert desired.bridge_flows(networks, "br-ovsnet", two_tags=False) == PortFlows()


def test_an_ordinary_port_has_flows_about_tags_on_an_adopted_bridge_alone() -> None:
    ours, adopted = a_network(), a_network(segment=a_segment(adopted=True))
    assert not desired.tag_flows(ours, an_endpoint(), [ours], two_tags=False)
    found = desired.tag_flows(adopted, an_endpoint(), [adopted], two_tags=False)
    assert found == tagging.untagged(two_tags=False)


def test_tags_below_those_of_a_trunk_pass_in_tunnels_of_its_bridge_alone() -> None:
    network = a_network()
    router = an_endpoint(trunks=(VlanTag(40), VlanTag(50)))
    around = [
        network,
        a_tunnel(40),
        a_tunnel(50, ended=True),
        replace(a_tunnel(60), segment=a_segment("br-lab", 60)),
    ]
    flows = desired.tag_flows(network, router, around, two_tags=True)
    assert dropped(flows, Vlan.TAGGED) == set(tagging.TYPES)
    assert [each.match.vlan for each in flows if each.passes] == [Vlan.of(40)]


def test_a_tunnels_port_may_send_its_customers_tags() -> None:
    network = a_tunnel(40)
    assert desired.vlan_mode(network, an_endpoint()) is VlanMode.DOT1Q_TUNNEL
    assert not desired.tag_flows(network, an_endpoint(), [network], two_tags=True)
