"""Bridges of other people, with an uplink to a VLAN-aware switch beyond."""

from collections.abc import Iterator

import pytest

from tests.e2e import ears
from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place
from tests.e2e.world import Program

pytestmark = pytest.mark.docker

LAN_ADDRESS = "10.30.0.200"


@pytest.fixture
def uplinked(bed: Bed) -> Iterator[str]:
    """The name of somebody's bridge, whose uplink is wired to a switch with a host on VLAN 30.

    The uplink is a veth: its other end ``wire0`` is a trunk port of ``br-far``, the switch. The
    host ``lan`` serves its name at 10.30.0.200.
    """
    netdev = ("--", "set", "Bridge")
    bed.ip("link", "add", "up0", "type", "veth", "peer", "name", "wire0")
    for device in ("up0", "wire0"):
        bed.ip("link", "set", device, "up")
    for bridge, port in (("br-phys", "up0"), ("br-far", "wire0")):
        bed.ovs_vsctl("add-br", bridge, *netdev, bridge, "datapath_type=netdev")
        bed.ovs_vsctl("add-port", bridge, port)
    bed.ovs_vsctl("set", "Bridge", "br-phys", "external_ids:belongs-to=somebody")
    lan = bed.add_namespace("lan")
    bed.ip("link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", "lan")
    bed.run("ethtool", "-K", "eth0", "tx", "off", netns=lan)
    bed.ip("link", "set", "lan0", "up")
    bed.ip("address", "add", f"{LAN_ADDRESS}/24", "dev", "eth0", netns=lan)
    bed.ip("link", "set", "eth0", "up", netns=lan)
    bed.ovs_vsctl("add-port", "br-far", "lan0", "tag=30")
    pages = bed.home / "pages"
    pages.mkdir()
    (pages / "index.html").write_text("lan\n")
    server = Program(
        bed, "lan", *("busybox", "httpd", "-f", "-p", "80", "-h", str(pages)), netns=lan
    )
    server.start()
    yield "br-phys"
    server.stop()
    (pages / "index.html").unlink()
    pages.rmdir()
    for bridge in ("br-phys", "br-far"):
        bed.ovs_vsctl("--if-exists", "del-br", bridge)
    bed.ip("link", "del", "up0")
    bed.ip("link", "del", "lan0")
    bed.ip("netns", "del", "lan")


@pytest.fixture
def lan(bed: Bed, uplinked: str) -> Place:
    return Place(bed, "lan", "/run/netns/lan")


def rows(bed: Bed, bridge: str) -> list[str]:
    """Return what belongs to a bridge's owner, without what vswitchd writes."""
    columns = "name,external_ids,other_config,datapath_type,fail_mode,protocols,stp_enable"
    found = [bed.ovs_vsctl(f"--columns={columns}", "list", "Bridge", bridge)]
    for port in (bridge, "up0"):
        found.append(bed.ovs_vsctl("--columns=name,tag,trunks,external_ids", "list", "Port", port))
        found.append(bed.ovs_vsctl("--columns=name,type,external_ids", "list", "Interface", port))
    return found


def on_vlan_30(stage: Stage, *options: str, name: str = "vlan30") -> tuple[str, ...]:
    """Return the options of a network on somebody's bridge."""
    return ("-o", "ovs.bridge=br-phys", "-o", "ovs.vlan=30", *options)


def test_a_container_on_an_adopted_bridge_is_on_the_vlan_of_the_wire(
    bed: Bed, stage: Stage, uplinked: str, lan: Place, host: Place
) -> None:
    links = host.links()
    untouched = rows(bed, uplinked)
    network = stage.network("vlan30", *on_vlan_30(stage), subnet="10.30.0.0/24")
    assert host.links() == links, "no gateway of ours on somebody's bridge"
    a, b = stage.container("ann", network), stage.container("bob", network)
    a.reaches(b.address(network), who="bob")
    a.reaches(LAN_ADDRESS, who="lan")
    lan.reaches(b.address(network), who="bob")
    host.never_reaches(a.address(network))
    assert "10.30.0.1" not in str(host.sees("address"))
    assert [r for r in a.sees("-4", "route") if r["dst"] == "default"] == []
    assert rows(bed, uplinked) == untouched
    stage.clear()
    assert rows(bed, uplinked) == untouched
    assert bed.ovs_vsctl("list-ports", uplinked) == "up0"


def test_frames_of_an_adopted_bridge_are_tagged_on_the_wire(
    bed: Bed, stage: Stage, uplinked: str, host: Place
) -> None:
    options = ("-o", "ovs.bridge=br-phys")
    tagged = stage.network("tagged", *options, "-o", "ovs.vlan=30", subnet="10.30.0.0/24")
    other = stage.network("other", *options, "-o", "ovs.vlan=31", subnet="10.31.0.0/24")
    plain = stage.network("plain", *options, "-o", "ovs.vlan=none", subnet="10.32.0.0/24")
    a, b = stage.container("ann", tagged), stage.container("bob", other)
    c = stage.container("cat", plain)
    links: dict[str, ears.Link] = {x.name: (x, "eth0") for x in (a, b, c)}
    with ears.listening(bed, links | {"wire": (host, "wire0")}) as heard:
        for name, link in links.items():
            ears.send(link, [(f"from-{name}", "-"), (f"sly-{name}", "8100:30")])
        for name in links:
            heard.wait_for(f"from-{name}", {"wire"})
