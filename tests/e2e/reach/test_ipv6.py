"""IPv6 alone and beside IPv4: every mode, published ports, the first packet of a container."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import image
from tests.e2e.bed import OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6, Bed
from tests.e2e.far import beyond
from tests.e2e.modern import ModernEngine
from tests.e2e.reach.test_published import hears
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place

pytestmark = pytest.mark.docker

SIX, OTHER6 = "fd00:77:1::/64", "fd00:77:2::/64"


@contextmanager
def knowing_the_way(bed: Bed, subnet: str) -> Iterator[None]:
    bed.ip("route", "add", subnet, "via", WAN6, netns=bed.outside)
    try:
        yield
    finally:
        bed.ip("route", "del", subnet, "via", WAN6, netns=bed.outside)


@pytest.mark.parametrize("port", ["veth", "internal"])
@pytest.mark.parametrize("mode", ["nat", "routed", "flat"])
def test_the_first_packet_of_a_container_leaves(
    bed: Bed, stage: Stage, mode: str, port: str
) -> None:
    """An address that is still being looked for among others could not be connected from."""
    options = ("-o", f"ovs.mode={mode}", "-o", f"ovs.port={port}")
    network = stage.network("one", *options, "--ipv6", "--subnet", SIX, subnet="10.77.1.0/24")
    bob = stage.container("bob", network)
    bob.reaches(bob.address(network, 6), who="bob")
    run = ("run", "--rm", "--network", "one", image.NAME)
    ask = ("wget", "-q", "-T", "5", "-O", "-")
    assert bed.docker(*run, *ask, f"http://[{bob.address(network, 6)}]/") == "bob"
    if mode == "nat":
        assert bed.docker(*run, *ask, f"http://[{OUTSIDE6}]:{OUTSIDE_PORT}/") == WAN6
    shown = bed.docker(*run, "ip", "-6", "address", "show", "dev", "eth0", "scope", "global")
    assert "fd00:77:1::3/64" in shown
    assert "tentative" not in shown


def test_a_network_without_ipv4_is_a_nat_network_like_others(
    bed: Bed, engine: ModernEngine, host: Place, outside: Place
) -> None:
    one, two = engine.network(SIX), engine.network(OTHER6)
    ports = ("8080:80", "5353:81/udp", "[::1]:8081:80")
    ann = engine.container("ann", one, ports=ports)
    bob, cat = engine.container("bob", one), engine.container("cat", two)
    assert ann.gateways == {4: "", 6: one.gateway(6)}
    hears(bob, f"ann {bob.address(6)}", "tcp", ann.address(6), 80)
    ann.reaches(OUTSIDE6, who=WAN6, port=OUTSIDE_PORT)
    cat.never_reaches(ann.address(6))
    hears(outside, f"ann {OUTSIDE6}", "tcp", WAN6, 8080)
    hears(outside, f"ann {OUTSIDE6}", "udp", WAN6, 5353)
    hears(host, f"ann {one.gateway(6)}", "tcp", "::1", 8081)
    hears(cat, f"ann {cat.address(6)}", "tcp", WAN6, 8080)
    hears(bob, f"ann {one.gateway(6)}", "tcp", WAN6, 8080)
    assert not outside.hears("tcp", WAN4, 8080), "there is no IPv4 to publish"
    assert not outside.hears("tcp", WAN6, 8081)
    listed = bed.ovsnet("ports")
    assert "[::]:8080/tcp" in listed
    assert "0.0.0.0" not in listed
    with knowing_the_way(bed, SIX):
        outside.never_reaches(ann.address(6))


def test_networks_without_ipv4_are_routed_flat_or_closed(
    bed: Bed, engine: ModernEngine, outside: Place
) -> None:
    with beyond(bed) as far:
        lan = far.host("lan", "fd00:77:3::99/64", tag=30)
        routed = engine.network(SIX, ovs__mode="routed")
        closed = engine.network(OTHER6, internal=True)
        flat = engine.network("fd00:77:3::/64", ovs__uplink="eth1", ovs__vlan="30")
        ann = engine.container("ann", routed)
        bob, cat = engine.container("bob", closed), engine.container("cat", closed)
        dan = engine.container("dan", flat)
        assert (bob.gateways, dan.gateways) == ({4: "", 6: ""}, {4: "", 6: ""})
        with knowing_the_way(bed, SIX):
            hears(outside, f"ann {OUTSIDE6}", "tcp", ann.address(6), 80)
            ann.reaches(OUTSIDE6, who=ann.address(6), port=OUTSIDE_PORT)
        hears(bob, f"cat {bob.address(6)}", "tcp", cat.address(6), 80)
        dan.reaches("fd00:77:3::99", who="lan")
        hears(lan, "dan fd00:77:3::99", "tcp", dan.address(6), 80)
        bob.never_reaches(ann.address(6))
        engine.clear()
