"""Routed networks, networks behind docker_gwbridge, containers kept apart, forged sources."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import ears
from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import ECHO, Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker

FAMILIES = [pytest.param(4, id="ipv4"), pytest.param(6, id="ipv6")]
SERVE = f"exec chroot /host {sys.executable} {ECHO} serve 80"
OUTSIDE = {4: OUTSIDE4, 6: OUTSIDE6}
WAN = {4: WAN4, 6: WAN6}
ROUTED = ("-o", "ovs.mode=routed")


def dual(stage: Stage, name: str, number: int, *options: str, **kinds: str) -> Network:
    """Create a network with both families."""
    six = ("--ipv6", "--subnet", f"fd00:77:{number}::/64")
    return stage.network(name, *six, *options, subnet=f"10.77.{number}.0/24", **kinds)


def server(stage: Stage, name: str, network: Network, *options: str) -> Container:
    """Run a container that tells its clients who it is and whom it sees."""
    files = ("--volume", "/:/host:ro")
    return stage.container(name, network, *files, *options, command=SERVE)


def may_route(stage: Stage, name: str, network: Network) -> Container:
    """Run a container that may change its own routes and neighbours."""
    return stage.container(name, network, "--cap-add", "NET_ADMIN")


@contextmanager
def knowing_the_way(bed: Bed, *networks: Network) -> Iterator[None]:
    """While the outside has routes to networks through the host, as a router there would."""
    routes = [(each.subnet(family), "via", WAN[family]) for each in networks for family in (4, 6)]
    for route in routes:
        bed.ip("route", "add", *route, netns=bed.outside)
    try:
        yield
    finally:
        for route in routes:
            bed.ip("route", "del", *route, netns=bed.outside)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_routed_network_and_the_outside_see_each_other_as_they_are(
    bed: Bed, stage: Stage, outside: Place, host: Place, family: int
) -> None:
    network = dual(stage, "one", 1, *ROUTED)
    a = server(stage, "ann", network)
    here, there = a.address(network, family), OUTSIDE[family]
    assert not a.asks(there, OUTSIDE_PORT), "the outside knows no way back yet"
    with knowing_the_way(bed, network):
        a.reaches(there, who=here, port=OUTSIDE_PORT)
        for protocol in ("tcp", "udp"):
            until(
                lambda protocol=protocol: outside.hears(protocol, here, 80) == f"ann {there}",
                f"the outside asks ann over {protocol} and is seen as itself",
                timeout_s=15,
            )
        assert outside.pings(here)
    assert host.pings(here)


@pytest.mark.long
def test_only_routed_networks_that_are_not_isolated_reach_each_other(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    one, two = dual(stage, "one", 1, *ROUTED), dual(stage, "two", 2, *ROUTED)
    alone = dual(stage, "alone", 3, *ROUTED, "-o", "ovs.isolate=true")
    nat = dual(stage, "nat", 4)
    dockers = dual(stage, "dockers", 5, driver="bridge", ipam="default")
    a, b = server(stage, "ann", one), stage.container("bob", two)
    c, d = stage.container("cat", alone), stage.container("dan", nat)
    e = stage.container("eve", dockers)
    homes = {"ann": (a, one), "bob": (b, two), "cat": (c, alone), "dan": (d, nat)}
    homes["eve"] = (e, dockers)
    for family in (4, 6):
        a.reaches(b.address(two, family), who="bob")
        for near, far in (
            *(("ann", "cat"), ("cat", "ann"), ("ann", "dan"), ("dan", "ann")),
            *(("cat", "dan"), ("ann", "eve"), ("eve", "ann")),
        ):
            place, (other, home) = homes[near][0], homes[far]
            place.never_reaches(other.address(home, family))
        assert b.hears("tcp", a.address(one, family), 80) == f"ann {b.address(two, family)}"
    with knowing_the_way(bed, alone):
        for family in (4, 6):
            outside.reaches(c.address(alone, family), who="cat")


def test_a_network_may_be_nat_for_ipv4_and_routed_for_ipv6(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    option = "com.docker.network.bridge.gateway_mode_ipv6=routed"
    network = dual(stage, "one", 1, "-o", option)
    a = server(stage, "ann", network)
    with knowing_the_way(bed, network):
        a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
        a.reaches(OUTSIDE6, who=a.address(network, 6), port=OUTSIDE_PORT)
        assert outside.hears("tcp", a.address(network, 6), 80) == f"ann {OUTSIDE6}"
        outside.never_reaches(a.address(network, 4))
    assert "nat, IPv6 routed" in bed.ovsnet("network", "show", "one")


def test_a_network_of_two_modes_publishes_where_it_is_nat(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    option = "com.docker.network.bridge.gateway_mode_ipv6=routed"
    network = dual(stage, "one", 1, "-o", option)
    server(stage, "ann", network, "--publish", "8090:80")
    until(
        lambda: outside.hears("tcp", WAN4, 8090) == f"ann {OUTSIDE4}",
        "the port is published over IPv4",
        timeout_s=15,
    )
    assert not outside.hears("tcp", WAN6, 8090)


def test_publishing_on_a_routed_network_is_not_done_and_said(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", *ROUTED, subnet="10.77.1.0/24")
    stage.container("ann", network, "--publish", "8080:80")
    assert "reached by their own addresses" in bed.ovsnet("endpoint", "show", "ann")


def test_containers_behind_docker_s_gateway_bridge_get_out_and_docker_publishes_their_ports(
    bed: Bed, stage: Stage, host: Place, outside: Place
) -> None:
    before = host.links()
    network = stage.network("one", "-o", "ovs.mode=gwbridge", subnet="10.77.1.0/24")
    ours = host.links() - before
    a = server(stage, "ann", network, "--publish", "8090:80")
    b = server(stage, "bob", network)
    assert a.links() == {"eth0", "eth1"}
    assert b.hears("tcp", a.address(network), 80) == f"ann {b.address(network)}"
    a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    until(
        lambda: outside.hears("tcp", WAN4, 8090) == f"ann {OUTSIDE4}",
        "the port is published",
        timeout_s=15,
    )
    assert "0.0.0.0:8090->80/tcp" in bed.docker("ps", "--filter", "name=ann")
    host.never_reaches(a.address(network))
    for name in ours:
        assert [x for x in host.link(name).get("addr_info", []) if x["scope"] == "global"] == []


def test_a_network_has_no_second_way_out_beside_docker_s_gateway_bridge(bed: Bed) -> None:
    create = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam")
    behind = ("-o", "ovs.mode=gwbridge", "--subnet", "10.77.1.0/24")
    for option in (("--gateway", "10.77.1.9"), ("-o", "ovs.gateway=10.77.1.9")):
        assert "docker_gwbridge" in bed.docker_refuses(*create, *behind, *option, "one")
    assert "contradict" in bed.docker_refuses(*create, *behind, "--internal", "one")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("mode", "option"),
    [
        pytest.param("nat", "com.docker.network.bridge.enable_icc", id="nat"),
        pytest.param("routed", "ovs.icc", id="routed"),
    ],
)
def test_containers_that_are_kept_apart_reach_the_gateway_and_not_each_other(
    bed: Bed, stage: Stage, host: Place, family: int, mode: str, option: str
) -> None:
    network = dual(stage, "one", 1, "-o", f"ovs.mode={mode}", "-o", f"{option}=false")
    a, b = may_route(stage, "ann", network), may_route(stage, "bob", network)
    with knowing_the_way(bed, network):
        for place in (a, b):
            assert place.pings(network.gateway(family), count=3)
            place.reaches(OUTSIDE[family], port=OUTSIDE_PORT)
        here, there = a.address(network, family), b.address(network, family)
        a.never_reaches(there)
        for place, other in ((a, b), (b, a)):
            mac = other.link("eth0")["address"]
            known = (other.address(network, family), "lladdr", mac, "dev", "eth0")
            bed.ip("neigh", "replace", *known, netns=place.netns)
        a.never_reaches(there)
        for place, far in ((a, there), (b, here)):
            bits = 32 if family == 4 else 128
            via = ("via", network.gateway(family), "dev", "eth0")
            place.execute("ip", f"-{family}", "route", "add", f"{far}/{bits}", *via)
        a.never_reaches(there)
        assert host.pings(here)
    ports = bed.ovs_vsctl("--columns=name", "find", "Port", "protected=true")
    assert ports.count("name") == 2, "and not the gateway's"


def test_a_port_whose_protection_was_taken_off_is_protected_again(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", "-o", "ovs.icc=false", subnet="10.77.1.0/24")
    stage.container("ann", network)
    (port,) = bed.ovs_vsctl("--bare", "--columns=name", "find", "Port", "protected=true").split()
    bed.ovs_vsctl("set", "Port", port, "protected=false")
    until(
        lambda: bed.ovs_vsctl("get", "Port", port, "protected") == "true",
        "the port is protected again",
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["nat", "routed"])
def test_packets_with_a_forged_source_reach_neither_the_outside_nor_the_host(
    bed: Bed, stage: Stage, host: Place, outside: Place, family: int, mode: str
) -> None:
    one = dual(stage, "one", 1, "-o", f"ovs.mode={mode}")
    two = dual(stage, "two", 2, "-o", f"ovs.mode={mode}")
    a, b = stage.container("ann", one), stage.container("bob", two)
    gateway = one.gateway(family)
    (mac,) = (
        link["address"]
        for link in host.sees("address")
        if gateway in [each.get("local") for each in link["addr_info"]]
    )
    assert a.pings(gateway, count=3)
    sources = {
        "honest": a.address(one, family),
        "neighbours": b.address(two, family),
        "gateways": two.gateway(family),
        "hosts": WAN[family],
        "strangers": "198.51.100.7" if family == 4 else "2001:db8:99::7",
    }
    port = 7077
    with ears.receiving(bed, {"outside": outside, "host": host}, port=port) as heard:
        for place, address in (("outside", OUTSIDE[family]), ("host", gateway)):
            packets = [(f"{who}-to-{place}", a_, address, mac) for who, a_ in sources.items()]
            ears.forge((a, "eth0"), [*packets[1:], packets[0]], port=port)
        heard.wait_for("honest-to-outside", {"outside"})
        heard.wait_for("honest-to-host", {"host"})
        time.sleep(0.5)  # what is to arrive wrongly may be slower than what arrives rightly
        assert set(heard.heard("outside")) == {"honest-to-outside"}
        assert set(heard.heard("host")) == {"honest-to-host"}
