"""Rates: what gets through of a burst, each way, with a limit and without."""

import json
from functools import partial
from typing import Any

import pytest

from tests.e2e import ears
from tests.e2e.bed import Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.switch.test_mirrors import watching
from tests.e2e.world import until

pytestmark = pytest.mark.docker

FRAMES, BYTES = 300, 1400
BRIDGE = "unix:/run/openvswitch/br-ovsnet.mgmt"


def mac(container: Container, network: Network) -> bytes:
    return bytes.fromhex(container.endpoint(network)["MacAddress"].replace(":", ""))


def got_through(
    bed: Bed,
    source: Container,
    sink: Container,
    network: Network,
    *,
    frames: int = FRAMES,
    size: int = BYTES,
    to_all: bool = False,
) -> int:
    """Return how many frames of a burst arrive; the last of all, slowly sent, is the end of it."""
    head = (b"\xff" * 6 if to_all else mac(sink, network)) + mac(source, network) + b"\x88\xb5"
    burst = {f"n{n}": head + bytes(size) for n in range(frames)}
    with ears.listening(bed, {sink.name: (sink, "eth0")}) as heard:
        ears.send_raw((source, "eth0"), burst)

        def ended() -> bool:
            ears.send_raw((source, "eth0"), {"end": head + bytes(46)})
            return "end" in heard.heard(sink.name)

        until(ended, "the burst has ended")
        return len(heard.heard(sink.name).keys() - {"end"})


def test_a_rate_holds_each_way_and_is_changed_while_the_container_runs(
    bed: Bed, stage: Stage
) -> None:
    network = stage.network("lab", "-o", "ovs.mode=isolated", subnet="10.77.1.0/24")
    free, peer = stage.container("free", network), stage.container("peer", network)
    slow = stage.container("slow", "name=lab,driver-opt=ovs.rate=64kbit+64kbit")
    unlimited = got_through(bed, free, peer, network)
    towards = got_through(bed, free, slow, network)
    away = got_through(bed, slow, free, network)
    assert 0 < towards < unlimited / 2
    assert 0 < away < unlimited / 2
    slow.reaches(free.endpoint(network)["IPAddress"], "free")

    bed.ovsnet("set", "slow", "ovs.rate=none+64kbit")
    until(lambda: got_through(bed, free, slow, network) > 2 * towards, "it is sent more")
    assert got_through(bed, slow, free, network) < unlimited / 2
    bed.restart_plugin()
    assert got_through(bed, slow, free, network) < unlimited / 2
    bed.ovsnet("set", "slow", "ovs.rate=")
    # the datapath follows its flows after a moment
    until(lambda: got_through(bed, slow, free, network) > 2 * away, "it sends more")
    assert _meters(bed) == []
    assert '"tbf"' not in bed.run("tc", "-json", "qdisc", "show")


def test_what_may_go_at_once_is_the_networks_or_the_containers_own(bed: Bed, stage: Stage) -> None:
    limits = ("-o", "ovs.rate=64kbit+64kbit", "-o", "ovs.burst=16kb", "-o", "ovs.mode=isolated")
    network = stage.network("lab", *limits, subnet="10.77.1.0/24")
    free = stage.container("free", "name=lab,driver-opt=ovs.rate=none")
    slow = stage.container("slow", network)
    large = ",".join(f"driver-opt={each}" for each in ("ovs.burst=1mb", "ovs.broadcast=20"))
    ready = stage.container("ready", f"name=lab,{large}")
    towards, away = got_through(bed, free, slow, network), got_through(bed, slow, free, network)
    assert got_through(bed, free, ready, network) > 2 * towards > 0
    assert got_through(bed, ready, free, network) > 2 * away > 0
    assert 0 < got_through(bed, ready, free, network, to_all=True) < FRAMES / 2


def test_broadcasts_have_a_limit_of_their_own(bed: Bed, stage: Stage) -> None:
    network = stage.network(
        "lab", "-o", "ovs.mode=isolated", "-o", "ovs.broadcast=20", subnet="10.77.1.0/24"
    )
    loud, peer = stage.container("loud", network), stage.container("peer", network)
    one = got_through(bed, loud, peer, network)
    all_ = got_through(bed, loud, peer, network, to_all=True)
    assert 0 < all_ < one / 2
    bed.docker("rm", "--force", "loud", "peer")
    until(lambda: _meters(bed) == [], "no meter is left")


def test_rates_hold_whatever_number_a_port_has_and_when_a_lost_interface_is_back(
    bed: Bed, stage: Stage
) -> None:
    network = stage.network("lab", "-o", "ovs.mode=isolated", subnet="10.77.1.0/24")
    limits = ("ovs.rate=64kbit+64kbit", "ovs.broadcast=20")
    free = stage.container("free", network)
    slow, high = (
        stage.container(name, ",".join(("name=lab", *(f"driver-opt={each}" for each in options))))
        for name, options in (("slow", limits), ("high", (*limits, "ovs.ofport=40000")))
    )
    unlimited = got_through(bed, free, slow, network, size=46)

    def limited(container: Container) -> bool:
        away = got_through(bed, container, free, network)
        to_all = got_through(bed, container, free, network, to_all=True, size=46)
        return 0 < away < unlimited / 2 and 0 < to_all < unlimited / 2

    assert limited(high)
    for number, container in ((32767, slow), (40000, high)):
        bed.ip("link", "del", _shown(bed, container)["port_name"])
        until(partial(_has_its_link, container), f"{container.name} has its link back")
        container.reaches(free.address(network), "free")
        assert _shown(bed, container)["ofport"] == number
        assert limited(container)
    bed.restart_plugin()
    assert limited(slow)
    assert "nothing to mend" in bed.ovsnet("reconcile", "--dry-run")
    bed.docker("rm", "--force", "slow", "high", "free")
    until(lambda: _meters(bed) == [], "no meter is left")


def test_a_delay_and_a_loss_are_each_way_or_refused_where_the_kernel_has_no_netem(
    bed: Bed, stage: Stage
) -> None:
    if bed.attempt("tc", "qdisc", "add", "dev", "lo", "root", "netem").code:
        refused = bed.docker_refuses(
            *("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam"),
            *("-o", "ovs.delay=20ms", "-o", "ovs.jitter=2ms", "lab"),
        )
        assert "modprobe sch_netem" in refused
        return
    bed.run("tc", "qdisc", "del", "dev", "lo", "root")
    network = stage.network("lab", "-o", "ovs.mode=isolated", subnet="10.77.1.0/24")
    near = stage.container("near", network)
    far = stage.container("far", "name=lab,driver-opt=ovs.delay=50ms,driver-opt=ovs.rate=10mbit")
    until(lambda: "netem" in bed.run("tc", "qdisc", "show", netns=far.netns), "its end is delayed")
    address = far.endpoint(network)["IPAddress"]
    near.reaches(address, "far")
    said = bed.run("ping", "-n", "-q", "-c", "3", address, netns=near.netns)
    quickest = float(said.rpartition("=")[2].split("/")[0])
    assert quickest >= 100  # netem delays each way by at least that

    bed.ovsnet("set", "far", "ovs.jitter=5ms")
    near.reaches(address, "far")
    bed.ovsnet("set", "far", "ovs.loss=100%")
    assert not near.pings(address, count=3)
    bed.ovsnet("set", "far", "ovs.loss=", "ovs.duplicate=100%")
    assert "DUP!" in bed.run("ping", "-n", "-c", "1", "-w", "5", address, netns=near.netns)
    bed.ovsnet("set", "far", "ovs.duplicate=", "ovs.corrupt=100%")
    assert not near.pings(address, count=3)
    bed.ovsnet("set", "far", "ovs.corrupt=", "ovs.reorder=50%")
    near.reaches(address, "far")
    bed.ovsnet("set", "far", "ovs.reorder=", "ovs.jitter=", "ovs.delay=")
    near.reaches(address, "far")
    assert "netem" not in bed.run("tc", "qdisc", "show", netns=far.netns)
    assert "netem" not in bed.run("tc", "qdisc", "show")


def _has_its_link(container: Container) -> bool:
    return container.links() == {"eth0"}


def _shown(bed: Bed, container: Container) -> dict[str, Any]:
    (shown,) = json.loads(bed.ovsnet("endpoint", "show", container.name, "--json"))
    return dict(shown)


def _meters(bed: Bed) -> list[str]:
    said = bed.run("ovs-ofctl", "-O", "OpenFlow14", "dump-meters", BRIDGE)
    return [line for line in said.splitlines() if line.startswith("meter=")]


def test_what_containers_send_is_marked_and_keeps_what_is_beside_the_mark(
    bed: Bed, stage: Stage
) -> None:
    both = ("--ipv6", "--subnet", "fd00:77::/64", "-o", "ovs.dscp=ef", "-o", "ovs.guard=true")
    network = stage.network("lab", *both, subnet="10.77.1.0/24")
    ann, peer = stage.container("ann", network), stage.container("peer", network)
    free = stage.container("free", "name=lab,driver-opt=ovs.dscp=none")
    found = peer.endpoint(network)
    addresses = found["IPAddress"], found["GlobalIPv6Address"]

    def marks(sender: Container, *said: str) -> set[str]:
        """Return how what a container sends arrives, of either family."""
        packets = "icmp[0] == 8 or (icmp6 and ip6[40] == 128)"
        seen = set()
        for address in addresses:
            with watching(bed, peer.netns, "eth0", packets, digits=True) as heard:
                bed.attempt("ping", "-c", "2", "-i", "0.2", *said, address, netns=sender.netns)
                until(lambda heard=heard: "0x0000:" in heard.said(), heard.said)
                first = heard.said().partition("0x0000:")[2].split()[0]
            seen.add(first[2:4] if first[0] == "4" else first[1:3])
        return seen

    assert marks(ann) == {"b8"}
    assert marks(ann, "-Q", "0x21") == {"b9"}, "what says that there is congestion stays"
    assert marks(free, "-Q", "0x20") == {"20"}
    bed.ovsnet("set", "ann", "ovs.dscp=af41")
    assert marks(ann) == {"88"}
    assert "nothing to mend" in bed.ovsnet("reconcile", "--dry-run")
    bed.ovsnet("set", "ann", "ovs.dscp=")
    bed.ovsnet("set", "lab", "ovs.dscp=")
    assert marks(ann) == {"00"}
