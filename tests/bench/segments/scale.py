"""A lease, and our process's memory, in a simulated fleet of 200 hosts with 10,000 ports."""

import sys
import time
from statistics import median
from typing import Any

from netaddr import IPNetwork

from tests.bench.measured import say
from tests.bench.segments import simulated
from tests.bench.segments.leases import SUBNET, Pools, at_once, ours, raw
from tests.e2e.stage import Stage
from tests.e2e.world import CommandError
from tests.hosts.central import NORTH
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host

HOSTS = 200
SHAPES = {"50 segments of 200": (50, 200), "one segment of 10,000": (1, 10_000)}
SMALLER = {"10 segments of 100": (10, 100)}
EACH = 100
"""Leases of a round."""


DIGEST_S = 240
"""How long the hosts are waited for; on a busy machine northd needs longer than anybody would."""


def simulated_fleet(fleet: Fleet, *sizes: int) -> None:
    """Write or remove rows of hosts that are not there, and let all hosts digest them."""
    leader, identity = fleet.leader(NORTH), fleet.host(1).identity
    assert identity is not None
    files = (str(each) for each in (identity.key, identity.certificate, identity.authority))
    said = (f"ssl:{leader.address}:{NORTH.port}", *files, *map(str, sizes))
    module = (sys.executable, "-m", "tests.bench.segments.simulated")
    fleet.host(1).run(*module, *said, timeout_s=600)
    give_up = time.monotonic() + DIGEST_S
    while not _synced(fleet) and time.monotonic() < give_up:
        say("scale: not all hosts have it yet")


def at_size(fleet: Fleet, _: list[Stage], quick: bool) -> dict[str, Any]:
    """Return leases beside those of an empty fleet, in turns with it, and the memory."""
    found: dict[str, Any] = {}
    for name, sizes in (SMALLER if quick else SHAPES).items():
        case: dict[str, Any] = {"empty": _measured(fleet, "blue", quick)}
        say(f"scale: {name}")
        began = time.perf_counter()
        simulated_fleet(fleet, HOSTS, *sizes)
        case["digested_s"] = time.perf_counter() - began
        case["full"] = _measured(fleet, "sim0", quick)
        case["resident_mb"] = [resident_mb(host) for host in fleet.hosts]
        fleet.host(3).restart_plugin()
        case["resident_restarted_mb"] = resident_mb(fleet.host(3))
        simulated_fleet(fleet)
        case["empty_again"] = _measured(fleet, "blue", quick)
        for who in ("ours", "raw"):
            empty = median([case["empty"][who], case["empty_again"][who]])
            case[f"{who}_of_empty"] = case["full"][who] / empty
        found[name] = case
    return found


def _measured(fleet: Fleet, segment: str, quick: bool) -> dict[str, float]:
    """Return milliseconds of a lease on a segment, ours and the raw client's, in turns."""
    number = 0 if segment == "blue" else int(segment.removeprefix("sim"))
    wide = SUBNET if segment == "blue" else str(simulated.subnet(number))
    *_, upper = IPNetwork(wide).subnet(IPNetwork(wide).prefixlen + 1)
    host = fleet.host(1)
    pools = Pools([host], segment, wide)
    arms = {
        "ours": ours(host, pools.ids[0], segment),
        "raw": raw(fleet, host, pools.ids[0], segment, among=str(upper)),
    }
    took: dict[str, list[float]] = {name: [] for name in arms}
    before = len(fleet.nbctl("lsp-list", segment).splitlines())
    for _ in range(2 if quick else 4):
        for name, arm in arms.items():
            (found,) = at_once(fleet, [arm], EACH, before)
            took[name] += found["latencies_ms"]
    pools.release()
    return {name: median(values) for name, values in took.items()}


def _synced(fleet: Fleet) -> bool:
    try:
        fleet.sync()
    except CommandError:
        return False
    return True


def resident_mb(host: Host) -> float:
    """Return what our process on a host has in memory."""
    said = host.run("cat", f"/proc/{host.plugin.pid}/status")
    (line,) = (each for each in said.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) / 1000
