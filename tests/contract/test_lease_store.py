"""What every lease store does: the one of the tests and the one of the product."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork, IPRange

from ipam import (
    Contents,
    Lease,
    LeaseKind,
    LeaseStore,
    Memory,
    Pool,
    PoolId,
    Reservation,
    StoreError,
)
from ipam.choice.bitmap import Bitmap
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from tests.fakes.leases import FakeLeaseStore

POOL = Pool(
    id=PoolId("ovsnet/10.40.0.0/16/1.1"),
    space="ovsnet",
    subnet=IPNetwork("10.40.0.0/16"),
    window=IPNetwork("10.40.5.0/24"),
    automatic=True,
    created=1_700_000_000.25,
)
POOL6 = replace(POOL, id=PoolId("ovsnet/fd00::/48/1.2"), subnet=IPNetwork("fd00::/48"), window=None)
LEASE = Lease(
    pool=POOL.id,
    address=IPAddress("10.40.5.1"),
    kind=LeaseKind.ENDPOINT,
    wanted=True,
    name="web",
    serial=(3 << 40) + 1,
    created=1_700_000_001.5,
)

Reopen = Callable[[], Awaitable[LeaseStore]]


@pytest.fixture(params=["fake", "sqlite"])
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reopen]:
    """Open the store, or what an earlier call left of it; not loaded."""
    fake = FakeLeaseStore()
    databases: list[Database] = []

    async def reopen() -> LeaseStore:
        if request.param == "fake":
            return fake
        for database in databases:
            await database.close()
        databases.append(await Database.open(tmp_path / "state.db"))
        return SqliteLeases(databases[-1])

    yield reopen
    for database in databases:
        await database.close()


@pytest.fixture
async def store(reopen: Reopen) -> LeaseStore:
    store = await reopen()
    await store.load()
    return store


def add(store: LeaseStore, lease: Lease) -> asyncio.Future[bool]:
    """Return the future of what the store tells."""
    outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def told(added: bool, error: BaseException | None) -> None:
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(added)

    store.add_lease(lease, told)
    assert not outcome.done(), "told before it was asked for"
    return outcome


def at(address: str, serial: int, **changes) -> Lease:
    return LEASE._replace(address=IPAddress(address), serial=serial, **changes)


async def reloaded(reopen: Reopen) -> tuple[LeaseStore, Contents]:
    store = await reopen()
    return store, await store.load()


def taken(contents: Contents, pool: Pool) -> list[str]:
    (found,) = (each for each in contents.pools if each.pool.id == pool.id)
    return [
        str(IPAddress(pool.subnet.first + offset, pool.family)) for offset in Bitmap(found.taken)
    ]


async def test_a_new_store_is_empty(reopen):
    contents = await (await reopen()).load()
    assert (list(contents.pools), contents.epoch > 0) == ([], True)


async def test_every_load_has_an_epoch_of_its_own(reopen):
    epochs = [(await (await reopen()).load()).epoch for _ in range(3)]
    assert epochs == sorted(set(epochs))


async def test_pools_come_back_as_they_were_in_the_order_in_which_they_were_made(store, reopen):
    other = replace(POOL, id=PoolId("a"), space="blue", automatic=False, window=None)
    for pool in (POOL, POOL6, other):
        assert await store.add_pool(pool)
    _, contents = await reloaded(reopen)
    assert [each.pool for each in contents.pools] == [POOL, POOL6, other]
    assert all(each.gateway is None and not each.taken for each in contents.pools)


async def test_a_space_has_a_subnet_once(store):
    assert await store.add_pool(POOL)
    assert not await store.add_pool(replace(POOL, id=PoolId("second")))
    assert await store.add_pool(replace(POOL, id=PoolId("third"), space="blue"))
    assert not await store.remove_pool(PoolId("second"))


async def test_a_removed_pool_is_gone_with_its_leases(store, reopen):
    await store.add_pool(POOL)
    await add(store, LEASE)
    assert await store.remove_pool(POOL.id)
    assert not await store.remove_pool(POOL.id)
    assert await store.lease(POOL.id, LEASE.address) is None
    assert await store.add_pool(POOL)
    assert list(await store.leases(POOL.id)) == []
    _, contents = await reloaded(reopen)
    assert taken(contents, POOL) == []


async def test_leases_come_back_as_they_were(store, reopen):
    await store.add_pool(POOL)
    leases = [LEASE, at("10.40.5.2", 2, name="", wanted=False), at("10.40.9.9", 3, name="Zoë ☃")]
    for lease in leases:
        assert await add(store, lease)
    for opened in range(2):
        store = (await reloaded(reopen))[0] if opened else store
        assert list(await store.leases(POOL.id)) == leases
        assert [await store.lease(POOL.id, each.address) for each in leases] == leases
        assert await store.lease(POOL.id, IPAddress("10.40.7.7")) is None


async def test_a_load_tells_which_addresses_are_taken_and_who_is_the_gateway(store, reopen):
    await store.add_pool(POOL)
    await store.add_pool(POOL6)
    gateway = at("10.40.0.1", 2, kind=LeaseKind.GATEWAY)
    for lease in (LEASE, gateway, at("10.40.255.254", 4, kind=LeaseKind.AUX)):
        await add(store, lease)
    _, contents = await reloaded(reopen)
    assert taken(contents, POOL) == ["10.40.0.1", "10.40.5.1", "10.40.255.254"]
    assert [each.gateway for each in contents.pools] == [gateway, None]


async def test_far_addresses_of_large_ipv6_pools_are_kept_in_their_order(store, reopen):
    await store.add_pool(POOL6)
    addresses = [
        *("fd00::", "fd00::1", "fd00::3fff:ffff:ffff:ffff", "fd00::4000:0:0:0"),
        *("fd00::8000:0:0:0", "fd00:0:0:1::", "fd00::ffff:ffff:ffff:ffff:ffff"),
    ]
    leases = [at(each, n, pool=POOL6.id) for n, each in enumerate(addresses, start=1)]
    for lease in reversed(leases):
        assert await add(store, lease)
        assert not await add(store, lease._replace(serial=lease.serial + 100))
    again, contents = await reloaded(reopen)
    assert taken(contents, POOL6) == addresses
    assert list(await again.leases(POOL6.id)) == leases
    for number, lease in enumerate(leases):
        assert list(await again.leases(POOL6.id, after=lease.address)) == leases[number + 1 :]
        assert await again.remove_lease(POOL6.id, lease.address)


async def test_an_address_has_one_holder(store):
    await store.add_pool(POOL)
    assert await add(store, LEASE)
    assert not await add(store, LEASE._replace(serial=9, name="db"))
    assert await store.lease(POOL.id, LEASE.address) == LEASE


async def test_of_many_at_once_who_want_one_address_one_gets_it(store):
    await store.add_pool(POOL)
    outcomes = await asyncio.gather(*(add(store, at("10.40.5.1", n)) for n in range(1, 20)))
    assert outcomes == [True] + [False] * 18


async def test_the_same_address_in_two_pools_has_two_holders(store):
    other = replace(POOL, id=PoolId("other"), space="blue")
    for pool in (POOL, other):
        await store.add_pool(pool)
    assert await add(store, LEASE)
    assert await add(store, LEASE._replace(pool=other.id, serial=2))
    assert await store.remove_lease(POOL.id, LEASE.address)
    assert await store.lease(other.id, LEASE.address) is not None


async def test_a_lease_without_its_pool_is_an_error(store):
    with pytest.raises(StoreError, match="no pool"):
        await add(store, LEASE)


async def test_removing_a_lease_twice_removes_it_once(store, reopen):
    await store.add_pool(POOL)
    await add(store, LEASE)
    assert await store.remove_lease(POOL.id, LEASE.address) == LEASE
    assert await store.remove_lease(POOL.id, LEASE.address) is None
    assert await store.remove_lease(PoolId("nonsense"), LEASE.address) is None
    assert await store.lease(POOL.id, LEASE.address) is None
    _, contents = await reloaded(reopen)
    assert taken(contents, POOL) == []


async def test_removing_a_lease_by_its_serial_spares_another_one(store):
    await store.add_pool(POOL)
    await add(store, LEASE)
    assert await store.remove_lease(POOL.id, LEASE.address, serial=LEASE.serial + 1) is None
    assert await store.lease(POOL.id, LEASE.address) == LEASE
    assert await store.remove_lease(POOL.id, LEASE.address, serial=LEASE.serial) == LEASE


async def test_writes_take_effect_in_the_order_in_which_they_were_called(store, reopen):
    await store.add_pool(POOL)

    async def adding(lease: Lease) -> bool:
        return await add(store, lease)

    outcomes = await asyncio.gather(
        adding(LEASE),
        store.remove_lease(POOL.id, LEASE.address),
        adding(LEASE._replace(serial=2)),
        adding(LEASE._replace(serial=3)),
        store.remove_pool(POOL.id),
        store.add_pool(POOL),
    )
    assert outcomes == [True, LEASE, True, False, True, True]
    _, contents = await reloaded(reopen)
    assert taken(contents, POOL) == []


def memory(address: str, since: float, **changes) -> Memory:
    return Memory(address=IPAddress(address), since=since, **changes)


def memories(contents: Contents, pool: Pool) -> list[Memory]:
    return next(list(each.memories) for each in contents.pools if each.pool.id == pool.id)


async def test_memories_come_back_the_oldest_first(store, reopen):
    for pool in (POOL, POOL6):
        await store.add_pool(pool)
    old = memory("10.40.5.9", 10.5, name="Zoë ☃")
    new = memory("10.40.5.1", 20.0, wanted=True)
    far = memory("fd00::ffff:ffff:ffff:ffff:ffff", 5.0, name="db", wanted=True)
    await store.remember(POOL.id, memories=[new, old], forget=[])
    await store.remember(POOL6.id, memories=[far], forget=[])
    _, contents = await reloaded(reopen)
    assert memories(contents, POOL) == [old, new]
    assert memories(contents, POOL6) == [far]


async def test_an_address_has_one_memory_until_it_is_forgotten(store, reopen):
    await store.add_pool(POOL)
    first, second = memory("10.40.5.1", 1.0, name="web"), memory("10.40.5.1", 2.0, name="db")
    await store.remember(POOL.id, memories=[first, memory("10.40.5.2", 3.0, name="x")], forget=[])
    await store.remember(
        POOL.id, memories=[second], forget=[IPAddress("10.40.5.2"), IPAddress("10.40.5.3")]
    )
    _, contents = await reloaded(reopen)
    assert memories(contents, POOL) == [second]


async def test_a_pools_memories_go_with_it(store, reopen):
    await store.add_pool(POOL)
    await store.remember(POOL.id, memories=[memory("10.40.5.1", 1.0, name="web")], forget=[])
    await store.remove_pool(POOL.id)
    await store.remember(POOL.id, memories=[memory("10.40.5.1", 1.0, name="web")], forget=[])
    await store.add_pool(POOL)
    _, contents = await reloaded(reopen)
    assert memories(contents, POOL) == []


async def test_leases_are_read_in_parts(store):
    await store.add_pool(POOL)
    leases = [at(f"10.40.5.{n}", n) for n in range(1, 8)]
    await asyncio.gather(*(add(store, lease) for lease in leases))
    assert list(await store.leases(POOL.id, limit=3)) == leases[:3]
    assert list(await store.leases(POOL.id, after=leases[2].address, limit=3)) == leases[3:6]
    assert list(await store.leases(POOL.id, after=leases[2].address)) == leases[3:]
    assert list(await store.leases(POOL.id, limit=0)) == []
    assert list(await store.leases(PoolId("nonsense"))) == []


async def test_a_few_names_are_told_the_lowest_addresses_first(store):
    await store.add_pool(POOL)
    for number in (9, 3, 1, 4, 2):
        await add(store, at(f"10.40.5.{number}", number, name=f"web{number}"))
    await add(store, at("10.40.5.0", 10, name=""))
    assert list(await store.names(POOL.id, most=3)) == ["web1", "web2", "web3"]
    assert list(await store.names(POOL.id, most=9)) == ["web1", "web2", "web3", "web4", "web9"]
    assert list(await store.names(PoolId("nonsense"), most=3)) == []


async def test_a_load_tells_how_many_addresses_are_kept_without_an_endpoint(store, reopen):
    await store.add_pool(POOL)
    await store.add_pool(POOL6)
    for number, kind in enumerate((*LeaseKind, LeaseKind.AUX), start=1):
        await add(store, at(f"10.40.5.{number}", number, kind=kind))
    contents = await (await reopen()).load()
    assert [each.auxiliary for each in contents.pools] == [2, 0]


async def sqlite_store(path: Path) -> tuple[Database, SqliteLeases]:
    database = await Database.open(path)
    store = SqliteLeases(database)
    await store.load()
    return database, store


async def test_fifty_leases_at_once_share_a_commit(tmp_path):
    database, store = await sqlite_store(tmp_path / "state.db")
    await store.add_pool(POOL)
    before = database.commits
    await asyncio.gather(*(add(store, at(f"10.40.5.{n}", n)) for n in range(1, 51)))
    assert database.commits == before + 1
    await database.close()


async def test_a_closed_file_is_an_error_of_the_store(tmp_path):
    database, store = await sqlite_store(tmp_path / "state.db")
    await store.add_pool(POOL)
    await database.close()
    for call in (
        store.load(),
        add(store, LEASE),
        store.remove_lease(POOL.id, LEASE.address),
        store.lease(POOL.id, LEASE.address),
        store.leases(POOL.id),
        store.names(POOL.id, most=3),
        store.remember(POOL.id, memories=[], forget=[LEASE.address]),
        store.remove_pool(POOL.id),
    ):
        with pytest.raises(StoreError, match="closed"):
            await call


async def test_among_many_at_once_only_a_held_or_refused_one_is_not_kept(tmp_path):
    database, store = await sqlite_store(tmp_path / "state.db")
    await store.add_pool(POOL)
    await add(store, at("10.40.0.1", 1, kind=LeaseKind.GATEWAY))
    await add(store, at("10.40.5.40", 2))
    before = database.commits
    many = [at(f"10.40.5.{number}", 100 + number) for number in range(1, 101)]
    outcomes = await asyncio.gather(*(add(store, each) for each in many))
    assert [n for n, added in enumerate(outcomes, start=1) if not added] == [40]
    second_gateway = at("10.40.0.2", 3, kind=LeaseKind.GATEWAY)
    many = [at(f"10.40.6.{number}", 300 + number) for number in range(1, 101)]
    many[70:70] = [second_gateway]
    outcomes = await asyncio.gather(*(add(store, each) for each in many), return_exceptions=True)
    assert isinstance(outcomes.pop(70), StoreError)
    assert outcomes == [True] * 100
    assert database.commits == before + 2
    assert len(await store.leases(POOL.id)) == 2 + 99 + 100
    await database.close()


async def test_what_a_constraint_refuses_is_an_error_of_the_store(tmp_path):
    database, store = await sqlite_store(tmp_path / "state.db")
    await store.add_pool(POOL)
    await add(store, at("10.40.0.1", 1, kind=LeaseKind.GATEWAY))
    with pytest.raises(StoreError, match="UNIQUE"):
        await add(store, at("10.40.0.2", 2, kind=LeaseKind.GATEWAY))
    assert await store.lease(POOL.id, IPAddress("10.40.0.2")) is None
    await database.close()


@pytest.mark.parametrize("seed", range(5))
async def test_what_is_taken_is_read_in_pieces_with_and_without_gaps(tmp_path, monkeypatch, seed):
    monkeypatch.setattr("ovsdriver.adapters.store.leases._PIECE", 16)
    choose = random.Random(seed)  # noqa: S311 - the same again for the same seed
    offsets = set(range(1, 100)) | {choose.randrange(100, 2000) for _ in range(60)}
    offsets |= set(range(1000, 1000 + choose.randrange(16, 600))) | {(1 << 70) + 3, 1 << 63}
    database, store = await sqlite_store(tmp_path / "state.db")
    await store.add_pool(POOL6)
    first = POOL6.subnet.first
    leases = [
        LEASE._replace(pool=POOL6.id, address=IPAddress(first + each), serial=serial)
        for serial, each in enumerate(sorted(offsets, key=lambda _: choose.random()), start=1)
    ]
    assert all(await asyncio.gather(*(add(store, each) for each in leases)))
    contents = await store.load()
    assert taken(contents, POOL6) == [str(IPAddress(first + each)) for each in sorted(offsets)]
    await database.close()


async def test_many_leases_are_read_in_pages(tmp_path):
    database, store = await sqlite_store(tmp_path / "state.db")
    await store.add_pool(POOL)
    rows = [(n, 1, 0, n, "endpoint", 0, "", 0.0) for n in range(1, 12_001)]
    await database.write(
        lambda c: c.executemany("INSERT INTO ipam_lease VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    )
    leases = await store.leases(POOL.id)
    assert [lease.serial for lease in leases] == list(range(1, 12_001))
    assert len(await store.leases(POOL.id, limit=11_000)) == 11_000
    await database.close()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE ipam_pool SET subnet = 'nonsense'", id="subnet"),
        pytest.param("UPDATE ipam_pool SET range = '10.40.5.0/240'", id="range"),
    ],
)
async def test_a_row_without_a_meaning_is_an_error_and_the_file_is_kept(tmp_path, change):
    path = tmp_path / "state.db"
    database, store = await sqlite_store(path)
    await store.add_pool(POOL)
    await database.write(lambda c: c.execute(change).rowcount)
    with pytest.raises(StoreError, match=r"pool ovsnet/10.40.0.0/16/1.1.*Restore it"):
        await SqliteLeases(database).load()
    await database.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM ipam_pool").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(
            "INSERT INTO ipam_lease VALUES (2, 1, 0, 1, 'endpoint', 0, '', 0.0)", id="two holders"
        ),
        pytest.param(
            "INSERT INTO ipam_lease VALUES (1, 1, 0, 2, 'endpoint', 0, '', 0.0)", id="serial twice"
        ),
        pytest.param(
            "INSERT INTO ipam_lease VALUES (2, 1, 0, 2, 'gateway', 0, '', 0.0)", id="two gateways"
        ),
        pytest.param(
            "INSERT INTO ipam_lease VALUES (2, 7, 0, 2, 'endpoint', 0, '', 0.0)", id="no pool"
        ),
        pytest.param(
            "INSERT INTO ipam_lease VALUES (2, 1, 0, 2, 'other', 0, '', 0.0)", id="unknown kind"
        ),
        pytest.param(
            "INSERT INTO ipam_lease VALUES (2, 1, 0, -2, 'aux', 0, '', 0.0)", id="below the subnet"
        ),
        pytest.param("INSERT INTO ipam_epoch VALUES (2, 0)", id="a second epoch"),
    ],
)
async def test_the_tables_refuse_what_must_not_be(tmp_path, statement):
    database, store = await sqlite_store(tmp_path / "state.db")
    await store.add_pool(POOL)
    await add(store, at("10.40.0.1", 1, kind=LeaseKind.GATEWAY))
    with pytest.raises(sqlite3.IntegrityError):
        await database.write(lambda c: c.execute(statement).rowcount)
    await database.close()


async def test_what_was_wished_of_a_pool_comes_back(store, reopen):
    wished = replace(
        POOL,
        excluded=(IPRange("10.40.0.9", "10.40.0.9"), IPRange("10.40.1.0", "10.40.1.255")),
        quarantine_s=90.5,
        limit=1000,
        probe=True,
    )
    wished6 = replace(POOL6, excluded=(IPRange("fd00::5", "fd00::ffff"),))
    await store.add_pool(wished)
    await store.add_pool(wished6)
    _, contents = await reloaded(reopen)
    assert [each.pool for each in contents.pools] == [wished, wished6]


async def test_an_address_that_goes_into_quarantine_is_remembered_with_its_release(store, reopen):
    await store.add_pool(POOL)
    plain = at("10.40.5.2", 2, name="", wanted=False)
    gateway = at("10.40.0.1", 3, kind=LeaseKind.GATEWAY)
    for lease in (LEASE, plain, gateway):
        await add(store, lease)
    for lease, since in ((LEASE, 10.5), (plain, 20.0), (gateway, 30.0)):
        assert await store.remove_lease(POOL.id, lease.address, since=since) == lease
    _, contents = await reloaded(reopen)
    (stored,) = contents.pools
    assert list(stored.memories) == [
        Memory(address=LEASE.address, name="web", wanted=True, since=10.5),
        Memory(address=plain.address, since=20.0),
    ]


async def test_a_release_of_another_lease_leaves_no_memory(store, reopen):
    await store.add_pool(POOL)
    await add(store, LEASE)
    assert await store.remove_lease(POOL.id, LEASE.address, serial=7, since=1.0) is None
    assert await store.remove_lease(POOL.id, IPAddress("10.40.5.9"), since=1.0) is None
    _, contents = await reloaded(reopen)
    assert [list(each.memories) for each in contents.pools] == [[]]


RESERVED = Reservation(
    space="ovsnet", address=IPAddress("10.40.5.7"), name="web", note="rack 4 ☃", created=5.25
)


async def test_reservations_come_back_whether_there_is_a_pool_or_not(store, reopen):
    v6 = replace(RESERVED, address=IPAddress("fd00::7"), name="")
    blue = replace(RESERVED, space="blue")
    await store.add_pool(POOL)
    await store.reserve(put=[RESERVED, v6, blue])
    await store.remove_pool(POOL.id)
    store, contents = await reloaded(reopen)
    assert sorted(contents.reservations, key=str) == sorted([RESERVED, v6, blue], key=str)
    await store.reserve(put=[replace(RESERVED, name="db")], drop=[("ovsnet", v6.address)])
    await store.reserve(put=(), drop=[("blue", v6.address)])
    _, contents = await reloaded(reopen)
    there = {(each.space, str(each.address), each.name) for each in contents.reservations}
    assert there == {("ovsnet", "10.40.5.7", "db"), ("blue", "10.40.5.7", "web")}
