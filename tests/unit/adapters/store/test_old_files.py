"""A file that an earlier ovsnet wrote is brought up to date and keeps all that was in it.

``files/schema-N.db`` was written by the ovsnet with that schema, by its own code: schema 3's is
schema 2's, opened and added to.
"""

import shutil
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, ExhaustedError, Ipam, LeaseKind, LimitError, Reservation
from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.state import SqliteState
from tests.unit.ipam.conftest import Host

OLD = sorted((Path(__file__).parent / "files").glob("schema-*.db"))

RELEASED = 1_790_000_120.0
"""About when the last address in the file was."""


@pytest.fixture(params=OLD, ids=lambda each: each.stem)
def old(request) -> Path:
    return request.param


@pytest.fixture
async def database(old, tmp_path):
    shutil.copyfile(old, tmp_path / "state.db")
    database = await Database.open(tmp_path / "state.db")
    yield database
    await database.close()


def schema(old: Path) -> int:
    return int(old.stem.removeprefix("schema-"))


async def load(database) -> Ipam:
    return await Ipam.load(
        SqliteLeases(database), defaults=(), surroundings=Host(), clock=lambda: RELEASED
    )


async def test_its_schema_is_the_newest(database):
    version = await database.read(lambda c: c.execute("PRAGMA user_version").fetchone()[0])
    assert version == len(storefile.migrations())
    # there was nothing written with the first, and the newest is not old
    assert list(map(schema, OLD)) == list(range(2, version))


async def test_its_pools_and_leases_are_there(database):
    ipam = await load(database)
    assert {
        str(pool.subnet): [(str(each.address), each.kind.value, each.name) for each in leases]
        for pool in ipam.pools()[:3]
        for leases in [await ipam.leases(pool.id)]
    } == {
        "10.20.0.0/24": [
            ("10.20.0.1", "gateway", ""),
            ("10.20.0.128", "endpoint", "web"),
            ("10.20.0.130", "endpoint", "cache"),
        ],
        "fd6f:7673::/64": [
            ("fd6f:7673::1", "gateway", ""),
            ("fd6f:7673::2", "endpoint", ""),
            ("fd6f:7673::ffff:ffff:ffff:fff0", "endpoint", ""),
        ],
        "172.24.0.0/24": [
            ("172.24.0.1", "gateway", ""),
            ("172.24.0.2", "endpoint", ""),
            ("172.24.0.4", "endpoint", ""),
        ],
    }
    window, _, team = ipam.pools()[:3]
    assert (window.window, window.space) == (IPNetwork("10.20.0.128/25"), "ovsnet")
    assert (team.space, team.automatic) == ("team1", True)
    assert (window.excluded, window.quarantine_s, window.limit, window.probe) == (
        (),
        0,
        None,
        False,
    )


async def test_its_names_and_wanted_addresses_are_remembered(database):
    ipam = await load(database)
    pool = ipam.pools()[0].id
    for name, expected in (("db", "10.20.0.129"), ("printer", "10.20.0.131")):
        lease = await ipam.request_address(AddressRequest(pool=pool, name=name))
        assert str(lease.address) == expected
    lease = await ipam.request_address(AddressRequest(pool=pool, address=IPAddress("10.20.0.9")))
    assert lease.kind is LeaseKind.ENDPOINT


async def test_its_options_quarantines_and_reservations_are_there(database, old):
    ipam = await load(database)
    if schema(old) < 3:
        assert len(ipam.pools()) == 3
        assert ipam.reservations() == ()
        return
    pool = ipam.pools()[3]
    assert [(each.first, each.last) for each in pool.excluded] == [(0x0A150002, 0x0A150004)]
    assert (pool.quarantine_s, pool.limit, pool.probe) == (3600, 9, True)
    usage = ipam.usage(pool.id)
    assert (usage.held, usage.reserved, usage.resting) == (2, 1, 1)
    kinds = [(str(each.address), each.kind.value) for each in await ipam.leases(pool.id)]
    assert kinds == [("10.21.0.1", "gateway"), ("10.21.0.200", "aux")]
    given = [
        await ipam.request_address(AddressRequest(pool=pool.id, name=n)) for n in ("x", "mail")
    ]
    assert [str(each.address) for each in given] == ["10.21.0.6", "10.21.0.9"]
    assert [(e.space, str(e.address), e.name, e.note) for e in ipam.reservations()] == [
        ("ovsnet", "10.21.0.9", "mail", "in the firewall"),
        ("team1", "10.99.0.1", "", ""),
    ]


async def test_who_holds_addresses_is_counted_by_kind(database, old):
    ipam = await load(database)
    for _ in range(256):
        try:
            await ipam.request_address(AddressRequest(pool=ipam.pools()[-1].id))
        except (ExhaustedError, LimitError) as error:
            refusal = str(error)
    auxiliary = "1 by the gateway and 1 by --aux" if schema(old) > 2 else "and 1 by the gateway ("
    assert auxiliary in refusal


async def test_its_networks_and_endpoints_are_there(database):
    state = await SqliteState.load(database)
    (network,) = state.networks()
    (endpoint,) = state.endpoints()
    assert (network.segment.bridge, network.segment.tag, network.made) == ("br-ovsnet", 5, True)
    assert endpoint.network == network.id
    assert [str(each) for each in endpoint.addresses] == ["10.20.0.130/24"]
    assert dict(state.notes()) == {"sysctl/net.ipv4.conf.eth0.forwarding": "0"}


async def test_what_is_new_can_be_written_to_it(database):
    ipam = await load(database)
    web = Reservation(space="team2", address=IPAddress("172.24.0.9"), name="web")
    await ipam.reserve([web])
    again = await load(database)
    assert again.reservations()[-1].name == "web"
