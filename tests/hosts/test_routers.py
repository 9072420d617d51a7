"""Routers between segments: containers on different hosts reach each other by them."""

import pytest

from tests.e2e.stage import Container, Stage
from tests.e2e.world import CommandError, until
from tests.hosts.fleet import Fleet
from tests.hosts.segments import on

pytestmark = [pytest.mark.docker, pytest.mark.ovn]

SUBNETS = {
    "blue": ("10.50.0.0/24", "fd00:50::/64"),
    "red": ("10.51.0.0/24", "fd00:51::/64"),
    "green": ("10.52.0.0/24", "fd00:52::/64"),
}


def on_router(stage: Stage, segment: str, *options: str, router: str = "main") -> None:
    """Make the first network of a segment that is on a router."""
    four, six = SUBNETS[segment]
    said = (*on(segment), "--ipv6", "--subnet", six, "-o", f"ovs.router={router}", *options)
    stage.network(segment, *said, subnet=four)


def reach(one: Container, other: Container, segments: tuple[str, str]) -> None:
    for client, server, segment in ((one, other, segments[1]), (other, one, segments[0])):
        for family in (4, 6):
            client.reaches(server.address(segment, family), who=server.name)


def routers(fleet: Fleet) -> str:
    return fleet.nbctl("lr-list").strip()


@pytest.mark.core
def test_segments_on_one_router_reach_each_other_and_others_do_not(
    fleet: Fleet, stages: list[Stage]
) -> None:
    one, two, three = stages
    on_router(one, "blue", "-o", "ovs.routes=10.51.0.0/16+fd00:51::/32")
    ann = one.container("ann", "blue")
    on_router(two, "red", "--gateway", "10.51.0.254")
    bob = two.container("bob", "red")
    reach(ann, bob, ("blue", "red"))
    on_router(three, "green", router="other")
    eve = three.container("eve", "green")
    for address in (ann.address("blue"), bob.address("red")):
        assert not eve.pings(address)
    # who joins inherits the router, and its address is nobody's
    three.network("red", *on("red"), "--ipv6", subnet=SUBNETS["red"][0])
    cat = three.container("cat", "red")
    reach(ann, cat, ("blue", "red"))
    with pytest.raises(CommandError, match=r"10\.51\.0\.254 of segment red is held"):
        three.bed.docker(*three.run_command("dan", "red", "--ip", "10.51.0.254"))
    # a container on two routers has the routes of both
    three.bed.docker("network", "connect", "red", "eve")
    ann.reaches(eve.address("red"), who="eve")
    eve.reaches(ann.address("blue"), who="ann")
    for stage in stages:
        stage.clear()
    until(lambda: not routers(fleet), "routers go with their segments")


def test_an_internal_segment_has_no_way_but_its_router(fleet: Fleet, stages: list[Stage]) -> None:
    on_router(stages[0], "blue", "--internal")
    on_router(stages[1], "red", "--internal")
    bob = stages[1].container("bob", "red")
    ann = stages[0].container("ann", "blue")
    reach(ann, bob, ("blue", "red"))
    assert "default" not in ann.world.ip("route", netns=ann.netns)


def test_a_router_that_was_lost_is_made_again(fleet: Fleet, stages: list[Stage]) -> None:
    on_router(stages[0], "blue")
    on_router(stages[1], "red")
    ann = stages[0].container("ann", "blue")
    fleet.nbctl("lr-del", "main")
    fleet.nbctl("lsp-del", "red/router")
    for stage in stages[:2]:
        stage.bed.ovsnet("reconcile")
    bob = stages[1].container("bob", "red")
    reach(ann, bob, ("blue", "red"))


def test_what_contradicts_a_router_is_refused(stages: list[Stage]) -> None:
    def refused(stage: Stage, name: str, *words: str, subnet: str | None = None) -> str:
        with pytest.raises(CommandError) as error:
            stage.network(name, *words, subnet=subnet)
        return str(error.value)

    main = ("-o", "ovs.router=main")
    assert "are for segments" in refused(stages[0], "home", *main)
    on_router(stages[0], "blue")
    assert "has ovs.router=main on all hosts" in refused(
        stages[1], "blue", *on("blue"), "--ipv6", "-o", "ovs.router=other"
    )
    assert "segment blue has 10.50.0.1 on all hosts" in refused(
        stages[1], "blue", *on("blue"), "--ipv6", "--gateway", "10.50.0.9", subnet="10.50.0.0/24"
    )
    assert "meets 10.50.0.0/24 of segment blue" in refused(
        stages[1], "red", *on("red"), *main, subnet="10.50.0.0/16"
    )
