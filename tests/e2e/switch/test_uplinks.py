"""Networks on a NIC: what reaches the switch beyond the wire and what comes from there."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from signal import SIGKILL

import pytest

from tests.e2e import ears, snapshot
from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.far import Far, beyond
from tests.e2e.stage import Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = [pytest.mark.docker, pytest.mark.long]

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
    as_before(bed, before)


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


@pytest.mark.parametrize("lacp", ["active", "passive"])
def test_a_bond_agrees_by_lacp_with_the_switch_beyond(
    bed: Bed, far: Far, stage: Stage, lacp: str
) -> None:
    lan = far.host("lan30", f"{LAN30}/24", tag=30)
    far.bond("active")
    options = ("-o", "ovs.bond=balance-tcp", "-o", f"ovs.lacp={lacp}")
    one = on_eth1(stage, "one", "30", *options, uplink="eth1+eth2")
    ann = stage.container("ann", one)
    (port,) = (each for each in bed.ovs_vsctl("list-ports", "br-eth1").split() if "ovu" in each)

    def agreed() -> str:
        control = ("ovs-appctl", "-t", "/run/openvswitch/vswitchd.ctl")
        return bed.run(*control, "lacp/show", port)

    until(
        lambda: agreed().count("current attached") == 2,
        lambda: f"both NICs are agreed on\n{agreed()}",
        timeout_s=60,
    )
    ann.reaches(LAN30, who="lan30")
    assert f"balance-tcp, LACP {lacp}, ours" in bed.ovsnet("network", "show", "one")
    for wire in ("wire1", "wire2"):
        bed.ip("link", "set", wire, "down")
        until(lambda: lan.pings(ann.address(one)), f"lan30 reaches ann without {wire}")
        bed.ip("link", "set", wire, "up")
        until(lambda: lan.pings(ann.address(one)), f"lan30 reaches ann with {wire}")


def test_without_lacp_beyond_a_bond_that_needs_it_carries_nothing(
    bed: Bed, far: Far, stage: Stage
) -> None:
    far.host("lan30", f"{LAN30}/24", tag=30)
    create = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam")
    off = ("-o", "ovs.uplink=eth1+eth2", "-o", "ovs.vlan=30", "-o", "ovs.lacp=off")
    said = bed.docker_refuses(*create, *off, "-o", "ovs.bond=balance-tcp", "lan")
    assert "ovs.lacp" in said
    one = on_eth1(stage, "one", "30", "-o", "ovs.lacp=active", uplink="eth1+eth2")
    stage.container("ann", one).never_reaches(LAN30)


def test_the_router_on_the_wire_is_the_way_out(bed: Bed, far: Far, stage: Stage) -> None:
    router = far.host("router", f"{LAN30}/24", "fd00:30::30/64", tag=30)
    beyond4, beyond6 = "203.0.113.5", "2001:db8:77::5"
    for address in (beyond4, beyond6):
        bed.ip("address", "add", address, "dev", "lo", netns=router.netns)
    six = ("--ipv6", "--subnet", "fd00:30::/64")
    gateways = ("-o", f"ovs.gateway={LAN30},fd00:30::30")
    one = on_eth1(stage, "one", "30", *six, *gateways)
    ann = stage.container("ann", one)
    for address in (beyond4, beyond6):
        ann.reaches(address, who="router")
    assert LAN30 not in {stage.container(name, one).address(one) for name in ("bob", "cat")}


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
    as_before(bed, before)
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


HOST, ROUTER, ROUTER6 = "198.51.100.7", "198.51.100.1", "2001:db8:51::1"


@pytest.fixture
def homed(bed: Bed, far: Far) -> Place:
    """Let the host live on ``eth1`` as well; its router there is the far host ``router``."""
    router = far.host("router", f"{ROUTER}/24", f"{ROUTER6}/64", tag=None)
    bed.ip("link", "set", "eth1", "up")
    bed.ip("address", "add", f"{HOST}/24", "dev", "eth1")
    bed.ip("address", "add", "2001:db8:51::7/64", "dev", "eth1", "nodad")
    bed.ip("route", "add", "default", "via", ROUTER, "dev", "eth1", "metric", "500")
    bed.ip("-6", "route", "add", "default", "via", ROUTER6, "dev", "eth1", "metric", "5000")
    bed.ip("route", "add", "203.0.113.0/24", "via", ROUTER, "dev", "eth1")
    return router


MOVE = ("-o", "ovs.uplink_move=true")


def device_of(host: Place, address: str) -> str:
    return str(host.sees("route", "get", address)[0]["dev"])


def as_before(bed: Bed, before: snapshot.Snapshot) -> None:
    until(
        lambda: not snapshot.difference(before, snapshot.take(bed)),
        lambda: f"all is as before\n{snapshot.difference(before, snapshot.take(bed))}",
    )


def test_the_host_moves_to_the_bridge_and_back(
    bed: Bed, far: Far, homed: Place, stage: Stage, host: Place
) -> None:
    far.host("lan30", f"{LAN30}/24", tag=30)
    before = snapshot.take(bed)
    one = on_eth1(stage, "one", "30", *MOVE)
    ann = stage.container("ann", one)
    ann.reaches(LAN30, who="lan30")
    assert {device_of(host, each) for each in (ROUTER, ROUTER6, "203.0.113.9")} == {"br-eth1"}
    for address in (ROUTER, ROUTER6):
        host.reaches(address, who="router")
    assert homed.pings(HOST)
    assert trunks(bed) == "[0, 30]\n[]\ntrunk"
    ann.never_reaches(ROUTER)
    assert "the host is on the bridge" in bed.ovsnet("network", "show", "one")

    assert "eth1 on br-eth1 carries VLAN 30 and untagged frames" in bed.ovsnet("status")

    bare = on_eth1(stage, "bare", "none")
    bob = stage.container("bob", bare)
    bed.restart_plugin()
    bed.vswitchd.stop(SIGKILL)
    bed.start_vswitchd()
    host.reaches(ROUTER, who="router")
    assert device_of(host, ROUTER6) == "br-eth1"
    bed.docker("rm", "--force", "ann")
    bed.docker("network", "rm", "one")
    host.reaches(ROUTER, who="router")
    assert bob.address(bare)
    stage.clear()
    host.reaches(ROUTER, who="router")
    host.reaches(ROUTER6, who="router")
    as_before(bed, before)


def test_the_host_is_moved_again_when_its_configuration_put_it_back(
    bed: Bed, far: Far, homed: Place, stage: Stage, host: Place
) -> None:
    before = snapshot.take(bed)
    on_eth1(stage, "one", "30", *MOVE)
    bed.plugin.stop()
    # as after a reboot: the NIC is in the bridge, and the system's scripts configure the NIC
    for address in (f"{HOST}/24", "2001:db8:51::7/64"):
        bed.ip("address", "del", address, "dev", "br-eth1")
        bed.attempt("sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/eth1/disable_ipv6")
        bed.ip("address", "add", address, "dev", "eth1")
    bed.ip("route", "replace", "default", "via", ROUTER, "dev", "eth1", "metric", "500")
    assert not host.pings(ROUTER)
    bed.start_plugin()
    until(lambda: host.pings(ROUTER), "the host is on the bridge again")
    until(lambda: device_of(host, ROUTER6) == "br-eth1", "with its other address")
    bed.ovs_vsctl("del-br", "br-eth1")
    until(lambda: host.pings(ROUTER), "the host is on a new bridge", timeout_s=60)
    stage.clear()
    host.reaches(ROUTER, who="router")
    as_before(bed, before)


def test_a_host_whose_gateway_does_not_answer_is_not_moved(
    bed: Bed, far: Far, homed: Place, stage: Stage, host: Place
) -> None:
    network = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam", *MOVE)
    options = ("-o", "ovs.uplink=eth1", "-o", "ovs.vlan=30")
    bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
    # an own port in a VLAN of its own: nothing without a tag gets there
    bed.ovs_vsctl("set", "Port", "br-lab", "tag=77")
    before = snapshot.take(bed)
    said = bed.docker_refuses(*network, *options, "-o", "ovs.bridge=br-lab", "lan")
    assert f"the host's gateway {ROUTER} and {ROUTER6} did not answer on br-lab after" in said
    host.reaches(ROUTER, who="router")
    as_before(bed, before)

    with ThreadPoolExecutor(1) as pool:
        refused = pool.submit(
            bed.attempt, "docker", *network, *options, "-o", "ovs.bridge=br-lab", "lan"
        )
        until(lambda: device_of(host, ROUTER) == "br-lab", "the host was moved")
        bed.plugin.stop(SIGKILL)
        assert not host.pings(ROUTER)
        bed.start_plugin()
        assert refused.result().code != 0
    host.reaches(ROUTER, who="router")
    as_before(bed, before)
    bed.ovs_vsctl("del-br", "br-lab")

    far.silence("router")
    before = snapshot.take(bed)
    said = bed.docker_refuses(*network, *options, "lan")
    assert f"the host's gateway {ROUTER} and {ROUTER6} did not answer on eth1 before" in said
    as_before(bed, before)


def test_a_purge_puts_the_host_back(
    bed: Bed, far: Far, homed: Place, stage: Stage, host: Place
) -> None:
    before = snapshot.take(bed)
    on_eth1(stage, "one", "30", *MOVE)
    bed.ovsnet("purge", "--yes")
    host.reaches(ROUTER, who="router")
    stage.clear()
    as_before(bed, before)


def test_a_container_is_let_into_other_vlans_of_the_wire(bed: Bed, far: Far, stage: Stage) -> None:
    lan30 = far.host("lan30", f"{LAN30}/24", tag=30)
    lan31 = far.host("lan31", f"{LAN31}/24", tag=31)
    one = on_eth1(stage, "one", "30")
    closed = stage.network("closed", "-o", "ovs.bridge=br-eth1", "-o", "ovs.vlan=33", "--internal")
    away = stage.container("away", f"name={one.name},driver-opt=ovs.vlan=31")
    away.reaches(LAN31, who="lan31")
    lan31.reaches(away.address(one), who="away")
    lan30.never_reaches(away.address(one))
    router = stage.container("router", f"name={one.name},driver-opt=ovs.trunks=32-33")
    shut = stage.container("shut", closed)
    assert trunks(bed) == "[30, 31, 32]\n[]\ntrunk"
    wire: dict[str, ears.Link] = {"wire": (Place(bed, "host"), "wire1"), "shut": (shut, "eth0")}
    with ears.listening(bed, wire) as heard:
        stacks = [(f"to{vlan}", f"8100:{vlan}") for vlan in (31, 32, 33)]
        ears.send((router, "eth0"), stacks)
        heard.wait_for("to32", {"wire"})
        heard.wait_for("to33", {"shut"})
        assert heard.heard("wire") == {"to32": {"32"}}, "an internal network stays off the wire"
    bed.docker("rm", "--force", "away", "router")
    until(lambda: trunks(bed) == "[30]\n[]\ntrunk", "the wire carries the network's VLAN alone")


def test_customers_tags_travel_inside_of_the_networks_own(
    bed: Bed, far: Far, stage: Stage, host: Place
) -> None:
    lan30 = far.host("lan30", f"{LAN30}/24", tag=30)
    before = snapshot.take(bed)
    tunnel = ("-o", "ovs.vlan_mode=dot1q-tunnel", "-o", "ovs.cvlans=7,8")
    network = ("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam", *tunnel)
    said = bed.docker_refuses(*network, "-o", "ovs.uplink=eth1", "-o", "ovs.vlan=30", "lan")
    assert "ovs-vsctl set Open_vSwitch . other_config:vlan-limit=2" in said
    as_before(bed, before)
    bed.ovs_vsctl("set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
    set_up = snapshot.take(bed)

    one = on_eth1(stage, "one", "30", *tunnel)
    two = on_eth1(stage, "two", "31", *tunnel[:2])
    plain = on_eth1(stage, "plain", "7")
    ann, bob = stage.container("ann", one), stage.container("bob", one)
    cat, dan = stage.container("cat", two), stage.container("dan", plain)
    assert ann.link("eth0")["mtu"] == 1496
    assert "the tags 7-8" in bed.ovsnet("network", "show", "one")
    ann.reaches(LAN30, who="lan30")
    lan30.reaches(bob.address(one), who="bob")

    links: dict[str, ears.Link] = {x.name: (x, "eth0") for x in (ann, bob, cat, dan)}
    links["wire"] = (host, "wire1")
    with ears.listening(bed, links, stacks=True) as heard:
        ears.send((ann, "eth0"), [("a7", "8100:7"), ("a9", "8100:9"), ("a", "-")])
        ears.send((ann, "eth0"), [("a8", "8100:8"), ("sly", "88a8:31,8100:7")])
        ears.send((cat, "eth0"), [("c7", "8100:7"), ("c30", "8100:30"), ("c", "-")])
        for label in ("a", "a7", "a8", "c", "c7", "c30"):
            heard.wait_for(label, {"wire"})
        for label in ("a", "a7", "a8"):
            heard.wait_for(label, {"bob"})
        # from the wire: into the tunnel of that service tag, and nowhere else
        ears.send((host, "wire1"), [("w7", "88a8:30,8100:7"), ("w", "88a8:30")])
        for label in ("w7", "w"):
            heard.wait_for(label, {"ann", "bob"})
        wire = {label: tags for label, tags in heard.heard("wire").items() if label != "sly"}
        assert wire == {
            "a": {"88a8:30"},
            "a7": {"88a8:30,8100:7"},
            "a8": {"88a8:30,8100:8"},
            "c": {"88a8:31"},
            "c7": {"88a8:31,8100:7"},
            "c30": {"88a8:31,8100:30"},
        }
        bobs = {label: tags for label, tags in heard.heard("bob").items() if label != "sly"}
        assert bobs == {
            "a": {"-"},
            "a7": {"8100:7"},
            "a8": {"8100:8"},
            "w7": {"8100:7"},
            "w": {"-"},
        }
        assert heard.heard("cat") == {}
        assert heard.heard("dan") == {}
        assert heard.heard("ann").keys() == {"w7", "w"}
        assert heard.hearers("sly") <= {"bob", "wire"}

    stage.clear()
    as_before(bed, set_up)
    bed.ovs_vsctl("remove", "Open_vSwitch", ".", "other_config", "vlan-limit")


EVERYTHING = (
    "-json addr show",
    "-4 -json -details route show table all",
    "-6 -json -details route show table all",
    "-4 -json rule show",
    "-6 -json rule show",
    "-json nexthop show",
    "-4 -json neigh show nud permanent",
    "-6 -json neigh show nud permanent",
    "-json neigh show proxy",
    "-6 -json neigh show proxy",
    "-json maddr show",
)
FLEETING = ("valid_life_time", "preferred_life_time", "refcnt", "expires", "cacheinfo", "used")


def all_of_host(bed: Bed) -> list[str]:
    """Return each thing that ``ip`` and ``tc`` show of the NICs, but for what counts down."""
    shown = bed.run("tc", "qdisc", "show", "dev", "eth1").splitlines()
    found = [each.partition(" direct_packets_stat")[0] for each in shown]
    for command in EVERYTHING:
        for each in json.loads(bed.ip(*command.split()) or "[]"):
            if str(each.get("ifname", each.get("dev", "eth1"))) not in ("eth1", "wan0"):
                continue
            kept = {k: v for k, v in each.items() if k not in FLEETING}
            if "maddr" in kept:
                kept["maddr"] = sorted(
                    str(one.get("link", one.get("address"))) for one in kept["maddr"]
                )
            for one in kept.get("addr_info", ()):
                for fleeting in FLEETING:
                    one.pop(fleeting, None)
            found.append(f"{command}: {json.dumps(kept, sort_keys=True)}")
    return sorted(found)


def settled(bed: Bed) -> list[str]:
    """Return the same when every address of IPv6 is known to be the host's alone."""
    until(lambda: "tentative" not in bed.ip("-6", "address"), "no address is tentative")
    return all_of_host(bed)


RICH = (
    "-4 route add 203.0.114.0/24 via 192.0.2.2 dev wan0 src 198.51.100.7",
    "-4 route add 203.0.115.0/24 via 192.0.2.2 dev wan0 src 198.51.100.7 table 77",
    "-4 route add 203.0.116.0/24 via 198.51.100.1 dev eth1 src 198.51.100.7 table 77",
    "-4 route add blackhole 203.0.117.0/24",
    "-6 route add 2001:db8:60::/48 via 2001:db8:ffff::2 dev wan0 src 2001:db8:51::7",
    "-6 route add 2001:db8:61::/48 via 2001:db8:51::1 dev eth1 src 2001:db8:51::7 table 77",
    "-4 rule add from 198.51.100.7 lookup 77 priority 1077",
    "-6 rule add from 2001:db8:51::7 lookup 77 priority 1077",
    "neigh add 198.51.100.44 lladdr 02:00:00:00:00:44 dev eth1 nud permanent",
    "neigh add 2001:db8:51::44 lladdr 02:00:00:00:00:44 dev eth1 nud permanent",
    "neigh add proxy 198.51.100.45 dev eth1",
    "neigh add proxy 2001:db8:51::45 dev eth1",
    "maddr add 33:33:00:00:77:77 dev eth1",
)


@pytest.fixture
def rich(bed: Bed, homed: Place) -> Iterator[None]:
    """Let the host have all that can be moved, or hang on what is moved."""
    try:
        for command in RICH:
            bed.ip(*command.split())
        bed.run("tc", "qdisc", "add", "dev", "eth1", "root", "handle", "7:", "pfifo", "limit", "77")
        yield
    finally:
        for command in RICH:
            if " dev eth1" not in command:
                bed.attempt("ip", *command.replace(" add ", " del ").split())


def test_all_that_a_moved_host_had_is_there_afterwards(
    bed: Bed, far: Far, homed: Place, rich: None, stage: Stage, host: Place
) -> None:
    before = settled(bed)
    others = [each for each in before if "wan0" in each or "rule" in each]
    on_eth1(stage, "one", "30", *MOVE)
    now = all_of_host(bed)
    assert [each for each in others if each not in now] == []
    moved = bed.ip("neigh", "show", "nud", "permanent", "dev", "br-eth1")
    assert "198.51.100.44" in moved
    assert "2001:db8:51::44" in moved
    assert "198.51.100.45" in bed.ip("neigh", "show", "proxy", "dev", "br-eth1")
    assert "203.0.116.0/24" in bed.ip("route", "show", "table", "77", "dev", "br-eth1")

    bed.plugin.stop(SIGKILL)
    bed.start_plugin()
    bed.ovsnet("reconcile")
    assert [each for each in others if each not in all_of_host(bed)] == []
    stage.clear()
    until(
        lambda: all_of_host(bed) == before,
        lambda: f"the host has all again\n{sorted(set(before) ^ set(all_of_host(bed)))}",
    )


def test_a_killed_move_of_a_host_loses_nothing(
    bed: Bed, far: Far, homed: Place, rich: None, stage: Stage, host: Place
) -> None:
    before = settled(bed)
    with ThreadPoolExecutor(1) as pool:
        refused = pool.submit(
            bed.attempt,
            *("docker", "network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam", *MOVE),
            *("-o", "ovs.uplink=eth1", "-o", "ovs.vlan=30", "lan"),
        )
        until(lambda: "br-eth1" in bed.ip("-4", "-o", "address", "show"), "the host is moving")
        bed.plugin.stop(SIGKILL)
        bed.start_plugin()
        refused.result()
    stage.clear()
    until(
        lambda: all_of_host(bed) == before,
        lambda: f"the host has all again\n{sorted(set(before) ^ set(all_of_host(bed)))}",
    )


def test_a_plain_uplink_gets_its_discipline_and_neighbours_back(
    bed: Bed, far: Far, stage: Stage
) -> None:
    bed.ip("link", "set", "eth1", "up")
    for command in RICH:
        if command.startswith("neigh"):
            bed.ip(*command.split())
    bed.run("tc", "qdisc", "add", "dev", "eth1", "root", "handle", "7:", "pfifo", "limit", "77")
    before = settled(bed)
    on_eth1(stage, "one", "30")
    bed.plugin.stop(SIGKILL)
    bed.start_plugin()
    stage.clear()
    until(
        lambda: all_of_host(bed) == before,
        lambda: f"the host has all again\n{sorted(set(before) ^ set(all_of_host(bed)))}",
    )


@pytest.mark.parametrize(
    ("commands", "undo", "said"),
    [
        pytest.param(
            ["ip nexthop add id 7 via 198.51.100.1 dev eth1"],
            ["ip nexthop del id 7"],
            "nexthop object 7 leads through it",
            id="nexthop",
        ),
        pytest.param(
            ["ip rule add iif eth1 lookup 77 priority 1078"],
            ["ip rule del priority 1078"],
            "policy rule 1078 names it",
            id="rule",
        ),
        pytest.param(
            ["tc qdisc add dev eth1 root handle 1: htb"],
            ["tc qdisc del dev eth1 root"],
            "Open vSwitch would delete its queueing discipline htb",
            id="qdisc",
        ),
    ],
)
def test_a_host_of_which_something_would_stay_behind_is_not_moved(
    bed: Bed, far: Far, homed: Place, commands: list[str], undo: list[str], said: str
) -> None:
    try:
        for command in commands:
            bed.run(*command.split())
        before = settled(bed)
        refusal = bed.docker_refuses(
            *("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam", *MOVE),
            *("-o", "ovs.uplink=eth1", "-o", "ovs.vlan=30", "lan"),
        )
        assert said in refusal
        assert undo[0] in refusal
        assert all_of_host(bed) == before
    finally:
        for command in undo:
            bed.run(*command.split())
