"""Clients of the IPAM that say what they were told, until somebody kills them; for a test.

    python -m tests.contract.killed_clients STORE SEED

A line for each thing that happened, written at once: what was acknowledged (``got``, ``gave``,
``opened``, ``closed``) and, before it is asked for, what may or may not have happened when there
is no such line (``giving``, ``closing``).
"""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, DefaultPool, Ipam, IpamError, Lease, Occupied, PoolId, PoolRequest
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases

LASTING = ("10.40.0.0/22", "10.41.0.0/16", "fd00:40::/64")
"""Pools that nobody releases."""


DEFAULTS = (
    DefaultPool(base=IPNetwork("10.50.0.0/20"), size=28),
    DefaultPool(base=IPNetwork("fd00:50::/60"), size=64),
)
"""Where pools that come and go are taken from."""

ASKERS = 20
OPENERS = 3
PASSING = 8
"""At most so many pools that come and go."""


class Host:
    """A host without routes."""

    async def occupied(self, within: Sequence[IPNetwork]) -> Sequence[Occupied]:
        return ()


async def opened(path: Path) -> tuple[Ipam, Database]:
    database = await Database.open(path)
    ipam = await Ipam.load(
        SqliteLeases(database), defaults=DEFAULTS, surroundings=Host(), clock=time.time
    )
    return ipam, database


class Clients:
    """Everybody at once on one IPAM."""

    def __init__(self, ipam: Ipam, seed: int) -> None:
        self._ipam = ipam
        self._choose = random.Random(seed)  # noqa: S311 - the same again for the same seed
        self._held: dict[PoolId, list[Lease]] = {}
        self._passing: list[PoolId] = []

    async def run(self) -> None:
        for pool in self._ipam.pools():
            self._held[pool.id] = list(await self._ipam.leases(pool.id))
            if str(pool.subnet) not in LASTING:
                self._passing.append(pool.id)
        await asyncio.gather(
            *(self._again_and_again(self._ask) for _ in range(ASKERS)),
            *(self._again_and_again(self._open_or_close) for _ in range(OPENERS)),
        )

    async def _again_and_again(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except IpamError:
                # Taken, full, or its pool is gone: also what happens to others beside it.
                await asyncio.sleep(0)

    async def _ask(self) -> None:
        pool = self._choose.choice(list(self._held))
        held = self._held[pool]
        what = self._choose.random()
        if held and what < 0.4:
            lease = held.pop(self._choose.randrange(len(held)))
            _say("giving", pool, lease.serial)
            await self._ipam.release_address(pool, lease.address, serial=lease.serial)
            _say("gave", pool, lease.serial)
        else:
            wanted = self._somewhere(pool) if what > 0.8 else None
            name = f"c{self._choose.randrange(200)}" if what < 0.6 else ""
            lease = await self._ipam.request_address(
                AddressRequest(pool=pool, address=wanted, name=name)
            )
            _say("got", pool, lease.serial, lease.address, int(wanted is not None))
            held.append(lease)

    async def _open_or_close(self) -> None:
        if len(self._passing) < PASSING and self._choose.random() < 0.6:
            family = self._choose.choice((4, 6))
            pool = await self._ipam.request_pool(PoolRequest(space="passing", family=family))
            _say("opened", pool.id)
            self._held[pool.id] = []
            self._passing.append(pool.id)
        elif self._passing:
            gone = self._passing.pop(self._choose.randrange(len(self._passing)))
            del self._held[gone]
            _say("closing", gone)
            await self._ipam.release_pool(gone)
            _say("closed", gone)

    def _somewhere(self, pool: PoolId) -> IPAddress:
        there = self._ipam.pool(pool)
        assert there is not None
        return IPAddress(
            there.subnet.first + self._choose.randrange(1, min(there.subnet.size, 500))
        )


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main() -> None:
    ipam, _ = await opened(Path(sys.argv[1]))
    await Clients(ipam, int(sys.argv[2])).run()


if __name__ == "__main__":
    asyncio.run(main())
