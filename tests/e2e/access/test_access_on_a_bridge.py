"""Access rules between containers of one network, and on networks without a gateway."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from netaddr import EUI

from tests.e2e import stream
from tests.e2e.bed import Bed
from tests.e2e.far import beyond
from tests.e2e.stage import Container, Stage
from tests.e2e.traffic import ECHO, Place
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker

DUAL = ("--ipv6", "--subnet", "10.77.1.0/24", "--subnet", "fd00:77:1::/64")
FAMILIES = (4, 6)
OFCTL = ("ovs-ofctl", "-O", "OpenFlow14")
BRIDGE = "unix:/run/openvswitch/br-ovsnet.mgmt"
OURS = "cookie=0xcc5ea5f200000000/0xffffffff00000000"


@contextmanager
def echoing(bed: Bed, *places: Place) -> Iterator[None]:
    """Have places answer on port 9 of TCP and UDP."""
    with ExitStack() as undo:
        for place in places:
            said = (sys.executable, ECHO, "serve", "9")
            program = Program(bed, f"echo-{place.name}", *said, netns=place.netns)
            program.start()
            undo.callback(program.stop)
        yield


def flows(bed: Bed) -> set[str]:
    """Return the flows of the bridge; none while vswitchd is away."""
    said = bed.attempt(*OFCTL, "--no-stats", "dump-flows", BRIDGE).out
    return {line.strip() for line in said.splitlines() if "actions" in line}


def test_a_rule_cuts_what_is_established_and_nothing_else(bed: Bed, stage: Stage) -> None:
    network = stage.network("lab", *DUAL)
    before = flows(bed)
    ann, bob = stage.container("ann", network), stage.container("bob", network)
    four, six = (bob.address(network, family) for family in FAMILIES)
    with (
        stream.held(bed, "four", ann, bob, four, port=7004) as over_four,
        stream.held(bed, "six", ann, bob, six, port=7006) as over_six,
        stream.held(bed, "back", bob, ann, ann.address(network), port=7007) as back,
    ):
        denied = "to 10.77.1.0/24 tcp/7000-7004, to fd00:77:1::/64 tcp/7006"
        bed.ovsnet("set", "ann", f"ovs.deny={denied}")
        over_four.stands_still()
        over_six.stands_still()
        back.goes_on()
        for family, address in zip(FAMILIES, (four, six), strict=True):
            ann.reaches(address, "bob")
            bob.reaches(ann.address(network, family), "ann")

        bed.ovsnet("set", "ann", "ovs.deny=")
        over_four.goes_on()
        over_six.goes_on()
        back.goes_on()
    bed.docker("rm", "--force", "ann", "bob")
    until(lambda: flows(bed) == before, "the bridge's flows are as before")


@pytest.mark.long
def test_rules_last_through_restarts_and_what_others_do_to_flows(bed: Bed, stage: Stage) -> None:
    network = stage.network("lab", *DUAL)
    ann, bob = stage.container("ann", network), stage.container("bob", network)
    four, six = (bob.address(network, family) for family in FAMILIES)
    with (
        stream.held(bed, "four", ann, bob, four, port=7004) as allowed,
        stream.held(bed, "six", ann, bob, six, port=7006) as denied,
    ):
        bed.ovsnet("set", "ann", "ovs.deny=to any tcp/7006", "ovs.allow=to any tcp")
        with_rules = flows(bed)
        bed.run(*OFCTL, "del-flows", BRIDGE, OURS)
        bed.ovsnet("reconcile")
        assert flows(bed) == with_rules
        allowed.goes_on()
        denied.stands_still()
        bed.restart_plugin()
        bed.vswitchd.stop()
        bed.start_vswitchd()
        until(lambda: flows(bed) == with_rules, "the flows are back", timeout_s=60)
        allowed.goes_on()
        denied.stands_still()


def test_only_what_is_allowed_passes_in_either_direction(bed: Bed, stage: Stage) -> None:
    network = stage.network("lab", *DUAL)
    ann, bob = stage.container("ann", network), stage.container("bob", network)
    with echoing(bed, ann, bob):
        bed.ovsnet("set", "ann", "ovs.allow=to any udp/9, from any tcp/9, from any icmp")
        for family in FAMILIES:
            to, back = bob.address(network, family), ann.address(network, family)
            assert ann.hears("udp", to, 9)
            assert bob.hears("tcp", back, 9)
            assert bob.pings(back)
            assert not ann.pings(to)
        assert not ann.hears("tcp", to, 9)
        assert not bob.hears("udp", back, 9)
        bed.ovsnet("set", "lab", "ovs.deny=from any udp")
        assert not ann.hears("udp", bob.address(network), 9)
        rule = "driver-opt=ovs.deny=from any tcp"
        cid = stage.container("cid", f"name={network.name},{rule}")
        cid.reaches(bob.address(network), "bob")
        assert bob.pings(cid.address(network))
        assert not bob.asks(cid.address(network))
        bed.ovsnet("set", "ann", "ovs.allow=", "ovs.deny=")
        near = f"{EUI(bob.link('eth0')['address']).ipv6_link_local()}%eth0"
        assert ann.pings(near)
        bed.ovsnet("set", "ann", "ovs.deny=to network:lab icmp")
        assert not ann.pings(near), "a network is meant at its link-local addresses, too"


@pytest.mark.long
def test_a_vlan_is_judged_for_itself_where_others_have_the_same_addresses(
    bed: Bed, stage: Stage
) -> None:
    def pair(name: str, *options: str) -> tuple[Container, Container, str]:
        apart = ("-o", f"ovs.space={name}", "--ipam-opt", f"ipam.space={name}")
        isolated = ("-o", "ovs.mode=isolated", *apart)
        network = stage.network(name, *isolated, *options, subnet="10.77.2.0/24")
        ann = stage.container(f"ann-{name}", network)
        return ann, stage.container(f"bob-{name}", network), ann.address(network)

    ann, bob, address = pair("closed", "-o", "ovs.deny=from any tcp, from any udp")
    other, peer, same = pair("open")
    assert address == same
    with echoing(bed, ann, other):
        peer.reaches(same, "ann-open")
        assert bob.pings(address)
        assert not bob.hears("udp", address, 9)
        bed.ovsnet("set", "ann-open", "ovs.deny=from any icmp")
        assert peer.hears("udp", same, 9)
        assert not peer.pings(same)
        assert bob.pings(address)


def test_a_flat_network_judges_what_goes_to_the_wire_and_comes_from_it(
    bed: Bed, stage: Stage
) -> None:
    with beyond(bed, "eth1") as far:
        lan4, lan6 = "10.77.3.200", "fd00:77:3::200"
        lan = far.host("lan", f"{lan4}/24", f"{lan6}/64", tag=30)
        subnets = ("--ipv6", "--subnet", "10.77.3.0/24", "--subnet", "fd00:77:3::/64")
        wire = ("-o", "ovs.uplink=eth1", "-o", "ovs.vlan=30", "--ip-range", "10.77.3.0/26")
        network = stage.network("lab", *subnets, *wire)
        ann = stage.container("ann", network)
        with echoing(bed, lan, ann):
            ann.reaches(lan6, "lan")
            bed.ovsnet("set", "ann", f"ovs.allow=to {lan4} tcp/80", "ovs.deny=from any udp")
            assert ann.asks(lan4) == "lan"
            assert not ann.asks(lan6)
            assert not ann.hears("tcp", lan4, 9)
            for family in FAMILIES:
                address = ann.address(network, family)
                assert lan.asks(address) == "ann"
                assert lan.pings(address)
                assert not lan.hears("udp", address, 9)
            # as somebody else it would not be known to its rules
            own = f"{ann.address(network)}/24"
            bed.ip("address", "add", "10.77.3.66/24", "dev", "eth0", netns=ann.netns)
            bed.ip("address", "del", own, "dev", "eth0", netns=ann.netns)
            ann.never_reaches(lan4)
        stage.clear()


@pytest.mark.long
def test_a_router_with_rules_forwards_what_those_of_others_let_pass(bed: Bed, stage: Stage) -> None:
    closed = ("-o", "ovs.mode=isolated", "-o", "ovs.deny=to any udp", "-o", "ovs.gateway=10.77.4.1")
    left = stage.network("left", *closed, subnet="10.77.4.0/24")
    way = ("-o", "ovs.mode=isolated", "-o", "ovs.gateway=container:router")
    right = stage.network("right", *way, subnet="10.77.5.0/24")
    forwards = ("--ip", "10.77.4.1", "--sysctl", "net.ipv4.ip_forward=1")
    router = stage.container("router", left, *forwards)
    bed.docker("network", "connect", "right", "router")
    ann, web = stage.container("ann", left), stage.container("web", right)
    free = stage.container("free", f"name={left.name},driver-opt=ovs.deny=from any icmp")
    address = web.address(right)
    with echoing(bed, web):
        ann.reaches(address, "web")
        assert not ann.hears("udp", address, 9)
        until(lambda: free.hears("udp", address, 9), "who may do so asks by UDP")
        assert web.asks(ann.address(left)) == "ann"
        assert web.pings(ann.address(left))
        assert not web.pings(free.address(left))
        assert router.hears("udp", address, 9), "on the other network it has no rules"
