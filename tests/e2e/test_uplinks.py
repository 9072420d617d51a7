"""Networks on a NIC: what reaches the switch beyond the wire and what comes from there."""

from collections.abc import Iterator

import pytest

from tests.e2e import ears, snapshot
from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.far import Far, beyond
from tests.e2e.stage import Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker

LAN30, LAN31, PLAIN = "10.30.0.30", "10.30.0.31", "10.30.0.100"


@pytest.fixture
def far(bed: Bed) -> Iterator[Far]:
    """A switch beyond ``eth1`` and ``eth2``; removed after the networks, which name it first."""
    with beyond(bed) as far:
        yield far


def on_eth1(stage: Stage, name: str, vlan: str, *options: str, uplink: str = "eth1") -> Network:
    """Make a network of its own address space on an uplink."""
    return stage.network(
        name,
        *("-o", f"ovs.uplink={uplink}", "-o", f"ovs.vlan={vlan}", "-o", f"ovs.space={name}"),
        *("--ipam-opt", f"ipam.space={name}", "--ip-range", "10.30.0.128/25", *options),
        subnet="10.30.0.0/24",
    )


def trunks(bed: Bed, port: str = "eth1") -> str:
    return bed.ovs_vsctl("get", "Port", port, "trunks", "tag", "vlan_mode")


def test_containers_share_a_nic_and_each_is_on_its_own_vlan_of_the_wire(
    bed: Bed, far: Far, stage: Stage, host: Place
) -> None:
    lan30 = far.host("lan30", f"{LAN30}/24", tag=30)
    lan31 = far.host("lan31", f"{LAN31}/24", tag=31)
    plain = far.host("plain", f"{PLAIN}/24", tag=None)
    before = snapshot.take(bed)

    one = on_eth1(stage, "one", "30")
    ann = stage.container("ann", one)
    assert trunks(bed) == "[30]\n[]\ntrunk"
    ann.reaches(LAN30, who="lan30")
    lan30.reaches(ann.address(one), who="ann")
    ann.never_reaches(LAN31)
    host.never_reaches(ann.address(one))

    two = on_eth1(stage, "two", "31")
    bare = on_eth1(stage, "bare", "none")
    bob, cat = stage.container("bob", two), stage.container("cat", bare)
    assert trunks(bed) == "[0, 30, 31]\n[]\ntrunk"
    bob.reaches(LAN31, who="lan31")
    cat.reaches(PLAIN, who="plain")
    plain.reaches(cat.address(bare), who="cat")
    bob.never_reaches(LAN30)
    cat.never_reaches(LAN30)
    ann.reaches(LAN30, who="lan30")
    shown = bed.ovsnet("network", "show", "one")
    assert "eth1 (ours), carries VLAN none, 30, 31" in shown

    wire: dict[str, ears.Link] = {"wire": (host, "wire1")}
    with ears.listening(bed, wire) as heard:
        for place, label in ((ann, "ann"), (bob, "bob"), (cat, "cat")):
            ears.send((place, "eth0"), [(label, "-")])
            heard.wait_for(label, {"wire"})
        assert heard.heard("wire") == {"ann": {"30"}, "bob": {"31"}, "cat": {"-"}}

    bed.docker("rm", "--force", "bob", "cat")
    bed.docker("network", "rm", "two", "bare")
    assert trunks(bed) == "[30]\n[]\ntrunk"
    ann.reaches(LAN30, who="lan30")
    lan31.never_reaches(ann.address(one))

    stage.clear()
    until(
        lambda: not snapshot.difference(before, snapshot.take(bed)),
        lambda: f"all is as before\n{snapshot.difference(before, snapshot.take(bed))}",
    )


def test_what_other_vlans_of_the_wire_carry_does_not_come_in(
    bed: Bed, far: Far, stage: Stage, host: Place
) -> None:
    one = on_eth1(stage, "one", "30")
    inside = stage.network("inside", "-o", "ovs.bridge=br-eth1", "-o", "ovs.vlan=40", "--internal")
    ann, dan = stage.container("ann", one), stage.container("dan", inside)
    ears_on: dict[str, ears.Link] = {"ann": (ann, "eth0"), "dan": (dan, "eth0")}
    stacks = {"untagged": "-", "q30": "8100:30", "q31": "8100:31", "q40": "8100:40"}
    with ears.listening(bed, ears_on | {"wire": (host, "wire1")}) as heard:
        # what is sent into the far end of the wire comes out of the NIC
        ears.send((host, "wire1"), [(label, stack) for label, stack in stacks.items()])
        heard.wait_for("q30", {"ann"})
        ears.send((dan, "eth0"), [("from-dan", "-")])
        ears.send((ann, "eth0"), [("from-ann", "-")])
        heard.wait_for("from-ann", {"wire"})
        assert heard.heard("ann").keys() == {"q30"}
        assert heard.heard("dan").keys() == set()
        assert heard.heard("wire").keys() == {"from-ann"}


def test_a_bond_outlives_the_wire_that_it_uses(bed: Bed, far: Far, stage: Stage) -> None:
    far.host("lan30", f"{LAN30}/24", tag=30)
    one = on_eth1(stage, "one", "30", "-o", "ovs.bond=active-backup", uplink="eth1+eth2")
    ann = stage.container("ann", one)
    ann.reaches(LAN30, who="lan30")
    (port,) = (each for each in bed.ovs_vsctl("list-ports", "br-eth1").split() if "ovu" in each)
    assert bed.ovs_vsctl("get", "Port", port, "bond_mode", "trunks") == "active-backup\n[30]"
    for wire in ("wire1", "wire2"):
        bed.ip("link", "set", wire, "down")
        until(lambda: ann.pings(LAN30), f"ann reaches lan30 without {wire}")
        bed.ip("link", "set", wire, "up")
        until(lambda: ann.pings(LAN30), f"ann reaches lan30 with {wire}")


def test_a_nic_that_the_host_needs_is_refused_and_goes_on_working(
    bed: Bed, far: Far, stage: Stage, host: Place
) -> None:
    network = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam")
    options = ("-o", "ovs.vlan=30", "-o")
    said = bed.docker_refuses(*network, *options, "ovs.uplink=wan0", "lan")
    assert f"ovs.uplink=wan0: it carries {WAN4}/24" in said
    assert "the default route" in said or "2001:db8" in said
    bed.ip("link", "add", "br0", "type", "bridge")
    bed.ip("link", "set", "eth2", "master", "br0")
    said = bed.docker_refuses(*network, *options, "ovs.uplink=eth2", "lan")
    assert "it is a part of br0" in said
    bed.ip("link", "del", "br0")
    said = bed.docker_refuses(*network, *options, "ovs.uplink=wire1", "-o", "ovs.bridge=b", "lan")
    assert "it is a port of bridge br-far" in said
    said = bed.docker_refuses(*network, *options, "ovs.uplink=eth9", "lan")
    assert "this host has no such link" in said
    host.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)


def test_a_port_that_the_administrator_made_is_used_and_left(
    bed: Bed, far: Far, stage: Stage
) -> None:
    far.host("lan30", f"{LAN30}/24", tag=30)
    bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
    bed.ovs_vsctl("add-port", "br-lab", "eth1")
    bed.ip("link", "set", "eth1", "up")
    before = snapshot.take(bed)
    one = on_eth1(stage, "one", "30")
    ann = stage.container("ann", one)
    ann.reaches(LAN30, who="lan30")
    assert trunks(bed) == "[]\n[]\n[]"
    stage.clear()
    until(
        lambda: not snapshot.difference(before, snapshot.take(bed)),
        lambda: f"all is as before\n{snapshot.difference(before, snapshot.take(bed))}",
    )
    bed.ovs_vsctl("del-br", "br-lab")


def test_the_wire_is_back_after_the_database_was_lost(bed: Bed, far: Far, stage: Stage) -> None:
    far.host("lan30", f"{LAN30}/24", tag=30)
    ann = stage.container("ann", on_eth1(stage, "one", "30"))
    ann.reaches(LAN30, who="lan30")
    bed.ovs_vsctl("del-br", "br-eth1")
    until(lambda: ann.pings(LAN30), "the bridge is made again, with its uplink", timeout_s=60)
    bed.restart_plugin()
    bed.ovs_vsctl("set", "Port", "eth1", "trunks=99")
    until(lambda: ann.pings(LAN30), "the trunk carries VLAN 30 again", timeout_s=60)
