"""What networks of every kind have made is there while they are, and gone with them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e import snapshot
from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, Bed
from tests.e2e.far import Far, beyond
from tests.e2e.pasted.test_more_labs import netem
from tests.e2e.stage import Stage
from tests.e2e.switch.test_mirrors import mirrors
from tests.e2e.world import until

pytestmark = pytest.mark.docker

LAN = [f"10.77.{number}.200/24" for number in range(1, 6)]

PUBLISHED = (
    *("-p", "8080:80", "-p", "5353:53/udp", "-p", "9899:9899/sctp", "-p", "[::1]:8081:80"),
    *("-P", "--expose", "80"),
)
OF_GATEWAYS = {"links", "routes", "settings", "firewall"}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A network, one of its containers, and what they reach."""

    network: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    endpoint: str = ""
    container: tuple[str, ...] = ()
    leads_outside: bool = False
    on_wire: bool = False
    apart: bool = False


GROUPS = {
    "with gateways": {
        "nat": Kind(leads_outside=True),
        "published": Kind(container=PUBLISHED, leads_outside=True),
        "routed": Kind(network=("ovs.mode=routed",)),
        "apart": Kind(network=("ovs.icc=false",), leads_outside=True, apart=True),
        "tapped": Kind(network=("ovs.port=internal",), leads_outside=True),
        "guarded": Kind(network=("ovs.guard=true", "ovs.rate=100mbit+100mbit"), leads_outside=True),
    },
    "without": {
        "flat": Kind(network=("ovs.mode=flat",), flags=("--ipam-opt", "ipam.probe=true")),
        "internal": Kind(flags=("--internal",)),
        "isolated": Kind(network=("ovs.mode=isolated",)),
        "behind": Kind(network=("ovs.mode=gwbridge",)),
        "trunks": Kind(network=("ovs.mode=isolated", "ovs.trunks=210-220")),
        "trunk": Kind(
            network=("ovs.mode=isolated",),
            endpoint=",driver-opt=ovs.trunks=210-220,driver-opt=ovs.vlan_mode=native-tagged",
            apart=True,
        ),
    },
    "on wires": {
        "adopted": Kind(
            network=("ovs.bridge=br-lab", "ovs.vlan=30", "ovs.guard=true"), on_wire=True
        ),
        "uplink": Kind(network=("ovs.uplink=eth2", "ovs.vlan=30"), on_wire=True),
        "nat": Kind(network=("ovs.uplink=eth2", "ovs.vlan=31", "ovs.mode=nat"), leads_outside=True),
        "moved": Kind(
            network=("ovs.uplink=eth3", "ovs.vlan=30", "ovs.uplink_move=true"), on_wire=True
        ),
        "bond": Kind(
            network=("ovs.uplink=eth4+eth5", "ovs.vlan=30", "ovs.bond=balance-slb"), on_wire=True
        ),
    },
}

CHANGED = {
    "with gateways": OF_GATEWAYS | {"flows", "sockets"},
    "without": {"firewall"},
    "on wires": OF_GATEWAYS | {"flows"},
}
"""Parts of a snapshot that differ while the networks are there, besides those of any network."""

FEATURES = (
    *("ovs.guard=true", "ovs.rate=50mbit+20mbit", "ovs.burst=64kb", "ovs.broadcast=100"),
    *("ovs.mcast=true", "ovs.control_frames=forward"),
    *("ovs.sflow=192.0.2.2", "ovs.netflow=192.0.2.2", "ovs.ipfix=192.0.2.2/64"),
    *("ovs.protocols=OpenFlow13+OpenFlow14", "ovs.mirror=sink:ids"),
)
FEATURED = {
    "every": ("ovs.bridge=br-every", *FEATURES),
    "tap": ("ovs.bridge=br-every", "ovs.mode=isolated", "ovs.sink=ids"),
    "far": ("ovs.mirror=nic:eth2", "ovs.mode=isolated"),
    "leaf": ("ovs.bridge=br-leaf", "ovs.patch=br-every", "ovs.vlan=77", "ovs.dscp=ef"),
    "tree": ("ovs.bridge=br-tree", "ovs.mode=isolated", "ovs.rstp=containers"),
    "steered": (
        "ovs.bridge=br-steered",
        "ovs.controller=tcp:192.0.2.2:6653",
        "ovs.failmode=secure",
    ),
}


@pytest.fixture(scope="module")
def surroundings(shared_bed: Bed) -> Iterator[Far]:
    """A bridge of somebody's on ``eth1``, with a flow; free NICs; the host on ``eth3`` as well."""
    bed = shared_bed
    with beyond(bed, *(f"eth{number}" for number in range(1, 6))) as far:
        far.host("lan", *LAN, tag=30)
        far.host("router", "198.51.100.1/24", tag=None)
        bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
        bed.ovs_vsctl("add-port", "br-lab", "eth1")
        bed.run("ovs-ofctl", "add-flow", "br-lab", "priority=7,tcp,tp_dst=9,actions=drop")
        for nic in ("eth1", "eth3"):
            bed.ip("link", "set", nic, "up")
        bed.ip("address", "add", "198.51.100.7/24", "dev", "eth3")
        bed.ip("route", "add", "203.0.113.0/24", "via", "198.51.100.1", "dev", "eth3")
        yield far
        bed.ovs_vsctl("del-br", "br-lab")


@pytest.mark.parametrize("group", GROUPS)
def test_networks_that_are_removed_leave_nothing(
    surroundings: Far, bed: Bed, stage: Stage, group: str
) -> None:
    before = snapshot.take(bed)
    made = []
    for number, (name, kind) in enumerate(GROUPS[group].items(), 1):
        options = tuple(part for word in kind.network for part in ("-o", word))
        options += (*kind.flags, "--ipv6", "--subnet", f"fd00:77:{number}::/64")
        network = stage.network(name, *options, subnet=f"10.77.{number}.0/24")
        a = stage.container(f"{name}-a", f"name={name}{kind.endpoint}", *kind.container)
        made.append((kind, number, network, a, stage.container(f"{name}-b", network)))
    differing = {part for part, lines in snapshot.take(bed).items() if before[part] != lines}
    assert differing >= CHANGED[group] | {"switch", "records", "docker"}
    for kind, number, network, a, b in made:
        if kind.leads_outside:
            for address in (OUTSIDE4, OUTSIDE6):
                b.reaches(address, port=OUTSIDE_PORT)
        if kind.on_wire:
            b.reaches(f"10.77.{number}.200", who="lan")
        if not kind.apart:
            b.reaches(a.address(network), who=a.name)
    stage.clear()
    as_before(bed, before)


def test_what_features_make_goes_with_the_container_and_with_the_network(
    surroundings: Far, bed: Bed, stage: Stage
) -> None:
    before = snapshot.take(bed)
    for number, (name, words) in enumerate(FEATURED.items(), 1):
        options = (part for word in words for part in ("-o", word))
        six = ("--ipv6", "--subnet", f"fd00:77:{number}::/64")
        stage.network(name, *options, *six, subnet=f"10.77.{number}.0/24")
    until(
        lambda: all(
            each["network"]["engine"] for each in json.loads(bed.ovsnet("network", "ls", "--json"))
        ),
        "whose networks they are is noted",
    )
    # that it was used stays in the record of a network
    alone = {part: lines for part, lines in snapshot.take(bed).items() if part != "records"}
    impaired = ",driver-opt=ovs.delay=5ms,driver-opt=ovs.loss=0.1%" if netem(bed) else ""
    a = stage.container("ann", f"name=every,driver-opt=ovs.mirror=sink:ids{impaired}")
    b = stage.container("bob", "every")
    for name in ("tap", "far", "leaf", "steered", "tree"):
        stage.container(f"in-{name}", name)
    until(lambda: len(mirrors(bed).split()) == 3, lambda: f"three mirrors, not {mirrors(bed)}")
    b.reaches(a.address("every"), who="ann")
    a.reaches(b.address("every", 6), who="bob")
    there = snapshot.take(bed)
    differing = {part for part, lines in alone.items() if there[part] != lines}
    assert differing >= {"switch", "flows", "links", "queues", "docker"}
    bed.docker("rm", "--force", *bed.docker("ps", "--all", "--quiet").split())
    as_before(bed, alone)
    stage.clear()
    as_before(bed, before)


def as_before(bed: Bed, before: snapshot.Snapshot) -> None:
    until(
        lambda: not snapshot.difference(before, snapshot.take(bed)),
        lambda: f"all is as before\n{snapshot.difference(before, snapshot.take(bed))}",
    )
