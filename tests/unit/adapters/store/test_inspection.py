"""What does not fit together in a store is told, each kind of it; what does is not."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from netaddr import IPNetwork

from ipam import AddressRequest, Ipam, PoolRequest
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.tools import inspection
from tests.unit.adapters.store.hosts import break_an_index, changed, epoch, used

POOL = "ovsnet/10.20.0.0/24/1.1"
SERIAL = 1 << 40


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return used(tmp_path / "state.db")


def told(path: Path) -> list[str]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert list(inspection.damage(connection)) == []
        found = list(inspection.faults(connection))
    assert all(each.remedy for each in found)
    return [f"{each.subject}: {each.text}" for each in found]


def record(path: Path, table: str, **members: object) -> None:
    """Change members of the only record in a table."""
    with changed(path) as connection:
        (text,) = connection.execute(f"SELECT record FROM {table}").fetchone()  # noqa: S608
        changed_text = json.dumps(json.loads(text) | members)
        connection.execute(f"UPDATE {table} SET record = ?", (changed_text,))  # noqa: S608


def subnet(**members: object) -> list[dict[str, object]]:
    said: dict[str, object] = {
        "cidr": "10.20.0.0/24",
        "gateway": "10.20.0.1",
        "space": "ovsnet",
        "pool": POOL,
        "auxiliary": [],
    }
    return [said | members]


def test_a_store_in_use_has_no_fault(store: Path):
    assert told(store) == []
    with changed(store) as connection:
        counts = inspection.counts(connection)
        assert inspection.held(connection)[POOL] == 3
    assert (counts.pools, counts.leases, counts.memories) == (3, 9, 2)
    assert (counts.reservations, counts.networks, counts.endpoints) == (1, 1, 1)


LEASE = "INSERT INTO ipam_lease VALUES ({}, {}, {}, {}, 'endpoint', 0, '', 1.0)"


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        pytest.param(
            "DELETE FROM ipam_epoch", "file: it does not know how often it was opened", id="epoch"
        ),
        pytest.param(
            "UPDATE ipam_epoch SET value = 9223372036854775807",
            "file: it does not know how often it was opened",
            id="epoch-nonsense",
        ),
        pytest.param(
            "UPDATE endpoint SET record = json_set(record, '$.leases', json('[1e30]'))",
            "its record cannot be read",
            id="lease-of-no-kind",
        ),
        pytest.param(
            "UPDATE endpoint "
            "SET record = replace(record, '1099511627782', '1000000000000000000000')",
            "its address 10.20.0.130 is held by another (endpoint",
            id="lease-too-large",
        ),
        pytest.param(
            "UPDATE ipam_pool SET subnet = 'nonsense' WHERE key = 3",
            "pools: pool team1/172.24.0.0/24/1.3: the store has a pool",
            id="subnet-nonsense",
        ),
        pytest.param(
            "UPDATE ipam_pool SET subnet = '172.24.0.7/24' WHERE key = 3",
            "pools: pool team1/172.24.0.0/24/1.3: subnet 172.24.0.7/24 has host bits set",
            id="subnet-host-bits",
        ),
        pytest.param(
            "UPDATE ipam_pool SET subnet = 'FD6F:7673::/64' WHERE key = 2",
            "pools: pool ovsnet/fd6f:7673::/64/1.2: its subnet is written 'FD6F:7673::/64'",
            id="subnet-spelling",
        ),
        pytest.param(
            "UPDATE ipam_pool SET space = 'a b' WHERE key = 3",
            "pools: pool team1/172.24.0.0/24/1.3: address space 'a b'",
            id="space",
        ),
        pytest.param(
            "UPDATE ipam_pool SET range = '10.21.0.0/25' WHERE key = 1",
            "is not inside of subnet 10.20.0.0/24",
            id="range",
        ),
        pytest.param(
            "UPDATE ipam_pool SET excluded = '10.20.0.250-10.20.1.3' WHERE key = 1",
            "crosses the border of subnet 10.20.0.0/24",
            id="excluded",
        ),
        pytest.param(
            "UPDATE ipam_pool SET id = 'team1/172.24.0.0/24/2.1' WHERE key = 3",
            "has an id of start 2 of this store, which was started 1 times",
            id="pool-of-the-future",
        ),
        pytest.param(
            "INSERT INTO ipam_pool (id, space, subnet, automatic, created) "
            "VALUES ('x/1.9', 'ovsnet', '10.0.0.0/8', 0, 1.0)",
            "pools: pools x/1.9 and ovsnet/10.20.0.0/24/1.1 of space ovsnet overlap",
            id="overlap",
        ),
        pytest.param(
            LEASE.format(SERIAL + 99, 1, 0, 256),
            "a held address 10.20.1.0 lies outside of its subnet",
            id="outside",
        ),
        pytest.param(
            LEASE.format(SERIAL + 99, 2, 4, 0),
            "lies outside of its subnet",
            id="outside-6",
        ),
        pytest.param(
            LEASE.format(SERIAL + 99, 3, 0, 1 << 61),
            "a held address (the subnet's first + 2305843009213693952) lies outside",
            id="outside-of-everything",
        ),
        pytest.param(
            LEASE.format(SERIAL + 99, 1, 0, 255),
            "a held address 10.20.0.255 is the subnet's network or broadcast address",
            id="broadcast",
        ),
        pytest.param(
            LEASE.format(2 * SERIAL, 1, 0, 9),
            "a held address 10.20.0.9 has a serial of none of the 1 starts",
            id="serial-of-the-future",
        ),
        pytest.param(
            LEASE.format(0, 1, 0, 9), "a held address 10.20.0.9 has a serial of none", id="serial-0"
        ),
        pytest.param(
            "UPDATE ipam_pool SET most = 2 WHERE key = 1",
            "leases: pool ovsnet/10.20.0.0/24/1.1 holds 3 addresses and may hold 2 (ipam.limit)",
            id="limit",
        ),
        pytest.param(
            "INSERT INTO ipam_memory VALUES (1, 0, 300, 'x', 0, 1.0)",
            "a remembered address 10.20.1.44 lies outside of it",
            id="memory",
        ),
        pytest.param(
            "INSERT INTO ipam_reservation VALUES ('s', '300.1.1.1', '', '', 1.0)",
            "reservations: the reservation of 300.1.1.1 in space s: ",
            id="reservation-nonsense",
        ),
        pytest.param(
            "INSERT INTO ipam_reservation VALUES ('s', '127.0.0.1', '', '', 1.0)",
            "reservations: the reservation of 127.0.0.1 in space s: ",
            id="reservation-loopback",
        ),
        pytest.param(
            "INSERT INTO ipam_reservation VALUES ('s', 'fd00::A', '', '', 1.0)",
            "reservations: an address is written 'fd00::A', not 'fd00::a'",
            id="reservation-spelling",
        ),
        pytest.param(
            "UPDATE network SET tag = 6",
            "networks: network aaaaaaaaaaaa: its record says bridge br-ovsnet and VLAN 5",
            id="network-column",
        ),
        pytest.param(
            "UPDATE network SET record = '{}'",
            "networks: network aaaaaaaaaaaa: its record cannot be read",
            id="network-unreadable",
        ),
        pytest.param(
            "DELETE FROM network_pool",
            f"pool {POOL} is of no network by its row and of network aaaaaaaaaaaa by the records",
            id="binding-missing",
        ),
        pytest.param(
            "INSERT INTO network_pool SELECT 'team1/172.24.0.0/24/1.3', id FROM network",
            "is of network aaaaaaaaaaaa by its row and of no network by the records",
            id="binding-not-said",
        ),
        pytest.param(
            "DELETE FROM ipam_pool WHERE key = 1",
            f"networks: network aaaaaaaaaaaa: its pool {POOL} is not there",
            id="pool-missing",
        ),
        pytest.param(
            "DELETE FROM ipam_lease WHERE kind = 'gateway' AND pool = 1",
            "its gateway 10.20.0.1 is not held, so a container may get it",
            id="gateway-free",
        ),
        pytest.param(
            "UPDATE endpoint SET record = '{}'",
            "endpoints: endpoint bbbbbbbbbbbb: its record cannot be read",
            id="endpoint-unreadable",
        ),
        pytest.param(
            "DELETE FROM ipam_lease WHERE pool = 1 AND offset = 130",
            "endpoints: endpoint bbbbbbbbbbbb: its address 10.20.0.130 is not held",
            id="lease-missing",
        ),
        pytest.param(
            "UPDATE ipam_lease SET serial = serial + 71 WHERE pool = 1 AND offset = 130",
            f"its address 10.20.0.130 is held by another (endpoint, lease {SERIAL + 77})",
            id="lease-of-another",
        ),
        pytest.param(
            "UPDATE ipam_lease SET kind = 'aux' WHERE pool = 1 AND offset = 130",
            "its address 10.20.0.130 is held by another (aux, lease",
            id="lease-of-another-kind",
        ),
        pytest.param(
            "UPDATE ipam_lease SET offset = 131 WHERE pool = 1 AND offset = 130",
            f"its lease {SERIAL + 6} is of another address than its own",
            id="lease-elsewhere",
        ),
        pytest.param(
            "INSERT INTO endpoint "
            "SELECT 'cc', network, json_set(record, '$.id', 'cc') FROM endpoint",
            "endpoint cc: its address is held by endpoint bbbbbbbbbbbb as well",
            id="two-on-one-lease",
        ),
        pytest.param(
            "UPDATE endpoint SET record = json_set(record, '$.network', 'other')",
            "its record is of endpoint bbbbbbbbbbbb of network other",
            id="endpoint-column",
        ),
    ],
)
def test_what_does_not_fit_is_told(store: Path, statement: str, sentence: str):
    with changed(store) as connection:
        connection.execute(statement)
    found = told(store)
    assert any(sentence in each for each in found), found


def test_the_networks_subnet_is_its_pools(store: Path):
    record(store, "network", subnets=subnet(cidr="10.99.0.0/24"))
    assert any(
        "it has subnet 10.99.0.0/24 of space ovsnet, its pool" in each for each in told(store)
    )


@pytest.mark.parametrize("members", [{"ended": True}, {"made": False}])
def test_a_network_that_ends_or_is_being_made_need_not_have_its_pools(
    store: Path, members: dict[str, object]
):
    with changed(store) as connection:
        connection.execute("DELETE FROM ipam_pool WHERE key = 1")
    record(store, "network", **members)
    assert told(store) == []


def test_an_endpoint_that_ended_need_not_have_its_address(store: Path):
    with changed(store) as connection:
        connection.execute("DELETE FROM ipam_lease WHERE pool = 1 AND offset = 130")
    record(store, "endpoint", ended=True)
    assert told(store) == []


def test_addresses_of_another_ipam_are_not_looked_at(store: Path):
    with changed(store) as connection:
        connection.execute("DELETE FROM network_pool")
        connection.execute("DELETE FROM ipam_pool WHERE key = 1")
    record(store, "network", subnets=subnet(pool=None))
    record(store, "endpoint", leases=[])
    assert told(store) == []


def test_addresses_of_segments_are_not_looked_at(store: Path):
    pool = "segment:blue/4/0123456789ab"
    said = subnet(pool=pool, space="segment:blue", gateway=None)
    record(store, "network", subnets=said)
    record(store, "endpoint", leases=[(1 << 62) + 7])
    with changed(store) as connection:
        connection.execute("UPDATE network_pool SET pool = ?", (pool,))
    assert told(store) == []


def test_of_a_million_faults_a_few_are_told(store: Path):
    with changed(store) as connection:
        connection.executemany(
            "INSERT INTO ipam_lease VALUES (?, 1, 0, ?, 'endpoint', 0, '', 1.0)",
            [(SERIAL + 1000 + n, 300 + n) for n in range(500)],
        )
    found = told(store)
    assert len(found) == inspection.MOST + 1
    assert "and 490 more such leases, where an address lies outside" in found[-1]


def damage(path: Path) -> list[str]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return list(inspection.damage(connection))


def test_damage_of_the_file_is_told_first(store: Path):
    break_an_index(store)
    assert any("ipam_lease_gateway" in each for each in damage(store))


def test_rows_that_belong_to_nothing_are_told(store: Path):
    with changed(store, keys=False) as connection:
        connection.execute("DELETE FROM ipam_pool WHERE key = 3")
    assert "a row of ipam_lease belongs to none of ipam_pool" in damage(store)


class NoHost:
    async def occupied(self, within: object):
        return ()


async def test_serials_carry_their_epoch_where_it_is_looked_for(store: Path):
    database = await Database.open(store)
    ipam = await Ipam.load(
        SqliteLeases(database), defaults=(), surroundings=NoHost(), clock=lambda: 1.0
    )
    pool = await ipam.request_pool(PoolRequest(space="new", subnet=IPNetwork("10.0.0.0/24")))
    lease = await ipam.request_address(AddressRequest(pool=pool.id))
    await ipam.close()
    await database.close()
    assert lease.serial >> inspection.SERIAL_BITS == epoch(store) == 2
    assert told(store) == []
