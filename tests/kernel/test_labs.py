"""Guard, rates, impairment and mirrors where the kernel forwards, and its netem and tunnels."""

from ipaddress import ip_address

import pytest

from tests.e2e.access.test_guard import test_forged_frames_of_a_guarded_container_arrive_nowhere
from tests.e2e.bed import OUTSIDE4, WAN4, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.switch.test_mirrors import (
    mirrors,
    test_a_network_and_a_container_are_mirrored_to_a_container_that_looks,
    watching,
)
from tests.e2e.switch.test_shaping import (
    got_through,
    test_a_rate_holds_each_way_and_is_changed_while_the_container_runs,
    test_broadcasts_have_a_limit_of_their_own,
    test_what_containers_send_is_marked_and_keeps_what_is_beside_the_mark,
)
from tests.e2e.world import Program, until

__all__ = [
    "test_a_network_and_a_container_are_mirrored_to_a_container_that_looks",
    "test_a_rate_holds_each_way_and_is_changed_while_the_container_runs",
    "test_broadcasts_have_a_limit_of_their_own",
    "test_forged_frames_of_a_guarded_container_arrive_nowhere",
    "test_what_containers_send_is_marked_and_keeps_what_is_beside_the_mark",
]

pytestmark = pytest.mark.docker

CLOSED = ("-o", "ovs.mode=isolated")
FRAMES = 200


def round_trips(bed: Bed, source: Container, address: str, count: int) -> list[float]:
    """Return how many ms the answered ones of ``count`` echo requests took."""
    said = ("ping", "-n", "-c", str(count), "-i", "0.2", "-W", "10", address)
    lines = bed.attempt(*said, netns=source.netns, timeout_s=120).out.splitlines()
    return [float(line.rpartition("time=")[2].split()[0]) for line in lines if "time=" in line]


def arrived(bed: Bed, source: Container, sink: Container, network: Network) -> int:
    """Return how many of FRAMES frames arrive."""
    return got_through(bed, source, sink, network, frames=FRAMES, size=50)


def disciplines(bed: Bed, container: Container) -> str:
    """Return what ``tc`` shows in the host and in a container."""
    return bed.run("tc", "qdisc", "show") + bed.run("tc", "qdisc", "show", netns=container.netns)


def test_delay_jitter_and_loss_are_each_way_and_are_changed_live(bed: Bed, stage: Stage) -> None:
    network = stage.network("lab", *CLOSED, "-o", "ovs.delay=150ms", subnet="10.77.1.0/24")
    near = stage.container("near", f"name={network.name},driver-opt=ovs.delay=0ms")
    far = stage.container("far", network)
    there, back = far.address(network), near.address(network)
    until(lambda: disciplines(bed, far).count("netem") == 2, "both ends are delayed")
    near.reaches(there, "far")
    for source, address in ((near, there), (far, back)):
        found = round_trips(bed, source, address, 5)
        assert len(found) == 5
        assert min(found) >= 300, "each way by at least what was asked for"

    bed.ovsnet("set", "far", "ovs.delay=1s", "ovs.jitter=1s")
    found = round_trips(bed, near, there, 40)
    assert len(found) == 40
    assert min(found) < 1900, "without jitter none takes less than 2 s"
    assert sum(found) / len(found) > 1000, "half of what it is on the average"

    bed.ovsnet("set", "far", "ovs.delay=", "ovs.jitter=", "ovs.loss=50%")
    bed.restart_plugin()
    # 6 standard deviations of what is lost by chance
    for source, sink in ((near, far), (far, near)):
        assert 57 < arrived(bed, source, sink, network) < 143
    bed.ovsnet("set", "lab", "ovs.delay=")
    bed.ovsnet("set", "far", "ovs.loss=")
    until(lambda: "netem" not in disciplines(bed, far), "nothing is delayed")
    for source, sink in ((near, far), (far, near)):
        assert arrived(bed, source, sink, network) == FRAMES


def carried(program: Program, source: str, destination: str) -> bool:
    """Whether a packet from one address to the other was in a tunnel from us to the outside."""
    lines = program.said().splitlines()
    digits = "".join(
        line.partition(":")[2].replace(" ", "") if line.startswith("\t0x") else "\n"
        for line in lines
    )

    def pair(one: str, other: str) -> str:
        return ip_address(one).packed.hex() + ip_address(other).packed.hex()

    outer, inner = pair(WAN4, OUTSIDE4), pair(source, destination)
    return any(outer in packet[:40] and inner in packet[40:] for packet in digits.split("\n"))


@pytest.mark.parametrize("kind", ["gre", "erspan"])
def test_a_network_is_mirrored_to_another_host(bed: Bed, stage: Stage, kind: str) -> None:
    before = bed.ovs_vsctl("list-ports", "br-ovsnet") if "br-ovsnet" in _bridges(bed) else ""
    lab = stage.network("lab", "-o", f"ovs.mirror={kind}:{OUTSIDE4}", subnet="10.77.1.0/24")
    other = stage.network("other", *CLOSED, subnet="10.77.2.0/24")
    ann, bob = stage.container("ann", lab), stage.container("bob", lab)
    cat, dan = stage.container("cat", other), stage.container("dan", other)
    ann4, bob4 = ann.address(lab), bob.address(lab)
    with watching(bed, bed.outside, "eth0", "proto 47", digits=True) as seen:
        cat.reaches(dan.address(other), "dan")
        until(lambda: ann.pings(bob4) and carried(seen, ann4, bob4), f"{kind} carries requests")
        until(lambda: carried(seen, bob4, ann4), f"{kind} carries answers")
        assert not carried(seen, cat.address(other), dan.address(other))
    bed.ovsnet("set", "lab", "ovs.mirror=")
    until(lambda: mirrors(bed) == "", "no mirror is left")
    stage.clear()
    after = bed.ovs_vsctl("list-ports", "br-ovsnet") if "br-ovsnet" in _bridges(bed) else ""
    assert after == before


def _bridges(bed: Bed) -> list[str]:
    return bed.ovs_vsctl("list-br").split()
