"""Stacks of VLAN tags from every kind of port: nothing arrives with a tag that nobody asked for."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.e2e import ears
from tests.e2e.bed import Bed
from tests.e2e.far import Far, beyond
from tests.e2e.stage import Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker

Q, AD = "8100", "88a8"
HOME, ELSE, OTHER, TUNNEL, UNUSED = 10, 20, 30, 40, 99
TRUNKS = (ELSE, OTHER)
CUSTOMER = 7
FLOWS = ("ovs-ofctl", "-O", "OpenFlow14", "dump-flows")


@dataclass(frozen=True)
class Kind:
    """A container's port: what is said for it, and what it may send and hears."""

    home: str
    """Its network."""
    vlan: int | None
    """Where frames without a tag are; 0: without one on the wire as well; None: nowhere."""
    options: tuple[str, ...] = ()
    trunks: tuple[int, ...] = ()
    tagged: bool = False
    """Those of its own VLAN reach it with their tag."""
    cvlans: tuple[int, ...] = ()
    """Customers' tags of a tunnel."""


LISTED = ("ovs.trunks=20+30",)
KINDS = {
    "access": Kind("home", HOME),
    "neighbour": Kind("home", HOME),
    "internal": Kind("home", HOME, ("ovs.port=internal",)),
    "guarded": Kind("home", HOME, ("ovs.guard=true",)),
    "protected": Kind("home", HOME, ("ovs.protected=true",)),
    "router": Kind("home", HOME, LISTED, TRUNKS),
    "native": Kind("home", HOME, (*LISTED, "ovs.vlan_mode=native-tagged"), TRUNKS, tagged=True),
    "trunk": Kind("home", None, (*LISTED, "ovs.vlan_mode=trunk"), TRUNKS),
    "bare": Kind("bare", 0),
    "bare2": Kind("bare", 0),
    "barerouter": Kind("bare", 0, LISTED, TRUNKS),
    "else": Kind("else", ELSE),
    "other": Kind("other", OTHER),
    "otherrouter": Kind("other", OTHER, ("ovs.trunks=20",), (ELSE,)),
}
TUNNELS = {
    "customer": Kind("tunnel", TUNNEL, cvlans=(CUSTOMER,)),
    "customer2": Kind("tunnel", TUNNEL, cvlans=(CUSTOMER,)),
}


def stacks() -> dict[str, str]:
    """Return what is tried, by a label for each; what the switch may cache comes first."""
    found = {"plain": "-", "zero": f"{Q}:0", "zero-ad": f"{AD}:0"}
    for vlan in (HOME, ELSE, OTHER, UNUSED, CUSTOMER):
        found[f"q{vlan}"] = f"{Q}:{vlan}"
    found["ad20"] = f"{AD}:{ELSE}"
    for vlan in (HOME, ELSE, UNUSED, CUSTOMER):
        for outer in (0, HOME, OTHER, CUSTOMER):
            found[f"q{outer}-q{vlan}"] = f"{Q}:{outer},{Q}:{vlan}"
        found[f"ad0-q{vlan}"] = f"{AD}:0,{Q}:{vlan}"
        found[f"q0-ad{vlan}"] = f"{Q}:0,{AD}:{vlan}"
        found[f"q0-q0-q{vlan}"] = f"{Q}:0,{Q}:0,{Q}:{vlan}"
        found[f"q0-q0-q0-q{vlan}"] = f"{Q}:0,{Q}:0,{Q}:0,{Q}:{vlan}"
    for old in ("9100", "9200", "9300"):
        found[f"old{old}"] = f"{old}:{ELSE}"
        found[f"q0-old{old}"] = f"{Q}:0,{old}:{ELSE}"
        found[f"old{old}-q20"] = f"{old}:0,{Q}:{ELSE}"
        found[f"q0-q0-old{old}"] = f"{Q}:0,{Q}:0,{old}:{ELSE}"
    return found


def tags(stack: str) -> list[tuple[str, int]]:
    pairs = [each.partition(":") for each in stack.split(",") if each != "-"]
    return [(protocol, int(vlan)) for protocol, _, vlan in pairs]


def way(kind: Kind, stack: str) -> tuple[int, tuple[int, ...]] | None:
    """Return the VLAN that a frame of a port may travel in, and the tags that it keeps below."""
    said = tags(stack)
    if any(protocol not in (Q, AD) for protocol, _ in said):
        return None
    numbers = tuple(vlan for _, vlan in said)
    if not numbers or numbers == (0,):
        return None if kind.vlan is None else (kind.vlan, ())
    if kind.cvlans:
        return (TUNNEL, numbers) if numbers[0] in kind.cvlans else None
    if len(numbers) == 1 and kind.trunks and numbers[0] in (*kind.trunks, kind.vlan):
        return numbers[0], ()
    return None


def arrives(kind: Kind, vlan: int, below: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the tags that a port hears it with; None: it does not."""
    if vlan == kind.vlan:
        return (vlan, *below) if kind.tagged else below
    return (vlan, *below) if vlan in kind.trunks else None


def strays(heard: ears.Ears, kinds: Mapping[str, Kind], run: str, *, two: bool) -> Iterator[str]:
    """Return what arrived where or as it must not, a sentence each."""
    tried = stacks()
    for listener in (*kinds, "wire"):
        for label, said in heard.heard(listener).items():
            number, sender, name = label.split("/")
            if number != run:
                continue
            kind, stack = kinds[sender], tried[name]
            if (
                two
                and kind.trunks
                and len(tags(stack)) == 2
                and tags(stack)[0][1] in (*kind.trunks, kind.vlan)
            ):
                continue  # what is not promised
            took = way(kind, stack)
            for found in said:
                numbers = tuple(vlan for _, vlan in tags(found))
                text = f"{listener} heard {stack} of {sender} as {found}"
                if took is None:
                    yield text
                elif listener == "wire":
                    whole = (took[0], *took[1]) if took[0] else took[1]
                    # a third tag is one more than the switch can carry
                    if numbers not in (whole, whole[:2]) or (
                        numbers
                        and not kind.trunks
                        and tags(found)[0][0] != (AD if kind.cvlans else Q)
                    ):
                        yield text
                elif arrives(kinds[listener], *took) not in (numbers, (*numbers, *took[1][1:])):
                    yield text


@pytest.fixture
def far(bed: Bed) -> Iterator[Far]:
    with beyond(bed) as far:
        yield far


@pytest.fixture
def lab(bed: Bed) -> Iterator[str]:
    """An administrator's bridge with a port to a wire, untagged and with all VLANs."""
    bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
    bed.ip("link", "add", "lab0", "up", "type", "veth", "peer", "name", "labwire")
    bed.ip("link", "set", "labwire", "up", "arp", "off")
    bed.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/labwire/disable_ipv6")
    bed.ovs_vsctl("add-port", "br-lab", "lab0")
    yield "br-lab"
    bed.ovs_vsctl("del-br", "br-lab")
    bed.ip("link", "del", "lab0")


def networks(stage: Stage, *where: str) -> dict[str, Network]:
    found = {}
    for number, (name, vlan) in enumerate(
        {"home": HOME, "bare": "none", "else": ELSE, "other": OTHER}.items()
    ):
        found[name] = stage.network(
            name, *where, "-o", f"ovs.vlan={vlan}", subnet=f"10.77.{number}.0/24"
        )
    return found


def start(stage: Stage, kinds: Mapping[str, Kind]) -> dict[str, ears.Link]:
    links: dict[str, ears.Link] = {}
    for name, kind in kinds.items():
        options = "".join(f",driver-opt={option}" for option in kind.options)
        container = stage.container(name, f"name={kind.home}{options}", command="sleep 1000000")
        (device,) = container.links()
        links[name] = (container, device)
    return links


def nothing_strays(
    bed: Bed, links: Mapping[str, ears.Link], kinds: Mapping[str, Kind], run: str, *, two: bool
) -> None:
    with ears.listening(bed, links, stacks=True) as heard:
        for name in kinds:
            frames = [(f"{run}/{name}/{label}", stack) for label, stack in stacks().items()]
            ears.send(links[name], frames)
        for name, kind in kinds.items():
            if name in ("guarded", "trunk"):  # these have nothing to say without a tag, so made
                continue
            same = {n for n, k in kinds.items() if k.vlan == kind.vlan} - {name}
            heard.wait_for(f"{run}/{name}/plain", {*same, "wire"})
            if not two:
                heard.wait_for(f"{run}/{name}/zero", {*same, "wire"})
            for vlan in kind.trunks:
                into = {n for n, k in kinds.items() if vlan in (k.vlan, *k.trunks)} - {name}
                heard.wait_for(f"{run}/{name}/q{vlan}", {*into, "wire"})
            for vlan in kind.cvlans:
                heard.wait_for(f"{run}/{name}/q{vlan}", {*same, "wire"})
        time.sleep(1)  # what is to arrive wrongly may be slower than what arrives rightly
        assert sorted(strays(heard, kinds, run, two=two)) == []


def test_tags_leave_no_port_of_ours_and_reach_no_wire(
    bed: Bed, far: Far, stage: Stage, host: Place
) -> None:
    where = ("-o", "ovs.uplink=eth1", "-o", "ovs.mode=flat")
    networks(stage, *where)
    links = {**start(stage, KINDS), "wire": (host, far.end("eth1"))}
    nothing_strays(bed, links, KINDS, "one", two=False)

    bed.ovs_vsctl("set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
    try:
        tunnel = ("-o", "ovs.vlan_mode=dot1q-tunnel", "-o", f"ovs.cvlans={CUSTOMER}")
        stage.network("tunnel", *where, "-o", f"ovs.vlan={TUNNEL}", *tunnel, subnet="10.77.9.0/24")
        kinds = KINDS | TUNNELS
        links |= start(stage, TUNNELS)
        bridge = "unix:/run/openvswitch/br-eth1.mgmt"
        until(lambda: "push_vlan" not in bed.run(*FLOWS, bridge), "the flows follow")
        nothing_strays(bed, links, kinds, "two", two=True)

        bed.vswitchd.stop()
        bed.start_vswitchd()
        until(lambda: "dl_type=0x9100" in bed.run(*FLOWS, bridge), "the flows are back")
        stage.clear()
    finally:
        bed.ovs_vsctl("remove", "Open_vSwitch", ".", "other_config", "vlan-limit")


def test_tags_leave_no_port_of_ours_on_an_adopted_bridge(
    bed: Bed, lab: str, stage: Stage, host: Place
) -> None:
    before = _flows(bed, lab)
    networks(stage, "-o", f"ovs.bridge={lab}", "-o", "ovs.mode=flat")
    links = {**start(stage, KINDS), "wire": (host, "labwire")}
    nothing_strays(bed, links, KINDS, "one", two=False)
    # those of others pass as before
    with ears.listening(bed, {"bare": links["bare"]}, stacks=True) as heard:
        ears.send((host, "labwire"), [("theirs", f"{Q}:0,{Q}:{ELSE}")])
        heard.wait_for("theirs", {"bare"})
    stage.clear()
    until(lambda: _flows(bed, lab) == before, "the bridge's flows are as before")


def test_a_trunk_sends_tags_below_its_own_into_tunnels_as_long_as_it_is_one(
    bed: Bed, stage: Stage
) -> None:
    bed.ovs_vsctl("set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
    try:
        closed = ("-o", "ovs.mode=isolated")
        tunnel = ("-o", "ovs.vlan_mode=dot1q-tunnel", "-o", f"ovs.vlan={TUNNEL}")
        stage.network("home", *closed, "-o", f"ovs.vlan={HOME}", subnet="10.77.0.0/24")
        stage.network("tunnel", *closed, *tunnel, subnet="10.77.1.0/24")
        links: dict[str, ears.Link] = {
            name: (stage.container(name, network, command="sleep 1000000"), "eth0")
            for name, network in (("ann", "home"), ("bob", "home"), ("customer", "tunnel"))
        }
        with ears.listening(bed, links, stacks=True) as heard:
            bed.ovsnet("set", "ann", f"ovs.trunks={TUNNEL}")
            ears.send(links["ann"], [("in", f"{AD}:{TUNNEL},{Q}:{CUSTOMER}"), ("plain", "-")])
            ears.send(links["ann"], [("zero", f"{Q}:0,{Q}:{TUNNEL}")])
            heard.wait_for("in", {"customer"})
            heard.wait_for("plain", {"bob"})
            bed.ovsnet("set", "ann", "ovs.trunks=")
            ears.send(links["ann"], [("late", f"{AD}:{TUNNEL},{Q}:{CUSTOMER}"), ("last", "-")])
            heard.wait_for("last", {"bob"})
            time.sleep(1)  # what is to arrive wrongly may be slower than what arrives rightly
            assert heard.heard("customer") == {"in": {f"{Q}:{CUSTOMER}"}}
            assert heard.heard("bob").keys() == {"plain", "last"}
        stage.clear()
    finally:
        bed.ovs_vsctl("remove", "Open_vSwitch", ".", "other_config", "vlan-limit")


def _flows(bed: Bed, bridge: str) -> list[str]:
    said = bed.run(*FLOWS, "--no-stats", f"unix:/run/openvswitch/{bridge}.mgmt")
    return sorted(line for line in said.splitlines() if "actions" in line)
