"""Ports of containers: trunks, other access VLANs, internal ports, numbers, protection."""

import json
import time
from collections.abc import Iterable
from signal import SIGKILL, SIGTERM
from typing import Any

import pytest

from tests.e2e import ears
from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker

Q, AD = "8100", "88a8"


def with_options(network: Network | str, *options: str) -> str:
    """Return ``--network``'s value with options of the endpoint."""
    name = network if isinstance(network, str) else network.name
    return ",".join((f"name={name}", *(f"driver-opt={each}" for each in options)))


def shown(bed: Bed, container: str) -> Any:
    """Return what ``ovsnet endpoint show`` says of a container's only endpoint."""
    (found,) = json.loads(bed.ovsnet("endpoint", "show", container, "--json"))
    return found


def vlan_of(bed: Bed, network: str) -> int:
    """Return the VLAN of a network's segment."""
    found = json.loads(bed.ovsnet("network", "show", network, "--json"))
    return int(found["network"]["segment"]["tag"])


def row(bed: Bed, container: str, table: str, *columns: str) -> list[str]:
    """Return columns of a container's Port or Interface."""
    return bed.ovs_vsctl("get", table, shown(bed, container)["port_name"], *columns).split("\n")


def pings_until_answered(place: Place, address: str) -> None:
    """Assert that somebody who serves nothing is reached."""
    until(lambda: place.pings(address), f"{place.name} pings {address}", timeout_s=15)


def heard_by(heard: ears.Ears, listener: str, labels: Iterable[str]) -> dict[str, set[str]]:
    """Return which of ``labels`` a listener has heard, with the tags they had."""
    found = heard.heard(listener)
    return {label: found[label] for label in labels if label in found}


def teams(stage: Stage) -> tuple[Network, dict[str, Network]]:
    """Make a network of VLAN 100 and three closed ones of VLANs 110, 120 and 130."""
    home = stage.network("home", "-o", "ovs.vlan=100", subnet="10.77.1.0/24")
    closed = ("-o", "ovs.mode=isolated")
    return home, {
        f"t{vlan}": stage.network(
            f"t{vlan}", *closed, "-o", f"ovs.vlan={vlan}", subnet=f"10.77.{vlan}.0/24"
        )
        for vlan in (110, 120, 130)
    }


def test_routers_see_the_listed_vlans_and_no_others(bed: Bed, stage: Stage) -> None:
    home, others = teams(stage)
    links: dict[str, ears.Link] = {"home": (stage.container("home", home), "eth0")}
    for name, network in others.items():
        links[name] = (stage.container(name, network), "eth0")
    wishes = {
        "plain": ("ovs.trunks=110+120",),
        "native": ("ovs.trunks=110;120", "ovs.vlan_mode=native-tagged"),
        "trunk": ("ovs.trunks=110-120", "ovs.vlan_mode=trunk"),
        "inner": ("ovs.trunks=110+120", "ovs.port=internal"),
    }
    for name, options in wishes.items():
        router = stage.container(name, with_options(home, *options))
        (device,) = router.links()
        links[name] = (router, device)
    tags = {"home": "100", "t110": "110", "t120": "120", "t130": "130"}
    stacks = {"plain": "-", **{f"q{vlan}": f"{Q}:{vlan}" for vlan in (100, 110, 120, 130, 4095)}}
    stacks |= {f"ad{vlan}": f"{AD}:{vlan}" for vlan in (100, 130)} | {"zero": f"{Q}:0,{Q}:130"}
    with ears.listening(bed, links) as heard:
        for name, link in links.items():
            ears.send(link, [(f"{name}/{label}", stack) for label, stack in stacks.items()])
        for router in wishes:
            heard.wait_for("t110/plain", {router})
            heard.wait_for("t120/plain", {router})
            heard.wait_for(f"{router}/q110", {"t110"})
            heard.wait_for(f"{router}/q120", {"t120"})
        heard.wait_for("home/plain", {"plain", "native", "inner"})
        heard.wait_for("plain/plain", {"home"})
        time.sleep(1)  # what is to arrive wrongly may be slower than what arrives rightly

        of_networks = [f"{name}/plain" for name in tags]
        tagged = {"t110/plain": {"110"}, "t120/plain": {"120"}}
        assert heard_by(heard, "plain", of_networks) == {**tagged, "home/plain": {"-"}}
        assert heard_by(heard, "inner", of_networks) == {**tagged, "home/plain": {"-"}}
        assert heard_by(heard, "native", of_networks) == {**tagged, "home/plain": {"100"}}
        assert heard_by(heard, "trunk", of_networks) == tagged
        for label in stacks:
            for router in wishes:
                wanted = {"q110": {"t110"}, "q120": {"t120"}}.get(label, set())
                if router != "trunk" and label in ("plain", "q100"):
                    wanted = {"home"}
                found = heard.hearers(f"{router}/{label}") & tags.keys()
                if label.startswith("ad100"):  # the network's own VLAN, whoever reads the tag
                    found -= {"home"}
                assert found == wanted, f"{router}/{label}"
        assert all(
            heard.hearers(f"{name}/{label}") & others.keys() <= {name}
            for name in tags
            for label in stacks
        )
    assert row(bed, "trunk", "Port", "tag", "vlan_mode") == ["[]", "trunk"]
    assert row(bed, "plain", "Port", "tag", "trunks") == ["100", "[110, 120]"]
    text = bed.ovsnet("endpoint", "show", "plain")
    assert "VLAN 100 untagged, trunk of 110,120" in text
    assert f"{others['t110'].id[:12]}, {others['t120'].id[:12]} as well" in text
    home_router = Place(bed, "plain", links["plain"][0].netns)
    home_router.reaches(Container(bed, "home").address(home), who="home")
    pings_until_answered(home_router, home.gateway())


def test_a_list_with_commas_is_typed_in_double_quotes(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", "-o", "ovs.vlan=100", subnet="10.77.1.0/24")
    stage.container("ann", 'name=one,"driver-opt=ovs.trunks=7, 20-22"')
    assert row(bed, "ann", "Port", "trunks") == ["[7, 20, 21, 22]"]
    bed.docker("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam", "two")
    bed.docker("network", "connect", "--driver-opt", "ovs.trunks=8+9", "two", "ann")
    ports = json.loads(bed.ovsnet("endpoint", "show", "ann", "--json"))
    assert sorted(each["port"]["trunks"] for each in ports) == [[7, 20, 21, 22], [8, 9]]
    assert network.name in {each["network_name"] for each in ports}


def test_a_network_without_a_vlan_of_its_own_choice_keeps_out_of_trunks(
    bed: Bed, stage: Stage
) -> None:
    first = stage.network("first", subnet="10.77.1.0/24")
    lowest = vlan_of(bed, "first")
    stage.container("router", with_options(first, f"ovs.trunks={lowest + 1}-{lowest + 3}"))
    stage.network("second", subnet="10.77.2.0/24")
    assert vlan_of(bed, "second") == lowest + 4


def test_a_container_in_another_vlan_talks_there_and_not_on_its_network(
    bed: Bed, stage: Stage
) -> None:
    home = stage.network("home", "-o", "ovs.vlan=100", subnet="10.77.1.0/24")
    near = stage.container("near", home)
    away = [
        stage.container(name, with_options(home, "ovs.vlan=150", f"ovs.port={kind}"))
        for name, kind in (("bob", "veth"), ("cat", "internal"))
    ]
    away[0].reaches(away[1].address(home), who="cat")
    away[1].reaches(away[0].address(home), who="bob")
    for each in away:
        each.never_reaches(near.address(home))
        assert not each.pings(home.gateway())
        assert shown(bed, each.name)["port"]["vlan"] == 150


def test_internal_ports_carry_what_veths_carry(bed: Bed, stage: Stage, host: Place) -> None:
    options = ("-o", "ovs.port=internal", "-o", "ovs.ifprefix=lan", "-o", "ovs.mtu=1400")
    v6 = ("--ipv6", "--subnet", "fd00:77:1::/64")
    network = stage.network("one", *options, *v6, subnet="10.77.1.0/24")
    before = (host.links(), bed.ovs_vsctl("list-ports", "br-ovsnet"))
    a = stage.container("ann", with_options(network, "ovs.mac=02:00:00:00:00:aa"))
    b = stage.container("bob", with_options(network, "ovs.mtu=1300"))
    c = stage.container("cat", with_options(network, "ovs.port=veth"))
    assert a.links() == b.links() == c.links() == {"lan0"}
    assert (a.link("lan0")["mtu"], b.link("lan0")["mtu"]) == (1400, 1300)
    assert a.link("lan0")["address"] == "02:00:00:00:00:aa"
    assert a.link("lan0")["linkinfo"]["info_kind"] == "tun"
    assert c.link("lan0")["linkinfo"]["info_kind"] == "veth"
    for family in (4, 6):
        for one, other in ((a, b), (b, a), (a, c), (c, a)):
            one.reaches(other.address(network, family), who=other.name)
        pings_until_answered(a, network.gateway(family))
        host.reaches(a.address(network, family), who="ann")
    a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    assert a.pings(c.address(network), size=1400 - 28)
    assert shown(bed, "ann")["state"] == "attached"
    bed.docker("restart", "ann")
    a.reaches(b.address(network), who="bob")
    bed.docker("stop", "ann")
    bed.docker("rm", "--force", "ann", "bob", "cat")
    until(
        lambda: (host.links(), bed.ovs_vsctl("list-ports", "br-ovsnet")) == before,
        "links and ports are as before",
    )


def test_a_running_container_is_connected_and_disconnected_by_internal_ports(
    bed: Bed, stage: Stage
) -> None:
    one = stage.network("one", subnet="10.77.1.0/24")
    two = stage.network("two", "-o", "ovs.port=internal", subnet="10.77.2.0/24")
    a, b = stage.container("ann", one), stage.container("bob", two)
    for _ in range(2):
        bed.docker("network", "connect", "two", "ann")
        a.reaches(b.address(two), who="bob")
        assert len(a.links()) == 2
        bed.docker("network", "disconnect", "two", "ann")
        until(lambda: a.links() == {"eth0"}, "the internal port is gone from the container")


def test_protected_ports_talk_to_the_gateway_and_not_to_each_other(stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    guarded = [
        stage.container(name, with_options(network, "ovs.protected=true", f"ovs.port={kind}"))
        for name, kind in (("ann", "veth"), ("bob", "internal"))
    ]
    free = stage.container("cat", network)
    for one, other in (guarded, guarded[::-1]):
        pings_until_answered(one, network.gateway())
        one.reaches(free.address(network), who="cat")
        free.reaches(one.address(network), who=one.name)
        one.never_reaches(other.address(network))


def test_an_openflow_port_is_the_one_that_was_asked_for(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    a = stage.container("ann", with_options(network, "ovs.ofport=77"))
    b = stage.container("bob", with_options(network, "ovs.ofport=65279", "ovs.port=internal"))
    a.reaches(b.address(network), who="bob")
    assert [shown(bed, each)["ofport"] for each in ("ann", "bob")] == [77, 65279]
    said = bed.docker_refuses(*stage.run_command("cat", with_options(network, "ovs.ofport=77")))
    assert "of bridge br-ovsnet has that OpenFlow port already" in said
    bed.docker("rm", "cat")
    bed.docker("restart", "ann")
    assert shown(bed, "ann")["ofport"] == 77


def test_what_makes_no_sense_is_refused_with_what_to_type(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    for options, words in (
        (("ovs.trunks=5", "ovs.vlan_mode=access"), "contradict each other"),
        (("ovs.vlan_mode=trunk",), "add ovs.trunks=10+20-30"),
        (("ovs.trunks=5", "ovs.vlan_mode=trunk", "ovs.vlan=6"), "leave ovs.vlan out"),
        (("ovs.trunks=5-4095",), '"4095" is not a VLAN id'),
        (("ovs.ofport=65280",), "1 to 65279"),
        (("ovs.trunk=5",), "did you mean `ovs.trunks`"),
    ):
        said = bed.docker_refuses(*stage.run_command("ann", with_options(network, *options)))
        assert words in said
        bed.docker("rm", "ann")


def test_jumbo_frames_on_internal_ports_are_refused(bed: Bed, stage: Stage) -> None:
    create = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam")
    jumbo = ("-o", "ovs.mode=isolated", "-o", "ovs.mtu=9000")
    said = bed.docker_refuses(*create, *jumbo, "-o", "ovs.port=internal", "one")
    assert "ovs.mtu=9000 with ovs.port=internal" in said
    network = stage.network("two", *jumbo, subnet="10.77.2.0/24")
    said = bed.docker_refuses(*stage.run_command("ann", with_options(network, "ovs.port=internal")))
    assert "choose at most 1500, or ovs.port=veth" in said
    bed.docker("rm", "ann")
    stage.container("ann", with_options(network, "ovs.port=internal", "ovs.mtu=1500"))


def test_ports_survive_restarts_and_internal_ones_are_replaced(bed: Bed, stage: Stage) -> None:
    home = stage.network("home", "-o", "ovs.vlan=100", subnet="10.77.1.0/24")
    router = stage.container(
        "router",
        with_options(home, "ovs.trunks=110+120", "ovs.ofport=77", "ovs.protected=true"),
    )
    inner = stage.container("inner", with_options(home, "ovs.port=internal"))
    far = stage.container("far", with_options(home, "ovs.vlan=110"))
    columns = ("tag", "trunks", "vlan_mode", "protected")

    def router_is_well() -> None:
        assert row(bed, "router", "Port", *columns) == [
            "100",
            "[110, 120]",
            "native-untagged",
            "true",
        ]
        until(lambda: shown(bed, "router")["ofport"] == 77, "the router has its number")
        until(lambda: shown(bed, "router")["state"] == "attached", "the router is attached")
        pings_until_answered(router, home.gateway())
        links: dict[str, ears.Link] = {"router": (router, "eth0")}
        with ears.listening(bed, links) as heard:
            ears.send((far, "eth0"), [("far", "-")])
            heard.wait_for("far", {"router"})
            assert heard.heard("router")["far"] == {"110"}

    router_is_well()
    bed.restart_plugin(SIGKILL)
    router_is_well()
    pings_until_answered(inner, home.gateway())
    assert shown(bed, "inner")["state"] == "attached"

    bed.ovs_vsctl("set", "Port", shown(bed, "router")["port_name"], "trunks=1", "protected=false")
    bed.ovs_vsctl("set", "Port", shown(bed, "inner")["port_name"], "tag=5")
    until(lambda: row(bed, "router", "Port", "trunks") == ["[110, 120]"], "the trunks are mended")
    until(lambda: row(bed, "inner", "Port", "tag") == ["100"], "the tag is mended")
    router_is_well()
    pings_until_answered(inner, home.gateway())

    bed.vswitchd.stop(SIGTERM)
    bed.start_vswitchd()
    router_is_well()
    pings_until_answered(inner, home.gateway())
    assert shown(bed, "inner")["state"] == "attached"
    assert (shown(bed, "inner")["interface"], inner.links()) == ("eth0", {"eth0"})
    lately = json.loads(bed.ovsnet("status", "--json"))["repairs"]["lately"]
    assert [each for each in lately if "has made a new device" in each["what"]]
    bed.docker("restart", "inner")
    pings_until_answered(inner, home.gateway())


def test_internal_ports_end_without_a_trace_whatever_happened_to_vswitchd(
    bed: Bed, stage: Stage, host: Place
) -> None:
    """The bed's own comparison finds what is left."""
    home = stage.network("home", subnet="10.77.1.0/24")
    inner = stage.network("inner", "-o", "ovs.port=internal", subnet="10.77.2.0/24")
    a = stage.container("ann", home)
    for name in ("bob", "cat"):
        stage.container(name, inner)
    bed.docker("network", "connect", "inner", "ann")
    bed.vswitchd.stop(SIGKILL)
    bed.docker("rm", "--force", "bob")
    until(
        lambda: not [link for link in host.links() if link.startswith("ovi")],
        "the device that came back is deleted",
    )
    bed.start_vswitchd()
    bed.docker("network", "disconnect", "inner", "ann")
    until(lambda: a.links() == {"eth0"}, "the dead device is gone from the container")
    pings_until_answered(a, home.gateway())
    bed.docker("network", "connect", "inner", "ann")
    pings_until_answered(a, inner.gateway())
