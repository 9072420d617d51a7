"""``ovsnet trace`` and ``ovsnet capture`` beside real containers."""

import json
from pathlib import Path
from signal import SIGINT, SIGKILL

import pytest

from tests.e2e.bed import _PROGRAM, WAN4, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker


def verdict(bed: Bed, *args: str, code: int) -> str:
    result = bed.try_ovsnet("trace", *args)
    assert result.code == code, result
    return result.out.splitlines()[-1]


def address(container: Container, network: Network) -> str:
    found: str = container.endpoint(network)["IPAddress"]
    return found


def test_a_trace_says_what_the_traffic_says(bed: Bed, stage: Stage) -> None:
    lab = stage.network("lab", subnet="10.77.1.0/24")
    other = stage.network("other", subnet="10.77.2.0/24")
    ann, bob = stage.container("ann", lab), stage.container("bob", lab)
    cat = stage.container("cat", other)
    ann.reaches(address(bob, lab), "bob")
    assert "ann reaches bob (icmp)" in verdict(bed, "ann", "bob", code=0)
    assert "ann reaches bob (tcp/80)" in verdict(bed, "ann", "bob", "tcp/80", code=0)
    assert "nobody listens on tcp/5432" in verdict(bed, "ann", "bob", "tcp/5432", code=1)
    ann.never_reaches(address(cat, other))
    assert "docker network connect other" in verdict(bed, "ann", "cat", code=1)

    bed.ovsnet("set", "lab", "ovs.icc=false")
    ann.never_reaches(address(bob, lab))
    assert "ovs.icc=true" in verdict(bed, "ann", "bob", code=1)
    bed.ovsnet("set", "lab", "ovs.icc=")
    bed.ovsnet("set", "bob", "ovs.vlan=99")
    assert "ovs.vlan=" in verdict(bed, "ann", "bob", code=1)
    bed.ovsnet("set", "bob", "ovs.vlan=")

    bridge = "unix:/run/openvswitch/br-ovsnet.mgmt"
    bed.run("ovs-ofctl", "add-flow", bridge, "cookie=9,priority=500,icmp,actions=drop")
    assert "br-ovsnet drops it" in verdict(bed, "ann", "bob", code=1)
    assert "ann reaches bob" in verdict(bed, "ann", "bob", "tcp/80", code=0)
    bed.run("ovs-ofctl", "del-flows", bridge, "cookie=9/-1")

    bed.ip("address", "flush", "dev", "eth0", netns=bob.netns)
    assert "bob does not have its address" in verdict(bed, "ann", "bob", code=1)
    told = json.loads(bed.try_ovsnet("trace", "lab/ann", "lab/bob", "--json").out)
    assert not told["reaches"]
    assert told["hops"][-1]["verdict"] == "stop"
    assert "cat is not" not in told["verdict"]


def test_a_trace_to_the_host_says_what_the_traffic_says(bed: Bed, stage: Stage) -> None:
    lab = stage.network("lab", subnet="10.77.1.0/24")
    other = stage.network("other", subnet="10.77.2.0/24")
    ann = stage.container("ann", lab)
    stage.container("bob", lab, "--publish", "8080:80")
    for access, at, question, code in (
        ("all", WAN4, "icmp", 0),
        ("all", other.gateway(), "icmp", 1),
        ("gateway", WAN4, "icmp", 1),
        ("none", lab.gateway(), "icmp", 0),
        ("none", WAN4, "tcp/8080", 0),
    ):
        bed.ovsnet("set", "lab", f"ovs.host={access}")
        verdict(bed, "ann", at, question, code=code)
        if question == "icmp":
            assert ann.pings(at) == (code == 0)
        else:
            assert bool(ann.asks(at, int(question.partition("/")[2]))) == (code == 0)


def test_a_capture_has_each_packet_once_and_leaves_nothing(bed: Bed, stage: Stage) -> None:
    lab = stage.network("lab", subnet="10.77.1.0/24")
    ann, bob = stage.container("ann", lab), stage.container("bob", lab)
    inner = stage.container("inner", "name=lab,driver-opt=ovs.port=internal")
    before = bed.ovs_vsctl("show")
    for target, source, sink in (("lab", ann, bob), ("bob", ann, bob), ("inner", ann, inner)):
        path = bed.home / f"{target}.pcap"
        program = start(bed, target, path)
        source.reaches(address(sink, lab))
        sent = bed.run(
            *("ping", "-n", "-q", "-c", "3", "-s", "123", "-i", "0.2", address(sink, lab)),
            netns=source.netns,
        )
        assert "3 received" in sent
        program.stop(SIGINT)
        assert "packets" in program.said()
        filtered = ("tcpdump", "-nr", str(path), f"icmp and ip[2:2] = {20 + 8 + 123}")
        seen = bed.run(*filtered).splitlines()
        requests = [line for line in seen if "echo request" in line]
        replies = [line for line in seen if "echo reply" in line]
        assert (len(requests), len(replies)) == (3, 3), seen
        path.unlink()
    program = start(bed, "lab", bed.home / "killed.pcap")
    program.stop(SIGKILL)
    assert bed.ovs_vsctl("show") == before
    refused = bed.try_ovsnet("capture", "nobody", "-w", "/tmp/x")  # noqa: S108
    assert refused.code == 1
    assert "neither a network nor a container on one of ovsnet's networks" in refused.err


def start(bed: Bed, target: str, path: Path) -> Program:
    program = Program(
        bed, f"capture-{path.stem}", str(_PROGRAM), "capture", target, "-w", str(path)
    )
    program.start()
    until(lambda: "listening on" in program.said(), program.said)
    return program
