"""``docker run``, and TCP between containers, on our networks and on Docker's own bridge."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.measured import say
from tests.e2e import image
from tests.e2e.bed import Bed
from tests.e2e.stage import Container, Network, Stage

_STREAM = str(Path(__file__).parent / "stream.py")
_STREAM_S = 2.0
_TSO = "other_config:userspace-tso-enable"


def run(parts: list[str], *, quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with Bed() as bed:
        stage = Stage(bed)
        ours = stage.network("ours", "--opt", "ovs.mode=nat")
        bed.docker("network", "create", "bridged")
        bridge = Network(bed, "bridged")
        if "docker" in parts:
            found["docker"] = _runs(bed, ours, rounds=5 if quick else 30)
        if "traffic" in parts:
            found["traffic"] = {
                "without_tso": _traffic(stage, ours, bridge, rounds=2 if quick else 5)
            }
            bed.ovs_vsctl("set", "Open_vSwitch", ".", f"{_TSO}=true")
            bed.vswitchd.stop()
            bed.start_vswitchd()
            found["traffic"]["with_tso"] = _traffic(stage, ours, bridge, rounds=2 if quick else 5)
        stage.clear()
    return found


def _runs(bed: Bed, ours: Network, *, rounds: int) -> dict[str, Any]:
    """Containers that end at once, in turns; milliseconds of ``docker run``."""
    took: dict[str, list[float]] = {"none": [], "bridged": [], ours.name: []}
    for number in range(rounds + 1):
        say(f"docker run: round {number} of {rounds}")
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
    }


def _traffic(stage: Stage, ours: Network, bridge: Network, *, rounds: int) -> dict[str, Any]:
    pairs = {
        network.name: tuple(
            stage.container(f"{side}-{network.name}", network, command="exec sleep 3600")
            for side in ("from", "to")
        )
        for network in (ours, bridge)
    }
    rates: dict[str, list[float]] = {name: [] for name in pairs}
    for number in range(rounds):
        say(f"TCP between containers: round {number + 1} of {rounds}")
        for network in (ours, bridge):
            source, target = pairs[network.name]
            rates[network.name].append(_stream(stage.bed, source, target, network))
    for pair in pairs.values():
        for each in pair:
            stage.bed.docker("rm", "--force", each.name)
    middle = {name: median(values) for name, values in rates.items()}
    return {"bits_per_s": middle, "of_bridge": middle[ours.name] / middle[bridge.name]}


def _stream(bed: Bed, source: Container, target: Container, network: Network) -> float:
    receiving = subprocess.Popen(
        bed.enter(sys.executable, _STREAM, "receive", "5001", str(_STREAM_S), netns=target.netns),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert receiving.stdout is not None
    assert receiving.stdout.readline() == "listening\n"
    bed.run(
        *(sys.executable, _STREAM, "send", target.address(network), "5001", str(_STREAM_S + 1)),
        netns=source.netns,
    )
    said, _ = receiving.communicate(timeout=60)
    return float(said)
