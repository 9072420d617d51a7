"""The kernel's own datapath under containers: what it is, and what it does not lose."""

import json
from contextlib import ExitStack
from signal import SIGKILL

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE6, WAN4, WAN6, Bed
from tests.e2e.stage import Network, Stage
from tests.e2e.traffic import Place
from tests.kernel.sessions import serving, session

pytestmark = pytest.mark.docker


def dual(stage: Stage, name: str, number: int, *options: str) -> Network:
    six = ("--ipv6", "--subnet", f"fd00:77:{number}::/64")
    return stage.network(name, *six, *options, subnet=f"10.77.{number}.0/24")


def features(bed: Bed, place: Place, link: str) -> dict[str, str]:
    """Return what ``ethtool -k`` says of a link, by name."""
    lines = bed.run("ethtool", "-k", link, netns=place.netns).splitlines()[1:]
    pairs = (line.strip().partition(": ") for line in lines)
    return {name: value.split()[0] for name, _, value in pairs}


def gateway_link(host: Place, network: Network) -> object:
    """Return the gateway's index, addresses and state."""
    (link,) = host.sees("address", "show", f"ovg{network.id[:12]}")
    return link["ifindex"], link["address"], sorted(a["local"] for a in link["addr_info"])


def test_bridges_are_the_kernels_and_checksums_are_left_to_it(bed: Bed, stage: Stage) -> None:
    network = dual(stage, "one", 1)
    a, b = stage.container("ann", network), stage.container("bob", network)
    assert bed.ovs_vsctl("get", "Bridge", "br-ovsnet", "datapath_type") == "system"
    assert "system@ovs-system" in bed.run(
        "ovs-appctl", "-t", "/run/openvswitch/vswitchd.ctl", "dpif/show"
    )
    shown = json.loads(bed.ovsnet("network", "show", "one", "--json"))
    assert shown["datapath"] == "system"
    for container in (a, b):
        found = features(bed, container, "eth0")
        assert found["tx-checksumming"] == "on"
        assert found["tcp-segmentation-offload"] == "on"
    a.reaches(b.address(network), who="bob")
    a.reaches(b.address(network, 6), who="bob")


def test_sessions_outlive_a_restart_of_vswitchd(
    bed: Bed, stage: Stage, host: Place, outside: Place
) -> None:
    network = dual(stage, "one", 1)
    a, b = stage.container("ann", network), stage.container("bob", network)
    before = gateway_link(host, network)
    addresses = [b.address(network), b.address(network, 6), OUTSIDE4, OUTSIDE6, network.gateway()]
    with ExitStack() as stack:
        for place in (b, outside, host):
            stack.enter_context(serving(bed, place))
        sessions = [stack.enter_context(session(bed, a, each)) for each in addresses]
        bed.vswitchd.stop(SIGKILL)
        assert gateway_link(host, network) == before
        bed.start_vswitchd()
        for each in sessions:
            each.goes_on()
        seen = [each.peers for each in sessions]
        assert [len(peers) for peers in seen] == [1] * len(sessions)
        assert seen[2].pop().startswith(f"{WAN4}:")
        assert seen[3].pop().startswith(f"{WAN6}:")
    assert gateway_link(host, network) == before
    assert features(bed, a, "eth0")["tx-checksumming"] == "on"
    c = stage.container("cat", network)
    c.reaches(a.address(network), who="ann")


def test_the_database_is_away_and_nobody_notices(bed: Bed, stage: Stage, outside: Place) -> None:
    network = dual(stage, "one", 1)
    a, b = stage.container("ann", network), stage.container("bob", network)
    bed.ovsdb.stop(SIGKILL)
    a.reaches(b.address(network), who="bob")
    b.reaches(a.address(network, 6), who="ann")
    a.reaches(OUTSIDE4, who=WAN4, port=8080)
    bed.start_ovsdb()
    c = stage.container("cat", network)
    c.reaches(a.address(network), who="ann")


@pytest.mark.parametrize("kind", ["veth", "internal"])
def test_long_frames_pass_through_a_gateway(stage: Stage, host: Place, kind: str) -> None:
    """What the userspace datapath does not do."""
    options = ("-o", "ovs.mtu=9000", "-o", f"ovs.port={kind}")
    network = stage.network("jumbo", *options, subnet="10.77.1.0/24")
    a, b = stage.container("ann", network), stage.container("bob", network)
    (link,) = a.links()
    assert a.link(link)["mtu"] == 9000
    a.reaches(b.address(network), who="bob")
    assert a.pings(b.address(network), size=9000 - 28, count=3)
    assert a.pings(network.gateway(), size=9000 - 28, count=3)
    assert host.pings(a.address(network), size=9000 - 28, count=3)
