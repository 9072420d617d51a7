"""What is ended, lost or restarted under running containers, and what they notice of it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from signal import SIGKILL, SIGTERM, Signals

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.stage import Container, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until
from tests.faults.pair import ENDS, all_is_well, pair

pytestmark = pytest.mark.docker


@pytest.mark.parametrize("end", ENDS)
def test_containers_keep_talking_while_the_plugin_is_away(
    bed: Bed, stage: Stage, end: Signals
) -> None:
    network, a, b = pair(stage)
    all_is_well(network, a, b)
    bed.plugin.stop(end)
    all_is_well(network, a, b)
    bed.start_plugin()
    all_is_well(network, a, b)
    c = stage.container("cat", network)
    all_is_well(network, a, c)


@pytest.mark.parametrize("end", ENDS)
def test_containers_of_before_a_restart_of_the_plugin_are_stopped_cleanly(
    bed: Bed, stage: Stage, end: Signals
) -> None:
    network, _, b = pair(stage)
    bed.restart_plugin(end)
    address = b.address(network)
    bed.docker("rm", "--force", "ann", "bob")
    again = stage.container("again", network, "--ip", address)
    c = stage.container("cat", network)
    all_is_well(network, again, c)


def test_a_container_that_is_stopped_while_the_plugin_restarts_leaves_nothing(
    bed: Bed, stage: Stage
) -> None:
    pair(stage)
    bed.plugin.stop(SIGKILL)
    retries = bed.dockerd.said().count("retrying in")
    with ThreadPoolExecutor(1) as pool:
        removal = pool.submit(bed.docker, "rm", "--force", "ann")
        until(lambda: bed.dockerd.said().count("retrying in") > retries, "dockerd tries again")
        bed.start_plugin()
        removal.result()
    until(
        lambda: "ann" not in bed.docker("ps", "--all", "--format", "{{.Names}}").split(),
        "ann is removed",
        timeout_s=60,
    )
    # dockerd takes the container off its list before it has ended the endpoint
    until(
        lambda: len(bed.ovs_vsctl("list-ports", "br-ovsnet").split()) == 2,
        "only bob and the gateway have ports",
        timeout_s=60,
    )


def test_a_network_made_before_a_restart_of_the_plugin_is_removed_cleanly(
    bed: Bed, stage: Stage
) -> None:
    stage.network("one", subnet="10.77.1.0/24")
    bed.restart_plugin(SIGKILL)
    bed.docker("network", "rm", "one")
    assert bed.ovs_vsctl("list-br") == ""
    network, a, b = pair(stage)
    all_is_well(network, a, b)


def test_a_start_waits_for_a_vswitchd_that_is_coming_back(bed: Bed, stage: Stage) -> None:
    network, a, b = pair(stage)
    bed.docker("stop", "bob")
    bed.vswitchd.stop(SIGKILL)
    asked = bed.plugin.said().count("NetworkDriver.CreateEndpoint")
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(bed.docker, "start", "bob")
        until(lambda: bed.plugin.said().count("NetworkDriver.CreateEndpoint") > asked, "it starts")
        bed.start_vswitchd()
        start.result()
    all_is_well(network, a, b)


def test_a_network_that_is_removed_while_vswitchd_is_away_leaves_nothing(
    bed: Bed, stage: Stage
) -> None:
    """Its devices outlast vswitchd; the bed's own comparison finds what is left."""
    network, a, b = pair(stage)
    stage.network("two", subnet="10.77.2.0/24")
    bed.vswitchd.stop(SIGKILL)
    bed.docker("network", "rm", "two")
    bed.start_vswitchd()
    all_is_well(network, a, b)
    until(lambda: "10.77.2." not in bed.ip("address") + bed.ip("route"), "its gateway is gone")
    stage.network("two", subnet="10.77.2.0/24")


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "of a version without the mark"])
def test_the_last_network_that_is_removed_while_vswitchd_is_away_leaves_no_bridges_device(
    bed: Bed, stage: Stage, marked: bool
) -> None:
    stage.network("one", subnet="10.77.1.0/24")
    if not marked:
        bed.ip("link", "set", "br-ovsnet", "alias", "")
        bed.restart_plugin()
        until(lambda: "ovsnet bridge" in bed.ip("link", "show", "br-ovsnet"), "it is marked")
    bed.vswitchd.stop(SIGKILL)
    bed.docker("network", "rm", "one")
    until(lambda: "br-ovsnet" not in bed.ip("link"), "the bridge's device is gone")
    bed.start_vswitchd()
    all_is_well(*pair(stage))


def test_a_clean_end_of_the_plugin_says_so_with_its_code(bed: Bed) -> None:
    assert bed.plugin.stop(SIGTERM) == 0
    bed.start_plugin()


def our_table(bed: Bed) -> str:
    """Return our nftables table, as ``family name``; empty if it is not there."""
    tables = bed.nft("list", "tables").splitlines()
    return next((t.removeprefix("table ") for t in tables if t.endswith(" ovsnet")), "")


def test_our_firewall_table_is_rebuilt_when_it_is_deleted(bed: Bed, stage: Stage) -> None:
    network, a, b = pair(stage)
    other = stage.network("other", subnet="10.77.2.0/24")
    c = stage.container("cat", other)
    table = our_table(bed)
    rules = bed.nft("--stateless", "list", "table", *table.split())
    bed.nft("delete", "table", *table.split())
    until(lambda: our_table(bed) == table, "the table is back")
    assert bed.nft("--stateless", "list", "table", *table.split()) == rules
    all_is_well(network, a, b)
    a.never_reaches(c.address(other))


def test_the_whole_ruleset_is_flushed_and_ours_is_rebuilt(make_bed: Callable[..., Bed]) -> None:
    bed = make_bed()
    stage = Stage(bed)
    network, a, b = pair(stage)
    other = stage.network("other", subnet="10.77.2.0/24")
    c = stage.container("cat", other)
    bed.nft("flush", "ruleset")
    until(lambda: our_table(bed), "the table is back")
    all_is_well(network, a, b)
    a.never_reaches(c.address(other))
    # dockerd makes its own again when it starts, and ours must still be accepted among them
    bed.dockerd.stop()
    bed.start_docker()
    bed.docker("start", "ann", "bob", "cat")
    all_is_well(network, a, b)
    a.never_reaches(c.address(other))


def test_a_docker_that_starts_after_us_still_protects_its_networks(
    make_bed: Callable[..., Bed],
) -> None:
    bed = make_bed()
    stage = Stage(bed)
    network, a, b = pair(stage)
    all_is_well(network, a, b)
    dockers = stage.network("dockers", subnet="10.77.9.0/24", driver="bridge", ipam="default")
    stage.container("dan", dockers)

    # the host is rebooted: rules, switches and processes are gone, the disks stay
    bed.dockerd.stop()
    bed.plugin.stop()
    bed.nft("flush", "ruleset")
    bed.run("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
    bed.start_plugin()
    until(lambda: our_table(bed), "our table is there before Docker")
    assert bed.sysctl("net/ipv4/ip_forward") == "0", "Docker's to switch, not ours"

    bed.start_docker()
    assert "-P FORWARD DROP" in bed.run("iptables", "-S", "FORWARD")
    bed.docker("start", "ann", "bob", "dan")
    all_is_well(network, a, b)
    d = Container(bed, "dan")
    outside = Place(bed, "the outside", bed.outside)
    bed.ip("route", "add", dockers.subnet(), "via", WAN4, netns=bed.outside)
    outside.never_reaches(d.address(dockers))
    a.never_reaches(d.address(dockers))
    d.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)


def test_a_nat_network_without_any_forwarding_docker_protects_the_host(
    make_bed: Callable[..., Bed],
) -> None:
    """Before dockerd switches forwarding on, nothing else of the host may be forwarded by us."""
    bed = make_bed()
    stage = Stage(bed)
    pair(stage)
    bed.dockerd.stop()
    bed.plugin.stop()
    bed.nft("flush", "ruleset")
    bed.run("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
    second = bed.add_namespace("second")
    bed.ip("link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", "second")
    bed.ip("address", "add", "198.51.100.1/24", "dev", "lan0")
    bed.ip("link", "set", "lan0", "up")
    bed.ip("address", "add", "198.51.100.2/24", "dev", "eth0", netns=second)
    bed.ip("link", "set", "eth0", "up", netns=second)
    bed.ip("route", "add", "default", "via", "198.51.100.1", netns=second)
    bed.ip("route", "add", "198.51.100.0/24", "via", WAN4, netns=bed.outside)
    bed.start_plugin()
    until(lambda: our_table(bed), "our table is there")
    place = Place(bed, "second", second)
    assert place.pings("198.51.100.1", count=3), "its own link works"
    assert not place.pings(OUTSIDE4, count=2), "the host does not route for others"


def test_endpoints_of_a_docker_that_was_killed_are_ended_by_the_release_of_their_addresses(
    bed: Bed, stage: Stage
) -> None:
    network, _, b = pair(stage)
    address = b.address(network)
    gateway_only = 1
    bed.dockerd.stop(SIGKILL)
    bed.start_docker()
    until(
        lambda: len(bed.ovs_vsctl("list-ports", "br-ovsnet").split()) == gateway_only,
        "the ports of ann and bob are gone",
    )
    bed.docker("rm", "--force", "ann", "bob")
    c = stage.container("cat", network, "--ip", address)
    d = stage.container("dan", network)
    all_is_well(network, c, d)


@pytest.mark.parametrize("end", ENDS)
def test_live_restore_keeps_containers_talking_without_docker(
    make_bed: Callable[..., Bed], end: Signals
) -> None:
    bed = make_bed(docker_settings={"live-restore": True})
    stage = Stage(bed)
    network, a, b = pair(stage)
    places = [Place(bed, each.name, each.netns) for each in (a, b)]
    address = b.address(network)
    bed.dockerd.stop(end)
    places[0].reaches(address, who="bob")
    bed.restart_plugin(SIGKILL)
    places[0].reaches(address, who="bob")
    bed.start_docker()
    all_is_well(network, a, b)
    stage.clear()
    assert bed.ovs_vsctl("list-br") == ""
