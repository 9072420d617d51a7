"""What goes first out of an uplink that has more to send than its rate."""

import re
import sys

import pytest

from tests.e2e.bed import Bed
from tests.e2e.far import beyond
from tests.e2e.stage import Container, Stage
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker

PINGS = 40
DESK4, DESK6 = "10.30.0.30", "fd00:30::30"
FLOOD = (
    "import socket, time\n"
    "wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    f"wire.connect(('{DESK4}', 9))\n"
    "while True:\n"
    "    time.sleep(0.01)\n"
    "    for _ in range(10):\n"
    "        try:\n"
    "            wire.send(bytes(1400), socket.MSG_DONTWAIT)\n"
    "        except OSError:\n"
    "            pass\n"
)
"""Five times what the uplink sends."""


def answered(bed: Bed, who: Container, address: str) -> int:
    said = bed.attempt(
        *("ping", "-c", str(PINGS), "-i", "0.01", "-W", "1", address), netns=who.netns
    ).out
    found = re.search(r"([0-9]+) received", said)
    assert found, said
    return int(found[1])


def test_what_is_marked_goes_first_out_of_an_uplink_that_is_full(bed: Bed, stage: Stage) -> None:
    with beyond(bed, "eth1") as far:
        bed.run(*["tc", "qdisc", "replace", "dev", "eth1", "root", "pfifo", "limit", "77"])
        far.host("desk", f"{DESK4}/24", f"{DESK6}/64", tag=30)
        wire = ("-o", "ovs.uplink=eth1", "-o", "ovs.vlan=30", "-o", "ovs.uplink_rate=2mbit")
        both = ("--ipv6", "--subnet", "fd00:30::/64")
        lan = stage.network("lan", *wire, *both, subnet="10.30.0.0/24")
        usual, loud = stage.container("usual", lan), stage.container("loud", lan)
        urgent = stage.container("urgent", "name=lan,driver-opt=ovs.dscp=ef")
        for each in (usual, urgent):
            for address in (DESK4, DESK6):
                until(lambda each=each, at=address: each.pings(at), "the desk answers")
        assert "sends 2 Mbit/s at most" in bed.ovsnet("network", "show", "lan")

        flood = Program(bed, "flood", sys.executable, "-c", FLOOD, netns=loud.netns)
        flood.start()
        try:
            for address in (DESK4, DESK6):
                until(
                    lambda at=address: answered(bed, urgent, at) > 2 * answered(bed, usual, at),
                    "what is marked is not lost with the rest",
                )
            bed.ovsnet("set", "lan", "ovs.uplink_rate=")
            until(lambda: answered(bed, usual, DESK4) > PINGS / 2, "there is room for all")
        finally:
            flood.stop()
        assert "htb" not in bed.run("tc", "qdisc", "show", "dev", "eth1")

        bed.ovsnet("set", "lan", "ovs.uplink_rate=2mbit")
        right = bed.run("tc", "class", "show", "dev", "eth1")
        bed.run("tc", "qdisc", "del", "dev", "eth1", "root")
        assert "uplink eth1" in bed.ovsnet("reconcile")
        bed.vswitchd.stop()
        bed.start_vswitchd()
        bed.ovsnet("reconcile")
        until(
            lambda: "htb" in bed.run("tc", "qdisc", "show", "dev", "eth1"),
            "vswitchd that takes the NIC anew does not end it",
        )
        assert len(bed.run("tc", "class", "show", "dev", "eth1").splitlines()) == len(
            right.splitlines()
        )
        assert "nothing to mend" in bed.ovsnet("reconcile", "--dry-run")
        stage.clear()
        assert "pfifo" in (left := bed.run("tc", "qdisc", "show", "dev", "eth1"))
        assert "limit 77p" in left
