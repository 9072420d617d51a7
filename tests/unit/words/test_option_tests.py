"""Every option, and every other name of one, is typed in a test that looks at traffic.

A new row of the table fails here until it has its line: the end-to-end test that shows what the
option does to frames, packets or addresses, and types it.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ovsdriver.words import options
from ovsdriver.words.options import Scope

TESTS = Path(__file__).parents[2]
LABS = TESTS.parent / "ansible" / "labs"
PRODUCT = "com.docker.network"
N, E, I = Scope.NETWORK, Scope.ENDPOINT, Scope.IPAM  # noqa: E741

_BRIDGES = (
    "e2e/switch/test_bridges.py::test_a_container_on_an_adopted_bridge_is_on_the_vlan_of_the_wire"
)
_DOCKER = (
    "e2e/engines/test_words.py::test_a_network_may_be_told_in_the_words_of_docker_s_bridge_driver"
)
_DOVESNAP = "e2e/engines/test_words.py::test_a_network_may_be_told_in_the_words_of_dovesnap"
_NICS = "e2e/engines/test_words.py::test_a_nic_may_be_told_in_the_words_of_dovesnap"
_TWO_TAGS = "e2e/switch/test_uplinks.py::test_customers_tags_travel_inside_of_the_networks_own"
_SEGMENT = "hosts/segments.py::made"
"""All tests of segments make them by that."""
_ROUTERS = "hosts/test_routers.py::test_segments_on_one_router_reach_each_other_and_others_do_not"
_ROUTES = (
    "e2e/containers/test_routes.py::"
    "test_routes_are_a_container_s_from_its_start_on_and_change_while_it_runs"
)
_LEG = (
    "e2e/containers/test_routes.py::"
    "test_this_host_has_an_address_on_a_flat_network_and_is_no_router_there"
)
_TWICE = "e2e/reach/test_modes.py::test_networks_with_the_same_subnet_do_not_see_each_other"
_BURST = (
    "e2e/switch/test_shaping.py::test_what_may_go_at_once_is_the_networks_or_the_containers_own"
)
_CABLE = (
    "e2e/containers/test_cables.py::"
    "test_a_pulled_cable_takes_the_carrier_from_both_ends_and_stays_so"
)
_NETEM = (
    "e2e/switch/test_shaping.py::"
    "test_a_delay_and_a_loss_are_each_way_or_refused_where_the_kernel_has_no_netem"
)
_MIRROR = (
    "e2e/switch/test_mirrors.py::"
    "test_a_network_and_a_container_are_mirrored_to_a_container_that_looks"
)
_FEATURES = (
    "e2e/switch/test_switch_features.py::"
    "test_snooping_and_control_frames_are_a_bridges_and_change_live"
)
_OTHERS = (
    "e2e/engines/test_words.py::test_who_comes_from_macvlan_or_kathara_types_what_is_known_there"
)
_MARK = (
    "e2e/switch/test_shaping.py::"
    "test_what_containers_send_is_marked_and_keeps_what_is_beside_the_mark"
)
_PATCH = "e2e/switch/test_patches.py::test_bridges_are_joined_for_the_vlans_of_those_who_ask"
_CONTROLLER = "e2e/switch/test_switch_features.py::test_a_controller_says_what_a_bridge_does"
_RECORDS = (
    "e2e/switch/test_switch_features.py::test_samples_and_records_of_traffic_reach_a_collector"
)
_GUARD = "e2e/access/test_guard.py::test_forged_frames_of_a_guarded_container_arrive_nowhere"
_JUDGED = (
    "e2e/access/test_rules.py::test_a_set_holds_for_all_that_name_it_and_tells_what_it_has_met"
)
_INTERNAL = "e2e/switch/test_port_kinds.py::test_internal_ports_carry_what_veths_carry"
_TRUNKS = "e2e/switch/test_port_kinds.py::test_routers_see_the_listed_vlans_and_no_others"

PUT_IN_FRONT = {
    "e2e/addresses/test_addresses.py": "ipam.",
    "e2e/switch/test_patches.py": "ovs.",
    "e2e/switch/test_spanning.py": "ovs.",
    "e2e/switch/test_switch_features.py": "ovs.",
}
"""Some tests put the begin of options in front by themselves."""

TYPED_IN: dict[tuple[Scope, str], str] = {
    (N, "ovs.bridge"): _BRIDGES,
    (N, f"{PRODUCT}.bridge.name"): _DOCKER,
    (N, "ovs.bridge.name"): _DOVESNAP,
    (N, "ovs.segment"): _SEGMENT,
    (N, "ovs.router"): _ROUTERS,
    (N, "ovs.routes"): _ROUTES,
    (E, "ovs.routes"): _ROUTES,
    (N, "ovs.vlan"): _BRIDGES,
    (N, "ovs.bridge.vlan"): _DOVESNAP,
    (N, "ovs.vlan_mode"): _TWO_TAGS,
    (N, "ovs.cvlans"): _TWO_TAGS,
    (N, "ovs.trunks"): "e2e/pasted/test_labs.py::test_a_router_on_a_stick",
    (N, "ovs.shared"): "e2e/reach/test_modes.py::test_two_networks_share_a_segment_only_if_told_so",
    (N, "ovs.space"): _TWICE,
    (N, "ovs.mode"): (
        "e2e/reach/test_more_modes.py::test_a_routed_network_and_the_outside_see_each_other_as_they_are"
    ),
    (N, "ovs.bridge.mode"): _DOVESNAP,
    (N, f"{PRODUCT}.bridge.gateway_mode_ipv4"): _DOCKER,
    (N, f"{PRODUCT}.bridge.gateway_mode_ipv6"): (
        "e2e/reach/test_more_modes.py::test_a_network_may_be_nat_for_ipv4_and_routed_for_ipv6"
    ),
    (N, "ovs.isolate"): (
        "e2e/reach/test_more_modes.py::test_only_routed_networks_that_are_not_isolated_reach_each_other"
    ),
    (N, "ovs.icc"): (
        "e2e/reach/test_more_modes.py::"
        "test_containers_that_are_kept_apart_reach_the_gateway_and_not_each_other"
    ),
    (N, f"{PRODUCT}.bridge.enable_icc"): _DOCKER,
    (N, "ovs.host"): (
        "e2e/reach/test_host_access.py::"
        "test_what_is_closed_of_the_host_is_closed_and_opened_again_while_containers_talk"
    ),
    (N, "ovs.host_address"): _LEG,
    (N, "ovs.guard"): _GUARD,
    (N, "ovs.allow"): _JUDGED,
    (N, "ovs.deny"): _JUDGED,
    (N, "ovs.rules"): _JUDGED,
    (N, "ovs.rate"): _BURST,
    (N, "ovs.burst"): _BURST,
    (N, "ovs.broadcast"): "e2e/switch/test_shaping.py::test_broadcasts_have_a_limit_of_their_own",
    (N, "ovs.dscp"): _MARK,
    (N, "ovs.delay"): _NETEM,
    (N, "ovs.jitter"): _NETEM,
    (N, "ovs.loss"): _NETEM,
    (N, "ovs.corrupt"): _NETEM,
    (N, "ovs.duplicate"): _NETEM,
    (N, "ovs.reorder"): _NETEM,
    (N, "ovs.link"): _CABLE,
    (N, "ovs.mirror"): _MIRROR,
    (
        N,
        "ovs.dry_run",
    ): "e2e/look/test_plan.py::test_a_plan_names_what_is_then_made_and_makes_nothing",
    (N, "ovs.sink"): "e2e/pasted/test_more_labs.py::test_an_ids_sees_what_a_network_carries",
    (N, "ovs.rstp"): (
        "e2e/switch/test_spanning.py::test_switches_in_containers_may_be_connected_in_a_loop"
    ),
    (N, "ovs.patch"): _PATCH,
    (N, "ovs.patch_link"): _PATCH,
    (N, "ovs.mcast"): _FEATURES,
    (N, "ovs.control_frames"): _FEATURES,
    (N, "ovs.controller"): _CONTROLLER,
    (N, "ovs.bridge.controller"): _CONTROLLER,
    (N, "ovs.failmode"): _CONTROLLER,
    (N, "ovs.protocols"): _CONTROLLER,
    (N, "ovs.sflow"): _RECORDS,
    (N, "ovs.netflow"): _RECORDS,
    (N, "ovs.ipfix"): _RECORDS,
    (N, "ovs.gateway"): "e2e/switch/test_uplinks.py::test_the_router_on_the_wire_is_the_way_out",
    (N, "ovs.mtu"): "e2e/containers/test_containers.py::test_the_mtu_of_a_network_is_on_both_ends",
    (N, f"{PRODUCT}.driver.mtu"): _DOCKER,
    (N, "ovs.bridge.mtu"): _DOVESNAP,
    (N, "ovs.port"): _INTERNAL,
    (N, "ovs.uplink"): (
        "e2e/switch/test_uplinks.py::test_containers_share_a_nic_and_each_is_on_its_own_vlan_of_the_wire"
    ),
    (N, "ovs.bridge.bind_interface"): _NICS,
    (N, "ovs.bridge.add_ports"): _NICS,
    (N, "ovs.bond"): "e2e/switch/test_uplinks.py::test_a_bond_outlives_the_wire_that_it_uses",
    (
        N,
        "ovs.lacp",
    ): "e2e/switch/test_uplinks.py::test_a_bond_agrees_by_lacp_with_the_switch_beyond",
    (
        N,
        "ovs.uplink_move",
    ): "e2e/switch/test_uplinks.py::test_the_host_moves_to_the_bridge_and_back",
    (N, "ovs.uplink_link"): (
        "e2e/containers/test_cables.py::test_the_cable_of_an_uplink_is_pulled_and_given_back"
    ),
    (N, "ovs.uplink_rate"): (
        "e2e/switch/test_uplink_queues.py::"
        "test_what_is_marked_goes_first_out_of_an_uplink_that_is_full"
    ),
    (N, "ovs.datapath"): (
        "e2e/engines/test_words.py::test_a_datapath_may_be_said_and_is_refused_where_there_is_none"
    ),
    (N, "ovs.bridge.userspace"): _DOVESNAP,
    (N, "ovs.ifprefix"): _INTERNAL,
    (N, f"{PRODUCT}.container_iface_prefix"): _DOCKER,
    (N, f"{PRODUCT}.bridge.enable_ip_masquerade"): (
        "e2e/reach/test_isolation.py::test_without_masquerade_the_outside_sees_the_containers_address"
    ),
    (N, f"{PRODUCT}.bridge.host_binding_ipv4"): (
        "e2e/reach/test_published.py::test_a_network_may_say_where_its_ports_are_published"
    ),
    (E, "ovs.mac"): _INTERNAL,
    (E, "kathara.mac_addr"): _OTHERS,
    (E, "ovs.mtu"): _INTERNAL,
    (E, f"{PRODUCT}.driver.mtu"): _DOCKER,
    (E, "ovs.port"): _INTERNAL,
    (E, f"{PRODUCT}.endpoint.ifname"): (
        "e2e/engines/test_engine29.py::"
        "test_an_interface_has_the_name_that_was_asked_for_or_it_is_said_why_not"
    ),
    (E, "ovs.vlan"): (
        "e2e/switch/test_port_kinds.py::"
        "test_a_container_in_another_vlan_talks_there_and_not_on_its_network"
    ),
    (E, "ovs.trunks"): _TRUNKS,
    (E, "ovs.vlan_mode"): _TRUNKS,
    (E, "ovs.cvlans"): _TWO_TAGS,
    (E, "ovs.guard"): _GUARD,
    (E, "ovs.allow"): _JUDGED,
    (E, "ovs.deny"): _JUDGED,
    (E, "ovs.rules"): _JUDGED,
    (E, "ovs.rate"): (
        "e2e/switch/test_shaping.py::test_a_rate_holds_each_way_and_is_changed_while_the_container_runs"
    ),
    (E, "ovs.burst"): _BURST,
    (E, "ovs.broadcast"): _BURST,
    (E, "ovs.dscp"): _MARK,
    (E, "ovs.delay"): _NETEM,
    (E, "ovs.jitter"): _NETEM,
    (E, "ovs.loss"): _NETEM,
    (E, "ovs.corrupt"): _NETEM,
    (E, "ovs.duplicate"): _NETEM,
    (E, "ovs.reorder"): _NETEM,
    (E, "ovs.link"): _CABLE,
    (E, "ovs.mirror"): _MIRROR,
    (E, "ovs.sink"): _MIRROR,
    (E, "ovs.ofport"): (
        "e2e/switch/test_port_kinds.py::test_an_openflow_port_is_the_one_that_was_asked_for"
    ),
    (E, "ovs.protected"): (
        "e2e/switch/test_port_kinds.py::test_protected_ports_talk_to_the_gateway_and_not_to_each_other"
    ),
    (I, "ipam.segment"): _SEGMENT,
    (I, "ipam.space"): _TWICE,
    (I, "ipam.prefix"): (
        "e2e/addresses/test_subnets.py::test_a_network_may_name_the_size_of_its_automatic_subnet"
    ),
    (I, "ipam.exclude"): (
        "e2e/addresses/test_addresses.py::test_excluded_addresses_are_given_only_to_who_asks"
    ),
    (I, "ipam.quarantine"): (
        "e2e/addresses/test_addresses.py::test_an_address_in_quarantine_is_not_chosen_but_may_be_asked_for"
    ),
    (I, "ipam.limit"): (
        "e2e/addresses/test_addresses.py::test_a_limit_of_a_network_holds_for_each_of_its_subnets"
    ),
    (I, "ipam.probe"): (
        "e2e/addresses/test_probe.py::"
        "test_an_address_that_somebody_on_the_vlan_has_is_passed_over_and_logged_with_his_mac"
    ),
}


@pytest.mark.parametrize("scope", Scope)
def test_every_option_has_a_test_and_every_test_an_option(scope: Scope) -> None:
    names = {name for row in options.rows(scope) for name in (row.name, *row.aliases)}
    listed = {name for of, name in TYPED_IN if of is scope}
    assert sorted(names - listed) == [], "name its test in TYPED_IN of this file"
    assert sorted(listed - names) == [], "there is no such option any more"


@pytest.mark.parametrize(("scope", "name"), list(TYPED_IN))
def test_the_test_of_an_option_types_it(scope: Scope, name: str) -> None:
    path, _, test = TYPED_IN[scope, name].partition("::")
    definitions = _definitions(TESTS / path)
    assert test in definitions, f"{path} has no {test}"
    text = "\n".join(_reached(test, definitions))
    if "labs.up(" in text:
        text += "".join(
            path.read_text("utf-8") for path in LABS.iterdir() if f"'{path.name}'" in text
        )
    words = {name, name.removeprefix(PUT_IN_FRONT.get(path, " "))}
    typed = "|".join(map(re.escape, words))
    assert re.search(rf"(?<![\w.])({typed})(?![\w.])", text), f"{test} does not type {name}"


@cache
def _definitions(path: Path) -> dict[str, ast.stmt]:
    """Return functions and constants of a module by name."""
    found: dict[str, ast.stmt] = {}
    for statement in ast.parse(path.read_text("utf-8")).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = statement
            case ast.Assign(targets=targets):
                for target in targets:
                    found |= {n.id: statement for n in ast.walk(target) if isinstance(n, ast.Name)}
    return found


def _reached(test: str, definitions: dict[str, ast.stmt]) -> Iterator[str]:
    """Yield the text of a test and of all in its module that it uses."""
    seen: set[str] = set()
    waiting = [test]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in definitions:
            continue
        seen.add(name)
        yield ast.unparse(definitions[name])
        for node in ast.walk(definitions[name]):
            match node:
                case ast.Name(id=used) | ast.arg(arg=used):
                    waiting.append(used)
