"""How fast containers and networks come and go, beside yardsticks and Docker's own bridge.

    python -m tests.bench.attach_bench [PART...] [--quick] [--json FILE] [--svg FILE]

Parts, all of them unless some are named: attach, paced, where, growth, networks, start, docker,
traffic. As root, in the folder of the tree. Prints tables and asserts nothing. What is compared
takes turns in one run, so that what else the machine does hits all alike; ratios of medians are
what is worth keeping.
"""

import argparse
import json
import random
import resource
import signal
import socket
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from tempfile import gettempdir
from typing import Any

from tests.bench import attach_report, dockerd, with_docker
from tests.bench.arms import OURS, Arm, arms, cpu_ms, docker_of, ours, resident_mb
from tests.bench.dockerd import Place, cycles, empty, fill, subnet
from tests.bench.ipam_bench import machine
from tests.bench.ipam_cases import disk, loop_ms
from tests.bench.measured import say
from tests.bench.where import where
from tests.integration.netns import Sandbox, inside
from tests.integration.ovs import PrivateOvs, private_ovs

AT_ONCE = (1, 10, 50)
DOCKERS = dockerd.Pace(before_join_s=0.003, between_s=0.1)
"""2 to 4 ms before Join in recordings of engines 26 and 29; a ``docker run`` takes 200 and more."""
SETTLE_S = 15
"""After many starts: what vswitchd and we still have to do, our looks into sandboxes last."""
QUIET_S = 60
"""Two looks of our reconciler at everything."""
LEVELS = (0, 100, 500, 1000, 2000)
CALLS = (
    *("RequestAddress", "CreateEndpoint", "Join", "EndpointOperInfo"),
    *("Leave", "DeleteEndpoint", "ReleaseAddress", "attach", "detach"),
)


def summary(samples: dockerd.Samples) -> dict[str, dict[str, float]]:
    return {
        name: {"p50": median(samples[name]), "p95": quantiles(samples[name], n=20)[18]}
        for name in CALLS
        if len(samples.get(name, ())) > 1
    }


class Measured:
    """Cycles of one arm at one concurrency, over all rounds."""

    def __init__(self) -> None:
        self.samples: dockerd.Samples = defaultdict(list)
        self.rates: list[float] = []
        self.cpu_ms = 0.0
        self.cycles = 0

    def measure(
        self,
        arm: Arm,
        network: dockerd.Network,
        places: list[Place],
        count: int,
        pace: dockerd.Pace = dockerd.HASTY,
    ) -> None:
        arm.docker.samples = defaultdict(list)
        used = arm.cpu_ms()
        took = cycles(network, places, count, pace)
        self.cpu_ms += arm.cpu_ms() - used
        self.cycles += count
        self.rates.append(count / took)
        for name, values in arm.docker.samples.items():
            self.samples[name] += values

    def result(self) -> dict[str, Any]:
        return {
            "cycles_per_s": median(self.rates),
            "cpu_ms": self.cpu_ms / self.cycles,
            "calls": summary(self.samples),
        }


def attach(ovs: PrivateOvs, *, quick: bool) -> dict[str, Any]:
    """Latency of each call, and cycles/s at 1, 10 and 50 at once."""
    counts = {1: 30, 10: 50, 50: 100}
    rounds = 2 if quick else 6
    found: dict[str, dict[int, Measured]] = defaultdict(lambda: defaultdict(Measured))
    with ExitStack() as stack:
        every = stack.enter_context(arms(ovs))
        places = [Place() for _ in range(max(AT_ONCE))]
        for place in places:
            stack.callback(place.close)
        networks = {arm.name: arm.docker.network(subnet()) for arm in every}
        for arm in every:
            cycles(networks[arm.name], places[:1], 5)
        for number in range(rounds):
            say(f"attach: round {number + 1} of {rounds}")
            turns = [(arm, at_once) for arm in every for at_once in AT_ONCE]
            random.shuffle(turns)
            for arm, at_once in turns:
                measured = found[arm.name][at_once]
                measured.measure(arm, networks[arm.name], places[:at_once], counts[at_once])
        for network in networks.values():
            network.delete()
    return {
        name: {str(at_once): one.result() for at_once, one in by.items()}
        for name, by in found.items()
    }


def paced(ovs: PrivateOvs, *, quick: bool) -> dict[str, Any]:
    """Latency of each call where Join comes as long after CreateEndpoint as dockerd's does."""
    found: dict[str, Measured] = defaultdict(Measured)
    with ExitStack() as stack:
        every = stack.enter_context(arms(ovs, (OURS, "direct", "fork")))
        place = Place()
        stack.callback(place.close)
        networks = {arm.name: arm.docker.network(subnet()) for arm in every}
        for arm in every:
            cycles(networks[arm.name], [place], 5)
        for number in range(2 if quick else 6):
            say(f"paced: round {number + 1}")
            for arm in random.sample(every, len(every)):
                found[arm.name].measure(arm, networks[arm.name], [place], 30, DOCKERS)
        for network in networks.values():
            network.delete()
    return {name: one.result() for name, one in found.items()}


def growth(ovs: PrivateOvs, *, quick: bool) -> dict[str, Any]:
    """The same, one at a time, beside so many endpoints that are plugged in already."""
    found: dict[str, Any] = {}
    with arms(ovs, (OURS, "direct")) as every, ExitStack() as stack:
        places = [Place() for _ in range(24)]
        for place in places:
            stack.callback(place.close)
        networks = {arm.name: arm.docker.network(subnet()) for arm in every}
        mine = next(arm for arm in every if arm.name == OURS)
        standing: list[dockerd.Container] = []
        for level in LEVELS[:3] if quick else LEVELS:
            say(f"growth: {level} endpoints")
            standing += fill(networks[OURS], _sandboxes(level - len(standing), stack))
            time.sleep(SETTLE_S)
            processor = {arm.name: _processor(arm, networks[arm.name], places) for arm in every}
            measured = {arm.name: Measured() for arm in every}
            for _ in range(4):
                for arm in every:
                    measured[arm.name].measure(arm, networks[arm.name], places[:1], 8, DOCKERS)
            found[str(level)] = {name: one.result() for name, one in measured.items()} | {
                "resident_mb": resident_mb(mine.pid),
                "processor": processor,
            }
        empty(standing)
        for network in networks.values():
            network.delete()
    return found


def _processor(arm: Arm, network: dockerd.Network, places: list[Place]) -> dict[str, float]:
    """Milliseconds of a processor: in a second in which nothing happens, and more in a cycle.

    Each container is in a sandbox of its own, as Docker's are. A yardstick does nothing by itself.
    """
    idle = 0.0
    if arm.name == OURS:
        began, used = time.perf_counter(), arm.cpu_ms()
        time.sleep(QUIET_S)
        idle = (arm.cpu_ms() - used) / (time.perf_counter() - began)
    began, used = time.perf_counter(), arm.cpu_ms()
    for place in places:
        cycles(network, [place], 1, DOCKERS)
    time.sleep(SETTLE_S)
    took = time.perf_counter() - began
    return {
        "idle_ms_per_s": idle,
        "cycle_ms": (arm.cpu_ms() - used - idle * took) / len(places),
    }


def _sandboxes(count: int, stack: ExitStack) -> list[str]:
    """Make network namespaces that stay until the end; returns their paths."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return [stack.enter_context(Sandbox()).path for _ in range(count)]


def make_networks(ovs: PrivateOvs, *, quick: bool) -> dict[str, Any]:
    """Networks made and deleted one after the other, by turns of fifty."""
    total, turn = (100, 25) if quick else (500, 50)
    with arms(ovs, (OURS, "direct")) as (mine, direct):
        dockers = {
            "with_gateway": mine.docker.with_options({"ovs.mode": "nat"}),
            "without_gateway": mine.docker,
            "direct": direct.docker,
        }
        made: dict[str, list[dockerd.Network]] = {name: [] for name in dockers}
        took: dict[str, dict[str, list[float]]] = {
            name: {"create": [], "delete": []} for name in dockers
        }
        for number in range(0, total, turn):
            say(f"networks: {number}")
            for second, (name, docker) in enumerate(dockers.items(), 100):
                for each in range(number, number + turn):
                    began = time.perf_counter()
                    made[name].append(docker.network(f"{second}.{each // 250}.{each % 250}.0/24"))
                    took[name]["create"].append((time.perf_counter() - began) * 1000)
        for number in range(0, total, turn):
            for name, networks in made.items():
                for network in networks[number : number + turn]:
                    began = time.perf_counter()
                    network.delete()
                    took[name]["delete"].append((time.perf_counter() - began) * 1000)
    return {
        "networks": total,
        **{
            name: {
                what: {"p50": median(values), "total_s": sum(values) / 1000}
                for what, values in by.items()
            }
            for name, by in took.items()
        },
    }


def start(ovs: PrivateOvs, *, quick: bool) -> dict[str, Any]:
    """From exec to the first call that needs the store, and the longest wait of a call after it."""
    found = {}
    with ours(ovs) as process, ExitStack() as stack:
        place = Place()
        stack.callback(place.close)
        network = docker_of(process, {"ovs.mode": "isolated"}).network(subnet())
        standing: list[dockerd.Container] = []
        for level in (0, 100 if quick else 1000):
            standing += fill(network, _sandboxes(level - len(standing), stack))
            time.sleep(SETTLE_S if level else 0)
            runs = [_start(process, network, place) for _ in range(3)]
            found[str(level)] = {key: median(run[key] for run in runs) for key in runs[0]}
        network.docker = docker_of(process)
        empty(standing)
    return found


def _start(process: Any, network: dockerd.Network, place: Place) -> dict[str, float]:
    process.stop()
    began = time.perf_counter()
    process.start(wait=False)
    plugin = process.plugin_dir / "ovsipam.sock"
    while not _listens(plugin):
        time.sleep(0.001)
    network.docker = docker = docker_of(process)
    waits: list[float] = []
    ended = threading.Event()

    def probe() -> None:
        """Make calls that need nothing: how long one takes is how long the loop stood."""
        while not ended.is_set():
            asked = time.perf_counter()
            docker.call("IpamDriver.GetCapabilities")
            waits.append((time.perf_counter() - asked) * 1000)
            time.sleep(0.002)

    prober = threading.Thread(target=probe)
    address = docker.call(
        "IpamDriver.RequestAddress", PoolID=network.pool, Address="", Options=None
    )
    first_s = time.perf_counter() - began
    prober.start()
    time.sleep(3)  # the reconciler's first look
    ended.set()
    prober.join()
    released = address["Address"].partition("/")[0]
    docker.call("IpamDriver.ReleaseAddress", PoolID=network.pool, Address=released)
    assert process.running is not None
    return {
        "first_s": first_s,
        "stood_ms": max(waits),
        "resident_mb": resident_mb(process.running.pid),
    }


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(str(path)) == 0


PARTS = ("attach", "paced", "where", "growth", "networks", "start", "docker", "traffic")


def run(parts: list[str], *, quick: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": machine(Path(gettempdir()))}
    noise = loop_ms()
    result["disk_ms"] = disk(Path(gettempdir()))
    small = {
        "attach": attach,
        "paced": paced,
        "where": where,
        "growth": growth,
        "networks": make_networks,
        "start": start,
    }
    for part in parts:
        if part in small:
            # One Open vSwitch for each: one that had thousands of ports is slower afterwards.
            with private_ovs("bench-") as ovs, inside(f"/run/netns/{ovs.namespace}"):
                assert ovs.vswitchd is not None
                used = cpu_ms(ovs.vswitchd.pid)
                result[part] = small[part](ovs, quick=quick)
                say(f"{part}: vswitchd used {(cpu_ms(ovs.vswitchd.pid) - used) / 1000:.1f} s")
    if larger := [part for part in parts if part not in small]:
        result |= with_docker.run(larger, quick=quick)
    noise += loop_ms()
    result["noise"] = quantiles(noise, n=100)[98] / median(noise)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller levels")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it there")
    arguments = parser.parse_args()
    parts = arguments.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    # What was started and set is ended and set back however this ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    result = run(parts, quick=arguments.quick)
    attach_report.show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    if arguments.svg:
        arguments.svg.write_text(attach_report.drawing(result))


if __name__ == "__main__":
    main()
