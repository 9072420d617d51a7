"""What containers reach of the host: other networks' gateways never, the rest by ``ovs.host``.

The documents' table of it is tried in ``test_who_reaches_what.py``; here are the ways round it.
"""

import json
import sys
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.e2e import ears, stream
from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6, Bed
from tests.e2e.probes import Probe, answered
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import ECHO, Place
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker

SERVICE = 8077
PUBLISHED = 8080
WAN = {4: WAN4, 6: WAN6}
OUTSIDE = {4: OUTSIDE4, 6: OUTSIDE6}
FAMILIES = [pytest.param(4, id="ipv4"), pytest.param(6, id="ipv6")]


@pytest.fixture
def service(bed: Bed) -> Iterator[Program]:
    """A service of the host, on all of its addresses."""
    program = Program(bed, "service", sys.executable, ECHO, "serve", str(SERVICE))
    program.start()
    until(lambda: f":{SERVICE}" in bed.run("ss", "-lntu"), "the service listens")
    yield program
    program.stop()
    program.log.unlink()


def dual(stage: Stage, name: str, number: int, *options: str, **kinds: str) -> Network:
    """Create a network with both families."""
    six = ("--ipv6", "--subnet", f"fd00:77:{number}::/64")
    return stage.network(name, *six, *options, subnet=f"10.77.{number}.0/24", **kinds)


def may_all(stage: Stage, name: str, network: Network, *options: str) -> Container:
    """Run a container that may change its routes and make packets."""
    return stage.container(name, network, "--privileged", *options)


def mac_of(host: Place, address: str) -> str:
    """Return the MAC of the host's link that has an address."""
    (mac,) = (
        str(link["address"])
        for link in host.sees("address")
        if address in [each.get("local") for each in link["addr_info"]]
    )
    return mac


def test_what_is_closed_of_the_host_is_closed_and_opened_again_while_containers_talk(
    bed: Bed, stage: Stage, service: Program, host: Place
) -> None:
    one = dual(stage, "one", 1, "-o", "ovs.host=all")
    a = stage.container("ann", one, "--publish", f"{PUBLISHED}:80")
    b = stage.container("bob", one)
    outside = Place(bed, "outside", bed.outside)

    gateways = {("tcp", one.gateway(family), SERVICE) for family in (4, 6)}
    others = {(kind, WAN[family], SERVICE) for family in (4, 6) for kind in ("ping", "tcp")}
    # none of these is a service of the host
    always = {("ping", one.gateway(family), 0) for family in (4, 6)}
    always |= {("tcp", OUTSIDE[family], OUTSIDE_PORT) for family in (4, 6)}
    for family in (4, 6):
        always |= {("tcp", at, PUBLISHED) for at in (WAN[family], one.gateway(family))}

    def open_are(*some: set[Probe]) -> None:
        wanted = always.union(*some)
        until(lambda: answered(b, gateways | others | always) == wanted, "what is open is reached")
        for family in (4, 6):
            host.reaches(b.address(one, family), who="bob")

    with stream.held(bed, "out", a, outside, OUTSIDE4) as out:
        open_are(gateways, others)
        bed.ovsnet("set", "one", "ovs.host=gateway")
        open_are(gateways)
        bed.restart_plugin()
        assert "ovs.host=gateway" in bed.ovsnet("network", "show", "one")
        done = json.loads(bed.ovsnet("set", "one", "ovs.host=none", "--json"))
        assert done["options"] == [{"option": "ovs.host", "old": "gateway", "new": "none"}]
        open_are()
        assert "nothing" in bed.ovsnet("reconcile", "--dry-run").lower()
        bed.ovsnet("set", "one", "ovs.host=")
        open_are(gateways, others)
        out.goes_on()


def test_a_connection_to_the_host_ends_when_it_is_closed(bed: Bed, stage: Stage) -> None:
    one = dual(stage, "one", 1)
    a = stage.container("ann", one)
    with stream.held(bed, "up", a, Place(bed, "the host"), one.gateway()) as up:
        up.goes_on()
        bed.ovsnet("set", "one", "ovs.host=none")
        up.stands_still()


def test_a_plan_says_what_is_open_of_the_host_and_networks_without_a_gateway_refuse_it(
    bed: Bed,
) -> None:
    plan = json.loads(bed.ovsnet("plan", "-o", "ovs.host=none", "--json"))
    assert plan["in_force"]["ovs.host"] == "none"
    assert any('"name": "silent"' in each for each in plan["rules"])
    create = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam")
    for mode in ("flat", "gwbridge", "isolated"):
        options = ("-o", f"ovs.mode={mode}", "-o", "ovs.host=gateway")
        text = bed.docker_refuses(*create, *options, "--subnet", "10.77.1.0/24", "one")
        assert f"has no address on a network with ovs.mode={mode}" in text
    assert "`all`, `gateway`" in bed.docker_refuses(*create, "-o", "ovs.host=some", "one")


@pytest.mark.parametrize("kind", ["nat", "routed", "gwbridge", "docker"])
def test_no_container_reaches_another_networks_gateway_or_a_port_that_is_published_there(
    bed: Bed, stage: Stage, service: Program, host: Place, kind: str
) -> None:
    two = dual(stage, "two", 2)
    gateways = {4: two.gateway(), 6: two.gateway(6)}
    ports = (f"{gateways[4]}:{PUBLISHED}:80", f"[{gateways[6]}]:{PUBLISHED}:80")
    b = stage.container("bob", two, *(word for port in ports for word in ("--publish", port)))
    if kind == "docker":
        one = dual(stage, "one", 1, driver="bridge", ipam="default")
    else:
        one = dual(stage, "one", 1, "-o", f"ovs.mode={kind}")
    a = stage.container("ann", one)
    probes: set[Probe] = set()
    for gateway in gateways.values():
        probes |= {("ping", gateway, 0), ("tcp", gateway, SERVICE), ("tcp", gateway, PUBLISHED)}
    for place in (b, host):
        until(lambda x=place: answered(x, probes) == probes, f"{place.name} reaches all of it")

    assert answered(a, probes) == set()
    if kind == "gwbridge":
        return
    for family, gateway in gateways.items():
        # straight on the link
        bits = 32 if family == 4 else 128
        way = (f"{gateway}/{bits}", "dev", "eth0")
        bed.ip(f"-{family}", "route", "add", *way, netns=a.netns)
    assert answered(a, probes) == set()
    # and with the MAC of its own gateway for it, or with the right one
    for of in ({f: one.gateway(f) for f in gateways}, gateways):
        for family, gateway in gateways.items():
            known = (gateway, "lladdr", mac_of(host, of[family]), "dev", "eth0")
            bed.ip("neigh", "replace", *known, netns=a.netns)
        assert answered(a, probes) == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_fragments_nor_addresses_that_all_answer_to_lead_to_another_gateway(
    bed: Bed, stage: Stage, service: Program, host: Place, family: int
) -> None:
    one, two = dual(stage, "one", 1), dual(stage, "two", 2)
    a, b = may_all(stage, "ann", one), may_all(stage, "bob", two)

    def in_pieces(place: Place, address: str) -> bool:
        said = ("ping", "-n", "-q", "-M", "dont", "-s", "4000", "-c", "2", "-W", "1", address)
        return bed.attempt(*said, netns=place.netns).code == 0

    gateway = two.gateway(family)
    until(lambda: in_pieces(b, gateway), "bob's own gateway answers fragments")
    assert not in_pieces(a, gateway)
    with ears.receiving(bed, {"host": host}, port=7077) as heard:
        packets = []
        targets = {"gateway": gateway, "wan": WAN[family]}
        if family == 4:
            targets["broadcast"] = "10.77.2.255"
        else:
            # a router answers to the lowest address of a subnet as well (RFC 4291, 2.6.1)
            targets["anycast"] = str(ip_address("fd00:77:2::"))
            (link,) = (
                each["local"]
                for each in host.sees("address", "show", "dev", f"ovg{two.id[:12]}")[0]["addr_info"]
                if each["scope"] == "link"
            )
            targets["link-local"] = link
        for near, network in ((a, one), (b, two)):
            mac = mac_of(host, network.gateway(family))
            source = near.address(network, family)
            packets = [(f"{near.name}-{to}", source, at, mac) for to, at in targets.items()]
            ears.forge((near, "eth0"), sorted(packets, reverse=True), port=7077)
        heard.wait_for("ann-wan", {"host"})
        heard.wait_for("bob-gateway", {"host"})
        ears.forge(
            (a, "eth0"),
            [("last", a.address(one, family), WAN[family], mac_of(host, one.gateway(family)))],
            port=7077,
        )
        heard.wait_for("last", {"host"})
        assert {each for each in heard.heard("host") if each.startswith("ann")} == {"ann-wan"}


def test_the_host_may_speak_with_containers_from_any_of_its_gateways(
    bed: Bed, stage: Stage
) -> None:
    one, two = dual(stage, "one", 1), dual(stage, "two", 2, "-o", "ovs.host=none")
    b = stage.container("bob", two)
    for family in (4, 6):
        client = (sys.executable, "-c", _FROM, one.gateway(family), b.address(two, family))
        until(lambda x=client: bed.run(*x) == "answered", "the container's answer is heard")


_FROM = """
import socket, sys
try:
    made = socket.create_connection((sys.argv[2], 80), 2, (sys.argv[1], 0))
    made.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print("answered" if made.recv(9) else "")
except OSError as error:
    print(error)
"""


def test_broadcasts_and_multicasts_reach_the_host_only_where_all_of_it_is_open(
    bed: Bed, stage: Stage, host: Place
) -> None:
    one = dual(stage, "one", 1)
    a = may_all(stage, "ann", one)
    everybody = "ff:ff:ff:ff:ff:ff"
    source = a.address(one)
    with ears.receiving(bed, {"host": host}, port=7077) as heard:
        for access, gateway, rest in (
            ("all", True, True),
            ("gateway", True, False),
            ("none", False, False),
        ):
            bed.ovsnet("set", "one", f"ovs.host={access}")
            mac = mac_of(host, one.gateway())
            targets = {
                "net": ("10.77.1.255", everybody),
                "limited": ("255.255.255.255", everybody),
                "gateway": (one.gateway(), mac),
            }
            packets = [(f"{access}-{to}", source, *where) for to, where in targets.items()]
            ears.forge((a, "eth0"), packets, port=7077)
            expected = {f"{access}-gateway"} if gateway else set()
            if rest:
                expected |= {f"{access}-net", f"{access}-limited"}
            for label in expected:
                heard.wait_for(label, {"host"})
        bed.ovsnet("set", "one", "ovs.host=")
        ears.forge((a, "eth0"), [("last", source, one.gateway(), mac)], port=7077)
        heard.wait_for("last", {"host"})
        assert set(heard.heard("host")) == {
            *("all-net", "all-limited", "all-gateway", "gateway-gateway", "last")
        }


def test_a_containers_plug_is_no_way_to_the_host_for_broadcasts_without_a_source(
    bed: Bed, stage: Stage, host: Place
) -> None:
    one = dual(stage, "one", 1, "-o", "ovs.host=none")
    alone = dual(stage, "alone", 2, "-o", "ovs.mode=isolated")
    everybody = "ff:ff:ff:ff:ff:ff"
    with ears.receiving(bed, {"host": host}, port=7077) as heard:
        for network in (alone, one):
            place = may_all(stage, f"on-{network.name}", network)
            asked = (network.name, "0.0.0.0", "255.255.255.255", everybody)  # as DHCP asks
            ears.forge((place, "eth0"), [asked], port=7077)
        bed.ovsnet("set", "one", "ovs.host=")
        ears.forge((place, "eth0"), [("open", *asked[1:])], port=7077)
        heard.wait_for("open", {"host"})
        assert set(heard.heard("host")) == {"open"}
