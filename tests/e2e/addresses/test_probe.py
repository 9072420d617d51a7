"""``ipam.probe``: containers do not get addresses that somebody on the segment has."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from signal import SIGKILL

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import Program, until

pytestmark = [pytest.mark.docker, pytest.mark.long]

PROBE = ("--ipam-opt", "ipam.probe=true")
SIX = ("--ipv6", "--subnet", "fd00:30::/64", "--gateway", "fd00:30::1")


@dataclass(frozen=True)
class Squatter:
    """A machine on a VLAN of a bridge, with addresses that no IPAM gave it."""

    bed: Bed
    bridge: str
    vlan: int
    last: int
    """Of its addresses: 10.30.0.2 and fd00:30::2."""

    @property
    def name(self) -> str:
        return f"squat{self.vlan}"

    @property
    def mac(self) -> str:
        return f"02:00:00:00:30:{self.last:02x}"

    @property
    def place(self) -> Place:
        return Place(self.bed, self.name, f"/run/netns/{self.name}")

    @contextmanager
    def there(self) -> Iterator["Squatter"]:
        """Be on the wire for the time of the ``with`` block."""
        bed, inside = self.bed, self.bed.add_namespace(self.name)
        port = f"port{self.vlan}"
        peer = ("peer", "name", "eth0", "address", self.mac, "netns", self.name)
        bed.ip("link", "add", port, "type", "veth", *peer)
        bed.ip("link", "set", port, "up")
        bed.ip("link", "set", "eth0", "up", netns=inside)
        bed.ip("address", "add", f"10.30.0.{self.last}/24", "dev", "eth0", netns=inside)
        six = (f"fd00:30::{self.last:x}/64", "dev", "eth0", "nodad")
        bed.ip("address", "add", *six, netns=inside)
        bed.ovs_vsctl("add-port", self.bridge, port, f"tag={self.vlan}")
        try:
            yield self
        finally:
            bed.ovs_vsctl("--if-exists", "del-port", port)
            bed.ip("link", "del", port)
            bed.ip("netns", "del", self.name)


@pytest.fixture
def lab(bed: Bed) -> Iterator[str]:
    """The name of somebody's bridge."""
    bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
    yield "br-lab"
    bed.ovs_vsctl("del-br", "br-lab")


@pytest.fixture
def squatter(bed: Bed, lab: str) -> Iterator[Squatter]:
    """Somebody on VLAN 30 who has .2; on VLAN 31 somebody else has .3."""
    with ExitStack() as stack:
        stack.enter_context(Squatter(bed, lab, 31, 3).there())
        yield stack.enter_context(Squatter(bed, lab, 30, 2).there())


def flat(stage: Stage, *options: str) -> Network:
    on_lab = ("-o", "ovs.bridge=br-lab", "-o", "ovs.vlan=30")
    return stage.network("lab", *on_lab, *PROBE, *options, subnet="10.30.0.0/24")


def probing_port(network: Network) -> str:
    return f"ovp{network.id[:12]}"


def said_in_use(bed: Bed, since: int) -> list[str]:
    """Return the log's lines about addresses that are in use."""
    return [line for line in bed.plugin.said()[since:].splitlines() if "conflict.answered" in line]


def test_an_address_that_somebody_on_the_vlan_has_is_passed_over_and_logged_with_his_mac(
    bed: Bed, squatter: Squatter, stage: Stage
) -> None:
    before = len(bed.plugin.said())
    network = flat(stage, *SIX)
    a = stage.container("ann", network)
    assert a.address(network) == "10.30.0.3", "who is on VLAN 31 does not count"
    assert a.address(network, 6) == "fd00:30::3"
    assert a.pings("10.30.0.2")
    four, six = said_in_use(bed, before)
    for line, address in ((four, "10.30.0.2"), (six, "fd00:30::2")):
        assert f"address={address} " in f"{line} "
        assert f"mac={squatter.mac}" in line


@pytest.mark.parametrize(("option", "address"), [("--ip", "10.30.0.2"), ("--ip6", "fd00:30::2")])
def test_an_address_that_was_asked_for_and_is_somebodys_is_refused_with_his_mac(
    bed: Bed, squatter: Squatter, stage: Stage, option: str, address: str
) -> None:
    network = flat(stage, *SIX)
    command = stage.run_command("ann", network, option, address)
    text = bed.docker_refuses(*command)
    assert f"{address} " in text
    assert f"in use on the network's segment by {squatter.mac}" in text
    bed.docker("rm", "ann")
    free = "fd00:30::7" if ip_address(address).version == 6 else "10.30.0.7"
    a = stage.container("ann", network, option, free)
    assert free in (a.address(network), a.address(network, 6))


def test_who_has_left_the_segment_does_not_keep_others_from_starting(
    bed: Bed, squatter: Squatter, stage: Stage
) -> None:
    network = flat(stage)
    assert stage.container("ann", network).address(network) == "10.30.0.3"
    bed.ip("link", "set", "eth0", "down", netns=squatter.place.netns)
    b = stage.container("bob", network, "--ip", "10.30.0.2")
    assert b.address(network) == "10.30.0.2"


def test_a_nat_network_is_asked_from_its_gateway(bed: Bed, stage: Stage) -> None:
    gateways = ("--gateway", "10.30.0.1", *SIX)
    network = stage.network("nat", "-o", "ovs.vlan=30", *PROBE, *gateways, subnet="10.30.0.0/24")
    assert probing_port(network) not in bed.ovs_vsctl("list-ports", "br-ovsnet")
    with Squatter(bed, "br-ovsnet", 30, 2).there() as squatter:
        before = len(bed.plugin.said())
        a = stage.container("ann", network)
        assert (a.address(network), a.address(network, 6)) == ("10.30.0.3", "fd00:30::3")
        assert all(f"mac={squatter.mac}" in line for line in said_in_use(bed, before))
        assert len(said_in_use(bed, before)) == 2
        text = bed.docker_refuses(*stage.run_command("bob", network, "--ip", "10.30.0.2"))
        assert squatter.mac in text
        bed.docker("rm", "bob")
    b = stage.container("bob", network)
    a.reaches(b.address(network), who="bob")


@contextmanager
def overhearing(place: Place) -> Iterator[Program]:
    """Note every ARP packet that comes to a place."""
    said = ("tcpdump", "-i", "eth0", "-Q", "in", "-n", "-l", "-e", "arp")
    program = Program(place.world, "ears", *said, netns=place.netns)
    program.start()
    until(lambda: "listening on" in program.said(), "tcpdump listens")
    yield program
    program.stop()
    program.log.unlink()


def asked(program: Program) -> list[str]:
    """Return the addresses that were asked for, by who has none himself."""
    return [
        line.partition("who-has ")[2].split()[0].rstrip(",")
        for line in program.said().splitlines()
        # who asks for 0.0.0.0 is dockerd, from 28 on: it announces a container
        if "tell 0.0.0.0" in line and "who-has 0.0.0.0 " not in line
    ]


def test_a_free_address_costs_three_questions_and_addresses_of_ours_none(
    bed: Bed, squatter: Squatter, stage: Stage
) -> None:
    network = flat(stage)
    stage.container("ann", network, "--ip", "10.30.0.4")
    with overhearing(squatter.place) as ears:
        b = stage.container("bob", network, "--ip", "10.30.0.5")
        c = stage.container("cat", network, "--ip", "10.30.0.6")
        b.reaches(c.address(network), who="cat")
        until(lambda: len(asked(ears)) >= 6, lambda: f"six questions: {ears.said()}")
        assert sorted(asked(ears)) == ["10.30.0.5"] * 3 + ["10.30.0.6"] * 3


def test_containers_that_start_at_once_get_addresses_of_their_own(
    bed: Bed, squatter: Squatter, stage: Stage
) -> None:
    network = flat(stage)
    with ThreadPoolExecutor(6) as pool:
        started = list(pool.map(lambda n: stage.container(f"c{n}", network), range(6)))
    addresses = {each.address(network) for each in started}
    assert len(addresses - {"10.30.0.2", ""}) == 6


@pytest.mark.parametrize("end", ["restart", "crash"])
def test_a_container_is_not_taken_for_somebody_else_when_it_starts_again(
    bed: Bed, squatter: Squatter, stage: Stage, end: str
) -> None:
    network = flat(stage, *SIX)
    a = stage.container("ann", network, "--ip", "10.30.0.9", "--ip6", "fd00:30::9")
    b = stage.container("bob", network)
    before = len(bed.plugin.said())
    if end == "restart":
        bed.docker("restart", "ann", "bob")
    else:
        bed.dockerd.stop(SIGKILL)
        bed.start_docker()
        bed.docker("start", "ann", "bob")
    assert (a.address(network), a.address(network, 6)) == ("10.30.0.9", "fd00:30::9")
    a.reaches(b.address(network), who="bob")
    for line in said_in_use(bed, before):
        assert squatter.mac in line, "nobody else is there"


def test_a_network_that_does_not_want_it_asks_nobody(
    bed: Bed, squatter: Squatter, stage: Stage, host: Place
) -> None:
    links = host.links()
    on_lab = ("-o", "ovs.bridge=br-lab", "-o", "ovs.vlan=30")
    network = stage.network("lab", *on_lab, subnet="10.30.0.0/24")
    assert host.links() == links
    with overhearing(squatter.place) as ears:
        a = stage.container("ann", network)
        assert a.address(network) == "10.30.0.2"
        a.pings("10.30.0.77")  # what is heard comes after what was not
        until(lambda: "who-has 10.30.0.77" in ears.said(), "ann is heard")
        assert asked(ears) == []


def test_the_port_that_asks_is_shown_has_a_tag_and_no_address_and_goes_with_the_network(
    bed: Bed, squatter: Squatter, stage: Stage, host: Place
) -> None:
    links = host.links()
    network = flat(stage, *SIX)
    port = probing_port(network)
    assert host.links() - links == {port}
    assert bed.ovs_vsctl("get", "Port", port, "tag", "vlan_mode").split() == ["30", "access"]
    ids = bed.ovs_vsctl("get", "Port", port, "external_ids")
    assert "ovsnet-owner=ovsnet" in ids
    assert "ovsnet-purpose=probe" in ids
    link = host.link(port)
    assert {"UP", "NOARP"} <= set(link["flags"])
    (shown,) = host.sees("address", "show", port)
    assert shown["addr_info"] == []
    assert port in bed.ovsnet("network", "show", "lab")
    told = json.loads(bed.ovsnet("network", "show", "lab", "--json"))
    assert (told["probe_link"], told["gateway_link"]) == (port, None)
    bed.docker("network", "rm", "lab")
    until(lambda: host.links() == links, f"{port} is gone")
    assert port not in bed.ovs_vsctl("list-ports", "br-lab")


@pytest.mark.parametrize("harm", ["port", "device", "address", "vlan"])
def test_what_somebody_does_to_the_port_is_put_right(
    bed: Bed, squatter: Squatter, stage: Stage, host: Place, harm: str
) -> None:
    network = flat(stage)
    port = probing_port(network)
    before = host.link(port)["ifindex"]
    harms = {
        "port": ("ovs-vsctl", "del-port", port),
        "device": ("ip", "link", "set", port, "down"),
        "address": ("ip", "address", "add", "10.30.0.99/24", "dev", port),
        "vlan": ("ovs-vsctl", "set", "Port", port, "tag=31"),
    }
    bed.run(*harms[harm])
    if harm in ("device", "address"):
        # The switch tells nobody of that; another change of ours makes us look before our time.
        bed.ovs_vsctl("set", "Interface", port, "external_ids:nudge=1")
    until(partial(right, bed, host, port), f"{port} is right", timeout_s=60)
    if harm == "port":
        assert host.link(port)["ifindex"] != before
    a = stage.container("ann", network)
    assert a.address(network) == "10.30.0.3"


def right(bed: Bed, host: Place, port: str) -> bool:
    """Whether a probing port on VLAN 30 is up, without an address."""
    if port not in bed.ovs_vsctl("list-ports", "br-lab").split():
        return False
    if bed.ovs_vsctl("get", "Port", port, "tag") != "30" or port not in host.links():
        return False
    (shown,) = host.sees("address", "show", port)
    return {"UP", "NOARP"} <= set(shown["flags"]) and shown["addr_info"] == []


def test_a_lost_bridge_and_a_restart_bring_the_port_back(
    bed: Bed, stage: Stage, host: Place
) -> None:
    options = ("-o", "ovs.mode=isolated", "-o", "ovs.vlan=30", "--gateway", "10.30.0.1")
    network = stage.network("inside", *options, *PROBE, subnet="10.30.0.0/24")
    port = probing_port(network)
    bed.plugin.stop()
    bed.ovs_vsctl("del-br", "br-ovsnet")
    until(lambda: port not in host.links(), f"{port} is gone")
    bed.start_plugin()
    until(lambda: port in host.links() and "UP" in host.link(port)["flags"], f"{port} is back")
    with Squatter(bed, "br-ovsnet", 30, 2).there():
        a = stage.container("ann", network)
        assert a.address(network) == "10.30.0.3"
