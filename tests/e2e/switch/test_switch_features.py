"""What bridges of ours do besides switching, looked at in the traffic."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import ears, forgery
from tests.e2e.bed import Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.switch.test_shaping import mac
from tests.e2e.world import Program, until

pytestmark = [pytest.mark.docker, pytest.mark.long]

LLDP = bytes.fromhex("0180c200000e")
GROUP, GROUP_MAC = "239.1.2.3", bytes.fromhex("01005e010203")


def options(**values: str) -> tuple[str, ...]:
    return tuple(part for name, value in values.items() for part in ("-o", f"ovs.{name}={value}"))


def lldp_arrives(bed: Bed, source: Container, sink: Container, network: Network) -> bool:
    frame = LLDP + mac(source, network) + b"\x88\xcc" + bytes(46)
    end = mac(sink, network) + mac(source, network) + b"\x88\xb5" + bytes(46)
    with ears.listening(bed, {sink.name: (sink, "eth0")}) as heard:

        def ended() -> bool:
            ears.send_raw((source, "eth0"), {"lldp": frame, "end": end})
            return "end" in heard.heard(sink.name)

        until(ended, "the frame behind it arrives")
        return "lldp" in heard.heard(sink.name)


def test_snooping_and_control_frames_are_a_bridges_and_change_live(bed: Bed, stage: Stage) -> None:
    lab = stage.network(
        "lab",
        *options(mode="isolated", mcast="true", control_frames="forward"),
        subnet="10.77.1.0/24",
    )
    refused = bed.docker_refuses(
        *("network", "create", "-d", "ovsnet", "--ipam-driver", "ovsipam"),
        *options(mcast="false"),
        "other",
    )
    assert "already set it differently" in refused
    ann, bob, cat = (stage.container(name, lab) for name in ("ann", "bob", "cat"))
    assert lldp_arrives(bed, ann, bob, lab)

    with listening_to_group(bed, bob):
        groups = ("ovs-appctl", "-t", "/run/openvswitch/vswitchd.ctl", "mdb/show", "br-ovsnet")
        until(lambda: GROUP in bed.run(*groups), "the bridge has heard who listens")
        packet = forgery.ipv4_packet(ann.endpoint(lab)["IPAddress"], GROUP)
        frame = (GROUP_MAC + mac(ann, lab) + packet).ljust(60, b"\0")
        places: dict[str, ears.Link] = {x.name: (x, "eth0") for x in (bob, cat)}
        with ears.listening(bed, places) as heard:
            ears.send_raw((ann, "eth0"), {"group": frame})
            heard.wait_for("group", {"bob"})
            end = b"\xff" * 6 + mac(ann, lab) + b"\x88\xb5" + bytes(46)
            ears.send_raw((ann, "eth0"), {"end": end})
            heard.wait_for("end", {"bob", "cat"})
            assert heard.hearers("group") == {"bob"}

    bed.ovsnet("set", "lab", "ovs.control_frames=", "ovs.mcast=")
    until(lambda: not lldp_arrives(bed, ann, bob, lab), "LLDP ends at the bridge")
    bridge = ("get", "Bridge", "br-ovsnet")
    assert bed.ovs_vsctl(*bridge, "mcast_snooping_enable") == "false"
    assert "forward-bpdu" not in bed.ovs_vsctl(*bridge, "other_config")


@contextmanager
def listening_to_group(bed: Bed, place: Container) -> Iterator[None]:
    code = (
        "import socket,time;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);"
        f"s.setsockopt(0,35,socket.inet_aton('{GROUP}')+bytes(4));time.sleep(600)"
    )
    program = Program(bed, "joined", sys.executable, "-c", code, netns=place.netns)
    bed.ip("route", "add", "239.0.0.0/8", "dev", "eth0", netns=place.netns)
    program.start()
    try:
        yield
    finally:
        program.stop()
        program.log.unlink(missing_ok=True)


def test_samples_and_records_of_traffic_reach_a_collector(bed: Bed, stage: Stage) -> None:
    folders = {name: bed.home / name for name in ("sflow", "netflow", "ipfix")}
    programs = []
    for (name, folder), port in zip(folders.items(), (6343, 2055, 4739), strict=True):
        folder.mkdir()
        collector = "sfcapd" if name == "sflow" else "nfcapd"
        said = (collector, "-w", str(folder), "-b", "127.0.0.1", "-p", str(port), "-t", "2")
        programs.append(Program(bed, name, *said))
    for program in programs:
        program.start()
    try:
        lab = stage.network(
            "lab",
            *options(mode="isolated", sflow="127.0.0.1/1", netflow="127.0.0.1"),
            *options(ipfix="127.0.0.1/1"),
            subnet="10.77.1.0/24",
        )
        ann, bob = stage.container("ann", lab), stage.container("bob", lab)
        address = bob.endpoint(lab)["IPAddress"]
        missing = set(folders)

        def all_seen() -> bool:
            ann.asks(address)
            for name in tuple(missing):
                if address in _collected(bed, folders[name]):
                    missing.remove(name)
            return not missing

        until(all_seen, lambda: f"{missing} has {address}", timeout_s=90)
        bed.ovsnet("set", "lab", "ovs.sflow=", "ovs.netflow=", "ovs.ipfix=")
        assert bed.ovs_vsctl("get", "Bridge", "br-ovsnet", "sflow", "netflow", "ipfix") == (
            "[]\n[]\n[]"
        )
    finally:
        for program in programs:
            program.stop()
            program.log.unlink(missing_ok=True)


def _collected(bed: Bed, folder: Path) -> str:
    if not any(folder.glob("nfcapd.2*")):
        return ""
    return bed.attempt("nfdump", "-R", str(folder), "-o", "csv").out


def test_a_controller_says_what_a_bridge_does(bed: Bed, stage: Stage) -> None:
    lab = stage.network(
        "lab",
        *options(mode="isolated", controller="tcp:127.0.0.1:6653", failmode="secure"),
        *options(protocols="OpenFlow13+OpenFlow14"),
        *("-o", "ovs.bridge.controller=tcp:127.0.0.1:6653"),  # dovesnap's word for the same
        subnet="10.77.1.0/24",
    )
    ann, bob = stage.container("ann", lab), stage.container("bob", lab)
    address = bob.endpoint(lab)["IPAddress"]
    ann.never_reaches(address)
    python = Path(__file__).parents[3] / ".controller" / "bin" / "python"
    assert python.exists(), "tests/run e2e makes .controller, which os-ken is in"
    program = Program(
        bed, "controller", str(python), str(Path(__file__).parents[1] / "controller.py"), "6653"
    )
    program.start()
    try:
        until(lambda: "switch" in program.said(), program.said, timeout_s=60)
        ann.reaches(address, "bob")
        assert bed.ovs_vsctl("get", "Bridge", "br-ovsnet", "protocols") == (
            "[OpenFlow13, OpenFlow14]"
        )
    finally:
        program.stop()
        program.log.unlink(missing_ok=True)
