"""Mirrors: what tcpdump sees where the copies are led, and what is left of them: nothing."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Container, Stage
from tests.e2e.world import Program, until

pytestmark = [pytest.mark.docker, pytest.mark.long]


@contextmanager
def watching(
    bed: Bed,
    netns: str | None,
    link: str,
    packets: str = "icmp or proto 47",
    *,
    digits: bool = False,
    name: str = "tcpdump",
) -> Iterator[Program]:
    """Have tcpdump tell of packets on a link, in hexadecimal ``digits`` too.

    Two at the same time need a ``name`` each.
    """
    words = ("tcpdump", "--immediate-mode", "-l", "-n", *(["-x"] if digits else []), "-i", link)
    program = Program(bed, name, *words, packets, netns=netns)
    program.start()
    try:
        until(lambda: "listening on" in program.said(), program.said)
        yield program
    finally:
        program.stop()
        program.log.unlink(missing_ok=True)


def mirrors(bed: Bed) -> str:
    return bed.ovs_vsctl("--bare", "--columns=name", "list", "Mirror")


def test_a_network_and_a_container_are_mirrored_to_a_container_that_looks(
    bed: Bed, stage: Stage
) -> None:
    lab = stage.network("lab", "-o", "ovs.mirror=sink:ids", subnet="10.77.1.0/24")
    other = stage.network("other", "-o", "ovs.mode=isolated", subnet="10.77.2.0/24")
    tap = stage.network("tap", "--internal", subnet="10.77.9.0/24")
    ann, bob = stage.container("ann", lab), stage.container("bob", lab)
    cat, dan = stage.container("cat", other), stage.container("dan", other)
    assert mirrors(bed) == ""
    ids = stage.container("ids", "name=tap,driver-opt=ovs.sink=ids")
    bob4, dan4 = bob.endpoint(lab)["IPAddress"], dan.endpoint(other)["IPAddress"]
    with watching(bed, ids.netns, "eth0") as seen:
        until(lambda: ann.pings(bob4) and f"> {bob4}: ICMP echo request" in seen.said(), "seen")
        until(lambda: f"{bob4} > " in seen.said(), "the answer too")
        cat.reaches(dan4, "dan")
        assert dan4 not in seen.said()
        bed.ovsnet("set", "dan", "ovs.mirror=sink:ids")
        until(lambda: cat.pings(dan4) and f"> {dan4}: ICMP echo request" in seen.said(), "dan too")
    bed.restart_plugin()
    with watching(bed, ids.netns, "eth0") as seen:
        until(lambda: ann.pings(bob4) and f"> {bob4}: ICMP echo request" in seen.said(), "still")
    bed.ovsnet("set", "dan", "ovs.mirror=")
    bed.docker("rm", "--force", "ids")
    until(lambda: mirrors(bed) == "", "no mirror is left")
    ann.reaches(bob4, "bob")
    assert tap.name in bed.ovsnet("network", "ls")


def test_of_several_containers_that_look_the_one_with_the_lowest_address_gets_the_copies(
    bed: Bed, stage: Stage
) -> None:
    lab = stage.network("lab", "-o", "ovs.mirror=sink:ids", subnet="10.77.1.0/24")
    stage.network("tap", "--internal", subnet="10.77.9.0/24")
    ann, bob = stage.container("ann", lab), stage.container("bob", lab)
    bob4 = bob.endpoint(lab)["IPAddress"]
    where = "name=tap,driver-opt=ovs.sink=ids,ip=10.77.9."
    high, low = stage.container("high", f"{where}30"), stage.container("low", f"{where}4")

    def copies(name: str) -> str:
        (shown,) = json.loads(bed.ovsnet("endpoint", "show", name, "--json"))
        return str(shown["copies"])

    def sees(looks: Container, other: Container) -> None:
        with watching(bed, looks.netns, "eth0") as seen:  # vswitchd leads them there by now
            until(lambda: ann.pings(bob4) and f"> {bob4}: ICMP" in seen.said(), "seen")
        with (
            watching(bed, looks.netns, "eth0") as seen,
            watching(bed, other.netns, "eth0", name="tcpdump-other") as not_seen,
        ):
            until(lambda: ann.pings(bob4) and f"> {bob4}: ICMP" in seen.said(), "seen")
            assert bob4 not in not_seen.said()
        assert copies(looks.name) == "gets what is led to ids"
        assert "gets nothing: endpoint " in copies(other.name)

    sees(low, high)
    bed.docker("restart", "low")  # its record is the last one now
    sees(low, high)
    bed.docker("restart", "high")
    sees(low, high)
    assert "gets nothing" in bed.ovsnet("endpoint", "show", "high")
    bed.docker("stop", "low")
    assert copies("high") == "gets what is led to ids"
    with watching(bed, high.netns, "eth0") as seen:
        until(lambda: ann.pings(bob4) and f"> {bob4}: ICMP" in seen.said(), "high is next")


def test_a_network_is_mirrored_to_a_nic_that_is_given_back(bed: Bed, stage: Stage) -> None:
    bed.ip("link", "add", "mon0", "type", "veth", "peer", "name", "probe0", "netns", "outside")
    bed.ip("link", "set", "probe0", "up", netns=bed.outside)
    lab = stage.network("lab", "-o", "ovs.mirror=nic:mon0", subnet="10.77.1.0/24")
    ann, bob = stage.container("ann", lab), stage.container("bob", lab)
    bob4 = bob.endpoint(lab)["IPAddress"]
    with watching(bed, bed.outside, "probe0") as seen:
        until(lambda: ann.pings(bob4) and f"> {bob4}: ICMP echo request" in seen.said(), "seen")
        until(lambda: f"{bob4} > " in seen.said(), "the answer too")
    refused = bed.docker_refuses(
        *("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam"),
        *("-o", "ovs.uplink=mon0", "-o", "ovs.vlan=30", "wire"),
    )
    assert "mirrors lead to it" in refused
    stage.clear()
    until(lambda: "mon0" not in bed.ovs_vsctl("show"), "the NIC is free")
    assert "NOARP" not in bed.ip("link", "show", "mon0")
    bed.ip("link", "del", "mon0")


def test_a_network_is_mirrored_to_another_host_or_refused_where_no_tunnel_has_a_way(
    bed: Bed, stage: Stage
) -> None:
    if not Path("/sys/module/openvswitch").exists():
        refused = bed.docker_refuses(
            *("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam"),
            *("-o", "ovs.mirror=gre:192.0.2.2", "lab"),
        )
        assert "userspace datapath" in refused
        return
    for kind in ("gre", "erspan"):
        tunnelled(bed, stage, kind)


def tunnelled(bed: Bed, stage: Stage, kind: str) -> None:
    lab = stage.network("lab", "-o", f"ovs.mirror={kind}:192.0.2.2", subnet="10.77.1.0/24")
    ann, bob = stage.container("ann", lab), stage.container("bob", lab)
    bob4 = bob.endpoint(lab)["IPAddress"]
    with watching(bed, bed.outside, "eth0") as seen:
        until(lambda: ann.pings(bob4) and "192.0.2.1 > 192.0.2.2: GRE" in seen.said(), kind)
    stage.clear()
    until(lambda: f"type: {kind}" not in bed.ovs_vsctl("show"), "the tunnel is gone")
