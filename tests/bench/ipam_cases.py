"""What the benchmark allocates from: pools with so many addresses in use, in stores on the disk."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from netaddr import IPNetwork

from ipam import Ipam, Occupied, PoolId, PoolRequest
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases

SUBNETS = {"/8": "10.0.0.0/8", "/16": "10.0.0.0/16", "IPv6 /64": "fd00::/64"}
AT_ONCE = (1, 10, 50)
FULLEST_16 = 60_000
"""Of 65,534: what is left is for those that are allocated and released again."""

COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Environment of what is started: an installed ovsnet is compiled, as ``pip`` leaves it. Without
that a start takes twice as long."""

_FIRST_SERIAL = 1 << 20
"""Below the first serial of a start, so that rows written by hand are in nobody's way."""

_INSERT = """
    INSERT INTO ipam_lease (serial, pool, offset_high, offset, kind, wanted, name, created)
    VALUES (?, 1, 0, ?, 'endpoint', 0, ?, ?)
"""


class QuietHost:
    """A host without routes."""

    async def occupied(self, within: Sequence[IPNetwork]) -> Sequence[Occupied]:
        return ()


@dataclass(frozen=True)
class Case:
    """A pool with so many addresses in use."""

    pool: str
    in_use: int
    fragmented: bool = False
    """Every second address is free."""

    @property
    def name(self) -> str:
        holes = ", every second one free" if self.fragmented else ""
        return f"{self.pool}, {self.in_use:,} in use{holes}"

    @property
    def offsets(self) -> range:
        step = 2 if self.fragmented else 1
        return range(1, 1 + self.in_use * step, step)


@dataclass(frozen=True)
class Prepared:
    """A case's store, closed."""

    case: Case
    path: Path
    pool: PoolId


def cases(*, quick: bool) -> list[Case]:
    sizes = (0, 10**4, 10**5) if quick else (0, 10**4, 10**5, 10**6)
    return [
        *(Case("/8", size) for size in sizes),
        *(Case("/16", size) for size in (0, 10**4, FULLEST_16)),
        *(Case("IPv6 /64", size) for size in sizes),
        Case("/16", FULLEST_16 // 2, fragmented=True),
        *(Case(pool, sizes[-1], fragmented=True) for pool in ("/8", "IPv6 /64")),
    ]


async def load(database: Database) -> Ipam:
    return await Ipam.load(
        SqliteLeases(database), defaults=(), surroundings=QuietHost(), clock=time.time
    )


async def prepare(case: Case, path: Path) -> Prepared:
    """Make a store with one pool in which the case's addresses are held."""
    database = await Database.open(path)
    ipam = await load(database)
    network = IPNetwork(SUBNETS[case.pool])
    pool = await ipam.request_pool(
        PoolRequest(space="ovsnet", subnet=network, family=network.version)
    )
    rows = ((_FIRST_SERIAL + n, n, f"container-{n}", time.time()) for n in case.offsets)
    # All at once: a million requests would take a minute and leave the same rows.
    await database.write(lambda c: c.executemany(_INSERT, rows).rowcount)
    await ipam.close()
    await database.close()
    return Prepared(case, path, pool.id)


def disk(folder: Path) -> float:
    """Return the median of 50 small writes with their fdatasync, in milliseconds."""
    took = []
    with (folder / "yardstick").open("wb", buffering=0) as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    return median(took)


def loop_ms() -> list[float]:
    """Return how long a fixed piece of work takes, many times: apart only if others are at work."""
    took = []
    for _ in range(100):
        began = time.perf_counter()
        sum(range(50_000))
        took.append((time.perf_counter() - began) * 1000)
    return took
