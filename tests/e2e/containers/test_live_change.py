"""``ovsnet set``: other options while containers are connected and talk."""

import json
from typing import Any

import pytest

from tests.e2e import ears, stream
from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.stage import Container, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker

Q = "8100"


def change(bed: Bed, target: str, *options: str) -> Any:
    """Change options and return what was."""
    return json.loads(bed.ovsnet("set", target, *options, "--json"))


def refused(bed: Bed, target: str, *options: str) -> str:
    """Change options, which must be refused, and return the sentence."""
    before = standing(bed)
    result = bed.try_ovsnet("set", target, *options)
    assert (result.code, result.out) == (1, ""), result
    assert standing(bed) == before
    return result.err


def standing(bed: Bed) -> Any:
    """Return networks and endpoints as ``ovsnet`` lists them, but for what is noted later."""
    listed = [json.loads(bed.ovsnet(kind, "ls", "--json")) for kind in ("network", "endpoint")]
    for each in listed[0]:
        del each["network"]["engine"]
    for each in listed[1]:
        del each["interface"]
    return listed


def shown(bed: Bed, kind: str, name: str) -> Any:
    """Return what ``ovsnet network show`` or ``endpoint show`` says."""
    found = json.loads(bed.ovsnet(kind, "show", name, "--json"))
    return found[0] if kind == "endpoint" else found


def stops_pinging(place: Place, address: str) -> None:
    """Assert that somebody who was reached is not any more."""
    until(lambda: not place.pings(address), f"{place.name} does not ping {address} any more")


def tells(link: ears.Link, label: str, heard: ears.Ears, listener: str) -> bool:
    """Send a frame, and return whether such a one was heard."""
    ears.send(link, [(label, "-")])
    return listener in heard.hearers(label)


def test_containers_are_kept_apart_and_let_together_again_while_they_talk(
    bed: Bed, stage: Stage
) -> None:
    one = stage.network("one", subnet="10.77.1.0/24")
    a, b = stage.container("ann", one), stage.container("bob", one)
    with stream.held(bed, "out", a, Place(bed, "outside", bed.outside), OUTSIDE4) as out:
        a.reaches(b.address(one), who="bob")
        done = change(bed, "one", "ovs.icc=false")
        assert done["options"] == [{"option": "ovs.icc", "old": "true", "new": "false"}]
        assert {each["container"] for each in done["containers"]} == {"ann", "bob"}
        stops_pinging(a, b.address(one))
        a.never_reaches(b.address(one))
        c = stage.container("cat", one)
        c.never_reaches(a.address(one))
        out.goes_on()

        bed.restart_plugin()
        bed.vswitchd.stop()
        bed.start_vswitchd()
        out.goes_on()
        a.never_reaches(b.address(one))
        assert shown(bed, "network", "one")["in_force"]["ovs.icc"] == "false"
        assert "ovs.icc=false" in bed.ovsnet("network", "show", "one")

        change(bed, "one", "ovs.icc=")
        a.reaches(b.address(one), who="bob")
        c.reaches(a.address(one), who="ann")
        out.goes_on()


def test_a_network_moves_to_another_vlan_and_its_connections_go_on(bed: Bed, stage: Stage) -> None:
    one = stage.network("one", "-o", "ovs.vlan=100", subnet="10.77.1.0/24")
    six = ("--ipv6", "--subnet", "fd00:77:2::/64", "-o", "ovs.vlan=200", "-o", "ovs.mode=isolated")
    two = stage.network("two", *six, subnet="10.77.2.0/24")
    a, b = stage.container("ann", one), stage.container("bob", one)
    own = stage.container("own", "name=one,driver-opt=ovs.vlan=100")
    watch = stage.container("watch", "name=two,driver-opt=ovs.trunks=100+300")
    outside = Place(bed, "outside", bed.outside)
    with (
        stream.held(bed, "in", a, b, b.address(one)) as inner,
        stream.held(bed, "out", a, outside, OUTSIDE4, 8) as out,
        ears.listening(bed, {"watch": (watch, "eth0"), "own": (own, "eth0")}) as heard,
    ):
        ears.send((a, "eth0"), [("before", "-")])
        heard.wait_for("before", {"watch", "own"})
        done = change(bed, one.id[:12], "ovs.vlan=300")
        assert {each["container"] for each in done["containers"]} == {"ann", "bob"}
        inner.goes_on()
        out.goes_on()
        ears.send((a, "eth0"), [("after", "-")])
        heard.wait_for("after", {"watch"})
        assert (heard.heard("watch")["before"], heard.heard("watch")["after"]) == ({"100"}, {"300"})
        assert "after" not in heard.heard("own"), "it has a VLAN of its own"
        stops_pinging(own, a.address(one))

        text = refused(bed, "one", "ovs.vlan=200", "ovs.icc=false")
        assert f"carries network {two.id[:12]}" in text
        bed.restart_plugin()
        change(bed, "own", "ovs.vlan=")
        own.reaches(a.address(one), who="ann")
        inner.goes_on()
        out.goes_on()
    a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)


def test_a_container_becomes_a_router_and_an_ordinary_one_again(bed: Bed, stage: Stage) -> None:
    closed = ("-o", "ovs.mode=isolated")
    home = stage.network("home", *closed, "-o", "ovs.vlan=100", subnet="10.77.1.0/24")
    other = stage.network("other", *closed, "-o", "ovs.vlan=110", subnet="10.77.2.0/24")
    router, a, b = (
        stage.container("router", home),
        stage.container("ann", home),
        stage.container("bob", other),
    )
    links: dict[str, ears.Link] = {each.name: (each, "eth0") for each in (router, a, b)}
    with ears.listening(bed, links) as heard:
        ears.send(links["bob"], [("closed", "-")])
        ears.send(links["ann"], [("plain", "-")])
        heard.wait_for("plain", {"router"})
        assert heard.hearers("closed") == set()

        done = change(bed, "home/router", "ovs.trunks=110,120-130", "ovs.protected=true")
        assert [each["old"] for each in done["options"]] == [None, "false"]
        assert done["containers"] == [{"endpoint": done["id"], "container": "router"}]
        ears.send(links["bob"], [("open", "-")])
        heard.wait_for("open", {"router"})
        assert heard.heard("router")["open"] == {"110"}
        ears.send(links["router"], [("tagged", f"{Q}:110"), ("native", "-"), ("no", f"{Q}:140")])
        heard.wait_for("tagged", {"bob"})
        heard.wait_for("native", {"ann"})

        bed.restart_plugin()
        change(bed, "router", "ovs.vlan_mode=native-tagged", "ovs.ofport=77")
        # with another number the port is opened anew, which may cost a frame
        until(lambda: tells(links["ann"], "now", heard, "router"), "the router hears tagged frames")
        assert heard.heard("router")["now"] == {"100"}
        state = shown(bed, "endpoint", "router")
        assert (state["ofport"], state["endpoint"]["protected"]) == (77, True)
        assert "ovs.trunks=110,120-130" in bed.ovsnet("endpoint", "show", "router")
        sentence = refused(bed, "ann", "ovs.ofport=77", "ovs.protected=true")
        assert "of bridge br-ovsnet has that OpenFlow port already" in sentence

        change(bed, "router", "ovs.trunks=", "ovs.vlan_mode=", "ovs.ofport=", "ovs.protected=")
        ears.send(links["bob"], [("shut", "-")])
        ears.send(links["ann"], [("last", "-")])
        heard.wait_for("last", {"router"})
        assert heard.heard("router")["last"] == {"-"}
        assert heard.hearers("shut") == heard.hearers("no") == set()
    router.reaches(a.address(home), who="ann")


def test_a_container_keeps_its_changes_until_it_is_removed(bed: Bed, stage: Stage) -> None:
    closed = ("-o", "ovs.mode=isolated")
    stage.network("red", *closed, "-o", "ovs.vlan=100", subnet="10.77.1.0/24")
    stage.network("blue", *closed, "-o", "ovs.vlan=110", subnet="10.77.2.0/24")
    web = stage.container("web", "name=red,driver-opt=ovs.protected=true")
    change(bed, "web", "ovs.vlan=110", "ovs.protected=")
    other = stage.container("other", "blue")
    with ears.listening(bed, {"other": (other, "eth0")}) as heard:
        ears.send((web, "eth0"), [("first", "-")])
        heard.wait_for("first", {"other"})

    def is_as_changed() -> bool:
        values = shown(bed, "endpoint", "web")["in_force"]
        return (values["ovs.vlan"], values["ovs.protected"]) == ("110", "false")

    bed.docker("restart", "--time", "0", "web")
    until(is_as_changed, "the container's changes are there after its restart")
    bed.dockerd.stop()
    bed.plugin.stop()
    bed.start_plugin()
    bed.start_docker()
    bed.docker("start", "web")
    until(is_as_changed, "and after a restart of everything")
    with ears.listening(bed, {"other": (Container(bed, "web"), "eth0")}) as heard:
        bed.docker("start", "other")
        ears.send((Container(bed, "other"), "eth0"), [("again", "-")])
        heard.wait_for("again", {"other"})

    bed.docker("rm", "--force", "web")
    again = stage.container("web", "name=red,driver-opt=ovs.protected=true")
    until(lambda: shown(bed, "endpoint", "web")["state"] == "attached", "it is another container")
    assert shown(bed, "endpoint", "web")["in_force"]["ovs.vlan"] == "100"
    assert again.running


def mtu(place: Place, link: str = "eth0") -> int:
    """Return what a place's link has."""
    return int(place.link(link)["mtu"])


def test_frames_become_longer_and_shorter_while_containers_run(
    bed: Bed, stage: Stage, host: Place
) -> None:
    flat = stage.network("flat", "-o", "ovs.mode=isolated", subnet="10.77.1.0/24")
    nat = stage.network("nat", subnet="10.77.2.0/24")
    a, b = stage.container("ann", flat), stage.container("bob", flat)
    c, small = (
        stage.container("cat", nat),
        stage.container("dan", "name=nat,driver-opt=ovs.mtu=1300"),
    )
    assert not a.pings(b.address(flat), size=4000)
    with stream.held(bed, "in", a, b, b.address(flat)) as inner:
        change(bed, "flat", "ovs.mtu=9000")
        assert (mtu(a), mtu(b)) == (9000, 9000)
        until(lambda: a.pings(b.address(flat), size=8000), "long frames pass")
        inner.goes_on()
        change(bed, "ann", "ovs.mtu=1400")
        assert (mtu(a), mtu(b)) == (1400, 9000)
        change(bed, "flat", "ovs.mtu=")
        assert (mtu(a), mtu(b)) == (1400, 1500)
        inner.goes_on()
    assert "on the userspace datapath a gateway loses frames" in refused(bed, "nat", "ovs.mtu=9000")
    change(bed, "nat", "ovs.mtu=1400")
    gateway = shown(bed, "network", "nat")["gateway_link"]
    assert (mtu(c), mtu(small), mtu(host, gateway)) == (1400, 1300, 1400)
    c.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    assert "the network carries at most 1200" in refused(bed, "nat", "ovs.mtu=1200")


def test_a_nat_network_becomes_a_routed_one_and_is_reached(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    one = stage.network("one", subnet="10.77.1.0/24")
    two = stage.network("two", "-o", "ovs.mode=routed", subnet="10.77.2.0/24")
    a, b = stage.container("ann", one), stage.container("bob", two)
    published = stage.container("pub", one, "--publish", "8088:80")
    for each in (one, two):
        bed.ip("route", "add", each.subnet(), "via", WAN4, netns=bed.outside)
    try:
        assert "published port 80/tcp" in refused(bed, "one", "ovs.mode=routed")
        bed.docker("rm", "--force", published.name)
        outside.never_reaches(a.address(one))
        change(bed, "one", "ovs.mode=routed")
        outside.reaches(a.address(one), who="ann")
        a.reaches(OUTSIDE4, who=a.address(one), port=OUTSIDE_PORT)
        a.reaches(b.address(two), who="bob")
        bed.restart_plugin()
        change(bed, "two", "ovs.isolate=true")
        a.never_reaches(b.address(two))
        change(bed, "one", "ovs.mode=nat", "com.docker.network.bridge.enable_ip_masquerade=false")
        a.reaches(OUTSIDE4, who=a.address(one), port=OUTSIDE_PORT)
        outside.never_reaches(a.address(one))
        change(bed, "one", "com.docker.network.bridge.enable_ip_masquerade=")
        a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    finally:
        for each in (one, two):
            bed.ip("route", "del", each.subnet(), "via", WAN4, netns=bed.outside)


@pytest.mark.long
def test_what_is_for_later_containers_and_what_is_refused(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    one = stage.network("one", subnet="10.77.1.0/24")
    stage.network("two", "-o", "ovs.mode=isolated", subnet="10.77.2.0/24")
    a = stage.container("ann", one, "--publish", "8088:80")
    bed.docker("network", "connect", "two", "ann")
    binding = "com.docker.network.bridge.host_binding_ipv4"
    change(bed, "one", "ovs.ifprefix=lan", f"{binding}=127.0.0.1")
    b = stage.container("bob", one, "--publish", "8089:80")
    assert "lan0" in b.links()
    assert "eth0" in a.links()
    until(lambda: outside.asks(WAN4, 8088) == "ann", "the outside asks ann")
    assert not outside.asks(WAN4, 8089)

    for options, words in (
        (("ovs.bridge=br-lab",), "make another network"),
        (("ovs.icc=false", "ovs.ic=true"), "did you mean `ovs.icc`"),
        (("ovs.mode=flat", f"{binding}="), "only nat and routed change"),
        (("ovs.protected=true",), "write ovsnet set NETWORK/CONTAINER ovs.protected="),
        (("ipam.limit=5",), "the pool was made with it"),
        (("ovs.vlan=4095",), "4095"),
    ):
        assert words in refused(bed, "one", *options)
    assert "start the container again" in refused(bed, "bob", "ovs.mac=02:00:00:00:00:01")
    sentence = refused(bed, "ann", "ovs.vlan=7")
    assert "one/" in sentence
    assert "two/" in sentence
    assert "published port 80/tcp" in refused(bed, "one/ann", "ovs.vlan=7")
    change(bed, "two/ann", "ovs.vlan=7")
    assert "neither a network nor a container" in refused(bed, "nobody", "ovs.vlan=7")
    bed.vswitchd.stop()
    bed.ovsdb.stop()
    try:
        result = bed.try_ovsnet("set", "one", "ovs.icc=false")
        assert result.code == 1
        assert "does not answer" in result.err
    finally:
        bed.revive()
    until(lambda: bed.try_ovsnet("status").code == 0, "all is well again")
    assert shown(bed, "network", "one")["in_force"]["ovs.icc"] == "true"
