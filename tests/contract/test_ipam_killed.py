"""The process is killed with SIGKILL under load: what it had acknowledged holds, and no more."""

import subprocess
import sys
import time
from pathlib import Path

from netaddr import IPAddress, IPNetwork

from ipam import Ipam, PoolRequest
from ovsdriver.adapters.leases import SqliteLeases
from ovsdriver.adapters.sqlite import Database
from tests.unit.ipam.conftest import Host

ROUNDS = 12

CLIENTS = """
import asyncio, random, sys, time
from pathlib import Path
from ipam import AddressRequest, ExhaustedError, Ipam
from ovsdriver.adapters.leases import SqliteLeases
from ovsdriver.adapters.sqlite import Database

def say(*words):
    print(*words, flush=True)

async def main():
    database = await Database.open(Path(sys.argv[1]))
    ipam = await Ipam.load(
        SqliteLeases(database), defaults=(), surroundings=None, clock=time.time)
    (pool,) = ipam.pools()
    held = [lease.address for lease in await ipam.leases(pool.id)]

    async def client(number):
        choose = random.Random(number)
        while True:
            if held and choose.random() < 0.4:
                address = held.pop(choose.randrange(len(held)))
                say("giving", address)
                await ipam.release_address(pool.id, address)
                say("gave", address)
            else:
                try:
                    lease = await ipam.request_address(
                        AddressRequest(pool=pool.id, name=f"c{number}"))
                except ExhaustedError:
                    continue
                say("got", lease.address, lease.serial)
                held.append(lease.address)

    await asyncio.gather(*(client(number) for number in range(20)))

asyncio.run(main())
"""


async def test_what_was_acknowledged_before_a_kill_holds_after_it(tmp_path: Path):
    path = tmp_path / "state.db"
    ipam, database = await opened(path)
    request = PoolRequest(space="ovsnet", subnet=IPNetwork("10.40.0.0/22"))
    pool = (await ipam.request_pool(request)).id
    await database.close()
    held: dict[str, int] = {}
    free: set[str] = set()
    serials: set[int] = set()
    for number in range(ROUNDS):
        for words in killed(path, after_s=number * 37 % 150 / 1000):
            if words[0] == "got":
                assert int(words[2]) not in serials
                serials.add(int(words[2]))
                held[words[1]] = int(words[2])
                free.discard(words[1])
            elif words[0] == "giving":
                # Until it is acknowledged, the address may be held or not.
                del held[words[1]]
            else:
                free.add(words[1])
        ipam, database = await opened(path)
        leases = {str(lease.address): lease.serial for lease in await ipam.leases(pool)}
        assert held.items() <= leases.items()
        # A release was acknowledged and a later request was not: that one may have got there.
        assert all(leases[each] not in serials for each in free & leases.keys())
        assert ipam.usage(pool).held == len(leases)
        assert all(IPAddress(each) in IPNetwork("10.40.0.0/22") for each in leases)
        await ipam.close()
        await database.close()
        held, free = leases, set()
    assert len(serials) > ROUNDS * 20


async def opened(path: Path) -> tuple[Ipam, Database]:
    database = await Database.open(path)
    ipam = await Ipam.load(
        SqliteLeases(database), defaults=(), surroundings=Host(), clock=time.time
    )
    return ipam, database


def killed(path: Path, *, after_s: float) -> list[list[str]]:
    """Let clients run, kill them some time after their first word; return what they said."""
    with subprocess.Popen(
        [sys.executable, "-c", CLIENTS, path], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        time.sleep(after_s)
        process.kill()
        lines += process.stdout
    # The last line may be cut.
    return [line.split() for line in lines if line.endswith("\n")]
