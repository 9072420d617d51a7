"""The yardstick of leases: a client that writes the same rows to the leader, and does nothing else.

    python -m tests.bench.segments.raw ADDRESS KEY CERTIFICATE CA SEGMENT HOST POOL AMONG

Reads orders from stdin, ``AT_ONCE TOTAL`` a line, as ``tests/bench/http_client.py`` does: TOTAL
addresses of AMONG, a subnet, at random, AT_ONCE at a time, each by one transaction; then it
releases them. One that another client has is refused, and it takes another one.
"""

import asyncio
import json
import random
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from netaddr import EUI, IPAddress, IPNetwork

from ipam import LeaseKind, PoolId
from ovsdriver.adapters.ovn import rows
from ovsdriver.adapters.ovsdb import Address
from ovsdriver.adapters.ovsdb.wire.address import Certificates
from ovsdriver.adapters.ovsdb.wire.connection import Connection
from ovsdriver.ports.northbound import SharedLease

_PROBE_S = 60.0
_NORTHBOUND = "OVN_Northbound"


class Client:
    """One connection to the server that leads."""

    def __init__(
        self, connection: Connection, segment: str, host: str, pool: str, among: str
    ) -> None:
        self._connection = connection
        self._low, self._high = IPNetwork(among).first + 2, IPNetwork(among).last - 1
        self._segment, self._host, self._pool = segment, host, PoolId(pool)
        self._random = random.SystemRandom()
        self._serials = count(self._random.getrandbits(48))
        self._held: dict[int, str] = {}
        self._tried: set[int] = set()

    async def measure(self, at_once: int, total: int) -> dict[str, object]:
        """Take and release; seconds, and milliseconds of each lease."""
        latencies: list[float] = []
        began = time.perf_counter()

        async def taking() -> None:
            while len(latencies) < total:
                asked = time.perf_counter()
                if await self._take():
                    latencies.append((time.perf_counter() - asked) * 1000)

        await asyncio.gather(*(taking() for _ in range(at_once)))
        took = time.perf_counter() - began
        began = time.perf_counter()
        for uuid in self._held.values():
            await self._release(uuid)
        release_s = time.perf_counter() - began
        self._held.clear()
        self._tried.clear()
        return {"took_s": took, "latencies_ms": latencies, "release_s": release_s}

    async def _take(self) -> bool:
        number = self._random.randint(self._low, self._high)
        while number in self._tried:
            number = self._random.randint(self._low, self._high)
        address = IPAddress(number)
        lease = SharedLease(
            segment=self._segment,
            address=address,
            kind=LeaseKind.ENDPOINT,
            host=self._host,
            pool=self._pool,
            serial=next(self._serials),
            created=time.time(),
            mac=EUI(0x0A58_0000_0000 + number, version=48),
        )
        self._tried.add(number)
        insert, mutate = rows.new_lease(lease)
        answers = await self._transact(rows.there_is(self._segment), insert, mutate)
        if any(each and "error" in each for each in answers):
            return False
        self._held[number] = answers[1]["uuid"][1]
        return True

    async def _release(self, uuid: str) -> None:
        mutation = ["ports", "delete", ["set", [["uuid", uuid]]]]
        where = rows.at(rows.switch_uuid(self._segment))
        await self._transact(
            {"op": "mutate", "table": rows.SWITCH, "where": where, "mutations": [mutation]}
        )

    async def _transact(self, *operations: Any) -> list[Any]:
        answers: list[Any] = await self._connection.request("transact", [_NORTHBOUND, *operations])
        return answers


async def main(address: str, key: str, certificate: str, ca: str, *of: str) -> None:
    connection = await Connection.open(
        Address.parse(address),
        on_notification=lambda *_: None,
        probe_s=_PROBE_S,
        certificates=Certificates(
            private_key=Path(key), certificate=Path(certificate), ca=Path(ca)
        ),
    )
    serving = asyncio.create_task(connection.serve())
    client = Client(connection, *of)
    for line in sys.stdin:
        at_once, total = map(int, line.split())
        print(json.dumps(await client.measure(at_once, total)), flush=True)
    connection.close()
    await asyncio.gather(serving, return_exceptions=True)
    await connection.closed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
