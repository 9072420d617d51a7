"""How fast addresses are given durably, and how fast and how large a start is.

    python tests/bench/ipam_bench.py [--quick] [--dir DIR] [--json FILE]

Prints tables and asserts nothing. Everything is in process, on the product's store: an allocation
is counted when it is on the disk. The cases take turns, so that what else the machine does hits
all of them alike, and beside them runs a yardstick of the disk: the same number of bytes written
and synchronised by nothing but system calls. DIR should be on the disk that is meant.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from netaddr import IPNetwork

from ipam import AddressRequest, Ipam, Occupied, PoolId, PoolRequest
from ovsdriver.adapters.leases import SqliteLeases
from ovsdriver.adapters.sqlite import Database

SUBNETS = {"/8": "10.0.0.0/8", "/16": "10.0.0.0/16", "IPv6 /64": "fd00::/64"}
AT_ONCE = (1, 10, 50)
FIRST_SERIAL = 1 << 20
"""Below the first serial of a start, so that rows written by hand are in nobody's way."""


class QuietHost:
    """A host without routes."""

    async def occupied(self, family: int) -> Sequence[Occupied]:
        return ()


@dataclass
class Case:
    """A pool with so many addresses in use, and what was measured on it."""

    pool: str
    in_use: int
    fragmented: bool = False
    """Every second address is free."""
    rates: dict[int, list[float]] = field(default_factory=dict)
    """Durable allocations per second, by how many were asked for at once."""
    release_rates: list[float] = field(default_factory=list)
    latencies_ms: dict[int, list[float]] = field(default_factory=dict)
    per_commit: dict[int, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        holes = ", every second one free" if self.fragmented else ""
        return f"{self.pool}, {self.in_use:,} in use{holes}"


class Running:
    """A case with its file open."""

    def __init__(self, case: Case, database: Database, ipam: Ipam, pool: PoolId) -> None:
        self.case, self.database, self.ipam, self.pool = case, database, ipam, pool

    @classmethod
    async def start(cls, case: Case, path: Path) -> "Running":
        pool = await prepare(path, SUBNETS[case.pool], offsets(case))
        database = await Database.open(path)
        return cls(case, database, await load(database), pool)

    async def measure(self, at_once: int, total: int) -> None:
        """Allocate ``total`` addresses, ``at_once`` at a time, and release them again."""
        request, latencies, leases = AddressRequest(pool=self.pool), [], []

        async def client(number: int) -> None:
            for _ in range(number):
                began = time.perf_counter()
                leases.append(await self.ipam.request_address(request))
                latencies.append((time.perf_counter() - began) * 1000)

        commits = self.database.commits
        took = await timed(client(total // at_once) for _ in range(at_once))
        case = self.case
        case.rates.setdefault(at_once, []).append(len(leases) / took)
        case.latencies_ms.setdefault(at_once, []).extend(latencies)
        case.per_commit[at_once] = len(leases) / (self.database.commits - commits)

        async def releaser(number: int) -> None:
            for lease in leases[number::50]:
                await self.ipam.release_address(self.pool, lease.address)

        took = await timed(releaser(number) for number in range(50))
        if at_once == 50:
            case.release_rates.append(len(leases) / took)

    async def stop(self) -> None:
        await self.ipam.close()
        await self.database.close()


async def timed(calls: Iterable[Any]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*calls)
    return time.perf_counter() - began


def offsets(case: Case) -> range:
    return range(1, 1 + case.in_use * 2, 2) if case.fragmented else range(1, 1 + case.in_use)


async def load(database: Database) -> Ipam:
    return await Ipam.load(
        SqliteLeases(database), defaults=(), surroundings=QuietHost(), clock=time.time
    )


async def prepare(path: Path, subnet: str, taken: range) -> PoolId:
    """Make a store with one pool in which ``taken`` is held; the rows are written at once."""
    database = await Database.open(path)
    ipam = await load(database)
    network = IPNetwork(subnet)
    pool = await ipam.request_pool(
        PoolRequest(space="ovsnet", subnet=network, family=network.version)
    )
    rows = (
        (FIRST_SERIAL + n, 1, 0, n, "endpoint", 0, f"container-{n}", time.time()) for n in taken
    )
    insert = "INSERT INTO ipam_lease VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    await database.write(lambda c: c.executemany(insert, rows).rowcount)
    await database.close()
    return pool.id


def disk(folder: Path, times: int) -> float:
    """Return the median of one small write and its fdatasync, in milliseconds."""
    took = []
    with (folder / "yardstick").open("wb", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    return median(took)


START = """
import asyncio, json, resource, sys, time
from pathlib import Path
began = time.perf_counter()
sys.path.insert(0, sys.argv[2])
from tests.bench.ipam_bench import Database, AddressRequest, load
imported = time.perf_counter()
def resident(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
async def main():
    before = resident()
    database = await Database.open(Path(sys.argv[1]))
    opened = time.perf_counter()
    ipam = await load(database)
    loaded = time.perf_counter()
    (pool,) = ipam.pools()
    await ipam.request_address(AddressRequest(pool=pool.id))
    done = time.perf_counter()
    await database.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({
        "imports_s": imported - began, "open_s": opened - imported, "load_s": loaded - opened,
        "first_lease_s": done - loaded, "resident_mb": resident() / 1e6,
        "grown_mb": (resident() - before) / 1e6, "peak_mb": peak / 1e6,
    }))
asyncio.run(main())
"""


def start(path: Path) -> dict[str, float]:
    """Start a process on a store, ask it for one address, and return what that cost."""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", START, str(path), root]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def machine(folder: Path) -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "kernel": platform.release(),
        "directory": str(folder),
    }


def cases(quick: bool) -> list[Case]:
    sizes = (0, 10**4, 10**5) if quick else (0, 10**4, 10**5, 10**6)
    return [
        *(Case(pool, size) for pool in SUBNETS for size in sizes if pool != "/16" or size < 60_000),
        Case("/16", 30_000, fragmented=True),
        *(Case(pool, sizes[-1], fragmented=True) for pool in ("/8", "IPv6 /64")),
    ]


async def run(folder: Path, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    running: list[Running] = []
    for number, case in enumerate(cases(quick)):
        say(f"preparing {case.name}")
        running.append(await Running.start(case, folder / f"{number}.db"))
    disk_ms = []
    for each in range(rounds := 3 if quick else 7):
        say(f"round {each + 1} of {rounds}")
        disk_ms.append(disk(folder, 50))
        for at_once in AT_ONCE:
            for one in running:
                await one.measure(at_once, at_once * (100 if at_once == 1 else 40))
    for one in running:
        await one.stop()
    starts = {}
    for number, case in enumerate(cases(quick)):
        if case.pool == "/8" and not case.fragmented:
            say(f"starting with {case.in_use:,}")
            runs = [start(folder / f"{number}.db") for _ in range(3)]
            starts[case.in_use] = {key: median(run[key] for run in runs) for key in runs[0]}
    return {
        "machine": machine(folder),
        "disk_ms": median(disk_ms),
        "cases": [summary(one.case) for one in running],
        "starts": starts,
    }


def summary(case: Case) -> dict[str, Any]:
    return {
        **{key: value for key, value in asdict(case).items() if key in ("pool", "in_use")},
        "name": case.name,
        "fragmented": case.fragmented,
        "rate": {str(key): median(rates) for key, rates in case.rates.items()},
        "release_rate": median(case.release_rates),
        "p50_ms": {str(key): median(values) for key, values in case.latencies_ms.items()},
        "p99_ms": {
            str(key): quantiles(values, n=100)[98] for key, values in case.latencies_ms.items()
        },
        "per_commit": {str(key): value for key, value in case.per_commit.items()},
    }


def show(result: dict[str, Any]) -> None:
    about = result["machine"]
    print(
        f"{about['cpu']}, {about['cores']} cores, load {about['load']:.1f}, "
        f"Python {about['python']}, SQLite {about['sqlite']}, Linux {about['kernel']}\n"
        f"yardstick: write and fdatasync of 4 kB {result['disk_ms']:.2f} ms\n"
    )
    rows = [
        [
            each["name"],
            *(f"{each['rate'][str(n)]:,.0f}" for n in AT_ONCE),
            f"{each['per_commit']['50']:.0f}",
            f"{each['p50_ms']['1']:.2f}",
            f"{each['p99_ms']['1']:.2f}",
            f"{each['p50_ms']['50']:.2f}",
            f"{each['release_rate']:,.0f}",
        ]
        for each in result["cases"]
    ]
    heads = [
        *("durable allocations/s", "1 at once", "10", "50", "per commit"),
        *("p50 ms at 1", "p99", "p50 at 50", "releases/s at 50"),
    ]
    table(heads, rows)
    print()
    table(
        ["start with leases", "imports s", "open s", "load s", "first s", "resident MB", "grown"],
        [
            [
                f"{in_use:,}",
                *(f"{each[key]:.3f}" for key in ("imports_s", "open_s", "load_s", "first_lease_s")),
                f"{each['resident_mb']:.0f}",
                f"{each['grown_mb']:.1f}",
            ]
            for in_use, each in result["starts"].items()
        ],
    )


def table(heads: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    for row in [heads, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="up to 10^5 leases, fewer rounds")
    parser.add_argument("--dir", type=Path, help="where to write (default: the temporary folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ipam-bench-", dir=arguments.dir))
    try:
        result = asyncio.run(
            run(folder, quick=arguments.quick, say=lambda text: print(text, file=sys.stderr))
        )
    finally:
        shutil.rmtree(folder)
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
