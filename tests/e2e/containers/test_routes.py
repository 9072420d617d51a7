"""Containers as routers, routes in containers, and legs of the host."""

import json
from signal import SIGKILL

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.reach.test_host_access import SERVICE, service
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import Program, until

__all__ = ["service"]

pytestmark = pytest.mark.docker

FORWARDS = (
    *("--sysctl", "net.ipv4.ip_forward=1"),
    *("--sysctl", "net.ipv6.conf.all.forwarding=1"),
)

LEG = {4: "10.77.9.1", 6: "fd00:9::1"}


def dual(stage: Stage, name: str, number: int, *options: str) -> Network:
    six = ("--ipv6", "--subnet", f"fd00:{number}::/64")
    said = [word for each in options for word in ("-o", each)]
    return stage.network(name, *six, *said, subnet=f"10.77.{number}.0/24")


def router(bed: Bed, stage: Stage, name: str, last: int) -> Container:
    """Run a container on both networks, with addresses that it asks for on the first."""
    at = ("--ip", f"10.77.5.{last}", "--ip6", f"fd00:5::{last}")
    made = stage.container(name, "left", *at, *FORWARDS)
    bed.docker("network", "connect", "right", name)
    return made


def ways(container: Container, to: str, family: int = 4) -> list[tuple[str, int]]:
    """Return routers and metrics of its routes to one place."""
    found = container.sees(f"-{family}", "route", "show", to)
    return [(each["gateway"], each.get("metric", 0)) for each in found if "gateway" in each]


def test_a_container_is_the_router_of_its_networks_and_another_takes_over(
    bed: Bed, stage: Stage
) -> None:
    left = dual(stage, "left", 5, "ovs.mode=isolated", "ovs.guard=true", "ovs.icc=false",
                "ovs.gateway=10.77.5.1,fd00:5::1")  # fmt: skip
    right = dual(stage, "right", 6, "ovs.mode=flat", "ovs.gateway=container:router")
    ann, web = stage.container("ann", left), stage.container("web", right)
    assert ann.address(left) == "10.77.5.2", "the router's address is left for who asks for it"
    assert ways(ann, "default") == [("10.77.5.1", 0)]
    assert ways(web, "default") == []
    first = router(bed, stage, "router", 1)
    assert ways(first, "default") == [], "a router is not its own way out"

    for family in (4, 6):
        until(lambda family=family: bool(ways(web, "default", family)), "it is found")  # type: ignore[misc]
        ann.reaches(web.address(right, family), who="web")
    assert "has a router of its own" in bed.try_ovsnet("trace", "ann", "web").out
    spare = router(bed, stage, "spare", 9)
    bed.restart_plugin(SIGKILL)
    bed.ovsnet("set", "left", "ovs.gateway=10.77.5.9,fd00:5::9")
    bed.ovsnet("set", "right", "ovs.gateway=container:spare")
    bed.docker("rm", "--force", "router")
    for family in (4, 6):
        until(
            lambda family=family: (  # type: ignore[misc]
                [each[0] for each in ways(web, "default", family)] == [spare.address(right, family)]
            ),
            "the other one is found",
        )
        ann.reaches(web.address(right, family), who="web")
    assert [each[0] for each in ways(ann, "default")] == ["10.77.5.9"]
    bed.ovsnet("set", "right", "ovs.gateway=")
    assert ways(web, "default") == []
    assert "nothing" in bed.ovsnet("reconcile", "--dry-run").lower()


def test_routes_are_a_container_s_from_its_start_on_and_change_while_it_runs(
    bed: Bed, stage: Stage
) -> None:
    lab = dual(stage, "lab", 7, "ovs.mode=flat",
               "ovs.routes=10.78.0.0/16 via 10.77.7.9+fd78::/32 via fd00:7::9")  # fmt: skip
    far = stage.container("far", lab, "--ip", "10.77.7.9", "--ip6", "fd00:7::9")
    for address in ("10.78.1.1", "10.79.1.1", "fd78::1"):
        bed.run("ip", "address", "add", address, "dev", "lo", netns=far.netns)
    ann = stage.container("ann", lab)
    assert ways(ann, "10.78.0.0/16") == [("10.77.7.9", 0)]
    for address in ("10.78.1.1", "fd78::1"):
        ann.reaches(address, who="far")
    assert ways(far, "10.78.0.0/16") == []

    bed.ovsnet("set", "ann", "ovs.routes=10.79.0.0/16 via 10.77.7.9")
    ann.reaches("10.79.1.1", who="far")
    assert ways(ann, "10.78.0.0/16") == []
    # what is lost comes back, and what is others' stays
    bed.run("ip", "route", "add", "10.80.0.0/16", "via", "10.77.7.9", netns=ann.netns)
    bed.run("ip", "route", "del", "10.79.0.0/16", netns=ann.netns)
    until(lambda: "routes were" in bed.ovsnet("reconcile"), "it is mended", timeout_s=60)
    ann.reaches("10.79.1.1", who="far")
    bed.restart_plugin(SIGKILL)
    bed.ovsnet("set", "ann", "ovs.routes=")
    assert ways(ann, "10.78.0.0/16") == [("10.77.7.9", 0)]
    bed.ovsnet("set", "lab", "ovs.routes=")
    assert ways(ann, "10.78.0.0/16") == ways(ann, "10.79.0.0/16") == []
    assert ways(ann, "10.80.0.0/16") == [("10.77.7.9", 0)]


@pytest.mark.long
def test_a_route_that_meets_another_network_keeps_no_container_from_its_start(
    bed: Bed, stage: Stage
) -> None:
    stage.network("lab", "-o", "ovs.mode=flat", "-o", "ovs.routes=10.0.0.0/8 via 10.77.7.9",
                  subnet="10.77.7.0/24")  # fmt: skip
    out = stage.network("out", subnet="10.77.8.0/24")
    both = stage.container("both", out)
    bed.docker("network", "connect", "lab", "both")
    until(lambda: ways(both, "10.0.0.0/8") == [("10.77.7.9", 0)], "it has the route, too")
    bed.docker("restart", "--time", "0", "both")
    until(lambda: ways(both, "10.0.0.0/8") == [("10.77.7.9", 0)], "and after its restart")
    stage.network("third", "-o", "ovs.mode=isolated", subnet="10.77.9.0/24")
    bed.docker("network", "connect", "third", "both")
    assert both.address("third") == "10.77.9.2"
    until(lambda: ways(both, "10.0.0.0/8") == [("10.77.7.9", 0)], "it comes back")
    # what Docker chose for the way out stays
    bed.ovsnet("set", "lab", "ovs.gateway=10.77.7.9")
    (chosen, _), *_ = sorted(ways(both, "default"), key=lambda each: each[1])
    assert chosen == out.gateway()


def test_this_host_has_an_address_on_a_flat_network_and_is_no_router_there(
    bed: Bed, stage: Stage, host: Place, service: Program
) -> None:
    lan = dual(stage, "lan", 9, "ovs.mode=flat")
    web = stage.container("web", lan)
    assert not host.pings(web.address(lan))
    said = bed.try_ovsnet("set", "lan", f"ovs.host_address={web.address(lan)}/24").err
    assert "a container has that address" in said
    bed.ovsnet("set", "lan", f"ovs.host_address={LEG[4]}/24,{LEG[6]}/64")
    assert json.loads(bed.ovsnet("network", "show", "lan", "--json"))["gateway_link"]
    for family in (4, 6):
        host.reaches(web.address(lan, family), who="web")
        assert web.pings(LEG[family])
    assert "this host reaches web" in bed.ovsnet("trace", "host", "web")
    assert stage.container("next", lan).address(lan) != LEG[4]
    # closed, but for ping, and never a way out
    assert not web.hears("tcp", LEG[4], SERVICE)
    bed.ovsnet("set", "lan", "ovs.host=gateway")
    until(lambda: web.hears("tcp", LEG[4], SERVICE), "it is opened")
    bed.run("ip", "route", "add", "default", "via", LEG[4], netns=web.netns)
    assert not web.asks(OUTSIDE4, OUTSIDE_PORT)

    (device,) = {each["ifname"] for each in host.sees("address", "show", "to", LEG[4])}
    bed.ip("address", "del", f"{LEG[4]}/24", "dev", device)
    host.reaches(web.address(lan), who="web")
    bed.ovsnet("set", "lan", "ovs.host=", "ovs.host_address=")
    until(lambda: device not in host.links(), "the host's port is gone")
    assert stage.container("last", lan, "--ip", LEG[4]).address(lan) == LEG[4]


@pytest.mark.long
def test_this_host_s_address_on_a_network_outlives_restarts_and_goes_with_the_network(
    bed: Bed, stage: Stage, host: Place, outside: Place
) -> None:
    lan = dual(stage, "lan", 9, "ovs.mode=flat", f"ovs.host_address={LEG[4]}/24,{LEG[6]}/64")
    web = stage.container("web", lan)
    bed.restart_plugin(SIGKILL)
    bed.daemons["ovs-vswitchd"].restart(SIGKILL)
    for family in (4, 6):
        host.reaches(web.address(lan, family), who="web")
    bed.nft("delete", "table", "inet", "ovsnet")
    bed.ovsnet("reconcile")
    # nobody comes in by way of the host
    bed.run("ip", "route", "add", web.address(lan), "via", WAN4, netns=outside.netns)
    outside.never_reaches(web.address(lan))
    bed.run("ip", "route", "del", web.address(lan), netns=outside.netns)
