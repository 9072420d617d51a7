"""Networks that span all hosts: made, joined, kept apart, and gone with the last host's."""

from functools import partial

import pytest

from tests.e2e import documents, labs
from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4
from tests.e2e.stage import Container, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until
from tests.hosts import segments
from tests.hosts.fleet import Fleet, at_once
from tests.hosts.segments import SUBNET4, SUBNET6

pytestmark = [pytest.mark.docker, pytest.mark.ovn]

CREATE = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam")


def switches(fleet: Fleet) -> list[str]:
    """Return the names of OVN's logical switches."""
    return fleet.nbctl("--bare", "--columns=name", "list", "Logical_Switch").split()


@pytest.mark.core
def test_who_joins_inherits_the_subnets_and_all_reach_each_other(
    fleet: Fleet, stages: list[Stage]
) -> None:
    networks = segments.made(stages, "blue", subnet6=SUBNET6)
    for network in networks:
        assert network.subnet() == SUBNET4
        assert network.subnet(6) == SUBNET6
        assert network.gateway() == "10.50.0.1"
    containers = segments.peopled(stages, networks)
    for family in (4, 6):
        assert len({each.address("blue", family) for each in containers}) == len(containers)
    segments.all_reach_each_other(containers, "blue", families=(4, 6))


def test_a_segment_goes_with_the_network_of_its_last_host(
    fleet: Fleet, stages: list[Stage]
) -> None:
    segments.made(stages, "blue")
    for stage in stages:
        assert switches(fleet) == ["blue"]
        stage.bed.docker("network", "rm", "blue")
    until(lambda: not switches(fleet), "the segment is gone")
    again = stages[1].network("blue", *segments.on("blue"), subnet="10.51.0.0/24")
    assert again.subnet() == "10.51.0.0/24"


def test_another_subnet_than_the_segments_is_refused_with_both(
    fleet: Fleet, stages: list[Stage]
) -> None:
    stages[0].network("blue", *segments.on("blue"), subnet=SUBNET4)
    two = stages[1].bed
    said = two.docker_refuses(*CREATE, *segments.on("blue"), "--subnet", "10.51.0.0/24", "blue")
    assert "10.51.0.0/24" in said
    assert SUBNET4 in said
    assert "blue" in said
    same = stages[1].network("blue", *segments.on("blue"), subnet=SUBNET4)
    assert same.subnet() == SUBNET4


def test_a_segment_that_nobody_made_needs_a_subnet(fleet: Fleet, stages: list[Stage]) -> None:
    said = stages[2].bed.docker_refuses(*CREATE, *segments.on("blue"), "blue")
    assert "--subnet" in said
    assert switches(fleet) == []


@pytest.mark.core
def test_two_segments_with_one_subnet_do_not_reach_each_other(
    fleet: Fleet, stages: list[Stage]
) -> None:
    blue = segments.made(stages[:2], "blue")
    red = segments.made(stages[1:], "red", by_all=True)
    one, two = segments.peopled(stages[:2], blue)
    # where the subnets are one, so may the addresses be: each hears its own side alone
    stranger = stages[1].container("red1", red[0], "--ip", one.address("blue"))
    other = stages[2].container("red2", red[1], "--ip", two.address("blue"))
    one.reaches(two.address("blue"), who="blue2")
    stranger.reaches(other.address("red"), who="red2")
    assert one.asks(two.address("blue")) == "blue2"
    third = stages[2].container("red3", red[1], "--ip", "10.50.0.77")
    one.never_reaches(third.address("red"))
    third.never_reaches("10.50.0.1")


def test_a_container_reaches_the_outside_and_is_reached_by_published_ports(
    fleet: Fleet, stages: list[Stage]
) -> None:
    networks = segments.made(stages[:2], "blue")
    one, two = segments.peopled(stages[:2], networks, "-p", "8080:80")
    for container in (one, two):
        container.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    for host, container in ((fleet.host(1), one), (fleet.host(2), two)):
        said = partial(Place(host, "the outside", host.outside).asks, WAN4, 8080)
        until(said, f"{container.name} is reached by its port")
        assert said() == container.name


@pytest.mark.core
def test_an_internal_segment_has_no_outside(fleet: Fleet, stages: list[Stage]) -> None:
    networks = segments.made(stages[:2], "blue", "--internal")
    one, two = segments.peopled(stages[:2], networks)
    one.reaches(two.address("blue"), who="blue2")
    assert one.sees("route", "show", "default") == []
    assert one.links() == {"eth0"}
    one.never_reaches(OUTSIDE4, port=OUTSIDE_PORT)


def test_packets_as_large_as_the_tunnel_allows_pass_whole(
    fleet: Fleet, stages: list[Stage]
) -> None:
    networks = segments.made(stages[:2], "blue")
    one, two = segments.peopled(stages[:2], networks)
    assert one.link("eth0")["mtu"] == 1442
    to = two.address("blue")
    until(lambda: one.pings(to), "the other answers")
    assert one.pings(to, size=1442 - 28, count=3)
    assert not one.pings(to, size=1443 - 28, count=3)


def test_an_address_that_another_host_has_is_refused_and_free_when_it_is_gone(
    fleet: Fleet, stages: list[Stage]
) -> None:
    networks = segments.made(stages[:2], "blue", by_all=True)
    one = stages[0].container("one", networks[0], "--ip", "10.50.0.9")
    taken = stages[1].run_command("two", networks[1], "--ip", "10.50.0.9")
    said = stages[1].bed.docker_refuses(*taken)
    assert "10.50.0.9" in said
    assert "host1" in said
    stages[1].bed.docker("rm", "two")
    stages[0].bed.docker("rm", "--force", one.name)
    two = stages[1].container("two", networks[1], "--ip", "10.50.0.9")
    assert two.address("blue") == "10.50.0.9"


def test_a_forged_address_is_dropped(fleet: Fleet, stages: list[Stage]) -> None:
    networks = segments.made(stages[:2], "blue", "--internal")
    one, two = segments.peopled(stages[:2], networks)
    to = two.address("blue")
    one.reaches(to, who="blue2")
    host = stages[0].bed
    host.ip("address", "add", "10.50.0.200/24", "dev", "eth0", netns=one.netns)
    forged = ("ping", "-n", "-q", "-c", "3", "-W", "1", "-I", "10.50.0.200", to)
    assert host.attempt(*forged, netns=one.netns).code == 1
    assert one.pings(to)


def test_the_documents_commands_for_several_hosts_work_when_they_are_pasted(
    fleet: Fleet, stages: list[Stage]
) -> None:
    at_once(labs.import_images, fleet.hosts)
    first, others = documents.hosts_commands()
    one, *rest = (documents.Shell(host) for host in fleet.hosts)
    one.paste(first)
    db = Container(fleet.host(1), "db").inspect()["Config"]["Hostname"]
    for shell in rest:
        shell.paste(others)
        assert list(shell.said.values())[-1].out == db
