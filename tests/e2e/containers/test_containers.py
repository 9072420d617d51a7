"""Containers on a network: their addresses, names, links, and what happens when they end."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network

import pytest

from tests.e2e import image
from tests.e2e.bed import Bed
from tests.e2e.stage import Container, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker


def ports(bed: Bed) -> list[str]:
    """Return the names of all ports of the default bridge."""
    return bed.ovs_vsctl("list-ports", "br-ovsnet").split()


def host_end(bed: Bed, container: Container, network: str) -> str:
    """Return the name of the port that a container has on a network."""
    endpoint = container.endpoint(network)["EndpointID"]
    found = ("--bare", "--columns=name", "find", "Port", f"external_ids:iface-id={endpoint}")
    return bed.ovs_vsctl(*found)


def test_containers_of_one_network_reach_each_other(stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network)
    a.reaches(b.address(network), who="bob")
    b.reaches(a.address(network), who="ann")


def test_containers_reach_each_other_over_ipv6(stage: Stage) -> None:
    network = stage.network("dual", "--ipv6", "--subnet", "fd00:77:1::/64", subnet="10.77.1.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network)
    for family in (4, 6):
        a.reaches(b.address(network, family), who="bob")
        b.reaches(a.address(network, family), who="ann")


def test_a_network_without_a_subnet_gets_one_of_its_own(stage: Stage) -> None:
    one, two = stage.network("one"), stage.network("two")
    assert not ip_network(one.subnet()).overlaps(ip_network(two.subnet()))
    a, b = stage.container("ann", one), stage.container("bob", one)
    assert ip_address(a.address(one)) in ip_network(one.subnet())
    a.reaches(b.address(one), who="bob")


def test_an_ipv6_network_without_a_subnet_gets_one_of_its_own(stage: Stage) -> None:
    network = stage.network("dual", "--ipv6")
    assert ip_network(network.subnet(6)).prefixlen == 64
    a, b = stage.container("ann", network), stage.container("bob", network)
    a.reaches(b.address(network, 6), who="bob")


def test_containers_find_each_other_by_name(stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    a = stage.container("ann", network)
    stage.container("bob", network)
    until(
        lambda: a.execute("wget", "-q", "-T", "3", "-O", "-", "http://bob/") == "bob",
        "ann asks bob",
    )


def test_the_name_ovsnet_serves_both_kinds(stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24", ipam="ovsnet")
    a, b = stage.container("ann", network), stage.container("bob", network)
    a.reaches(b.address(network), who="bob")


def test_a_container_has_the_addresses_and_the_mac_that_it_asked_for(stage: Stage) -> None:
    network = stage.network("dual", "--ipv6", "--subnet", "fd00:77:1::/64", subnet="10.77.1.0/24")
    wanted = ("--ip", "10.77.1.50", "--ip6", "fd00:77:1::50", "--mac-address", "02:00:5e:10:00:01")
    a, b = stage.container("ann", network, *wanted), stage.container("bob", network)
    assert a.endpoint(network)["MacAddress"] == "02:00:5e:10:00:01"
    assert a.link("eth0")["address"] == "02:00:5e:10:00:01"
    b.reaches("10.77.1.50", who="ann")
    b.reaches("fd00:77:1::50", who="ann")


def test_a_mac_follows_from_the_address_and_is_the_same_again(stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    a = stage.container("ann", network, "--ip", "10.77.1.9")
    b = stage.container("bob", network, "--ip", "10.77.1.10")
    mac = a.link("eth0")["address"]
    assert mac == a.endpoint(network)["MacAddress"]
    assert mac != b.link("eth0")["address"]
    assert int(mac[:2], 16) & 0b11 == 0b10, f"{mac} is locally administered and unicast"
    stage.bed.docker("rm", "--force", "ann")
    again = stage.container("again", network, "--ip", "10.77.1.9")
    assert again.link("eth0")["address"] == mac


def test_the_mtu_of_a_network_is_on_both_ends(bed: Bed, stage: Stage, host: Place) -> None:
    network = stage.network("small", "-o", "ovs.mtu=1400", subnet="10.77.1.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network)
    assert a.link("eth0")["mtu"] == 1400
    assert host.link(host_end(bed, a, "small"))["mtu"] == 1400
    a.reaches(b.address(network), who="bob")
    assert a.pings(b.address(network), size=1400 - 28)
    assert not a.pings(b.address(network), size=1400 - 27)


def test_dockers_own_word_for_the_mtu_is_understood(stage: Stage) -> None:
    option = "com.docker.network.driver.mtu=1380"
    network = stage.network("small", "-o", option, subnet="10.77.1.0/24")
    assert stage.container("ann", network).link("eth0")["mtu"] == 1380


def test_large_frames_pass_where_there_is_no_gateway(stage: Stage) -> None:
    options = ("-o", "ovs.mode=isolated", "-o", "ovs.mtu=9000")
    network = stage.network("jumbo", *options, subnet="10.77.1.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network)
    a.reaches(b.address(network), who="bob")
    assert a.pings(b.address(network), size=9000 - 28)


def test_an_interface_prefix_names_the_link_inside(stage: Stage) -> None:
    network = stage.network("one", "-o", "ovs.ifprefix=lab", subnet="10.77.1.0/24")
    assert stage.container("ann", network).links() == {"lab0"}


def test_a_running_container_is_connected_and_disconnected(bed: Bed, stage: Stage) -> None:
    one = stage.network("one", subnet="10.77.1.0/24")
    two = stage.network("two", subnet="10.77.2.0/24")
    a, b, c = stage.container("ann", one), stage.container("bob", one), stage.container("cat", two)
    bed.docker("network", "connect", "--ip", "10.77.2.200", "two", "ann")
    a.reaches(c.address(two), who="cat")
    c.reaches("10.77.2.200", who="ann")
    a.reaches(b.address(one), who="bob")
    before = len(ports(bed))
    bed.docker("network", "disconnect", "two", "ann")
    assert len(ports(bed)) == before - 1
    c.never_reaches("10.77.2.200")
    a.reaches(b.address(one), who="bob")
    bed.docker("network", "disconnect", "one", "ann")
    assert a.links() == set()


def test_a_container_on_two_networks_reaches_both(stage: Stage) -> None:
    one = stage.network("one", subnet="10.77.1.0/24")
    two = stage.network("two", subnet="10.77.2.0/24")
    a = stage.container("ann", one, "--network", "two")
    b, c = stage.container("bob", one), stage.container("cat", two)
    assert len(a.links()) == 2
    a.reaches(b.address(one), who="bob")
    a.reaches(c.address(two), who="cat")
    b.reaches(a.address(one), who="ann")
    c.reaches(a.address(two), who="ann")


def test_a_restarted_container_is_back_on_its_network(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network, "--ip", "10.77.1.9")
    before = len(ports(bed))
    bed.docker("restart", "--time", "0", "bob")
    assert len(ports(bed)) == before
    a.reaches("10.77.1.9", who="bob")
    b.reaches(a.address(network), who="ann")


def test_a_stopped_container_holds_nothing_until_it_is_started(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network)
    before = len(ports(bed))
    bed.docker("stop", "bob")
    assert len(ports(bed)) == before - 1
    bed.docker("start", "bob")
    assert len(ports(bed)) == before
    a.reaches(b.address(network), who="bob")


def test_nothing_is_left_of_a_container_that_crashed(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network, "--ip", "10.77.1.9")
    before = len(ports(bed))
    bed.run("kill", "-9", str(b.pid))
    until(lambda: not b.running, "Docker sees that bob has ended")
    until(lambda: len(ports(bed)) == before - 1, "the port of bob is gone")
    stage.container("again", network, "--ip", "10.77.1.9")
    a.reaches("10.77.1.9", who="again")


def test_a_container_whose_command_does_not_exist_leaves_nothing(bed: Bed, stage: Stage) -> None:
    stage.network("one", subnet="10.77.1.0/30")
    before = ports(bed)
    for _ in range(3):
        text = bed.docker_refuses("run", "--rm", "--network", "one", image.NAME, "no-such-command")
        assert "no-such-command" in text
    assert ports(bed) == before


def test_a_network_that_is_removed_takes_its_bridge_along(bed: Bed, stage: Stage) -> None:
    stage.network("one", subnet="10.77.1.0/24")
    stage.network("two", subnet="10.77.2.0/24")
    assert bed.ovs_vsctl("list-br") == "br-ovsnet"
    bed.docker("network", "rm", "one")
    assert bed.ovs_vsctl("list-br") == "br-ovsnet"
    bed.docker("network", "rm", "two")
    assert bed.ovs_vsctl("list-br") == ""


def test_a_network_name_can_be_used_again(bed: Bed, stage: Stage) -> None:
    for _ in range(3):
        network = stage.network("again", subnet="10.77.1.0/24")
        a, b = stage.container("ann", network), stage.container("bob", network)
        a.reaches(b.address(network), who="bob")
        bed.docker("rm", "--force", "ann", "bob")
        bed.docker("network", "rm", "again")


def test_twenty_containers_are_started_and_removed_at_once(bed: Bed, stage: Stage) -> None:
    network = stage.network("many", subnet="10.77.1.0/24")
    names = [f"c{number}" for number in range(20)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: bed.docker(*stage.run_command(name, network)), names))
    containers = [Container(bed, name) for name in names]
    addresses = {each.address(network): each.name for each in containers}
    assert len(addresses) == len(names)
    for address, name in addresses.items():
        containers[0].reaches(address, who=name)
    before = len(ports(bed))
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: bed.docker("rm", "--force", name), names))
    assert len(ports(bed)) == before - len(names)


def test_containers_of_several_networks_are_started_at_once(bed: Bed, stage: Stage) -> None:
    networks = [stage.network(f"net{n}", subnet=f"10.77.{n}.0/24") for n in range(4)]
    wanted = [(f"c{n}-{i}", network) for n, network in enumerate(networks) for i in range(3)]
    with ThreadPoolExecutor(len(wanted)) as pool:
        list(pool.map(lambda each: bed.docker(*stage.run_command(*each)), wanted))
    for n, network in enumerate(networks):
        first, second = Container(bed, f"c{n}-0"), Container(bed, f"c{n}-1")
        first.reaches(second.address(network), who=second.name)
