"""Options on segments: each does what its row in the table says, or is refused with what to do."""

import json

import pytest

from ovsdriver.words import options
from ovsdriver.words.options import Scope
from tests.e2e.stage import Stage
from tests.e2e.world import CommandError, until
from tests.hosts import segments
from tests.hosts.fleet import Fleet
from tests.hosts.segments import SUBNET4

pytestmark = [pytest.mark.docker, pytest.mark.ovn]


def refused(stage: Stage, *words: str) -> str:
    with pytest.raises(CommandError) as error:
        stage.network("blue", *segments.on("blue"), *words, subnet=SUBNET4)
    return str(error.value)


@pytest.mark.core
def test_what_does_nothing_on_a_segment_is_refused_with_what_to_do(
    fleet: Fleet, stages: list[Stage]
) -> None:
    stage = stages[0]
    rows = [each for each in options.rows() if each.on_segment and each.scope is not Scope.IPAM]
    assert len(rows) > 30
    assert "ovs.vlan=30 on a segment: " in refused(stage, "-o", "ovs.vlan=30")
    assert "ipam.limit=9 on a segment: " in refused(stage, "--ipam-opt", "ipam.limit=9")
    assert not fleet.nbctl("ls-list")
    stage.network("blue", *segments.on("blue"), subnet=SUBNET4)
    with pytest.raises(CommandError, match=r"ovs\.ofport=9 on a segment: "):
        stage.container("web", "name=blue,driver-opt=ovs.ofport=9")


def test_mtu_and_guard_are_the_segments_on_all_hosts(fleet: Fleet, stages: list[Stage]) -> None:
    first = stages[0].network("blue", *segments.on("blue"), "-o", "ovs.mtu=1300", subnet=SUBNET4)
    with pytest.raises(CommandError, match=r"ovs\.mtu=1400: segment blue has ovs\.mtu=1300"):
        stages[1].network("blue", *segments.on("blue"), "-o", "ovs.mtu=1400")
    stages[1].network("blue", *segments.on("blue"))
    one = stages[0].container("one", first)
    two = stages[1].container("two", "blue")
    for each in (one, two):
        assert each.link("eth0")["mtu"] == 1300
    address = one.address("blue")
    two.reaches(address, who="one")
    assert two.pings(address, size=1300 - 28, count=3)


def test_a_container_sends_with_its_own_address_only_unless_guard_is_off(
    fleet: Fleet, stages: list[Stage]
) -> None:
    segments.made(stages[:2], "blue")
    segments.made(stages[:2], "red", "-o", "ovs.guard=false", subnet4="10.60.0.0/24")
    for name, prefix, passes in (("blue", "10.50.0", False), ("red", "10.60.0", True)):
        web = stages[0].container(f"web-{name}", name)
        liar = stages[1].container(f"liar-{name}", name, "--cap-add", "NET_ADMIN")
        address = web.address(name)
        liar.reaches(address, who=web.name)
        liar.world.ip("address", "add", f"{prefix}.77/24", "dev", "eth0", netns=liar.netns)
        said = ("ping", "-c", "3", "-W", "1", "-I", f"{prefix}.77", address)
        assert (liar.world.attempt(*said, netns=liar.netns).code == 0) is passes


def test_without_guard_a_container_hears_what_is_sent_to_macs_behind_it(
    stages: list[Stage],
) -> None:
    segments.made(stages[:2], "blue")
    segments.made(stages[:2], "red", "-o", "ovs.guard=false", subnet4="10.60.0.0/24")
    for name, prefix, passes in (("blue", "10.50.0", False), ("red", "10.60.0", True)):
        bridge = stages[0].container(f"bridge-{name}", name, "--cap-add", "NET_ADMIN")
        asker = stages[1].container(f"asker-{name}", name)
        asker.reaches(bridge.address(name), who=bridge.name)
        behind = f"{prefix}.77"
        bridge.world.ip("address", "add", f"{behind}/24", "dev", "eth0", netns=bridge.netns)
        bridge.world.ip("link", "set", "eth0", "address", "02:00:00:00:00:99", netns=bridge.netns)
        until(lambda: asker.pings(behind, count=3) is passes, f"{name}: as guard says")  # noqa: B023


def test_a_rate_is_held_by_ovn_and_by_the_host(fleet: Fleet, stages: list[Stage]) -> None:
    segments.made(stages[:1], "blue")
    stages[0].container("slow", "name=blue,driver-opt=ovs.rate=1mbit+2mbit")
    (rule,) = fleet.nbctl("qos-list", "blue").splitlines()
    assert "from-lport" in rule
    assert 'inport == "blue/10.50.0.2"' in rule
    assert "rate=2000" in rule
    until(lambda: "rate=2000" in _meters(fleet), "OVN has made the meter")
    stages[0].bed.ovsnet("set", "slow", "ovs.rate=1mbit+4mbit")
    assert "rate=4000" in fleet.nbctl("qos-list", "blue")
    until(lambda: "rate=4000" in _meters(fleet), "OVN has changed the meter")
    stages[0].bed.ovsnet("set", "slow", "ovs.rate=1mbit+2mbit")
    assert "rate=2000" in fleet.nbctl("qos-list", "blue")
    fleet.nbctl("qos-del", "blue")
    stages[0].bed.ovsnet("reconcile")
    assert "rate=2000" in fleet.nbctl("qos-list", "blue")
    stages[0].bed.docker("rm", "--force", "slow")
    until(lambda: not fleet.nbctl("qos-list", "blue"), "the rule goes with its container")


def _meters(fleet: Fleet) -> str:
    said = ("ovs-ofctl", "-OOpenFlow15", "dump-meters", "br-int")
    return fleet.host(1).attempt(*said).out


def test_macs_and_names_of_interfaces_are_as_typed(stages: list[Stage]) -> None:
    segments.made(stages[:2], "blue", "-o", "ovs.ifprefix=seg")
    web = stages[0].container("web", "name=blue,mac-address=02:00:00:00:00:77")
    own = stages[1].container("own", "name=blue,driver-opt=ovs.mac=02:00:00:00:00:78")
    assert web.link("seg0")["address"] == "02:00:00:00:00:77"
    own.reaches(web.address("blue"), who="web")
    web.reaches(own.address("blue"), who="own")


def test_a_dry_run_makes_nothing(fleet: Fleet, stages: list[Stage]) -> None:
    with pytest.raises(CommandError, match="segment blue"):
        stages[0].network("blue", *segments.on("blue"), "-o", "ovs.dry_run=true", subnet=SUBNET4)
    assert not fleet.nbctl("ls-list")


def test_excluded_addresses_and_a_range_are_a_hosts_own(stages: list[Stage]) -> None:
    stages[0].network("blue", *segments.on("blue"), "--ip-range", "10.50.0.64/26", subnet=SUBNET4)
    stages[1].network(
        "blue",
        *segments.on("blue"),
        "--ipam-opt",
        "ipam.exclude=10.50.0.2-10.50.0.9",
        subnet=SUBNET4,
    )
    assert stages[0].container("one", "blue").address("blue") == "10.50.0.64"
    assert stages[1].container("two", "blue").address("blue") == "10.50.0.10"


def test_a_trace_leads_to_a_container_of_another_host(stages: list[Stage]) -> None:
    segments.made(stages[:2], "blue")
    web, db = stages[0].container("web", "blue"), stages[1].container("db", "blue")
    address = db.address("blue")
    web.reaches(address, who="db")
    here = stages[0].bed
    said = here.ovsnet("trace", "web", address, "tcp/80")
    assert f"{address} is held by " in said
    assert "on host host2" in said
    assert "bridge br-int sends it there" in said
    with pytest.raises(CommandError, match=r"nobody has 10\.50\.0\.99 on segment blue"):
        here.ovsnet("trace", "web", "10.50.0.99")


def test_people_look_at_a_container_of_a_segment_as_at_any(stages: list[Stage]) -> None:
    segments.made(stages[:2], "blue")
    web = stages[0].container("web", "blue")
    bed = stages[0].bed
    shown = bed.ovsnet("network", "show", "blue")
    assert "segment blue" in shown
    assert "web" in bed.ovsnet("endpoint", "ls")
    assert json.loads(bed.ovsnet("network", "ls", "--json"))
    assert web.address("blue") in bed.ovsnet("endpoint", "show", "web")
