"""The process is killed with SIGKILL under load: what it had acknowledged holds, and no more.

``TESTS_KILLS`` says how many times; ``tests/run kills`` does 200.
"""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from netaddr import IPAddress, IPNetwork

from ipam import Ipam, PoolRequest
from tests.contract import killed_clients
from tests.contract.killed_clients import LASTING

ROUNDS = int(os.environ.get("TESTS_KILLS", "12"))
IN_START = 4
"""Every so many rounds the kill comes after a time from the start, so perhaps in the middle of it,
and otherwise after a time from the first word."""


Leases = dict[str, dict[int, tuple[str, bool]]]
"""Address, and whether it was asked for, by pool and serial."""


@dataclass
class Known:
    """What must be so, from what was acknowledged."""

    held: Leases
    serials: set[int]
    """Every one that was ever acknowledged."""
    giving: set[int] = field(default_factory=set)
    """Serials of leases whose release was asked for: they may be there or not."""
    gone: set[int] = field(default_factory=set)
    closing: set[str] = field(default_factory=set)
    """Pools whose release was asked for: they may be there, with all that they held, or not."""
    closed: set[str] = field(default_factory=set)

    def hear(self, what: str, pool: str, *rest: str) -> None:
        if what == "opened":
            assert pool not in self.held, "an id was given twice"
            self.held[pool] = {}
        elif what == "closing":
            self.closing.add(pool)
        elif what == "closed":
            self.closed.add(pool)
        elif what == "got":
            serial = int(rest[0])
            assert serial not in self.serials, "a serial was given twice"
            self.serials.add(serial)
            self.held[pool][serial] = (rest[1], rest[2] == "1")
        elif what == "giving":
            del self.held[pool][int(rest[0])]
            self.giving.add(int(rest[0]))
        else:
            assert what == "gave"
            self.gone.add(int(rest[0]))

    def check(self, ipam: Ipam, found: Leases) -> None:
        assert self.held.keys() - self.closing <= found.keys()
        assert not self.closed & found.keys()
        for pool in ipam.pools():
            there, held = found[pool.id], self.held.get(pool.id, {})
            # Of a pool that was on its way out either nothing is there, or everything.
            assert held.items() <= there.items()
            # What nobody knows of was asked for, and the answer did not get out.
            unknown = there.keys() - held.keys()
            assert unknown & self.serials <= self.giving - self.gone
            addresses = {address for address, _ in there.values()}
            assert len(addresses) == len(there) == ipam.usage(pool.id).held
            assert all(IPAddress(address) in pool.subnet for address in addresses)
        for one, other in combinations(ipam.pools(), 2):
            apart = one.subnet not in other.subnet and other.subnet not in one.subnet
            assert apart or one.space != other.space


async def test_what_was_acknowledged_before_a_kill_holds_after_it(tmp_path: Path):
    path = tmp_path / "state.db"
    ipam, database = await killed_clients.opened(path)
    for subnet in map(IPNetwork, LASTING):
        await ipam.request_pool(PoolRequest(space="lasting", subnet=subnet, family=subnet.version))
    found = await leases(ipam)
    await database.close()
    serials: set[int] = set()
    closed = 0
    for number in range(ROUNDS):
        known = Known(held=found, serials=serials)
        for words in killed(path, number):
            known.hear(*words)
        ipam, database = await killed_clients.opened(path)
        found = await leases(ipam)
        known.check(ipam, found)
        closed += len(known.closed)
        await ipam.close()
        await database.close()
    assert len(serials) > ROUNDS * 20
    assert closed > ROUNDS


async def leases(ipam: Ipam) -> Leases:
    return {
        pool.id: {
            lease.serial: (str(lease.address), lease.wanted) for lease in await ipam.leases(pool.id)
        }
        for pool in ipam.pools()
    }


def killed(path: Path, number: int) -> list[list[str]]:
    """Let clients run, kill them after some time; return what they said."""
    choose = random.Random(number)  # noqa: S311 - the same again for the same number
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contract.killed_clients", str(path), str(number)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        lines = [] if number % IN_START == 0 else [process.stdout.readline()]
        time.sleep(choose.uniform(0, 0.4 if number % IN_START == 0 else 0.15))
        process.kill()
        lines += process.stdout
    assert process.returncode == -signal.SIGKILL, "it ended by itself"
    # The last line may be cut.
    return [line.split() for line in lines if line.endswith("\n")]
