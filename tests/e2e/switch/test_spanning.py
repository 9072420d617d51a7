"""Spanning trees: no container takes part in one, unless its network says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.e2e import ears, forgery
from tests.e2e.bed import Bed
from tests.e2e.far import Far, beyond
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.switch.test_shaping import mac
from tests.e2e.switch.test_switch_features import options
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = [pytest.mark.docker, pytest.mark.long]

CREATE = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam")
TREE = options(mode="isolated", rstp="containers")
NEIGHBOUR = bytes.fromhex("0a0000000001")
"""Of a switch beyond a port that is not ours."""


@pytest.fixture
def far(bed: Bed) -> Iterator[Far]:
    with beyond(bed, "eth1", "eth2", "eth3") as far:
        yield far


@contextmanager
def their_bridge(bed: Bed, *columns: str) -> Iterator[Place]:
    """Make a bridge of somebody's, ``br-lab``, and give the place at the end of its cable."""
    bed.ovs_vsctl(
        *("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev", *columns)
    )
    netns = bed.add_namespace("neighbour")
    bed.ip("link", "add", "cable", "up", "type", "veth", "peer", "name", "eth0", "netns", netns)
    bed.ip("link", "set", "eth0", "up", netns=netns)
    bed.ovs_vsctl("add-port", "br-lab", "cable")
    try:
        yield Place(bed, "neighbour", netns)
    finally:
        bed.ovs_vsctl("del-br", "br-lab")
        bed.ip("link", "del", "cable")
        bed.ip("netns", "del", "neighbour")


def says_it_is_root(place: Place, source: bytes, *, rapid: bool) -> None:
    ears.send_raw((place, "eth0"), {"bpdu": forgery.bpdu(source, rapid=rapid)})


def root(bed: Bed, *, rapid: bool) -> str:
    """Return the MAC of the root that ``br-lab`` sees, empty before it sees one."""
    column, key = ("rstp_status", "rstp_root_id") if rapid else ("status", "stp_designated_root")
    said = bed.ovs_vsctl("--if-exists", "get", "Bridge", "br-lab", f"{column}:{key}")
    return said.strip('"').rpartition(".")[2]


@pytest.mark.parametrize("rapid", [False, True], ids=["stp", "rstp"])
def test_no_container_becomes_the_root_of_somebodys_tree(
    bed: Bed, stage: Stage, rapid: bool
) -> None:
    speaks = "rstp_enable=true" if rapid else "stp_enable=true"
    with their_bridge(bed, "other_config:stp-forward-delay=4") as neighbour:
        lab = stage.network("lab", *options(bridge="br-lab", vlan="30"), subnet="10.77.1.0/24")
        ann, bob = stage.container("ann", lab), stage.container("bob", lab)
        bed.ovs_vsctl("set", "Bridge", "br-lab", speaks)
        until(lambda: root(bed, rapid=rapid) != "", "there is a tree")

        def neighbour_is_root() -> bool:
            says_it_is_root(ann, bytes(6), rapid=rapid)  # of two equals the lowest MAC wins
            says_it_is_root(neighbour, NEIGHBOUR, rapid=rapid)
            return root(bed, rapid=rapid) == NEIGHBOUR.hex()

        until(neighbour_is_root, lambda: f"{root(bed, rapid=rapid)} is the neighbour", timeout_s=60)
        off = f"ovs-vsctl set Bridge br-lab {speaks.replace('true', 'false')}"
        assert off in bed.ovsnet("reconcile", "--dry-run")
        refused = bed.docker_refuses(*CREATE, *options(bridge="br-lab", vlan="31"), "other")
        assert off in refused
        if not rapid:
            bed.run(*off.split())
            ann.reaches(bob.address(lab), "bob")
            stage.clear()
            return
        assert "say -o ovs.rstp=containers" in refused
        tree = ("-o", "ovs.bridge=br-lab", "-o", "ovs.vlan=32", "-o", "ovs.rstp=containers")
        assert "does not say it" in bed.docker_refuses(*CREATE, *tree, "other")
        stage.clear()
        stage.network("other", *tree, subnet="10.77.2.0/24")
        cat, dan = stage.container("cat", "other"), stage.container("dan", "other")
        until(partial(cat.pings, dan.address("other")), "who takes part is reached", timeout_s=60)
        says_it_is_root(cat, bytes(6), rapid=True)
        until(lambda: root(bed, rapid=True) == "000000000000", "and may become the root")
        stage.clear()


def test_switches_in_containers_may_be_connected_in_a_loop(bed: Bed, stage: Stage) -> None:
    left, right = (
        stage.network(name, *options(bridge=f"br-{name}"), *TREE, subnet=subnet)
        for name, subnet in (("left", "10.77.1.0/24"), ("right", "10.77.2.0/24"))
    )
    ann, bob = stage.container("ann", left), stage.container("bob", right)
    for name in ("one", "two"):
        _become_switch(bed, stage.container(name, left, "--cap-add", "NET_ADMIN"))
    for place, address in ((ann, "10.99.0.1/24"), (bob, "10.99.0.2/24")):
        bed.ip("address", "add", address, "dev", "eth0", netns=place.netns)

    def states() -> list[str]:
        listed = bed.ovs_vsctl("--bare", "--columns=rstp_status", "list", "Port")
        return [each for each in listed.split() if each.startswith("rstp_port_state=")]

    until(lambda: "rstp_port_state=Discarding" in states(), states, timeout_s=60)
    ann.reaches("10.99.0.2", "bob")
    before = _received(bob)
    ann.reaches("10.99.0.2", "bob")
    assert _received(bob) - before < 1000  # in a loop they would be without number
    other = bed.docker_refuses(*CREATE, *options(bridge="br-left", mode="isolated"), "other")
    assert "says it, and all of a bridge must" in other
    assert "nothing to mend" in bed.ovsnet("reconcile", "--dry-run")
    guarded = bed.docker_refuses(
        *stage.run_command("cat", "name=left,driver-opt=ovs.guard=true"),
    )
    assert "no guard stops that" in guarded
    bed.vswitchd.stop()
    bed.start_vswitchd()
    ann.reaches("10.99.0.2", "bob")

    bed.ip("link", "set", "br0", "down", netns=Container(bed, "two").netns)  # no loop meanwhile
    bed.ovs_vsctl("set", "Bridge", "br-left", "rstp_enable=false")
    until(partial(_speaks_rstp, bed, "br-left"), "it is switched on again", timeout_s=60)
    bed.ip("neighbour", "flush", "dev", "eth0", netns=ann.netns)
    until(lambda: ann.pings("10.99.0.2"), "and floods", timeout_s=60)


def _speaks_rstp(bed: Bed, bridge: str) -> bool:
    """Whether vswitchd has noticed that it is to."""
    return bed.ovs_vsctl("--bare", "--columns=rstp_status", "list", "Bridge", bridge) != ""


def _become_switch(bed: Bed, container: Container) -> None:
    bed.docker("network", "connect", "right", container.name)
    netns = container.netns
    bed.ip("link", "add", "br0", "up", "type", "bridge", netns=netns)
    for link in ("eth0", "eth1"):
        bed.ip("link", "set", link, "master", "br0", netns=netns)


def _received(container: Container) -> int:
    (link,) = container.sees("-statistics", "link", "show", "eth0")
    return int(link["stats64"]["rx"]["packets"])


def test_what_cannot_stand_beside_a_tree_is_refused(bed: Bed, far: Far) -> None:
    for said, words in (
        (options(rstp="true"), "if they shall, say ovs.rstp=containers"),
        (options(rstp="containers"), "floods nothing to a gateway"),
        (options(rstp="containers", mode="routed"), "floods nothing to a gateway"),
        ((*TREE, *options(port="internal")), "use ovs.port=veth"),
        ((*TREE, *options(guard="true")), "no guard stops that"),
        (options(uplink="eth1", vlan="30", rstp="containers"), "root of the wire's tree"),
        (options(uplink="eth1+eth2", vlan="30", rstp="containers"), "root of the wire's tree"),
        ((*TREE, "--ipam-opt", "ipam.probe=true"), "leave one of them out"),
    ):
        assert words in bed.docker_refuses(*CREATE, *said, "lab"), said


@pytest.mark.parametrize("uplink", ["eth1", "eth1+eth2"])
def test_bpdus_of_a_container_reach_the_wire_only_where_they_are_forwarded(
    bed: Bed, far: Far, stage: Stage, host: Place, uplink: str
) -> None:
    lab = stage.network("lab", *options(uplink=uplink, vlan="none"), subnet="10.77.1.0/24")
    ann = stage.container("ann", lab)
    wires = {end: (host, end) for end in map(far.end, uplink.split("+"))}

    def leaves(network: Network) -> bool:
        frames = {
            "bpdu": forgery.bpdu(mac(ann, network), rapid=True),
            "end": forgery.ipv4_frame(mac(ann, network), ann.address(network)),
        }
        with ears.listening(bed, wires) as heard:

            def ended() -> bool:
                ears.send_raw((ann, "eth0"), frames)
                return bool(heard.hearers("end"))

            until(ended, "what is sent behind it reaches the wire")
            return bool(heard.hearers("bpdu"))

    assert not leaves(lab)
    bed.ovsnet("set", "lab", "ovs.control_frames=forward")
    until(lambda: leaves(lab), "it leaves")
    bed.ovsnet("set", "lab", "ovs.guard=true")
    assert not leaves(lab)
