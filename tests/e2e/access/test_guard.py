"""Guarded containers send as themselves; frames that pretend something else arrive nowhere."""

import json
import sys
import time
from pathlib import Path

import pytest

from tests.e2e import ears, forgery
from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.world import until

pytestmark = pytest.mark.docker

FLOOD = str(Path(__file__).parents[1] / "flood.py")
DUAL = ("--ipv6", "--subnet", "10.77.1.0/24", "--subnet", "fd00:77:1::/64")


def sender(container: Container, network: Network | str) -> forgery.Sender:
    said = container.endpoint(network)
    mac = bytes.fromhex(said["MacAddress"].replace(":", ""))
    (link,) = container.sees("-6", "address", "show", "eth0")
    (local,) = (each["local"] for each in link["addr_info"] if each["scope"] == "link")
    return forgery.Sender(
        mac=mac,
        ipv4=said["IPAddress"],
        ipv6=said["GlobalIPv6Address"],
        link_local=local,
    )


def arrived(
    bed: Bed, source: Container, listener: Container, network: Network | str, label: str
) -> set[str]:
    """Return which forged frames of ``source`` reach ``listener``, who must get the honest ones."""
    me = sender(source, network)
    frames = forgery.forged(me, "10.77.1.99", "fd00:77:1::99") | forgery.honest(me)
    named = {f"{label}/{name}": frame for name, frame in frames.items()}
    with ears.listening(bed, {listener.name: (listener, "eth0")}) as heard:
        ears.send_raw((source, "eth0"), named)
        for name in forgery.honest(me):
            heard.wait_for(f"{label}/{name}", {listener.name})
        time.sleep(1)  # what is to arrive wrongly may be slower than what arrives rightly
        names = {each.partition("/")[2] for each in heard.heard(listener.name)}
    return names - forgery.honest(me).keys()


def test_forged_frames_of_a_guarded_container_arrive_nowhere(bed: Bed, stage: Stage) -> None:
    network = stage.network("lab", *DUAL, "-o", "ovs.guard=true")
    ann, bob = stage.container("ann", network), stage.container("bob", network)
    free = stage.container("free", f"name={network.name},driver-opt=ovs.guard=false")
    address4, address6 = (
        bob.endpoint(network)["IPAddress"],
        bob.endpoint(network)["GlobalIPv6Address"],
    )
    ann.reaches(address4, "bob")
    ann.reaches(address6, "bob")
    ann.reaches(OUTSIDE4, port=OUTSIDE_PORT)
    all_forged = forgery.forged(sender(ann, network), "10.77.1.99", "fd00:77:1::99").keys()
    # LLDP is no frame that a switch forwards, guarded or not
    assert arrived(bed, free, bob, network, "free") | {"lldp"} == set(all_forged)
    assert arrived(bed, ann, bob, network, "ann") == set()

    bed.vswitchd.stop()
    bed.start_vswitchd()
    bridge = ("ovs-ofctl", "-O", "OpenFlow14", "dump-flows", "unix:/run/openvswitch/br-ovsnet.mgmt")
    # Attempted: the bridge's socket comes a while after the daemon.
    until(lambda: "arp_spa" in bed.attempt(*bridge).out, "the flows are back", timeout_s=60)
    ann.reaches(address4, "bob")
    assert arrived(bed, ann, bob, network, "again") == set()

    bed.ovsnet("set", "ann", "ovs.guard=false")
    assert "ipv4" in arrived(bed, ann, bob, network, "off")
    bed.ovsnet("set", "lab/ann", "ovs.guard=true")
    assert arrived(bed, ann, bob, network, "on") == set()

    bed.docker("rm", "--force", "ann", "bob")
    until(lambda: "in_port=" not in bed.run(*bridge), "no flow of ours is left")


def test_flows_of_a_guard_stand_beside_other_peoples_and_go_without_a_trace(
    bed: Bed, stage: Stage
) -> None:
    bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
    bridge = "unix:/run/openvswitch/br-lab.mgmt"
    ofctl = ("ovs-ofctl", "-O", "OpenFlow14")
    rule = "cookie=0x7,priority=100,udp,tp_dst=4242,actions=drop"
    bed.run(*ofctl, "add-flow", bridge, rule)
    before = _flows(bed, bridge)
    network = stage.network(
        "lab",
        *("-o", "ovs.bridge=br-lab", "-o", "ovs.vlan=30", "-o", "ovs.guard=true"),
        subnet="10.77.1.0/24",
    )
    ann, bob = stage.container("ann", network), stage.container("bob", network)
    ann.reaches(bob.endpoint(network)["IPAddress"], "bob")
    assert len(_flows(bed, bridge)) > len(before)
    stage.clear()
    until(lambda: _flows(bed, bridge) == before, "the bridge's flows are as before")

    bed.ovs_vsctl("set-controller", "br-lab", "tcp:127.0.0.1:6699")
    refused = bed.docker_refuses(
        *("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam"),
        *("-o", "ovs.bridge=br-lab", "-o", "ovs.vlan=30", "-o", "ovs.guard=true", "lab"),
    )
    assert "br-lab has a controller" in refused
    bed.ovs_vsctl("del-br", "br-lab")


def _flows(bed: Bed, bridge: str) -> list[str]:
    said = bed.run("ovs-ofctl", "-O", "OpenFlow14", "--no-stats", "dump-flows", bridge)
    return sorted(line for line in said.splitlines() if "actions" in line)


def asked_for(
    bed: Bed, container: Container, network: Network, *, source: str, destination: str
) -> set[str]:
    """Return the host's neighbours on a network after 3,000 requests of a container."""
    link, gateway = f"ovg{network.id[:12]}", network.gateway(6)
    gateway_mac = bed.run("cat", f"/sys/class/net/{link}/address")
    mac = container.endpoint(network)["MacAddress"]
    said = ("eth0", mac, source, destination, gateway_mac, "3000")
    bed.run(sys.executable, FLOOD, *said, netns=container.netns)
    until(lambda: container.pings(gateway), "what was sent before has been judged")
    listed = bed.ip("-6", "neigh", "show", "nud", "all", "dev", link).splitlines()
    return {line.split()[0] for line in listed if not line.startswith("ff")}


def given_up(bed: Bed) -> None:
    until(
        lambda: "INCOMPLETE" not in bed.ip("-6", "neigh", "show", "nud", "all"),
        "the host has given up on them",
    )


def test_a_guarded_container_makes_the_host_ask_for_no_neighbour_but_itself(
    bed: Bed, stage: Stage
) -> None:
    """Without a guard, each source that it invents is one, in a table that all networks share."""
    network = stage.network("lab", *DUAL, "-o", "ovs.guard=true")
    gateway = network.gateway(6)
    ann = stage.container("ann", network)
    own = {ann.address(network, 6), sender(ann, network).link_local}
    for prefix in (network.subnet(6), "fe80::/64"):
        assert asked_for(bed, ann, network, source=prefix, destination=gateway) <= own
    free = stage.container("free", f"name={network.name},driver-opt=ovs.guard=false")
    assert len(asked_for(bed, free, network, source=network.subnet(6), destination=gateway)) > 50
    given_up(bed)


@pytest.mark.parametrize(
    ("options", "forwarded"),
    [
        pytest.param((), False, id="nat"),
        pytest.param(("-o", "ovs.mode=routed", "-o", "ovs.isolate=true"), False, id="isolate"),
        pytest.param(("-o", "ovs.mode=routed", "-o", "ovs.icc=false"), False, id="apart"),
        pytest.param(("-o", "ovs.mode=routed"), True, id="routed"),
    ],
)
def test_only_a_routed_network_forwards_to_destinations_that_a_guarded_container_invents(
    bed: Bed, stage: Stage, options: tuple[str, ...], forwarded: bool
) -> None:
    network = stage.network("lab", *DUAL, "-o", "ovs.guard=true", *options)
    ann = stage.container("ann", network)
    own = ann.address(network, 6)
    found = asked_for(bed, ann, network, source=own, destination=network.subnet(6))
    # the kernel may think of telling ann where a few of them are, whom it does not ask for
    assert len(found) > 50 if forwarded else len(found) < 30
    given_up(bed)


def entries(bed: Bed, table: str) -> int:
    """Return how many neighbours there are in the kernel's one table of a family."""
    said = bed.ip("-json", "-stats", "ntable", "show", "name", f"{table}_cache")
    return int(next(each["entries"] for each in json.loads(said) if "entries" in each))


@pytest.mark.parametrize(
    ("table", "address"),
    [
        pytest.param("arp", "10.77.1.$((100 + i))", id="ipv4"),
        pytest.param("ndisc", "[fd00:77:1::$((1000 + i))]", id="ipv6"),
    ],
)
def test_destinations_that_a_guarded_container_without_rights_invents_are_in_everybodys_table(
    bed: Bed, stage: Stage, table: str, address: str
) -> None:
    """In its own namespace, where nobody sees them; the host has the same table."""
    network = stage.network("lab", *DUAL, "-o", "ovs.guard=true")
    ann = stage.container(
        "ann", network, "--user", "65534", "--cap-drop", "ALL", command="sleep 1d"
    )

    def grown() -> int:
        ask = f"for i in $(seq 100); do wget -T 1 http://{address}:9/ 2>/dev/null & done; wait"
        before = entries(bed, table)
        ann.execute("sh", "-c", ask)
        return entries(bed, table) - before

    # others of this machine may forget many meanwhile
    until(lambda: grown() > 80, "each of a hundred is an entry")
    assert not bed.ip("-6", "neigh", "show", "to", "fd00:77:1::/64").strip()
