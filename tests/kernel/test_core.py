"""The end-to-end core on the kernel's own datapath: apart, outside, published, trunks, wires."""

import pytest

from tests.e2e.access.test_access import (
    test_connections_are_judged_by_who_began_them_whatever_restarts,
)
from tests.e2e.access.test_access_on_a_bridge import (
    test_a_flat_network_judges_what_goes_to_the_wire_and_comes_from_it,
    test_a_rule_cuts_what_is_established_and_nothing_else,
    test_only_what_is_allowed_passes_in_either_direction,
)
from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6, Bed
from tests.e2e.containers.test_cables import (
    test_a_pulled_cable_takes_the_carrier_from_both_ends_and_stays_so,
    test_the_cable_of_an_uplink_is_pulled_and_given_back,
)
from tests.e2e.containers.test_routes import (
    service,
    test_this_host_has_an_address_on_a_flat_network_and_is_no_router_there,
)
from tests.e2e.look.test_metrics import test_top_tells_who_talks_to_whom_and_who_goes_out
from tests.e2e.reach.test_isolation import dual
from tests.e2e.reach.test_published import hears, server
from tests.e2e.stage import Stage
from tests.e2e.switch.test_frames import test_priority_tagged_frames_stay_in_their_network
from tests.e2e.switch.test_patches import test_bridges_are_joined_for_the_vlans_of_those_who_ask
from tests.e2e.switch.test_port_kinds import test_routers_see_the_listed_vlans_and_no_others
from tests.e2e.switch.test_uplinks import (
    far,
    test_containers_share_a_nic_and_each_is_on_its_own_vlan_of_the_wire,
)
from tests.e2e.traffic import Place

__all__ = [
    "far",
    "service",
    "test_a_flat_network_judges_what_goes_to_the_wire_and_comes_from_it",
    "test_a_pulled_cable_takes_the_carrier_from_both_ends_and_stays_so",
    "test_a_rule_cuts_what_is_established_and_nothing_else",
    "test_bridges_are_joined_for_the_vlans_of_those_who_ask",
    "test_connections_are_judged_by_who_began_them_whatever_restarts",
    "test_containers_share_a_nic_and_each_is_on_its_own_vlan_of_the_wire",
    "test_only_what_is_allowed_passes_in_either_direction",
    "test_priority_tagged_frames_stay_in_their_network",
    "test_routers_see_the_listed_vlans_and_no_others",
    "test_the_cable_of_an_uplink_is_pulled_and_given_back",
    "test_this_host_has_an_address_on_a_flat_network_and_is_no_router_there",
    "test_top_tells_who_talks_to_whom_and_who_goes_out",
]

pytestmark = pytest.mark.docker


def test_networks_are_apart_and_go_out_with_the_hosts_address(
    bed: Bed, stage: Stage, host: Place, outside: Place
) -> None:
    one, two = dual(stage, "one", 1), dual(stage, "two", 2)
    a, b = stage.container("ann", one), stage.container("bob", one)
    c = stage.container("cat", two)
    for family, server_, seen in ((4, OUTSIDE4, WAN4), (6, OUTSIDE6, WAN6)):
        a.reaches(b.address(one, family), who="bob")
        host.reaches(a.address(one, family), who="ann")
        host.reaches(c.address(two, family), who="cat")
        a.never_reaches(c.address(two, family))
        c.never_reaches(a.address(one, family))
        a.reaches(server_, who=seen, port=OUTSIDE_PORT)
        bed.ip("route", "add", one.subnet(family), "via", seen, netns=bed.outside)
        try:
            outside.never_reaches(a.address(one, family))
        finally:
            bed.ip("route", "del", one.subnet(family), "via", seen, netns=bed.outside)


@pytest.mark.parametrize("kind", ["veth", "internal"])
def test_everybody_reaches_a_published_port_and_is_seen_as_himself(
    stage: Stage, host: Place, outside: Place, kind: str
) -> None:
    one, two = dual(stage, "one", 1, "-o", f"ovs.port={kind}"), dual(stage, "two", 2)
    publish = ("--publish", "8080:80", "--publish", "5353:80/udp")
    ann = server(stage, "ann", one, *publish)
    cat = stage.container("cat", two)
    families = ((4, WAN4, OUTSIDE4, "127.0.0.1"), (6, WAN6, OUTSIDE6, "::1"))
    for family, wan, beyond, localhost in families:
        gateway = one.gateway(family)
        for protocol, port in (("tcp", 8080), ("udp", 5353)):
            hears(outside, f"ann {beyond}", protocol, wan, port)
            hears(host, f"ann {gateway}", protocol, localhost, port)
            hears(cat, f"ann {cat.address(two, family)}", protocol, wan, port)
            hears(ann, f"ann {gateway}", protocol, wan, port)
        cat.never_reaches(ann.address(one, family))
