"""Durable allocations in process: the library on the product's store, without sockets."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Self

from ipam import AddressRequest, Ipam, Lease
from ovsdriver.adapters.store.database import Database
from tests.bench.ipam_cases import Prepared, load
from tests.bench.measured import Measured


class InProcess:
    """A case with its file open."""

    def __init__(self, prepared: Prepared, database: Database, ipam: Ipam) -> None:
        self.case = prepared.case
        self.measured = Measured(prepared.case.name)
        self._pool, self._database, self._ipam = prepared.pool, database, ipam

    @classmethod
    async def start(cls, prepared: Prepared) -> Self:
        database = await Database.open(prepared.path)
        return cls(prepared, database, await load(database))

    async def measure(self, at_once: int, total: int) -> None:
        """Allocate ``total`` addresses, ``at_once`` at a time, and release them again."""
        request = AddressRequest(pool=self._pool)
        latencies: list[float] = []
        leases: list[Lease] = []

        async def client(number: int) -> None:
            for _ in range(number):
                began = time.perf_counter()
                leases.append(await self._ipam.request_address(request))
                latencies.append((time.perf_counter() - began) * 1000)

        async def releaser(number: int) -> None:
            for lease in leases[number::at_once]:
                await self._ipam.release_address(self._pool, lease.address)

        commits = self._database.commits
        took = await _timed(client(total // at_once) for _ in range(at_once))
        commits = self._database.commits - commits
        self.measured.note(
            at_once,
            took_s=took,
            release_s=await _timed(releaser(number) for number in range(at_once)),
            latencies_ms=latencies,
            per_commit=len(leases) / commits,
        )

    async def stop(self) -> None:
        await self._ipam.close()
        await self._database.close()


async def _timed(calls: Iterable[Any]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*calls)
    return time.perf_counter() - began
