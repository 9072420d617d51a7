"""Several bridges, joined by patches."""

import json
from collections.abc import Mapping
from signal import SIGKILL

import pytest

from tests.e2e import labs
from tests.e2e.bed import Bed
from tests.e2e.pasted.test_labs import _images
from tests.e2e.stage import Container, Stage
from tests.e2e.switch.test_switch_features import options
from tests.e2e.world import until

__all__ = ["_images"]

pytestmark = pytest.mark.docker

CREATE = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam")


def patches(bed: Bed) -> Mapping[str, str]:
    """Return what patch ports carry, by bridge; one for each in these tests."""
    found = {}
    for bridge in bed.ovs_vsctl("list-br").split():
        for port in bed.ovs_vsctl("list-ports", bridge).split():
            if port.startswith("ovl"):
                found[bridge] = bed.ovs_vsctl("get", "Port", port, "trunks").strip()
    return found


def test_bridges_are_joined_for_the_vlans_of_those_who_ask(bed: Bed, stage: Stage) -> None:
    leaf = options(bridge="br-leaf", mode="flat")
    core = options(bridge="br-core", mode="flat")
    ask = options(patch="br-core")
    one = stage.network("one", *leaf, *ask, *options(vlan="30"), subnet="10.77.1.0/24")
    assert "no network of ovsnet is on that bridge" in bed.ovsnet("status")
    planned = bed.ovsnet("plan", *core, *options(vlan="30", shared="true"))
    assert "patch" in planned
    assert patches(bed) == {}
    other = stage.network("other", *core, *options(vlan="40"), subnet="10.77.3.0/24")
    assert patches(bed) == {"br-leaf": "[30]", "br-core": "[30]"}
    refused = bed.docker_refuses(*CREATE, *core, *options(vlan="30"), "two")
    assert "-o ovs.shared=true" in refused
    two = stage.network("two", *core, *options(vlan="30", shared="true"), subnet="10.77.2.0/24")
    near = stage.network("near", *leaf, *options(vlan="40"), subnet="10.77.4.0/24")

    names = {"ann": one, "bob": two, "cat": other, "dan": near}
    people = {name: stage.container(name, network) for name, network in names.items()}
    for person in people.values():
        bed.ip("route", "add", "10.77.0.0/16", "dev", "eth0", netns=person.netns)
    bob, cat, dan = (people[name].address(network) for name, network in list(names.items())[1:])
    ann, third = people["ann"], people["cat"]
    ann.reaches(bob, "bob")
    assert "ann reaches bob" in bed.ovsnet("trace", "ann", "bob")
    assert not ann.pings(cat, count=1), "another VLAN of the core"
    assert not third.pings(dan, count=1), "a VLAN that nobody asked for"

    for name in ("near", "other"):
        assert "ovs.shared=true" in bed.try_ovsnet("set", "near", "ovs.patch=br-core").err
        bed.ovsnet("set", name, "ovs.shared=true")
    bed.ovsnet("set", "near", "ovs.patch=br-core")
    assert patches(bed) == {"br-leaf": "[30, 40]", "br-core": "[30, 40]"}
    third.reaches(dan, "dan")
    (edge,) = (
        each
        for each in json.loads(bed.ovsnet("graph", "--format", "json"))["edges"]
        if each["kind"] == "patch"
    )
    assert edge["label"] == "VLAN 30,40"
    bed.ovs_vsctl("del-port", "br-core", _port(bed, "br-core"))
    until(lambda: len(patches(bed)) == 2, "it is mended")
    ann.reaches(bob, "bob")
    bed.ovsnet("set", "near", "ovs.patch=")
    assert patches(bed) == {"br-leaf": "[30]", "br-core": "[30]"}
    assert not third.pings(dan, count=1)

    bed.ovsnet("set", "one", "ovs.patch_link=down", "--for", "1h")
    assert patches(bed) == {}
    assert not ann.pings(bob, count=1)
    assert "ovs.patch_link=down" in bed.try_ovsnet("trace", "ann", "bob").out
    bed.ovsnet("set", "one", "ovs.patch_link=up")
    ann.reaches(bob, "bob")
    stage.clear()
    assert patches(bed) == {}


def _port(bed: Bed, bridge: str) -> str:
    return next(p for p in bed.ovs_vsctl("list-ports", bridge).split() if p.startswith("ovl"))


def test_what_may_not_be_joined_is_refused(bed: Bed, stage: Stage) -> None:
    bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
    try:
        for said, words in (
            (options(bridge="br-a", patch="br-a", vlan="10"), "own bridge"),
            (options(bridge="br-a", patch="br-lab", vlan="10"), "did not make bridge br-lab"),
            (options(bridge="br-lab", patch="br-a", vlan="10"), "did not make bridge br-lab"),
            (options(bridge="br-a", patch="br-b"), "so name it"),
            (options(patch_link="down"), "needs a patch"),
        ):
            assert words in bed.docker_refuses(*CREATE, *said, "lab"), said
        for one, two in (("br-a", "br-b"), ("br-b", "br-c")):
            stage.network(one, *options(bridge=one, patch=two, vlan="10"))
        ring = options(bridge="br-c", patch="br-a", vlan="10")
        assert "for ever" in bed.docker_refuses(*CREATE, *ring, "lab")
        stage.clear()
    finally:
        bed.ovs_vsctl("del-br", "br-lab")


def _states(bed: Bed) -> list[str]:
    """Return what RSTP has made of the ports between bridges."""
    rows = json.loads(bed.ovs_vsctl("--format=json", "--columns=name,rstp_status", "list", "Port"))[
        "data"
    ]
    return sorted(
        dict(status[1]).get("rstp_port_state", "")
        for name, status in rows
        if name.startswith("ovl")
    )


@pytest.mark.long
def test_a_ring_of_switches_has_no_loop_and_outlives_a_link(bed: Bed) -> None:
    closed, opened = ["Discarding"] + ["Forwarding"] * 5, ["Forwarding"] * 4
    with labs.up(bed, "ring.yaml") as lab:
        ann, bob, cat = (lab.container(name) for name in ("ann", "bob", "cat"))
        addresses = "10.88.0.2", "10.88.0.3"
        until(lambda: _states(bed) == closed, lambda: str(_states(bed)), timeout_s=90)
        for each in addresses:
            until(lambda each=each: ann.pings(each), each, timeout_s=60)  # type: ignore[misc]
        before = _received(cat)
        assert ann.pings(addresses[0], count=3)
        assert _received(cat) - before < 1000  # in a loop they would be without number

        bed.ovsnet("set", lab.network("one"), "ovs.patch_link=down")
        until(lambda: _states(bed) == opened, lambda: str(_states(bed)), timeout_s=60)
        until(lambda: ann.pings(addresses[0]), "by the other way", timeout_s=60)
        assert "nothing to mend" in bed.ovsnet("reconcile", "--dry-run")
        bed.restart_plugin(SIGKILL)
        assert _states(bed) == opened
        bed.vswitchd.stop()
        bed.start_vswitchd()
        until(lambda: ann.pings(addresses[0]), "after a restart of the switch too", timeout_s=90)
        bed.ovsnet("set", lab.network("one"), "ovs.patch_link=up")
        until(lambda: _states(bed) == closed, lambda: str(_states(bed)), timeout_s=90)
        until(lambda: bob.pings("10.88.0.1"), "and back", timeout_s=60)
    assert "br-ring" not in bed.ovs_vsctl("list-br")


def _received(container: Container) -> int:
    (link,) = container.sees("-statistics", "link", "show", "eth0")
    return int(link["stats64"]["rx"]["packets"])
