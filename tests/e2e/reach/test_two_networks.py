"""Published ports of containers on two networks: which one publishes, and the way out stays right.

Docker gives the gateway to one of a container's networks, by their names (engine 26), and asks
that one to publish; one that refused would leave the container without gateway and without ports.
"""

import json
import sys
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from tests.e2e import image
from tests.e2e.bed import OUTSIDE4, WAN4, WAN6, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import ECHO, Place
from tests.e2e.world import until

pytestmark = [pytest.mark.docker, pytest.mark.long]

SERVE = f"exec chroot /host {sys.executable} {ECHO} serve 80"
DOCKERS_OWN = {"driver": "bridge", "ipam": "default"}
KINDS = ("nat", "routed", "flat", "isolated", "gwbridge", "bridge")
WITH_GATEWAY = ("nat", "routed", "flat", "bridge")
PAIRS = list(combinations(KINDS, 2))


def make(stage: Stage, kind: str, name: str, number: int) -> Network:
    subnet = f"10.77.{number}.0/24"
    if kind == "bridge":
        return stage.network(name, subnet=subnet, **DOCKERS_OWN)
    gateway = ("--gateway", f"10.77.{number}.1") if kind == "flat" else ()
    return stage.network(name, "-o", f"ovs.mode={kind}", *gateway, subnet=subnet)


def server(stage: Stage, name: str, network: Network, *options: str) -> Container:
    return stage.container(name, network, "--volume", "/:/host:ro", *options, command=SERVE)


def says(place: Place, address: str, port: int, answer: str) -> None:
    last = [""]

    def heard() -> bool:
        last[0] = place.hears("tcp", address, port)
        return last[0].startswith(answer)

    until(heard, lambda: f"{place.name} asks {address}:{port}: {last[0]!r}, not {answer!r}")


def listed(bed: Bed, container: str) -> list[dict[str, Any]]:
    every = json.loads(bed.ovsnet("ports", "--json"))
    return [each for each in every if each["container"] == container]


def gateway_kind(networks: dict[str, Network]) -> str:
    """Return which of the kinds Docker takes the gateway of; empty if it takes none."""
    found = [kind for kind in networks if kind in WITH_GATEWAY]
    return min(found, key=lambda kind: networks[kind].name, default="")


def publishes(networks: dict[str, Network]) -> str:
    """Return the kind by which a container's ports are published; empty if by none."""
    gateway = gateway_kind(networks)
    if gateway in ("nat", "bridge"):
        return gateway
    if not gateway:
        return "gwbridge" if "gwbridge" in networks else ""
    return "nat" if "nat" in networks else ""


def check(
    bed: Bed, outside: Place, container: Container, port: int, networks: dict[str, Network]
) -> None:
    """Assert that way out, port and what is said of it are right for these networks."""
    gateway, by = gateway_kind(networks), publishes(networks)
    routes = container.sees("route", "show", "default")
    if gateway:
        assert [each["gateway"] for each in routes] == [networks[gateway].gateway()], networks
    else:
        assert len(routes) == ("gwbridge" in networks)
    mine = listed(bed, container.name)
    ours = [each["network_name"] for each in mine if "published" in each]
    assert ours == ([networks["nat"].name] if by == "nat" else []), networks
    if by == "nat":
        seen = OUTSIDE4 if gateway == "nat" else networks["nat"].gateway()
        says(outside, WAN4, port, f"{container.name} {seen}")
        assert [each for each in mine if "unpublished" in each] == []
    elif by:
        says(outside, WAN4, port, f"{container.name} ")
    else:
        (said,) = {each["why"] for each in mine if "unpublished" in each}
        assert not gateway or f"ovs.mode={gateway}" in said


@pytest.mark.parametrize("names", [("alpha", "zeta"), ("zeta", "alpha")], ids="-".join)
def test_a_port_is_published_by_a_network_that_can_whatever_the_others_are(
    bed: Bed, stage: Stage, outside: Place, names: tuple[str, str]
) -> None:
    made = {
        (kind, name): make(stage, kind, f"{name}-{kind}", number)
        for number, (kind, name) in enumerate(((k, n) for k in KINDS for n in names), 1)
    }
    for number, (first, second) in enumerate(PAIRS):
        if names[0] > names[1] and not {first, second} <= set(WITH_GATEWAY):
            continue  # names decide between two that have a gateway, and nothing else
        one, two = made[first, names[0]], made[second, names[1]]
        name, port = f"{first}-{second}", 8100 + number
        container = server(stage, name, one, "--publish", f"{port}:80")
        bed.docker("network", "connect", two.name, name)
        check(bed, outside, container, port, {first: one, second: two})
        bed.docker("restart", name)
        check(bed, outside, container, port, {first: one, second: two})
        bed.docker("network", "disconnect", one.name, name)
        check(bed, outside, container, port, {second: two})
        bed.docker("rm", "--force", name)


def test_what_no_network_publishes_is_said_and_the_container_runs(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    ann = server(stage, "ann", make(stage, "flat", "office", 1), "--publish", "8080:80")
    why = "a network with ovs.mode=flat has no gateway on this host"
    (lacking,) = listed(bed, "ann")
    asked = lacking["unpublished"]
    assert (asked["host_port"], asked["port"], lacking["why"]) == (8080, 80, why)
    assert f"not published: {why}" in bed.ovsnet("ports")
    assert f"80/tcp: {why}" in bed.ovsnet("endpoint", "show", "ann")
    assert f"80/tcp of -p not published: {why}" in bed.ovsnet("status")
    assert "ports.not-published" in bed.plugin.said()
    assert not outside.hears("tcp", WAN4, 8080)
    assert ann.running


def test_both_families_are_published_by_another_network_than_the_gateways(
    bed: Bed, stage: Stage, outside: Place, host: Place
) -> None:
    six = ("--ipv6", "--subnet", "fd00:77:1::/64")
    lab = stage.network("lab", *six, subnet="10.77.1.0/24")
    six = ("--ipv6", "--subnet", "fd00:77:2::/64", "-o", "ovs.mode=routed")
    stage.network("artd", *six, subnet="10.77.2.0/24")
    server(stage, "ann", lab, "--publish", "8080:80")
    bed.docker("network", "connect", "artd", "ann")
    bed.restart_plugin()
    for place, four, sixth in ((outside, WAN4, WAN6), (host, "127.0.0.1", "::1")):
        says(place, four, 8080, f"ann {lab.gateway()}")
        says(place, sixth, 8080, f"ann {lab.gateway(6)}")
    bob = stage.container("bob", lab)
    says(bob, lab.gateway(), 8080, f"ann {lab.gateway()}")
    assert "clients seen as the gateway" in bed.ovsnet("ports")
    assert bed.ovsnet("reconcile", "--dry-run").count("reserved") == 0


def test_who_publishes_for_the_gateways_network_is_replaced_when_it_goes(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    one, two = make(stage, "nat", "lab1", 1), make(stage, "nat", "lab2", 2)
    server(stage, "ann", make(stage, "routed", "artd", 3), "--publish", "8080:80")
    bed.docker("network", "connect", "lab1", "ann")
    bed.docker("network", "connect", "lab2", "ann")
    says(outside, WAN4, 8080, f"ann {one.gateway()}")
    bed.docker("network", "disconnect", "lab1", "ann")
    says(outside, WAN4, 8080, f"ann {two.gateway()}")
    bed.docker("network", "disconnect", "lab2", "ann")
    (left,) = listed(bed, "ann")
    assert left["unpublished"]["port"] == 80
    assert not outside.hears("tcp", WAN4, 8080)


def test_a_port_that_is_taken_leaves_a_running_container_as_it_was(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    lab, artd = make(stage, "nat", "lab", 1), make(stage, "routed", "artd", 2)
    server(stage, "bob", lab, "--publish", "8080:80")
    ann = server(stage, "ann", artd, "--publish", "8080:80", "--publish", "8081:80")
    route = ann.sees("route", "show", "default")
    bed.docker("network", "connect", "lab", "ann")
    assert ann.sees("route", "show", "default") == route
    says(outside, WAN4, 8080, "bob ")
    says(outside, WAN4, 8081, f"ann {lab.gateway()}")
    (lacking,) = [each for each in listed(bed, "ann") if "unpublished" in each]
    assert "host port 8080 of this host is in use" in lacking["why"]
    bed.docker("network", "disconnect", "lab", "ann")
    assert ann.sees("route", "show", "default") == route
    bed.docker("network", "connect", "lab", "ann")
    # Docker asks anew at a start, and there it is an error, as on Docker's own bridge
    text = bed.docker_refuses("restart", "ann")
    assert "host port 8080 of this host is in use" in text
    bed.docker("rm", "--force", "bob")
    bed.docker("start", "ann")
    says(outside, WAN4, 8080, f"ann {lab.gateway()}")


COMPOSE = f"""
name: shop
services:
  web:
    image: {image.NAME}
    pull_policy: never
    hostname: web
    stop_signal: SIGKILL
    command: ["sh", "-c", "{SERVE}"]
    volumes: ["/:/host:ro"]
    networks: [artd, lab]
    ports: ["8080:80"]
networks:
  artd:
    driver: ovsnet
    driver_opts: {{ovs.mode: routed}}
    ipam: {{driver: ovsipam}}
  lab:
    driver: ovsnet
    ipam: {{driver: ovsipam}}
"""


@pytest.fixture
def compose_file(bed: Bed) -> Iterator[str]:
    path = bed.home / "two.yaml"
    path.write_text(COMPOSE)
    yield str(path)
    path.unlink()


def test_compose_starts_a_service_with_ports_on_two_networks(
    bed: Bed, outside: Place, compose_file: str
) -> None:
    try:
        bed.docker("compose", "--file", compose_file, "up", "--detach")
        says(outside, WAN4, 8080, "web ")
        bed.docker("compose", "--file", compose_file, "restart")
        says(outside, WAN4, 8080, "web ")
    finally:
        bed.docker("compose", "--file", compose_file, "down")
    assert listed(bed, "shop-web-1") == []


def leaves_by(container: Container) -> str:
    """Return the gateway of the default route that counts; empty if there is none."""
    routes = container.sees("route", "show", "default")
    return str(min(routes, key=lambda each: each.get("metric", 0))["gateway"]) if routes else ""


def test_the_network_of_the_highest_priority_is_the_way_out(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    """From engine 28 on ``--gw-priority`` says which it is; names do before."""
    alpha, beta = make(stage, "nat", "alpha", 1), make(stage, "nat", "beta", 2)
    stage.network(
        "lan", "-o", "ovs.mode=flat", "-o", "ovs.gateway=10.77.3.9", subnet="10.77.3.0/24"
    )
    prior = ("--gw-priority", "9") if bed.engine >= 28 else ()
    first, later = (beta, alpha) if prior else (alpha, beta)
    shop = server(stage, "shop", alpha, "--publish", "8085:80")
    bed.docker("network", "connect", "lan", "shop")
    bed.docker("network", "connect", *prior, "beta", "shop")
    is_the_way(bed, outside, shop, first)
    bed.ovsnet("set", "lan", "ovs.gateway=10.77.3.8")
    is_the_way(bed, outside, shop, first)
    bed.docker("network", "disconnect", first.name, "shop")
    is_the_way(bed, outside, shop, later)


def is_the_way(bed: Bed, outside: Place, shop: Container, network: Network) -> None:
    """Assert that a container leaves by a network, and is published by it."""
    until(lambda: leaves_by(shop) == network.gateway(), f"{network.name} is the way out")
    published = [each["network_name"] for each in listed(bed, "shop") if "published" in each]
    assert published == [network.name]
    says(outside, WAN4, 8085, f"shop {OUTSIDE4}")
