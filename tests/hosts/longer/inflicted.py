"""Faults of a fleet, each done to real processes, and over when its function returns."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

from tests.faults.inflicted import AWAY, CUT_AND_FORGOTTEN, NO_SWITCH
from tests.hosts.central import NORTH, SOUTH, Database
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host

PERMITTED = (
    r"northbound database|OVN has not taken|this host has no pool of it|is gone: no host has"
    r"|was removed while|is not this host's any more|was released while it was given"
    rf"|{NO_SWITCH}|{CUT_AND_FORGOTTEN}|{AWAY}"
)
"""What users may read while faults happen, as a pattern."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One of them."""

    name: str
    do: Callable[[Fleet, Host, Random], None]
    """The host is the one that it happens to, if it happens to one."""
    rests: bool = False
    """Nobody works on that host meanwhile: it is without power."""


def controller_killed(fleet: Fleet, host: Host, choose: Random) -> None:
    """Kill ovn-controller and start it again."""
    host.controller.stop(SIGKILL)
    time.sleep(choose.uniform(0, 3))
    host.start_controller()


def controller_exits(fleet: Fleet, host: Host, choose: Random) -> None:
    """Have ovn-controller end in order, as Debian's unit does: it takes its flows with it."""
    host.run("ovs-appctl", "-T", "10", "-t", "/run/ovn/ovn-controller.ctl", "exit")
    host.controller.wait()
    time.sleep(choose.uniform(0, 2))
    host.start_controller()


def northds_killed(fleet: Fleet, host: Host, choose: Random) -> None:
    """Kill one northd, or all of them."""
    chosen = choose.choice([fleet.hosts, [host]])
    for each in chosen:
        each.daemons["ovn-northd"].stop(SIGKILL)
    time.sleep(choose.uniform(1, 5))
    for each in chosen:
        each.daemons["ovn-northd"].start()


def north_leader_killed(fleet: Fleet, host: Host, choose: Random) -> None:
    """Kill who leads the northbound database."""
    _leader_killed(fleet, NORTH, choose)


def south_leader_killed(fleet: Fleet, host: Host, choose: Random) -> None:
    """Kill who leads the southbound one."""
    _leader_killed(fleet, SOUTH, choose)


def _leader_killed(fleet: Fleet, database: Database, choose: Random) -> None:
    daemon = fleet.leader(database).daemons[f"ovn-{database.short}"]
    daemon.stop(SIGKILL)
    time.sleep(choose.uniform(0, 6))
    daemon.start()


def leader_stalled(fleet: Fleet, host: Host, choose: Random) -> None:
    """Let who leads one of the databases do nothing for a while."""
    database = choose.choice([NORTH, SOUTH])
    central = fleet.leader(database).central
    assert central is not None
    central.servers[database].signal(SIGSTOP)
    time.sleep(choose.uniform(2, 8))
    central.servers[database].signal(SIGCONT)


def leader_cut_off(fleet: Fleet, host: Host, choose: Random) -> None:
    """Cut off the host that leads the northbound database."""
    host_cut_off(fleet, fleet.leader(NORTH), choose)


def host_cut_off(fleet: Fleet, host: Host, choose: Random) -> None:
    """Cut off a host for up to 25 s."""
    fleet.cut(host)
    time.sleep(choose.uniform(3, 25))
    fleet.heal()


def vswitchd_killed(fleet: Fleet, host: Host, choose: Random) -> None:
    """Kill ovs-vswitchd and start it again."""
    host.vswitchd.stop(SIGKILL)
    time.sleep(choose.uniform(0, 2))
    host.start_vswitchd()


def ovsdb_killed(fleet: Fleet, host: Host, choose: Random) -> None:
    """Kill ovsdb-server and start it again."""
    host.ovsdb.stop(SIGKILL)
    time.sleep(choose.uniform(0, 2))
    host.start_ovsdb()


def plugin_killed(fleet: Fleet, host: Host, choose: Random) -> None:
    """Kill our process, some times."""
    for _ in range(3):
        time.sleep(choose.uniform(0.5, 2))
        host.restart_plugin(SIGKILL)


def plugin_restarted(fleet: Fleet, host: Host, choose: Random) -> None:
    """Restart our process in order."""
    host.restart_plugin(SIGTERM)


def rows_lost(fleet: Fleet, host: Host, choose: Random) -> None:
    """Delete some containers' rows by hand."""
    wanted = ("--bare", "--columns=name", "find", "Logical_Switch_Port")
    found = fleet.nbctl(*wanted, f"external_ids:ovsnet\\:host={host.system_id}").split()
    for row in choose.sample(found, (len(found) + 1) // 2):
        fleet.nbctl("--if-exists", "lsp-del", row)


def ports_lost(fleet: Fleet, host: Host, choose: Random) -> None:
    """Delete some containers' ports by hand."""
    found = [each for each in host.ovs_vsctl("list-ports", "br-int").split() if each[:3] == "ovh"]
    for port in choose.sample(found, (len(found) + 1) // 2):
        host.ovs_vsctl("--if-exists", "del-port", "br-int", port)


def power_failed(fleet: Fleet, host: Host, choose: Random) -> None:
    """Take a host's power away, and give it back."""
    host.power_off()
    time.sleep(choose.uniform(1, 8))
    host.boot()


def host_forgotten(fleet: Fleet, host: Host, choose: Random) -> None:
    """Take a host's power away, forget it, give its addresses to others, and let it come back."""
    host.power_off()
    other = choose.choice([each for each in fleet.hosts if each is not host])
    fleet.leader(NORTH)
    # --force: by the southbound database it may just have lived
    other.ovsnet("host", "forget", "--yes", "--force", host.system_id)
    time.sleep(choose.uniform(1, 8))
    host.boot()


FAULTS = (
    *(Fault("controller-killed", controller_killed), Fault("controller-exits", controller_exits)),
    *(Fault("northds-killed", northds_killed), Fault("leader-stalled", leader_stalled)),
    *(
        Fault("nb-leader-killed", north_leader_killed),
        Fault("sb-leader-killed", south_leader_killed),
    ),
    *(Fault("leader-cut-off", leader_cut_off), Fault("host-cut-off", host_cut_off)),
    *(Fault("vswitchd-killed", vswitchd_killed), Fault("ovsdb-killed", ovsdb_killed)),
    *(Fault("plugin-killed", plugin_killed), Fault("plugin-restarted", plugin_restarted)),
    *(Fault("rows-lost", rows_lost), Fault("ports-lost", ports_lost)),
    *(Fault("power-failed", power_failed, True), Fault("host-forgotten", host_forgotten, True)),
)
