"""What tests/faults does to Open vSwitch and the host under load, quietly, on the kernel's own."""

from collections.abc import Callable
from random import Random
from signal import Signals

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.world import until
from tests.faults import inflicted
from tests.faults.pair import ENDS, all_is_well, pair

pytestmark = [pytest.mark.docker, pytest.mark.kernel]


@pytest.mark.parametrize("end", ENDS)
def test_traffic_is_back_after_a_restart_of_vswitchd(bed: Bed, stage: Stage, end: Signals) -> None:
    network, a, b = pair(stage)
    all_is_well(network, a, b)
    bed.vswitchd.stop(end)
    bed.start_vswitchd()
    all_is_well(network, a, b)


@pytest.mark.parametrize("end", ENDS)
def test_traffic_is_back_after_a_restart_of_ovsdb_server(
    bed: Bed, stage: Stage, end: Signals
) -> None:
    network, a, b = pair(stage)
    bed.ovsdb.stop(end)
    bed.start_ovsdb()
    until(lambda: a.pings(b.address(network)), "vswitchd is connected again", timeout_s=60)
    all_is_well(network, a, b)
    c = stage.container("cat", network)
    all_is_well(network, a, c)


def test_containers_are_plugged_in_again_when_the_database_is_lost(bed: Bed, stage: Stage) -> None:
    network, a, b = pair(stage)
    bed.vswitchd.stop()
    bed.ovsdb.stop()
    (bed.home / "conf.db").unlink()
    bed.start_switch()
    until(lambda: a.pings(b.address(network)), "ann and bob are plugged in again", timeout_s=60)
    all_is_well(network, a, b)


def test_a_port_that_was_removed_by_hand_is_made_again(bed: Bed, stage: Stage) -> None:
    network, a, b = pair(stage)
    for port in bed.ovs_vsctl("list-ports", "br-ovsnet").split():
        bed.ovs_vsctl("del-port", "br-ovsnet", port)
    until(lambda: a.pings(b.address(network)), "ann and bob are plugged in again", timeout_s=60)
    all_is_well(network, a, b)


def test_a_bridge_that_was_removed_by_hand_is_made_again(bed: Bed, stage: Stage) -> None:
    network, a, b = pair(stage)
    bed.ovs_vsctl("del-br", "br-ovsnet")
    until(lambda: a.pings(b.address(network)), "ann and bob are plugged in again", timeout_s=60)
    all_is_well(network, a, b)


def test_everything_is_rebuilt_after_a_reboot(make_bed: Callable[..., Bed]) -> None:
    bed = make_bed()
    stage = Stage(bed)
    network = stage.network("one", "--ipv6", "--subnet", "fd00:77:1::/64", subnet="10.77.1.0/24")
    a = stage.container("ann", network, "--restart", "always")
    b = stage.container("bob", network, "--restart", "always")
    all_is_well(network, a, b)
    inflicted.host_rebooted(bed, Random(0))  # noqa: S311 - nothing is chosen
    until(lambda: a.running and b.running, "Docker has started ann and bob again", timeout_s=60)
    all_is_well(network, a, b)
    stage.clear()
    assert bed.ovs_vsctl("list-br") == ""
