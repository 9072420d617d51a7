"""Cables that are pulled, for good or for a while."""

import json
from signal import SIGKILL

import pytest

from tests.e2e.bed import Bed
from tests.e2e.far import beyond
from tests.e2e.stage import Container, Stage
from tests.e2e.world import until

pytestmark = pytest.mark.docker


def carrier(bed: Bed, container: Container) -> bool:
    flags: list[str] = json.loads(
        bed.run("ip", "-json", "link", "show", "eth0", netns=container.netns)
    )[0]["flags"]
    return "NO-CARRIER" not in flags


def switch_sees(bed: Bed, container: Container) -> str:
    (endpoint,) = json.loads(bed.ovsnet("endpoint", "show", container.name, "--json"))
    return bed.run("ovs-vsctl", "get", "Interface", endpoint["port_name"], "link_state").strip()


def test_a_pulled_cable_takes_the_carrier_from_both_ends_and_stays_so(
    bed: Bed, stage: Stage
) -> None:
    network = stage.network("lab", subnet="10.77.2.0/24")
    web, peer = stage.container("web", network), stage.container("peer", network)
    address = web.endpoint(network)["IPAddress"]
    peer.reaches(address, "web")
    bed.ovsnet("set", "web", "ovs.link=down")
    until(lambda: not carrier(bed, web), "the container sees no carrier")
    until(lambda: switch_sees(bed, web) == "down", "the switch sees the link down")
    assert not peer.pings(address, count=1)
    assert "nothing" in bed.ovsnet("reconcile", "--dry-run").lower()

    bed.restart_plugin(SIGKILL)
    bed.ovsnet("reconcile")
    assert not carrier(bed, web)
    bed.run("docker", "restart", "-t", "0", "web")
    until(lambda: not carrier(bed, web), "its next start has no carrier either")
    bed.ovsnet("set", "web", "ovs.link=")
    peer.reaches(address, "web")

    bed.ovsnet("set", "lab", "ovs.link=down")
    until(lambda: not carrier(bed, web) and not carrier(bed, peer), "all are cut off")
    bed.ovsnet("set", "peer", "ovs.link=up")
    bed.ovsnet("set", "lab", "ovs.link=up")
    peer.reaches(address, "web")
    born = stage.container("born", "name=lab,driver-opt=ovs.link=down")
    assert not carrier(bed, born)


def test_what_is_for_a_while_is_taken_back_also_by_the_next_process(bed: Bed, stage: Stage) -> None:
    network = stage.network("lab", subnet="10.77.2.0/24")
    web, peer = stage.container("web", network), stage.container("peer", network)
    address = web.endpoint(network)["IPAddress"]
    bed.ovsnet("set", "web", "ovs.link=down", "--for", "15s")
    assert not carrier(bed, web)
    assert "ovs.link=down for" in " ".join(bed.ovsnet("status").split())
    bed.restart_plugin(SIGKILL)
    until(lambda: carrier(bed, web), "the cable is plugged in again")
    peer.reaches(address, "web")
    assert "For a while" not in bed.ovsnet("status")

    bed.ovsnet("set", "web", "ovs.link=down", "--every", "3s", "--for", "1s")
    for _ in range(2):
        until(lambda: not carrier(bed, web), "it goes")
        until(lambda: carrier(bed, web), "and comes")
    bed.ovsnet("set", "web", "ovs.link=")
    peer.reaches(address, "web")


@pytest.mark.long
def test_the_cable_of_an_uplink_is_pulled_and_given_back(bed: Bed, stage: Stage) -> None:
    with beyond(bed) as far:
        desk = far.host("desk", "10.30.0.30/24", tag=30)
        bed.ip("link", "set", "eth1", "up")
        wire = ("-o", "ovs.uplink=eth1", "-o", "ovs.vlan=30")
        lan = stage.network("lan", *wire, subnet="10.30.0.0/24")
        ann = stage.container("ann", lan)
        address = ann.address(lan)
        ann.reaches("10.30.0.30", "desk")

        def plugged() -> bool:
            return "LOWER_UP" in bed.ip("link", "show", far.end("eth1"))

        bed.ovsnet("set", "lan", "ovs.uplink_link=down", "--for", "1h")
        until(lambda: not plugged(), "the other end sees no carrier")
        assert not desk.pings(address, count=1)
        assert "ovs.uplink_link=up" in bed.try_ovsnet("trace", "ann", "10.30.0.30").out
        assert "nothing to mend" in bed.ovsnet("reconcile", "--dry-run")
        bed.restart_plugin(SIGKILL)
        bed.vswitchd.stop()
        bed.start_vswitchd()
        bed.ovsnet("reconcile")
        until(lambda: not plugged(), "and after restarts neither")
        bed.ovsnet("set", "lan", "ovs.uplink_link=down", "--for", "1s")
        until(plugged, "it is plugged in again by itself")
        desk.reaches(address, "ann")
        bed.ovsnet("set", "lan", "ovs.uplink_link=down")
        until(lambda: not plugged(), "it is pulled")
        stage.clear()
        until(plugged, "it is given back as it was: up")
