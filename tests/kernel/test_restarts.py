"""Restarts and losses, quietly, on the kernel's own Open vSwitch; tests/faults has many more."""

from signal import SIGKILL

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.world import until
from tests.faults.pair import all_is_well, pair
from tests.kernel.sessions import serving, session

pytestmark = pytest.mark.docker


def test_containers_keep_talking_while_the_plugin_is_away(bed: Bed, stage: Stage) -> None:
    network, a, b = pair(stage)
    address = b.address(network)
    with serving(bed, b), session(bed, a, address) as talk:
        bed.plugin.stop(SIGKILL)
        talk.goes_on()
        all_is_well(network, a, b)
        bed.start_plugin()
        talk.goes_on()
        assert len(talk.peers) == 1
    bed.docker("rm", "--force", "bob")
    again = stage.container("again", network, "--ip", address)
    all_is_well(network, a, again)


def test_containers_are_plugged_in_again_when_the_database_is_lost(bed: Bed, stage: Stage) -> None:
    network, a, b = pair(stage)
    bed.vswitchd.stop()
    bed.ovsdb.stop()
    (bed.home / "conf.db").unlink()
    bed.start_switch()
    until(lambda: a.pings(b.address(network)), "ann and bob are plugged in again", timeout_s=60)
    all_is_well(network, a, b)
