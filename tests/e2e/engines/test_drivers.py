"""Our network driver with other IPAMs, our IPAM with other drivers, and Compose."""

from ipaddress import ip_address, ip_network

import pytest

from tests.e2e import image
from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.stage import Container, Network, Stage

pytestmark = pytest.mark.docker

COMPOSE = f"""
name: shop
services:
  web:
    image: {image.NAME}
    pull_policy: never
    hostname: web
    stop_signal: SIGKILL
    command: ["sh", "-c", "{image.SERVE}"]
    networks: [front, back]
  store:
    image: {image.NAME}
    pull_policy: never
    hostname: store
    stop_signal: SIGKILL
    command: ["sh", "-c", "{image.SERVE}"]
    networks:
      back:
        ipv4_address: 10.77.2.100
  client:
    image: {image.NAME}
    pull_policy: never
    hostname: client
    stop_signal: SIGKILL
    command: ["sh", "-c", "{image.SERVE}"]
    networks: [front]
networks:
  front:
    driver: ovsnet
    ipam:
      driver: ovsipam
  back:
    driver: ovsnet
    internal: true
    driver_opts:
      ovs.vlan: "120"
      ovs.mtu: "1400"
    ipam:
      driver: ovsipam
      config:
        - subnet: 10.77.2.0/24
"""


def test_ovsnet_works_with_dockers_own_ipam(bed: Bed, stage: Stage) -> None:
    bed.docker("network", "create", "--driver", "ovsnet", "forgotten")
    network = Network(bed, "forgotten")
    a, b = stage.container("ann", network), stage.container("bob", network)
    a.reaches(b.address(network), who="bob")
    a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)


def test_ovsnet_works_with_dockers_own_ipam_and_ipv6(bed: Bed, stage: Stage) -> None:
    subnets = ("--subnet", "10.77.1.0/24", "--ipv6", "--subnet", "fd00:77:1::/64")
    bed.docker("network", "create", "--driver", "ovsnet", *subnets, "forgotten")
    network = Network(bed, "forgotten")
    a, b = stage.container("ann", network), stage.container("bob", network)
    for family in (4, 6):
        a.reaches(b.address(network, family), who="bob")


def test_ovsnet_works_without_any_ipam(stage: Stage) -> None:
    network = stage.network("plain", ipam="null")
    a = stage.container("ann", network, "--cap-add", "NET_ADMIN")
    b = stage.container("bob", network, "--cap-add", "NET_ADMIN")
    assert a.link("eth0")["address"] != b.link("eth0")["address"]
    for container, address in ((a, "10.77.1.1/24"), (b, "10.77.1.2/24")):
        container.execute("ip", "address", "add", address, "dev", "eth0")
    a.reaches("10.77.1.2", who="bob")


def test_ovsipam_works_with_dockers_bridge_driver(stage: Stage) -> None:
    six = ("--ipv6", "--subnet", "fd00:77:1::/64")
    network = stage.network("dockers", *six, subnet="10.77.1.0/24", driver="bridge")
    a, b = stage.container("ann", network), stage.container("bob", network, "--ip", "10.77.1.77")
    a.reaches("10.77.1.77", who="bob")
    for family in (4, 6):
        b.reaches(a.address(network, family), who="ann")


def test_ovsipam_chooses_subnets_for_dockers_bridge_driver(stage: Stage) -> None:
    one = stage.network("one", driver="bridge")
    two = stage.network("two", driver="bridge")
    ours = stage.network("ours")
    subnets = [ip_network(each.subnet()) for each in (one, two, ours)]
    assert len({str(subnet) for subnet in subnets}) == 3
    assert not any(a.overlaps(b) for a in subnets for b in subnets if a is not b)


def test_an_ip_range_is_where_dynamic_addresses_come_from(bed: Bed, stage: Stage) -> None:
    options = ("--ip-range", "10.77.1.64/28", "--gateway", "10.77.1.254")
    aux = ("--aux-address", "printer=10.77.1.64", "--aux-address", "router=10.77.1.5")
    network = stage.network("ranged", *options, *aux, subnet="10.77.1.0/24")
    a = stage.container("ann", network)
    stage.container("bob", network, "--ip", "10.77.1.200")
    assert ip_address(a.address(network)) in ip_network("10.77.1.64/28")
    assert a.address(network) != "10.77.1.64"
    assert network.gateway() == "10.77.1.254"
    a.reaches("10.77.1.200", who="bob")
    assert a.pings("10.77.1.254", count=3)
    refused = stage.run_command("cat", network, "--ip", "10.77.1.5")
    assert "10.77.1.5" in bed.docker_refuses(*refused)


def test_the_lowest_free_address_is_given(bed: Bed, stage: Stage) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    containers = [stage.container(name, network) for name in ("ann", "bob", "cat")]
    assert [c.address(network) for c in containers] == ["10.77.1.2", "10.77.1.3", "10.77.1.4"]
    bed.docker("rm", "--force", "bob")
    assert stage.container("dan", network).address(network) == "10.77.1.3"


def test_compose_brings_a_project_up_and_down(bed: Bed, stage: Stage) -> None:
    path = bed.home / "compose.yaml"
    path.write_text(COMPOSE)
    compose = ("compose", "--file", str(path), "--progress", "plain")
    try:
        bed.docker(*compose, "up", "--detach")
        web, store, client = (
            Container(bed, f"shop-{name}-1") for name in ("web", "store", "client")
        )
        client.reaches(web.address("shop_front"), who="web")
        web.reaches("10.77.2.100", who="store")
        client.never_reaches("10.77.2.100")
        assert web.execute("wget", "-q", "-T", "3", "-O", "-", "http://store/") == "store"
        assert store.link("eth0")["mtu"] == 1400
        bed.docker(*compose, "restart", "store")
        web.reaches("10.77.2.100", who="store")
    finally:
        bed.docker(*compose, "down", "--volumes")
        path.unlink()
    assert stage.custom_networks() == []


def test_compose_uses_a_configured_space(bed: Bed, stage: Stage) -> None:
    stage.network("usual", "-o", "ovs.mode=isolated", subnet="10.77.2.0/24")
    path = bed.home / "compose.yaml"
    path.write_text(COMPOSE.replace("driver: ovsipam", "driver: ovsipam-blue"))
    compose = ("compose", "--file", str(path), "--progress", "plain")
    try:
        bed.docker(*compose, "up", "--detach")
        web = Container(bed, "shop-web-1")
        web.reaches("10.77.2.100", who="store")
    finally:
        bed.docker(*compose, "down", "--volumes")
        path.unlink()
