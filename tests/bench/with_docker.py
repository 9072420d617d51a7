"""``docker run``, and TCP between containers, on our networks and on Docker's own bridge."""

import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from statistics import median
from typing import Any

from tests.bench.arms import OURS
from tests.bench.measured import say
from tests.e2e import image
from tests.e2e.bed import PLUGIN_DIR, Bed
from tests.e2e.stage import Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import Program, until

DIRECT = "direct"
ATTACH = ("IpamDriver.RequestAddress", "NetworkDriver.CreateEndpoint", "NetworkDriver.Join")
DETACH = ("NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint", "IpamDriver.ReleaseAddress")
_DONE = re.compile(r"request\.done .*?method=(\S+) .*?took_ms=([\d.]+)")

_STREAM_S = 3
_TSO = "other_config:userspace-tso-enable"
_RECEIVE_BUFFER = Path("/proc/sys/net/core/rmem_default")
_RAISED = 4 * 1024 * 1024
"""Bytes; what the Ansible role openvswitch raises the receive buffer to."""


def run(parts: list[str], *, quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with Bed() as bed:
        stage = Stage(bed)
        ours = stage.network("ours", "--opt", "ovs.mode=nat")
        bed.docker("network", "create", "bridged")
        bridge = Network(bed, "bridged")
        if "docker" in parts:
            with _direct(bed) as direct:
                found["docker"] = _runs(bed, ours, direct, rounds=5 if quick else 30)
        if "traffic" in parts:
            found["traffic"] = [
                _with_buffer(stage, ours, bridge, tso=tso, raised=raised, rounds=2 if quick else 5)
                for tso in (False, True)
                for raised in (False, True)
            ]
        stage.clear()
    return found


@contextmanager
def _direct(bed: Bed) -> Iterator[Program]:
    """Start the yardstick ``direct`` and make a network of that name on it."""
    program = Program(
        bed,
        DIRECT,
        *(sys.executable, "-m", "tests.bench.yardsticks", DIRECT),
        *(f"{PLUGIN_DIR}/{DIRECT}.sock", "/run/openvswitch/db.sock", "timed"),
    )
    program.start()
    until(lambda: bed.activates(DIRECT), "the yardstick answers")
    bed.docker(
        *("network", "create", "--driver", DIRECT, "--ipam-driver", DIRECT),
        *("--subnet", "10.77.0.0/16", DIRECT),
    )
    yield program
    bed.docker("network", "rm", DIRECT)
    program.stop(SIGKILL)
    bed.run("rm", f"{PLUGIN_DIR}/{DIRECT}.sock")


def _runs(bed: Bed, ours: Network, direct: Program, *, rounds: int) -> dict[str, Any]:
    """Containers that end at once, in turns; milliseconds of ``docker run``, and of each call."""
    took: dict[str, list[float]] = {"none": [], "bridged": [], ours.name: [], DIRECT: []}
    programs = {OURS: bed.plugin, DIRECT: direct}
    before: dict[str, int] = {}
    for number in range(rounds + 1):
        say(f"docker run: round {number} of {rounds}")
        if number == 1:
            before = {name: len(program.said()) for name, program in programs.items()}
        for network, values in took.items():
            began = time.perf_counter()
            bed.docker("run", "--rm", "--network", network, image.NAME, "true")
            if number:  # the first ones warm up
                values.append((time.perf_counter() - began) * 1000)
    middle = {network: median(values) for network, values in took.items()}
    none, bridged = middle["none"], middle["bridged"]
    return {
        "p50_ms": middle,
        "share_of_bridge": (middle[ours.name] - none) / (bridged - none),
        "calls_ms": {
            name: _calls(program.said()[before[name] :]) for name, program in programs.items()
        },
    }


def _calls(log: str) -> dict[str, float]:
    """Return the middle of what each call of a container's start and end took, by a log."""
    found: dict[str, list[float]] = defaultdict(list)
    for method, took in _DONE.findall(log):
        found[method].append(float(took))
    middle = {call: median(found[call]) for call in (*ATTACH, *DETACH)}
    sums = {"attach": ATTACH, "detach": DETACH}
    return middle | {what: sum(middle[call] for call in of) for what, of in sums.items()}


def _with_buffer(
    stage: Stage, ours: Network, bridge: Network, *, tso: bool, raised: bool, rounds: int
) -> dict[str, Any]:
    """Measure with a vswitchd that was started with these settings."""
    bed = stage.bed
    bed.vswitchd.stop()
    bed.ovs_vsctl("--no-wait", "set", "Open_vSwitch", ".", f"{_TSO}={str(tso).lower()}")
    with _receive_buffer(_RAISED if raised else 0) as size:
        bed.start_vswitchd()
        case = {"tso": tso, "raised": raised, "receive_buffer": size}
        return case | _traffic(stage, ours, bridge, rounds=rounds)


@contextmanager
def _receive_buffer(least: int) -> Iterator[int]:
    """Let sockets that are opened meanwhile have at least so many bytes; yields how many it is.

    It is one value for the whole kernel, so everything else on the machine has it too.
    """
    before = _RECEIVE_BUFFER.read_text()
    size = max(int(before), least)
    try:
        _RECEIVE_BUFFER.write_text(str(size))
        yield size
    finally:
        _RECEIVE_BUFFER.write_text(before)


def _traffic(stage: Stage, ours: Network, bridge: Network, *, rounds: int) -> dict[str, Any]:
    pairs = {
        network.name: tuple(
            stage.container(f"{side}-{network.name}", network, command="exec sleep 3600")
            for side in ("from", "to")
        )
        for network in (ours, bridge)
    }
    rates: dict[str, list[float]] = {name: [] for name in pairs}
    repeated: dict[str, list[int]] = {name: [] for name in pairs}
    for number in range(rounds):
        say(f"TCP between containers: round {number + 1} of {rounds}")
        for network in (ours, bridge):
            source, target = pairs[network.name]
            rate, retransmits = stream(source, target, target.address(network))
            rates[network.name].append(rate)
            repeated[network.name].append(retransmits)
    for pair in pairs.values():
        for each in pair:
            stage.bed.docker("rm", "--force", each.name)
    middle = {name: median(values) for name, values in rates.items()}
    return {
        "bits_per_s": middle,
        "retransmits": {name: median(values) for name, values in repeated.items()},
        "of_bridge": middle[ours.name] / middle[bridge.name],
    }


def stream(source: Place, target: Place, address: str) -> tuple[float, int]:
    """Return the bits per second that one TCP stream brought, and how many segments it repeated."""
    server = subprocess.Popen(
        target.world.enter(
            *("iperf3", "--server", "--one-off", "--forceflush", "--idle-timeout", "30"),
            netns=target.netns,
        ),
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        for line in server.stdout:
            if "listening" in line:
                break
        client = ("iperf3", "--client", address, "--time", str(_STREAM_S), "--json")
        end = json.loads(source.world.run(*client, netns=source.netns))["end"]
        server.communicate(timeout=60)
    return end["sum_received"]["bits_per_second"], end["sum_sent"]["retransmits"]
