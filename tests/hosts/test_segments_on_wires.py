"""Segments that are a VLAN of the wire: the leases of all hosts, and machines outside of OVN."""

from collections.abc import Iterator

import pytest

from tests.e2e.stage import Stage
from tests.e2e.traffic import Place
from tests.e2e.world import CommandError
from tests.hosts.fleet import Fleet
from tests.hosts.segments import on

pytestmark = [pytest.mark.docker, pytest.mark.ovn]

SUBNET, SUBNET6 = "10.30.0.0/24", "fd00:30::/64"
WIRE = ("-o", "ovs.uplink=eth1")


@pytest.fixture
def outsider(fleet: Fleet, stages: list[Stage]) -> Iterator[Place]:
    """A machine on VLAN 30 that has the router's address there, and the lowest of containers."""
    addresses = ("10.30.0.2/24", "10.30.0.254/24", "fd00:30::fe/64")
    yield fleet.underlay.outsider("old", *addresses, vlan=30)
    fleet.underlay.remove("old")


@pytest.mark.core
def test_hosts_and_a_machine_outside_share_the_vlan_and_no_address(
    fleet: Fleet, stages: list[Stage], outsider: Place
) -> None:
    said = (*on("wire"), *WIRE, "--ipv6", "--ipam-opt", "ipam.probe=true")
    router = ("--gateway", "10.30.0.254", "-o", "ovs.vlan=30", "--subnet", SUBNET6)
    first = stages[0].network("wire", *said, *router, subnet=SUBNET)
    second = stages[1].network("wire", *said, subnet=SUBNET)
    assert (second.subnet(), second.subnet(6)) == (SUBNET, SUBNET6)
    one = stages[0].container("one", first)
    two = stages[1].container("two", second)
    assert [one.address("wire"), two.address("wire")] == ["10.30.0.3", "10.30.0.4"]
    for family in (4, 6):
        one.reaches(two.address("wire", family), who="two")
        two.reaches(one.address("wire", family), who="one")
        outsider.reaches(two.address("wire", family), who="two")
    two.reaches("10.30.0.2", who="old")
    two.reaches("fd00:30::fe", who="old")
    for each in (one, two):
        assert "default via 10.30.0.254" in each.world.ip("route", netns=each.netns)
    with pytest.raises(CommandError, match=r"10\.30\.0\.254 of segment wire is held"):
        stages[1].bed.docker(*stages[1].run_command("three", second, "--ip", "10.30.0.254"))
    with pytest.raises(CommandError, match=r"10\.30\.0\.3 of segment wire is held"):
        stages[1].bed.docker(*stages[1].run_command("four", second, "--ip", "10.30.0.3"))


def test_what_contradicts_a_segment_on_a_wire_is_refused(stages: list[Stage]) -> None:
    def refused(stage: Stage, *words: str, subnet: str | None = None) -> str:
        with pytest.raises(CommandError) as error:
            stage.network("wire", *on("wire"), *words, subnet=subnet)
        return str(error.value)

    vlan = ("-o", "ovs.vlan=30")
    assert "every host would hold its gateway" in refused(
        stages[0], *WIRE, *vlan, "-o", "ovs.mode=nat", subnet=SUBNET
    )
    assert "br-lab leads to no wire" in refused(
        stages[0], "-o", "ovs.bridge=br-lab", "-o", "ovs.mode=flat", *vlan, subnet=SUBNET
    )
    stages[0].network("wire", *on("wire"), *WIRE, *vlan, subnet=SUBNET)
    assert "is VLAN 30 of a wire on all hosts" in refused(stages[1])
    assert "has ovs.vlan=30 on all hosts" in refused(stages[1], *WIRE, "-o", "ovs.vlan=31")
    with pytest.raises(CommandError, match=r"ovs\.vlan holds on all its hosts"):
        stages[0].bed.ovsnet("set", "wire", "ovs.vlan=31")
