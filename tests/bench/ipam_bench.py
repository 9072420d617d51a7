"""How fast addresses are given durably, and how fast and how large a start is.

    python -m tests.bench.ipam_bench [--quick] [--rounds N] [--dir DIR] [--json FILE]

As root, in the folder of the tree. Prints tables and asserts nothing. An allocation is counted when
its answer is there, so when it is on the disk. The cases take turns, in process and through
HTTP, so that what else the machine does hits all of them alike, and beside them run yardsticks:
the disk (a write and its fdatasync), a fixed piece of work, durable rows with nothing around them,
the client against a server of nothing but sockets, and the HTTP library without us. DIR should be
on the disk that is meant. SIGTERM ends it after the round that it is in, with what it has by then.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.bench.bare_rows import BareRows
from tests.bench.ipam_cases import AT_ONCE, Case, Prepared, cases, disk, loop_ms, prepare
from tests.bench.ipam_http import Serving, ThroughHttp, Yardstick
from tests.bench.ipam_in_process import InProcess
from tests.bench.ipam_load import loaded
from tests.bench.ipam_report import show
from tests.bench.measured import Measured, say
from tests.integration.netns import Sandbox

STARTS = 3
CALLS = {1: 100, 10: 500, 50: 3000}
"""In one turn of a case, by how many at once; as many releases follow."""


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


class Bench:
    """Everything that takes turns."""

    def __init__(self, folder: Path, stack: ExitStack, say: Callable[[str], None]) -> None:
        self._folder, self._stack, self._say = folder, stack, say
        self._netns = stack.enter_context(Sandbox()).path
        self._served: list[Serving] = []
        self.in_process: list[InProcess] = []
        self.through_http: list[ThroughHttp] = []
        self.bare = stack.enter_context(BareRows.opened(folder / "bare.db"))
        self.yardsticks: list[ThroughHttp] = []
        self.disk_ms: list[float] = []
        self.loop_ms: list[float] = []
        self.starts: dict[int, dict[str, float]] = {}

    async def prepare(self, quick: bool) -> list[Prepared]:
        prepared = []
        for number, case in enumerate(cases(quick=quick)):
            self._say(f"preparing {case.name}")
            prepared.append(await prepare(case, self._folder / f"{number}.db"))
        return prepared

    def measure_starts(self, prepared: list[Prepared]) -> None:
        """Before all else, while nothing else runs."""
        for each in prepared:
            if each.case.pool == "/8" and not each.case.fragmented:
                self._say(f"starting with {each.case.in_use:,}")
                runs = [self._start(each) for _ in range(STARTS)]
                self.starts[each.case.in_use] = {
                    key: median(run[key] for run in runs) for key in runs[0]
                }

    def _start(self, prepared: Prepared) -> dict[str, float]:
        home = Path(tempfile.mkdtemp(prefix="start-", dir=self._folder))
        serving = Serving(prepared, home, self._netns)
        try:
            first_s = serving.start()
            memory = {"resident_mb": serving.resident_mb(), "peak_mb": serving.peak_mb()}
        finally:
            serving.stop()
            shutil.rmtree(home)
        return {"first_s": first_s, **memory, **loaded(prepared.path)}

    async def open(self, prepared: list[Prepared]) -> None:
        for number, each in enumerate(prepared):
            serving = Serving(each, self._folder / str(number), self._netns)
            self._stack.callback(serving.stop)
            serving.start()
            served = ThroughHttp(each.case.name, serving.plugin, each.pool, serving)
            self._stack.callback(served.stop)
            self.through_http.append(served)
            self.in_process.append(await InProcess.start(each))
        for kind in ("bare", "aiohttp"):
            yardstick = Yardstick(kind, self._folder)
            self._stack.callback(yardstick.stop)
            null = ThroughHttp(f"null server, {kind}", yardstick.plugin, "-")
            self._stack.callback(null.stop)
            self.yardsticks.append(null)

    async def round(self) -> None:
        self.disk_ms.append(disk(self._folder))
        self.loop_ms += loop_ms()
        for at_once, total in CALLS.items():
            for each in (self.bare, *self.in_process):
                await each.measure(at_once, total)
            for one in (*self.yardsticks, *self.through_http):
                one.measure(at_once, total)

    async def close(self) -> None:
        for each in self.in_process:
            await each.stop()


async def run(
    folder: Path, *, quick: bool, rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    about = machine(folder)
    with ExitStack() as stack:
        bench = Bench(folder, stack, say)
        prepared = await bench.prepare(quick)
        bench.measure_starts(prepared)
        await bench.open(prepared)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        done = 0
        while done < rounds and not (done and ended.is_set()):
            say(f"round {done + 1} of {rounds}")
            await bench.round()
            done += 1
        await bench.close()
    every = [each.case for each in prepared]
    return {
        "machine": about,
        "rounds": done,
        "disk_ms": median(bench.disk_ms),
        "noise": quantiles(bench.loop_ms, n=100)[98] / median(bench.loop_ms),
        "in_process": _rows(every, [each.measured for each in bench.in_process]),
        "through_http": _rows(every, [each.measured for each in bench.through_http]),
        "of_bare": [each.measured.against(bench.bare.measured, 50) for each in bench.in_process],
        "yardsticks": [each.measured.summary() for each in (bench.bare, *bench.yardsticks)],
        "starts": bench.starts,
    }


def _rows(every: list[Case], measured: list[Measured]) -> list[dict[str, Any]]:
    empty = {case.pool: one for case, one in zip(every, measured, strict=True) if case.in_use == 0}
    return [
        {
            **one.summary(),
            "pool": case.pool,
            "in_use": case.in_use,
            "fragmented": case.fragmented,
            "slower_than_empty": {str(n): one.against(empty[case.pool], n) for n in AT_ONCE},
        }
        for case, one in zip(every, measured, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="up to 10^5 leases, fewer rounds")
    parser.add_argument("--rounds", type=int, metavar="N", help="(default: 9, or 3 if quick)")
    parser.add_argument("--dir", type=Path, help="where to write (default: the temporary folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    arguments = parser.parse_args()
    # The name is short because the path of a socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="ipam-", dir=arguments.dir))
    try:
        result = asyncio.run(
            run(
                folder,
                quick=arguments.quick,
                rounds=arguments.rounds or (3 if arguments.quick else 9),
                say=say,
            )
        )
    finally:
        shutil.rmtree(folder)
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
