"""The fleet itself: what all other tests take for granted."""

import subprocess
import tempfile
from functools import partial
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.e2e.stage import Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until
from tests.hosts.central import NORTH
from tests.hosts.fleet import Fleet
from tests.hosts.underlay import UNDERLAY

pytestmark = [pytest.mark.docker, pytest.mark.ovn]


def test_hosts_reach_each_other_and_are_known_to_ovn(fleet: Fleet) -> None:
    for host in fleet.hosts:
        here = Place(host, host.system_id)
        for to in {other.address for other in fleet.hosts} - {host.address}:
            until(partial(here.pings, to), f"{here.name} pings {to}")
    assert fleet.chassis() == {"host1", "host2", "host3"}
    for host in fleet.hosts:
        ports = host.ovs_vsctl("list-ports", "br-int").split()
        assert len([each for each in ports if each.startswith("ovn-host")]) == 2


def test_a_local_network_works_on_each_host_beside_ovn(fleet: Fleet, stages: list[Stage]) -> None:
    def talk(number: int) -> None:
        stage = stages[number]
        network = stage.network("home", subnet="10.60.0.0/24")
        ann, bob = (stage.container(name, network) for name in ("ann", "bob"))
        ann.reaches(bob.address(network), who="bob")

    for number in range(len(stages)):
        talk(number)


def test_a_machine_outside_is_reached_over_the_underlay(fleet: Fleet) -> None:
    fleet.underlay.outsider("printer", "203.0.113.100/24", switch=UNDERLAY)
    try:
        Place(fleet.host(1), "host1").reaches("203.0.113.100", who="printer")
    finally:
        fleet.underlay.remove("printer")


def test_a_vlan_of_the_trunk_is_one_of_its_own(fleet: Fleet) -> None:
    one = fleet.underlay.outsider("one", "10.30.0.1/24", vlan=30)
    fleet.underlay.outsider("two", "10.30.0.2/24", vlan=30)
    fleet.underlay.outsider("three", "10.30.0.3/24", vlan=31)
    try:
        one.reaches("10.30.0.2", who="two")
        one.never_reaches("10.30.0.3")
    finally:
        for name in ("one", "two", "three"):
            fleet.underlay.remove(name)


def test_a_host_that_is_cut_off_is_reached_again_when_healed(fleet: Fleet) -> None:
    one, two = Place(fleet.host(1), "host1"), fleet.host(2)
    fleet.cut(two)
    try:
        assert not one.pings(two.address, count=2)
        assert two.docker("version")
    finally:
        fleet.heal()
    until(lambda: one.pings(two.address), "host2 is reached again")
    fleet.sync()


def test_daemons_that_are_killed_are_started_again(fleet: Fleet) -> None:
    host = fleet.host(3)
    for name, daemon in host.daemons.items():
        if name.startswith("ov"):
            daemon.restart(SIGKILL)
    fleet.sync()
    until(lambda: Place(fleet.host(1), "host1").pings(host.address), "host3 is reached again")


def test_a_host_whose_power_failed_is_as_before_when_it_is_back(fleet: Fleet) -> None:
    fleet.host(3).power_off()
    assert not Place(fleet.host(1), "host1").pings(fleet.host(3).address)
    fleet.host(3).boot()
    fleet.sync()


def test_a_fleet_grows_and_outlives_its_first_host_and_leaves_nothing() -> None:
    with Fleet(central=(1,), docker=False) as fleet:
        fleet.add_central(2)
        fleet.add_central(3)
        first = fleet.host(1)
        first.power_off()
        assert fleet.leader(NORTH) is not first
        fleet.nbctl("ls-add", "kept")
        first.boot()
        until(lambda: first.central is not None and not first.central.leads(NORTH), "it follows")
        fleet.sync()
        assert "kept" in first.run(
            *("ovn-nbctl", f"--db={NORTH.socket}", "--no-leader-only", "--bare"),
            *("--columns=name", "list", "Logical_Switch"),
        )
        worlds = (fleet.underlay, *fleet.hosts)
    places = ("/run/netns", "/sys/fs/cgroup", tempfile.gettempdir())
    paths = [str(path) for place in places for path in Path(place).glob("*")]
    listed = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True)
    for world in worlds:
        assert not [each for each in (*paths, *listed.stdout.splitlines()) if world.name in each]
