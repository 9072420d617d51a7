"""A router on a stick, as ovsdriver/README.md shows it: the container makes its own VLAN links."""

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place

pytestmark = pytest.mark.docker

CLOSED = ("-o", "ovs.mode=isolated")


@pytest.mark.parametrize("kind", ["veth", "internal"])
def test_a_container_routes_between_vlans_by_links_of_its_own(
    bed: Bed, stage: Stage, host: Place, kind: str
) -> None:
    red = stage.network("red", *CLOSED, "-o", "ovs.vlan=110", subnet="10.77.1.0/24")
    blue = stage.network("blue", *CLOSED, "-o", "ovs.vlan=120", subnet="10.77.2.0/24")
    green = stage.network("green", *CLOSED, "-o", "ovs.vlan=130", subnet="10.77.3.0/24")
    trunk = f"name=red,driver-opt=ovs.trunks=120+130,driver-opt=ovs.port={kind}"
    forwarding = ("--sysctl", "net.ipv4.ip_forward=1")
    router = stage.container("router", trunk, "--cap-add", "NET_ADMIN", *forwarding)
    (link,) = router.links()
    for vlan, subnet in ((120, "10.77.2"), (130, "10.77.3")):
        named = f"vlan{vlan}"
        made = ("ip", "link", "add", "link", link, "name", named, "type", "vlan", "id", str(vlan))
        router.execute(*made)
        router.execute("ip", "address", "add", f"{subnet}.250/24", "dev", named)
        router.execute("ip", "link", "set", named, "up")
    routed = ("--cap-add", "NET_ADMIN")
    ann = stage.container("ann", red, *routed)
    bob = stage.container("bob", blue, *routed)
    cat = stage.container("cat", green, *routed)
    bob.reaches("10.77.2.250", who="router")
    ways = ((ann, router.address(red)), (bob, "10.77.2.250"), (cat, "10.77.3.250"))
    for container, gateway in ways:
        container.execute("ip", "route", "add", "default", "via", gateway)
    for one, other, network in ((ann, bob, blue), (bob, cat, green), (cat, ann, red)):
        one.reaches(other.address(network), who=other.name)
