"""How segments over several hosts do, beside yardsticks of the same run.

    python -m tests.bench.segments [PART...] [--quick] [--json FILE]

Parts, all of them unless some are named: docker, ping, leases, gap, traffic, scale. As root, in the
folder of the tree. Three hosts in namespaces with real dockerds and OVN's daemons are started.
Prints tables and asserts nothing. What is compared takes turns, so that what else the machine does
hits all alike; ratios of medians are what is worth keeping.
"""

import argparse
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from tempfile import gettempdir
from typing import Any

from ovsdriver.domain.records.segments import NAME_SERVER
from tests.bench.ipam_bench import machine
from tests.bench.ipam_cases import disk, loop_ms
from tests.bench.measured import say
from tests.bench.segments import containers, leases, report, scale, traffic
from tests.e2e.stage import Stage
from tests.hosts.fleet import Fleet, at_once
from tests.hosts.host import Host

PARTS: dict[str, Callable[[Fleet, list[Stage], bool], Any]] = {
    "docker": containers.runs,
    "ping": containers.first_pings,
    "leases": leases.rates,
    "gap": containers.gaps,
    "traffic": traffic.between_hosts,
    "scale": scale.at_size,
}


def run(parts: list[str], *, quick: bool, kept: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": machine(Path(gettempdir()))}
    noise = loop_ms()
    result["disk_ms"] = disk(Path(gettempdir()))
    with Fleet(secure=True, docker_settings={"dns": [str(NAME_SERVER)]}) as fleet:
        at_once(Host.warm_docker_up, fleet.hosts)
        for part in parts:
            say(part)
            stages = [Stage(host) for host in fleet.hosts]
            result[part] = PARTS[part](fleet, stages, quick)
            at_once(lambda host: Stage(host).clear(), fleet.hosts)
            result[part] |= {"load": os.getloadavg()[0]}
            kept(result)
    noise += loop_ms()
    result["noise"] = quantiles(noise, n=100)[98] / median(noise)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds, a smaller fleet")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    arguments = parser.parse_args()
    parts = arguments.parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    # What was started is ended however this ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def keep(result: dict[str, Any]) -> None:  # after each part, as it takes long
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=2) + "\n")

    result = run(parts, quick=arguments.quick, kept=keep)
    keep(result)
    report.show(result)


if __name__ == "__main__":
    main()
