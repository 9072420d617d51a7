"""Faults, each done to real processes, and over when its function returns: all runs again.

What of them users may read is said beside each, as a pattern; what is none of its words is a
fault of ours.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals

from tests.e2e.bed import Bed
from tests.e2e.world import Program, until

SLOW = r"no answer within \d+ s; try again"
"""The kernel has one lock for all links of the machine, and others may be at it."""

CUT = r"the request is empty\. Docker repeats a call that was cut off|unexpected EOF|\bEOF\b"
"""A call was being served when the process was killed; Docker repeats it in a way of no use."""

CUT_AND_FORGOTTEN = CUT + (
    r"|is not known to ovsnet|is not known on network|is not leased from pool"
    r"|is not known; remove the network"
)
"""What comes of that later: Docker goes on as if it had got an answer."""

AWAY = r"plugins/ovs(net|ipam)\.sock: connect: (connection refused|no such file)"
"""dockerd has tried for 15 s."""

STOPPED = r"ovsnet was stopped before this was done; what it began is"
"""A call waited for something that is away, longer than the end of the process waits for calls."""

NO_SWITCH = rf"Open vSwitch|vswitchd|ovsdb-server|not done within 10 s; what it began is|{STOPPED}"

NO_STORE = rf"is locked by another process; nothing was changed|the disk is full|{STOPPED}"

NO_DAEMON = (
    r"Cannot connect to the Docker daemon|error during connect|EOF|connection reset"
    r"|read unix|is not running|context canceled|no such network|not found|database not open"
)

REBOOTED = f"{NO_DAEMON}|{CUT_AND_FORGOTTEN}|{AWAY}|{NO_SWITCH}"


@dataclass(frozen=True, slots=True)
class Fault:
    """One of them."""

    name: str
    do: Callable[[Bed, Random], None]
    permitted: str = ""
    """Pattern of what users may read meanwhile; empty: they notice nothing."""


def plugin_restarted(bed: Bed, choose: Random) -> None:
    """Restart our process in order, twice."""
    bed.restart_plugin(SIGTERM)
    time.sleep(choose.uniform(4, 8))  # for dockerd's next try to find it
    bed.restart_plugin(SIGTERM)


def plugin_killed(bed: Bed, choose: Random) -> None:
    """Kill our process, some times."""
    for _ in range(3):
        time.sleep(choose.uniform(0.5, 2))
        bed.restart_plugin(SIGKILL)


def plugin_stalled(bed: Bed, choose: Random) -> None:
    """Let our process do nothing for a while."""
    bed.plugin.signal(SIGSTOP)
    time.sleep(choose.uniform(2, 5))
    bed.plugin.signal(SIGCONT)


def vswitchd_restarted(bed: Bed, choose: Random) -> None:
    """Restart ovs-vswitchd in order."""
    _vswitchd(bed, choose, SIGTERM)


def vswitchd_killed(bed: Bed, choose: Random) -> None:
    """Kill ovs-vswitchd and start it again."""
    _vswitchd(bed, choose, SIGKILL)


def _vswitchd(bed: Bed, choose: Random, end: Signals) -> None:
    bed.vswitchd.stop(end)
    time.sleep(choose.uniform(0, 3))
    bed.start_vswitchd()


def vswitchd_stalled(bed: Bed, choose: Random) -> None:
    """Let ovs-vswitchd do nothing for a while."""
    bed.vswitchd.signal(SIGSTOP)
    time.sleep(choose.uniform(2, 8))
    bed.vswitchd.signal(SIGCONT)


def ovsdb_restarted(bed: Bed, choose: Random) -> None:
    """Restart ovsdb-server in order."""
    _ovsdb(bed, choose, SIGTERM)


def ovsdb_killed(bed: Bed, choose: Random) -> None:
    """Kill ovsdb-server and start it again."""
    _ovsdb(bed, choose, SIGKILL)


def _ovsdb(bed: Bed, choose: Random, end: Signals) -> None:
    bed.ovsdb.stop(end)
    time.sleep(choose.uniform(0, 3))
    bed.start_ovsdb()


def ovsdb_stalled(bed: Bed, choose: Random) -> None:
    """Let ovsdb-server do nothing for a while."""
    bed.ovsdb.signal(SIGSTOP)
    time.sleep(choose.uniform(2, 8))
    bed.ovsdb.signal(SIGCONT)


def database_lost(bed: Bed, choose: Random) -> None:
    """Lose conf.db."""
    for program in choose.sample([bed.vswitchd, bed.ovsdb], 2):
        program.stop(SIGKILL)
    (bed.home / "conf.db").unlink()
    bed.start_switch()


def switch_later(bed: Bed, choose: Random) -> None:
    """Start our process without Open vSwitch, which comes later."""
    bed.vswitchd.stop(SIGTERM)
    bed.ovsdb.stop(SIGTERM)
    bed.restart_plugin(SIGTERM)
    time.sleep(choose.uniform(0, 5))
    bed.start_switch()


def ruleset_flushed(bed: Bed, choose: Random) -> None:
    """Flush all of nftables."""
    bed.nft("flush", "ruleset")


def ports_deleted(bed: Bed, choose: Random) -> None:
    """Delete some ports of ours by hand."""
    names = bed.ovs_vsctl("--no-wait", "list-ports", "br-ovsnet").split()
    for name in choose.sample(names, (len(names) + 1) // 2):
        bed.ovs_vsctl("--no-wait", "--if-exists", "del-port", "br-ovsnet", name)


def bridge_deleted(bed: Bed, choose: Random) -> None:
    """Delete the bridge by hand."""
    bed.ovs_vsctl("--no-wait", "del-br", "br-ovsnet")


def second_process(bed: Bed, choose: Random) -> None:
    """Start our process a second time; it must refuse and do nothing."""
    second = bed.attempt(*bed.serve())
    assert second.code not in (0, 124), second
    assert "another ovsnet" in second.err + second.out, second
    assert bed.plugin.running


def two_at_once(bed: Bed, choose: Random) -> None:
    """Start our process twice at the same moment; one of them must give way."""
    bed.plugin.stop(SIGTERM)
    other = Program(bed, "other", *bed.plugin.command)
    both = choose.sample([bed.plugin, other], 2)
    for each in both:
        each.start()
    until(lambda: sum(each.running for each in both) == 1, "one has given way")
    (lost,) = (each for each in both if not each.running)
    assert lost.wait() not in (0, 128 + SIGKILL), lost.said()
    if lost is bed.plugin:
        other.stop(SIGTERM)
        bed.plugin.start()
    bed.wait_for_plugin()
    other.log.unlink()


_LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


def store_locked(bed: Bed, choose: Random) -> None:
    """Hold the lock of our store for longer than a commit waits."""
    for_s = str(choose.uniform(3, 6))
    argv = (sys.executable, "-c", _LOCK, f"{bed.state_dir}/state.db", for_s)
    thief = Program(bed, "thief", *argv)
    thief.start()
    until(lambda: "locked" in thief.said() or not thief.running, "the store is locked")
    assert thief.running, thief.said()
    thief.wait()
    thief.log.unlink()


def disk_filled(bed: Bed, choose: Random) -> None:
    """Fill the disk of our store, which must have one of its own, and empty it again."""
    fill = f"{bed.state_dir}/fill"
    bed.attempt("sh", "-c", f"cat /dev/zero >{fill}")
    time.sleep(choose.uniform(3, 6))
    bed.run("rm", fill)


def dockerd_restarted(bed: Bed, choose: Random) -> None:
    """Restart dockerd in order."""
    _dockerd(bed, choose, SIGTERM)


def dockerd_killed(bed: Bed, choose: Random) -> None:
    """Kill dockerd and start it again."""
    _dockerd(bed, choose, SIGKILL)


def _dockerd(bed: Bed, choose: Random, end: Signals) -> None:
    bed.dockerd.stop(end, timeout_s=90)
    time.sleep(choose.uniform(0, 3))
    bed.start_docker()


def plugin_after_dockerd(bed: Bed, choose: Random) -> None:
    """Start dockerd without our process, which comes a little later."""
    bed.dockerd.stop(SIGTERM, timeout_s=90)
    bed.plugin.stop(SIGTERM)
    bed.dockerd.start()
    time.sleep(choose.uniform(1, 4))
    bed.start_plugin()
    bed.wait_for_docker()


def host_rebooted(bed: Bed, choose: Random) -> None:
    """Let the power fail: no process is left, no link but those of hardware; the disks stay."""
    for program in (bed.dockerd, bed.plugin, bed.vswitchd, bed.ovsdb):
        program.stop(SIGKILL)
    kill_all_of_docker(bed)
    bed.run("sh", "-c", _REBOOT)
    bed.start_switch()
    bed.start_plugin()
    bed.start_docker()


def kill_all_of_docker(bed: Bed) -> None:
    """Kill what dockerd has started: containerd, its shims, and with them the containers."""
    for _ in range(10):
        found = _of_docker(bed)
        if not found:
            return
        bed.attempt("kill", "-9", *sorted(found))
    raise AssertionError(f"processes of Docker do not end: {_of_docker(bed)}")


def _of_docker(bed: Bed) -> set[str]:
    """Return the ids of Docker's processes in the bed, and of those that its shims started."""
    listed = bed.run("ps", "-A", "-o", "pid=,ppid=,comm=").splitlines()
    processes = [line.split(maxsplit=2) for line in listed]
    names = ("containerd", "runc", "docker-")
    own = {pid for pid, _, name in processes if name.startswith(names)}
    return own | {pid for pid, parent, _ in processes if parent in own}


_REBOOT = r"""
ip -o link show type veth | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' | grep -v '^wan0$' >/run/gone
for kind in bridge tun vxlan; do
    ip -o link show type $kind | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' >>/run/gone
done
while read -r link; do ip link delete "$link" 2>/dev/null; done </run/gone
nft flush ruleset
echo 0 >/proc/sys/net/ipv4/ip_forward
echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
for each in /run/docker/netns/*; do umount --lazy "$each" 2>/dev/null; done
rm -rf /run/docker* /run/ovsnet /run/openvswitch /run/containerd /run/gone
cat /proc/sys/kernel/random/uuid >/run/boot_id.new
if [ -e /run/boot_id ]; then
    cat /run/boot_id.new >/run/boot_id
else
    mv /run/boot_id.new /run/boot_id
    mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
fi
"""
"""What a reboot takes away, and the number that tells one boot from the next."""

PLUGIN = (
    Fault("plugin-restarted", plugin_restarted),
    Fault("plugin-killed", plugin_killed, f"{CUT_AND_FORGOTTEN}|{AWAY}"),
    Fault("plugin-stalled", plugin_stalled),
    Fault("second-process", second_process),
    Fault("two-at-once", two_at_once),
)
SWITCH = (
    Fault("vswitchd-restarted", vswitchd_restarted, NO_SWITCH),
    Fault("vswitchd-killed", vswitchd_killed, NO_SWITCH),
    Fault("vswitchd-stalled", vswitchd_stalled, NO_SWITCH),
    Fault("ovsdb-restarted", ovsdb_restarted, NO_SWITCH),
    Fault("ovsdb-killed", ovsdb_killed, NO_SWITCH),
    Fault("ovsdb-stalled", ovsdb_stalled, NO_SWITCH),
    Fault("database-lost", database_lost, NO_SWITCH),
    Fault("switch-later", switch_later, NO_SWITCH),
)
BY_HAND = (
    Fault("ruleset-flushed", ruleset_flushed),
    Fault("ports-deleted", ports_deleted, NO_SWITCH),
    Fault("bridge-deleted", bridge_deleted, NO_SWITCH),
)
STORE = (
    Fault("store-locked", store_locked, NO_STORE),
    Fault("disk-filled", disk_filled, NO_STORE),
)
DOCKER = (
    Fault("dockerd-restarted", dockerd_restarted, NO_DAEMON),
    Fault("dockerd-killed", dockerd_killed, NO_DAEMON),
    Fault("plugin-after-dockerd", plugin_after_dockerd, f"{NO_DAEMON}|{CUT_AND_FORGOTTEN}"),
    Fault("host-rebooted", host_rebooted, REBOOTED),
)
