"""Who reaches whom on a segment, and who looks on: containers kept apart, and mirrors."""

import pytest

from tests.e2e.stage import Container, Stage
from tests.e2e.switch.test_mirrors import mirrors, watching
from tests.e2e.world import CommandError, until
from tests.hosts import segments
from tests.hosts.fleet import Fleet
from tests.hosts.segments import SUBNET4, SUBNET6

pytestmark = [pytest.mark.docker, pytest.mark.ovn]

FAMILIES = (4, 6)


def keeps_away(client: Container, server: Container, segment: str) -> None:
    """Assert that one does not reach the other."""
    for family in FAMILIES:
        address = server.address(segment, family)
        until(lambda: not client.pings(address), f"{client.name} is away from {server.name}")  # noqa: B023


def test_containers_without_icc_reach_each_other_on_no_host_and_the_router_from_all(
    fleet: Fleet, stages: list[Stage]
) -> None:
    said = ("-o", "ovs.icc=false", "-o", "ovs.router=main")
    segments.made(stages[:2], "blue", *said, subnet6=SUBNET6)
    segments.made(
        stages[1:2], "red", "-o", "ovs.router=main", subnet4="10.51.0.0/24", subnet6="fd00:51::/64"
    )
    with pytest.raises(CommandError, match=r"ovs\.icc=true: segment blue has ovs\.icc=false"):
        stages[2].network("blue", *segments.on("blue"), "-o", "ovs.icc=true")
    ann, bob = (stages[0].container(name, "blue") for name in ("ann", "bob"))
    cat, red = stages[1].container("cat", "blue"), stages[1].container("red", "red")
    for client, server in ((ann, bob), (ann, cat), (cat, ann)):
        keeps_away(client, server, "blue")
    for family in FAMILIES:
        ann.reaches(red.address("red", family), who="red")
        red.reaches(ann.address("blue", family), who="ann")
    with pytest.raises(CommandError, match=r"ovs\.icc=false keeps all containers of segment blue"):
        stages[0].bed.ovsnet("trace", "ann", cat.address("blue"))
    with pytest.raises(CommandError, match=r"ovs\.icc hold on all its hosts"):
        stages[0].bed.ovsnet("set", "blue", "ovs.icc=true")
    # what keeps them apart comes back when an administrator removes it
    fleet.nbctl("--all", "destroy", "Port_Group")
    until(lambda: ann.pings(cat.address("blue")), "nothing keeps them apart")
    for stage in stages[:2]:
        stage.bed.ovsnet("reconcile")
    keeps_away(ann, cat, "blue")


def test_protected_containers_reach_all_but_each_other_and_may_be_opened(
    fleet: Fleet, stages: list[Stage]
) -> None:
    segments.made(stages[:2], "blue", subnet6=SUBNET6)
    own = "name=blue,driver-opt=ovs.protected=true"
    ann, bob = stages[0].container("ann", own), stages[1].container("bob", own)
    cat = stages[1].container("cat", "blue")
    keeps_away(ann, bob, "blue")
    with pytest.raises(CommandError, match=r"both have ovs\.protected=true"):
        stages[0].bed.ovsnet("trace", "ann", bob.address("blue"))
    segments.all_reach_each_other([ann, cat], "blue", FAMILIES)
    segments.all_reach_each_other([bob, cat], "blue", FAMILIES)
    stages[0].bed.ovsnet("set", "ann", "ovs.protected=false")
    segments.all_reach_each_other([ann, bob], "blue", FAMILIES)
    stages[0].bed.ovsnet("set", "ann", "ovs.protected=true")
    keeps_away(ann, bob, "blue")
    for stage in stages:
        stage.clear()
    until(lambda: not fleet.nbctl("list", "Port_Group"), "it goes with the segment")


def test_a_host_mirrors_what_its_containers_of_a_segment_send_and_get(
    fleet: Fleet, stages: list[Stage]
) -> None:
    here, there = stages[0], stages[1]
    here.network("blue", *segments.on("blue"), "-o", "ovs.mirror=sink:ids", subnet=SUBNET4)
    there.network("blue", *segments.on("blue"))
    here.network("tap", *segments.on("tap"), "--internal", subnet="10.60.0.0/24")
    ann = here.container("ann", "blue")
    ids = here.container("ids", "name=tap,driver-opt=ovs.sink=ids")
    bob, cat = (there.container(name, "blue") for name in ("bob", "cat"))
    bob4, cat4 = bob.address("blue"), cat.address("blue")
    with watching(here.bed, ids.netns, "eth0") as seen:
        until(lambda: ann.pings(bob4) and f"> {bob4}: ICMP echo request" in seen.said(), "seen")
        until(lambda: f"{bob4} > " in seen.said(), "the answer too")
        assert bob.pings(cat4)
        dan = here.container("dan", "blue")
        dan4 = dan.address("blue")
        until(lambda: cat.pings(dan4) and f"> {dan4}: ICMP" in seen.said(), "who comes later, too")
        assert f"{bob4} > {cat4}" not in seen.said()
    # OVN's controller makes mirrors of its own there, and leaves ours
    fleet.nbctl("mirror-add", "theirs", "gre", "5", "both", "203.0.113.99")
    fleet.nbctl("lsp-attach-mirror", f"blue/{ann.address('blue')}", "theirs")
    until(lambda: "theirs" in mirrors(here.bed), "OVN has made its mirror")
    fleet.nbctl("mirror-del", "theirs")
    until(lambda: "theirs" not in mirrors(here.bed), "it is gone")
    assert mirrors(here.bed)
    here.bed.restart_plugin()
    with watching(here.bed, ids.netns, "eth0") as seen:
        until(lambda: ann.pings(bob4) and f"> {bob4}: ICMP" in seen.said(), "still")
    here.bed.ovsnet("set", "blue", "ovs.mirror=")
    until(lambda: not mirrors(here.bed), "no mirror is left")
    here.bed.ovsnet("set", "dan", "ovs.mirror=sink:ids")
    with watching(here.bed, ids.netns, "eth0") as seen:
        until(lambda: cat.pings(dan4) and f"> {dan4}: ICMP" in seen.said(), "dan's alone")
    here.bed.docker("rm", "--force", "dan")
    until(lambda: not mirrors(here.bed), "no mirror is left")
    ann.reaches(bob4, who="bob")


def test_a_container_is_told_why_it_is_not_put_on_two_segments_of_a_router(
    fleet: Fleet, stages: list[Stage]
) -> None:
    router = ("-o", "ovs.router=main")
    stages[0].network("blue", *segments.on("blue"), *router, subnet=SUBNET4)
    stages[0].network("red", *segments.on("red"), *router, subnet="10.51.0.0/24")
    ann, red = stages[0].container("ann", "blue"), stages[0].container("bob", "red")
    with pytest.raises(CommandError, match=r"reaches 10\.51\.0\.0/24 by router 10\.50\.0\.1"):
        stages[0].bed.docker("network", "connect", "red", "ann")
    ann.reaches(red.address("red"), who="bob")
    stages[0].bed.docker("network", "disconnect", "blue", "ann")
    stages[0].bed.docker("network", "connect", "red", "ann")
    ann.reaches(red.address("red"), who="bob")
