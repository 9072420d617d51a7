"""Networks without a gateway on the host, and the same subnet more than once."""

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, Bed
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place

pytestmark = pytest.mark.docker

WITHOUT_WAY_OUT = [
    pytest.param(("--internal",), id="internal"),
    pytest.param(("-o", "ovs.mode=isolated"), id="isolated"),
    pytest.param(("-o", "ovs.mode=flat"), id="flat"),
]


@pytest.mark.parametrize("options", WITHOUT_WAY_OUT)
def test_a_network_without_a_way_out_works_inside_and_only_there(
    stage: Stage, host: Place, options: tuple[str, ...]
) -> None:
    before = host.links()
    six = ("--ipv6", "--subnet", "fd00:77:1::/64")
    network = stage.network("inside", *options, *six, subnet="10.77.1.0/24")
    made = host.links() - before
    a, b = stage.container("ann", network), stage.container("bob", network)
    for family, outside in ((4, OUTSIDE4), (6, OUTSIDE6)):
        a.reaches(b.address(network, family), who="bob")
        a.never_reaches(outside, port=OUTSIDE_PORT)
        host.never_reaches(a.address(network, family))
        assert [r for r in a.sees(f"-{family}", "route") if r["dst"] == "default"] == []
    assert a.links() == {"eth0"}, "no docker_gwbridge"
    for name in made:
        assert [x for x in host.link(name).get("addr_info", []) if x["scope"] == "global"] == []


def test_a_flat_network_tells_containers_the_gateway_that_the_user_typed(
    stage: Stage, host: Place
) -> None:
    options = ("-o", "ovs.mode=flat", "--gateway", "10.77.1.254")
    network = stage.network("flat", *options, subnet="10.77.1.0/24")
    a = stage.container("ann", network)
    routes = [r for r in a.sees("-4", "route") if r["dst"] == "default"]
    assert [r["gateway"] for r in routes] == ["10.77.1.254"]
    assert "10.77.1.254" not in str(host.sees("address"))
    assert not a.pings("10.77.1.254"), "it is somebody else's, and nobody is there"


@pytest.mark.parametrize("mode", ["flat", "isolated"])
def test_networks_with_the_same_subnet_do_not_see_each_other(stage: Stage, mode: str) -> None:
    networks = {}
    for space in ("red", "green"):
        options = ("--ipam-opt", f"ipam.space={space}", "-o", f"ovs.space={space}")
        six = ("--ipv6", "--subnet", "fd00:77:1::/64")
        networks[space] = stage.network(
            space, *options, *six, "-o", f"ovs.mode={mode}", subnet="10.77.1.0/24"
        )
    containers = {
        (space, name): stage.container(f"{space}-{name}", networks[space])
        for space in networks
        for name in ("ann", "bob")
    }
    for name in ("ann", "bob"):
        red, green = containers["red", name], containers["green", name]
        assert red.address("red") == green.address("green")
        assert red.address("red", 6) == green.address("green", 6)
        assert red.link("eth0")["address"] == green.link("eth0")["address"]
    for space in networks:
        for family in (4, 6):
            there = containers[space, "bob"].address(space, family)
            containers[space, "ann"].reaches(there, who=f"{space}-bob")
    stage.bed.docker("rm", "--force", "green-bob")
    containers["green", "ann"].never_reaches(containers["red", "bob"].address("red"))
    containers["red", "ann"].reaches(containers["red", "bob"].address("red"), who="red-bob")


def test_a_configured_space_is_an_ipam_driver_of_its_own(bed: Bed, stage: Stage) -> None:
    isolated = ("-o", "ovs.mode=isolated")
    blue = stage.network("in-blue", *isolated, subnet="10.77.1.0/24", ipam="ovsipam-blue")
    usual = stage.network("usual", *isolated, subnet="10.77.1.0/24")
    a, b = stage.container("ann", blue), stage.container("bob", blue)
    c = stage.container("cat", usual)
    assert c.address(usual) == a.address(blue)
    a.reaches(b.address(blue), who="bob")
    c.never_reaches(b.address(blue))


def test_every_port_of_ours_has_a_tag(bed: Bed, stage: Stage) -> None:
    stage.container("ann", stage.network("nat", subnet="10.77.1.0/24"))
    stage.container("bob", stage.network("flat", "-o", "ovs.mode=flat", subnet="10.77.2.0/24"))
    stage.container("cat", stage.network("inside", "--internal", subnet="10.77.3.0/24"))
    stage.container("dan", stage.network("plain", "-o", "ovs.vlan=none", subnet="10.77.4.0/24"))
    stage.container("eve", stage.network("hundred", "-o", "ovs.vlan=100", subnet="10.77.5.0/24"))
    tags = {}
    for port in bed.ovs_vsctl("list-ports", "br-ovsnet").split():
        tag = bed.ovs_vsctl("get", "Port", port, "tag", "vlan_mode", "trunks").split()
        assert tag[0] != "[]", f"{port} is a trunk"
        assert tag[1] in ("access", "[]")
        assert tag[2] == "[]"
        tags[port] = int(tag[0])
    assert len(tags) == 5 + 3, "five containers, and the gateways of three nat networks"
    assert 0 in tags.values()
    assert list(tags.values()).count(100) == 2
    assert len(set(tags.values())) == 5, "each network has a tag of its own"


def test_the_local_port_of_our_bridge_stays_down(bed: Bed, stage: Stage, host: Place) -> None:
    stage.container("ann", stage.network("one", subnet="10.77.1.0/24"))
    link = host.link("br-ovsnet")
    assert "UP" not in link["flags"]
    (shown,) = host.sees("address", "show", "br-ovsnet")
    assert shown["addr_info"] == []


def test_two_networks_share_a_segment_only_if_told_so(bed: Bed, stage: Stage) -> None:
    options = ("-o", "ovs.mode=flat", "-o", "ovs.vlan=100")
    one = stage.network("one", *options, subnet="10.77.1.0/24")
    text = bed.docker_refuses("network", "create", "-d", "ovsnet", *options, "two")
    assert "VLAN 100" in text
    assert "ovs.shared=true" in text
    two = stage.network("two", *options, "-o", "ovs.shared=true", subnet="10.77.2.0/24")
    a = stage.container("ann", one)
    b = stage.container("bob", two, "--cap-add", "NET_ADMIN")
    b.execute("ip", "address", "add", "10.77.1.200/24", "dev", "eth0")
    b.reaches(a.address(one), who="ann")
