"""Who must not reach whom: other networks, Docker's own bridges, the world outside."""

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import Place

pytestmark = pytest.mark.docker

FAMILIES = [pytest.param(4, id="ipv4"), pytest.param(6, id="ipv6")]


def dual(stage: Stage, name: str, number: int, *options: str, driver: str = "ovsnet") -> Network:
    """Create a network with both families."""
    ipam = "ovsipam" if driver == "ovsnet" else "default"
    six = ("--ipv6", "--subnet", f"fd00:77:{number}::/64")
    return stage.network(
        name, *six, *options, subnet=f"10.77.{number}.0/24", driver=driver, ipam=ipam
    )


def may_route(stage: Stage, name: str, network: Network) -> Container:
    """Run a container that may change its own routes."""
    return stage.container(name, network, "--cap-add", "NET_ADMIN")


def route(container: Container, destination: str, *via: str) -> None:
    """Add a host route inside a container, with its own means."""
    family = "-6" if ":" in destination else "-4"
    bits = 128 if ":" in destination else 32
    container.execute("ip", family, "route", "add", f"{destination}/{bits}", *via)


@pytest.mark.parametrize("family", FAMILIES)
def test_containers_of_two_networks_do_not_reach_each_other(stage: Stage, family: int) -> None:
    one, two = dual(stage, "one", 1), dual(stage, "two", 2)
    a, b = stage.container("ann", one), stage.container("bob", one)
    c, d = stage.container("cat", two), stage.container("dan", two)
    a.reaches(b.address(one, family), who="bob")
    c.reaches(d.address(two, family), who="dan")
    a.never_reaches(c.address(two, family))
    c.never_reaches(a.address(one, family))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", ["gateway", "link"])
def test_a_host_route_inside_a_container_opens_no_other_network(
    stage: Stage, family: int, way: str
) -> None:
    one, two = dual(stage, "one", 1), dual(stage, "two", 2)
    a, b = may_route(stage, "ann", one), may_route(stage, "bob", two)
    if way == "gateway":
        to_b, to_a = ("via", one.gateway(family)), ("via", two.gateway(family))
    else:
        to_b = to_a = ("dev", "eth0")
    route(a, b.address(two, family), *to_b)
    route(b, a.address(one, family), *to_a)
    a.never_reaches(b.address(two, family))
    b.never_reaches(a.address(one, family))


@pytest.mark.parametrize("family", FAMILIES)
def test_containers_do_not_reach_those_of_dockers_own_bridges(stage: Stage, family: int) -> None:
    ours, dockers = dual(stage, "ours", 1), dual(stage, "dockers", 2, driver="bridge")
    a, b = may_route(stage, "ann", ours), may_route(stage, "bob", dockers)
    c, d = stage.container("cat", ours), stage.container("dan", dockers)
    a.reaches(c.address(ours, family), who="cat")
    b.reaches(d.address(dockers, family), who="dan")
    route(a, b.address(dockers, family), "via", ours.gateway(family))
    route(b, a.address(ours, family), "via", dockers.gateway(family))
    a.never_reaches(b.address(dockers, family))
    b.never_reaches(a.address(ours, family))


def test_containers_do_not_reach_those_of_dockers_default_bridge(stage: Stage) -> None:
    ours = stage.network("ours", subnet="10.77.1.0/24")
    a, b = stage.container("ann", ours), stage.container("bob", "bridge")
    a.never_reaches(b.address("bridge"))
    b.never_reaches(a.address(ours))


@pytest.mark.parametrize("family", FAMILIES)
def test_dockers_own_bridges_work_as_without_us(stage: Stage, family: int, outside: Place) -> None:
    dual(stage, "ours", 1)
    one, two = (dual(stage, f"docker{n}", n, driver="bridge") for n in (2, 3))
    a, b, c = stage.container("ann", one), stage.container("bob", one), stage.container("cat", two)
    a.reaches(b.address(one, family), who="bob")
    if family == 4:
        a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
        # dockerd 26 isolates its bridges for IPv4 only, unless told otherwise
        a.never_reaches(c.address(two, family))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_nat_network_reaches_the_outside_with_the_hosts_address(
    stage: Stage, family: int
) -> None:
    network = dual(stage, "one", 1)
    a = stage.container("ann", network)
    server, seen = (OUTSIDE4, WAN4) if family == 4 else (OUTSIDE6, WAN6)
    a.reaches(server, who=seen, port=OUTSIDE_PORT)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_outside_does_not_reach_into_a_nat_network(
    bed: Bed, stage: Stage, outside: Place, host: Place, family: int
) -> None:
    network = dual(stage, "one", 1)
    a = stage.container("ann", network)
    host.reaches(a.address(network, family), who="ann")
    via = WAN4 if family == 4 else WAN6
    bed.ip("route", "add", network.subnet(family), "via", via, netns=bed.outside)
    try:
        outside.never_reaches(a.address(network, family))
    finally:
        bed.ip("route", "del", network.subnet(family), "via", via, netns=bed.outside)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_masquerade_the_outside_sees_the_containers_address(
    bed: Bed, stage: Stage, family: int
) -> None:
    option = "com.docker.network.bridge.enable_ip_masquerade=false"
    network = dual(stage, "one", 1, "-o", option)
    a = stage.container("ann", network)
    server, via = (OUTSIDE4, WAN4) if family == 4 else (OUTSIDE6, WAN6)
    assert not a.asks(server, OUTSIDE_PORT), "the outside knows no way back"
    bed.ip("route", "add", network.subnet(family), "via", via, netns=bed.outside)
    try:
        a.reaches(server, who=a.address(network, family), port=OUTSIDE_PORT)
    finally:
        bed.ip("route", "del", network.subnet(family), "via", via, netns=bed.outside)


def test_containers_reach_the_host_through_their_gateway(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    a = stage.container("ann", network)
    assert network.gateway() == "10.77.1.1"
    assert a.pings("10.77.1.1", count=3)
    assert a.pings(WAN4, count=3)


def test_a_published_port_on_a_network_without_a_gateway_harms_nothing(stage: Stage) -> None:
    network = stage.network("inside", "--internal", subnet="10.77.1.0/24")
    a = stage.container("ann", network, "--publish", "8080:80")
    b = stage.container("bob", network)
    b.reaches(a.address(network), who="ann")
