"""Options in the words of Docker's bridge driver and of dovesnap, which mean the same here."""

from collections.abc import Iterator

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.far import Far, beyond
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place

pytestmark = pytest.mark.docker

CREATE = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam")


@pytest.fixture
def far(bed: Bed) -> Iterator[Far]:
    with beyond(bed) as far:
        yield far


def said(*words: str) -> tuple[str, ...]:
    return tuple(part for word in words for part in ("-o", word))


def test_a_network_may_be_told_in_the_words_of_docker_s_bridge_driver(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    words = said(
        "com.docker.network.bridge.name=br-docker",
        "com.docker.network.driver.mtu=1380",
        "com.docker.network.container_iface_prefix=lan",
        "com.docker.network.bridge.gateway_mode_ipv4=nat",
        "com.docker.network.bridge.enable_icc=true",
        "com.docker.network.bridge.enable_ip_masquerade=true",
        f"com.docker.network.bridge.host_binding_ipv4={WAN4}",
    )
    network = stage.network("one", *words, subnet="10.77.1.0/24")
    a = stage.container("ann", network, "--publish", "8080:80")
    b = stage.container("bob", "name=one,driver-opt=com.docker.network.driver.mtu=1300")
    assert bed.ovs_vsctl("list-br") == "br-docker"
    assert (a.links(), a.link("lan0")["mtu"], b.link("lan0")["mtu"]) == ({"lan0"}, 1380, 1300)
    a.reaches(b.address(network), who="bob")
    a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    outside.reaches(WAN4, who="ann", port=8080)
    routed = stage.network("two", *said("com.docker.network.bridge.gateway_mode_ipv4=routed"))
    c = stage.container("cat", routed)
    bed.ip("route", "add", routed.subnet(), "via", WAN4, netns=bed.outside)
    try:
        outside.reaches(c.address(routed), who="cat")
    finally:
        bed.ip("route", "del", routed.subnet(), netns=bed.outside)


def test_a_network_may_be_told_in_the_words_of_dovesnap(bed: Bed, stage: Stage) -> None:
    words = said(
        "ovs.bridge.name=br-dove",
        "ovs.bridge.mode=nat",
        "ovs.bridge.mtu=1400",
        "ovs.bridge.vlan=77",
        "ovs.bridge.userspace=true",
    )
    network = stage.network("one", *words, subnet="10.77.1.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network)
    assert bed.ovs_vsctl("get", "Bridge", "br-dove", "datapath_type") == "netdev"
    tags = bed.ovs_vsctl("--bare", "--columns=name", "find", "Port", "tag=77").split()
    assert len(tags) == 3, "two containers and the gateway"
    assert a.link("eth0")["mtu"] == 1400
    a.reaches(b.address(network), who="bob")
    a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    text = bed.docker_refuses(*CREATE, *said("ovs.bridge.dhcp=true"), "two")
    assert "ovs.bridge.dhcp: an option of dovesnap's" in text


@pytest.mark.parametrize("word", ["ovs.bridge.bind_interface", "ovs.bridge.add_ports"])
def test_a_nic_may_be_told_in_the_words_of_dovesnap(
    bed: Bed, far: Far, stage: Stage, word: str
) -> None:
    lan = far.host("lan", "10.77.1.200/24", tag=30)
    words = said(f"{word}=eth1", "ovs.bridge.vlan=30")
    network = stage.network("one", *words, subnet="10.77.1.0/24")
    a = stage.container("ann", network)
    a.reaches("10.77.1.200", who="lan")
    lan.reaches(a.address(network), who="ann")


def test_who_comes_from_macvlan_or_kathara_types_what_is_known_there(
    bed: Bed, far: Far, stage: Stage
) -> None:
    lan = far.host("lan", "10.77.1.200/24", tag=30)
    network = stage.network(
        "one", *said("parent=eth1.30", "macvlan_mode=bridge"), subnet="10.77.1.0/24"
    )
    mac = "driver-opt=kathara.mac_addr=02:00:00:00:00:07"
    a = stage.container("ann", f"name=one,{mac},driver-opt=kathara.link=A")
    lan.reaches(a.address(network), who="ann")
    assert a.link("eth0")["address"] == "02:00:00:00:00:07"
    assert "ovs.uplink=eth1  ovs.vlan=30" in bed.ovsnet("network", "show", "one")
    bed.ovsnet("set", "one", "ovs.vlan=31")
    lan.never_reaches(a.address(network))
    refused = bed.docker_refuses(*CREATE, *said("bridge=br0"), "two")
    assert "write -o ovs.bridge=br0" in refused


def test_a_datapath_may_be_said_and_is_refused_where_there_is_none(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", *said("ovs.datapath=netdev"), subnet="10.77.1.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network)
    a.reaches(b.address(network), who="bob")
    text = bed.docker_refuses(*CREATE, *said("ovs.datapath=system"), "two")
    assert "ovs.datapath=system: bridge br-ovsnet exists with datapath netdev" in text
    words = said("ovs.datapath=system", "ovs.bridge=br-kernel")
    if "system" not in bed.ovs_vsctl("get", "Open_vSwitch", ".", "datapath_types"):
        assert "modprobe openvswitch" in bed.docker_refuses(*CREATE, *words, "two")
