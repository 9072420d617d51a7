"""A bed with a bridge of somebody's, NICs and a switch beyond both, and a bystander."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.bed import WAN4, WAN6, Bed
from tests.e2e.conftest import pytest_runtest_makereport
from tests.e2e.far import Far
from tests.e2e.stage import Stage
from tests.e2e.world import until
from tests.pairs.scene import BESIDE4, SUBNET4, SUBNET6, Surroundings

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def surroundings() -> Iterator[Surroundings]:
    with Bed() as bed:
        far = Far(bed, ("eth1", "eth2", "eth3"))
        # somebody's bridge, with a NIC of its own
        bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
        bed.ip("link", "set", "eth3", "up")
        bed.ovs_vsctl("add-port", "br-lab", "eth3")
        lan = {
            tag: far.host(name, f"10.77.1.{number}/24", f"fd00:77:1::{number}/64", tag=tag)
            for name, number, tag in (("lan30", 30, 30), ("plain", 31, None))
        }
        # who is outside knows the way to a routed network
        for subnet, way in ((SUBNET4, WAN4), (BESIDE4, WAN4), (SUBNET6, WAN6)):
            bed.ip("route", "add", subnet, "via", way, netns=bed.outside)
        stage = Stage(bed)
        dual = ("--ipv6", "--subnet", "fd00:77:9::/64")
        other = stage.network("other", *dual, subnet="10.77.9.0/24")
        six = ("--ipv6", "--subnet", "fd00:77:8::/64")
        second = stage.network("second", *six, subnet="10.77.8.0/24")
        zoe = stage.container("zoe", other)
        # What the first container of all leaves: docker_gwbridge, and that a network was in use.
        stage.container("first", stage.network("behind", "-o", "ovs.mode=gwbridge"))
        bed.docker("network", "connect", second.name, "first")
        bed.docker("rm", "--force", "first")
        bed.docker("network", "rm", "behind")

        def noted() -> bool:
            (shown,) = json.loads(bed.ovsnet("endpoint", "show", "zoe", "--json"))
            return bool(shown["interface"])

        until(noted, "it is noted what zoe's interface is like")
        yield Surroundings(bed, stage, lan, other, zoe)
        stage.clear()
        far.close()
