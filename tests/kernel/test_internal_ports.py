"""Internal ports in containers: devices of the kernel's datapath, which knows them by name."""

import json
from signal import SIGKILL
from typing import Any

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker

INTERNAL = ("-o", "ovs.port=internal")


def dual(stage: Stage, name: str, number: int, *options: str) -> Network:
    six = ("--ipv6", "--subnet", f"fd00:77:{number}::/64")
    return stage.network(name, *six, *options, subnet=f"10.77.{number}.0/24")


def shown(bed: Bed, container: str) -> Any:
    """Return what ``ovsnet endpoint show`` says of a container's only endpoint."""
    (found,) = json.loads(bed.ovsnet("endpoint", "show", container, "--json"))
    return found


def identity(container: Container) -> Any:
    """Return what must stay: the device itself, its name, its MAC and its addresses."""
    (link,) = [each for each in container.sees("address") if each["ifname"] != "lo"]
    addresses = sorted(a["local"] for a in link["addr_info"] if a["scope"] == "global")
    return link["ifindex"], link["ifname"], link["address"], "UP" in link["flags"], addresses


def vports(bed: Bed) -> set[str]:
    """Return the names of all internal ports of containers that the datapath has."""
    said = bed.run("ovs-appctl", "-t", "/run/openvswitch/vswitchd.ctl", "dpif/show")
    return {word for word in said.split() if word.startswith("ovi")}


def test_internal_ports_carry_what_veths_carry(
    bed: Bed, stage: Stage, host: Place, outside: Place
) -> None:
    refused = ("network", "create", "-d", "ovsnet", *INTERNAL, "-o", "ovs.ifprefix=lan", "named")
    assert "loses an internal port" in bed.docker_refuses(*refused)
    network = dual(stage, "one", 1, *INTERNAL)
    before = (host.links(), bed.ovs_vsctl("list-ports", "br-ovsnet"))
    a = stage.container("ann", network, "--publish", "8080:80")
    b = stage.container("bob", network)
    c = stage.container("cat", f"name={network.name},driver-opt=ovs.port=veth")
    for each in (a, b):
        port = shown(bed, each.name)["port"]
        assert each.links() == {port}
        assert each.link(port)["linkinfo"]["info_kind"] == "openvswitch"
    assert c.links() == {"eth0"}
    for family in (4, 6):
        for one, other in ((a, b), (b, a), (a, c), (c, a)):
            one.reaches(other.address(network, family), who=other.name)
        host.reaches(a.address(network, family), who="ann")
    until(lambda: a.pings(network.gateway()), "ann pings the gateway")
    a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    outside.reaches(WAN4, who="ann", port=8080)
    assert shown(bed, "ann")["state"] == "attached"
    bed.docker("rm", "--force", "ann", "bob", "cat")
    until(
        lambda: (host.links(), bed.ovs_vsctl("list-ports", "br-ovsnet")) == before,
        "links and ports are as before",
    )


def test_an_internal_port_keeps_its_name_and_stays(bed: Bed, stage: Stage) -> None:
    """The datapath is changed again and again after the port has gone into its container."""
    network = dual(stage, "one", 1, *INTERNAL)
    veths = dual(stage, "two", 2)
    a = stage.container("ann", network)
    before = identity(a)
    for number in range(2):
        b = stage.container(f"b{number}", network)
        a.reaches(b.address(network), who=b.name)
        c = stage.container(f"c{number}", veths)
        bed.docker("network", "connect", "one", c.name)
        a.reaches(c.address(network, 6), who=c.name)
        assert identity(a) == before
    assert len(vports(bed)) == 5
    bed.docker("network", "disconnect", "one", "c0")
    bed.docker("rm", "--force", "b0", "b1")
    stage.network("three", subnet="10.77.3.0/24")
    bed.docker("network", "rm", "three")
    bed.ovs_vsctl("add-br", "br-lab", "--", "del-br", "br-lab")
    c1 = Container(bed, "c1")
    a.reaches(c1.address(network), who="c1")
    assert identity(a) == before
    bed.docker("restart", "--time", "0", "ann")
    a.reaches(c1.address(network), who="c1")
    assert identity(a)[2:] == before[2:]
    assert identity(a)[1] == shown(bed, "ann")["port"] != before[1]


def test_internal_ports_outlive_a_restart_of_vswitchd(bed: Bed, stage: Stage, host: Place) -> None:
    network = dual(stage, "one", 1, *INTERNAL)
    a, b = stage.container("ann", network), stage.container("bob", network)
    a.reaches(b.address(network), who="bob")
    before, links = identity(a), host.links()
    bed.vswitchd.stop(SIGKILL)
    assert identity(a) == before
    bed.start_vswitchd()
    for family in (4, 6):
        a.reaches(b.address(network, family), who="bob")
        b.reaches(a.address(network, family), who="ann")
    assert identity(a) == before
    assert host.links() == links, "no device was made anew"
    until(lambda: shown(bed, "ann")["state"] == "attached", "ann is attached")
    status = json.loads(bed.ovsnet("status", "--json"))
    assert status["repairs"]["beyond"] == []
    bed.restart_plugin(SIGKILL)
    # and after that vswitchd changes its datapath as before
    c = stage.container("cat", network)
    c.reaches(a.address(network), who="ann")
    assert identity(a) == before
    bed.docker("network", "disconnect", "one", "bob")
    assert b.links() == set()
    bed.docker("network", "connect", "one", "bob")
    b.reaches(a.address(network), who="ann")


def test_internal_ports_end_without_a_trace_whatever_happened(
    bed: Bed, stage: Stage, host: Place
) -> None:
    """The bed's own comparison finds what is left."""
    home = stage.network("home", subnet="10.77.1.0/24")
    inner = stage.network("inner", *INTERNAL, subnet="10.77.2.0/24")
    a = stage.container("ann", home)
    for name in ("bob", "cat", "dan"):
        stage.container(name, inner)
    bed.docker("network", "connect", "inner", "ann")
    # the namespace dies with the device in it, and vswitchd makes another one in the host's
    bed.run("kill", "-9", str(Container(bed, "dan").pid))
    until(lambda: not Container(bed, "dan").running, "Docker sees that dan has ended")
    until(lambda: len(vports(bed)) == 3, "the port of dan is gone")
    bed.vswitchd.stop(SIGKILL)
    bed.docker("rm", "--force", "bob")
    bed.start_vswitchd()
    until(lambda: len(vports(bed)) == 2, "the port of bob is gone")
    bed.docker("network", "disconnect", "inner", "ann")
    until(lambda: a.links() == {"eth0"}, "the device is gone from the container")
    until(lambda: a.pings(home.gateway()), "ann pings its gateway")
    bed.docker("network", "connect", "inner", "ann")
    until(lambda: a.pings(inner.gateway()), "ann pings its other gateway")


def test_an_internal_port_that_was_lost_is_made_again(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", *INTERNAL, subnet="10.77.1.0/24")
    a = stage.container("ann", network)
    before = identity(a)
    bed.ovs_vsctl("del-port", "br-ovsnet", shown(bed, "ann")["port"])
    until(lambda: a.pings(network.gateway()), "ann pings its gateway", timeout_s=60)
    assert identity(a)[1:] == before[1:], "another device, as the first one was"
