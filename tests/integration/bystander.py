"""A client that asks only for what makes sense, beside others that do not."""

import asyncio
import http.client
import itertools
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from tests.integration import junk
from tests.integration.process import PATIENCE_S, Process, Unix

SECONDS = float(os.environ.get("TESTS_JUNK_SECONDS", "0"))
PIECES = 800
GROWTH_MB = 48
"""More than the largest bodies that may be open at once, less than a leak makes of all of them."""


class Good:
    """A client that asks only for what makes sense, and knows what it holds."""

    def __init__(self, process: Process) -> None:
        self._connection = Unix(process.plugin_dir / "ovsipam.sock")
        self._choose = random.Random(1)  # noqa: S311 - the same again at every run
        self.pool = self.ask("RequestPool", AddressSpace="good", Pool="10.77.0.0/24")["PoolID"]
        self.held: set[str] = set()
        self.calls = 0

    def ask(self, call: str, **members: object) -> dict[str, Any]:
        self._connection.request("POST", f"/IpamDriver.{call}", json.dumps(members))
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        told: dict[str, Any] = json.loads(body)
        return told

    def step(self) -> None:
        """Allocate, by choice or by name, or release."""
        self.calls += 1
        what = self._choose.random()
        if self.held and (what < 0.45 or len(self.held) > 150):
            address = self._choose.choice(sorted(self.held))
            self.ask("ReleaseAddress", PoolID=self.pool, Address=address)
            self.held.remove(address)
            return
        wanted = ""
        if what > 0.8:
            wanted = f"10.77.0.{self._choose.randrange(1, 255)}"
            wanted = "" if wanted in self.held else wanted
        told = self.ask("RequestAddress", PoolID=self.pool, Address=wanted, Options=None)
        address = told["Address"].removesuffix("/24")
        assert wanted in ("", address)
        assert address not in self.held, "given twice"
        self.held.add(address)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Go on in a thread; what fails there fails here."""
        over = threading.Event()
        faults: list[BaseException] = []

        def work() -> None:
            try:
                while not over.is_set():
                    self.step()
                    over.wait(0.005)
            except (AssertionError, OSError, ValueError, http.client.HTTPException) as fault:
                faults.append(fault)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(PATIENCE_S)
        assert not thread.is_alive()
        if faults:
            raise faults[0]


def consistent(process: Process, good: Good) -> None:
    """The process serves, and has of the good client what that holds: in memory and on the disk."""
    assert process.ask("Plugin.Activate", name="ovsipam")[0] == 200
    shown = process.command("ipam", "leases", good.pool, "--json", *process.flags("run-dir"))
    assert {each["lease"]["address"] for each in json.loads(shown.stdout)} == good.held, (
        shown.stderr
    )
    pools = process.command("ipam", "pools", "--json", *process.flags("run-dir"))
    counted = {each["pool"]["id"]: each["usage"]["held"] for each in json.loads(pools.stdout)}
    assert counted[good.pool] == len(good.held)
    assert "request.crashed" not in process.said()
    assert "Traceback" not in process.said()
    assert process.stop() == 0
    stored = asyncio.run(_stored(process.store))
    assert stored[good.pool] == good.held
    assert {pool: len(addresses) for pool, addresses in stored.items()} == counted


async def _stored(path: Path) -> dict[str, set[str]]:
    database = await Database.open(path)
    try:
        store = SqliteLeases(database)
        contents = await store.load()
        return {
            each.pool.id: {str(lease.address) for lease in await store.leases(each.pool.id)}
            for each in contents.pools
        }
    finally:
        await database.close()


def harms_nobody(process: Process, sender: junk.Junk) -> None:
    send(sender, pieces=100)  # what is made once, as caches and buffers, does not count
    before_mb, files = resident_mb(process), open_files(process)
    if SECONDS:
        send(sender, until=time.monotonic() + SECONDS)
    else:
        send(sender, pieces=PIECES)
    sender.close()
    process.until(lambda: open_files(process) <= files, "the connections of junk are closed")
    assert resident_mb(process) < before_mb + GROWTH_MB


def send(sender: junk.Junk, *, pieces: int | None = None, until: float | None = None) -> None:
    for number in itertools.count():
        if number == pieces or (until is not None and time.monotonic() > until):
            return
        sender.send()


def resident_mb(process: Process) -> float:
    assert process.running is not None
    pages = Path(f"/proc/{process.running.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files(process: Process) -> int:
    assert process.running is not None
    return len(list(Path(f"/proc/{process.running.pid}/fd").iterdir()))
