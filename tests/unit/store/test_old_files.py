"""A file that an earlier ovsnet wrote is brought up to date and keeps all that was in it.

``files/schema-N.db`` was written by the release with that schema, by its own code.
"""

import shutil
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import AddressRequest, Ipam, LeaseKind, Reservation
from ovsdriver.adapters import storefile
from ovsdriver.adapters.leases import SqliteLeases
from ovsdriver.adapters.sqlite import Database
from ovsdriver.adapters.state import SqliteState
from tests.unit.ipam.conftest import Host

OLD = sorted((Path(__file__).parent / "files").glob("schema-*.db"))

RELEASED = 1_790_000_029.0
"""About when the last address in the file was."""


@pytest.fixture(params=OLD, ids=lambda each: each.stem)
async def database(request, tmp_path):
    shutil.copyfile(request.param, tmp_path / "state.db")
    database = await Database.open(tmp_path / "state.db")
    yield database
    await database.close()


async def load(database) -> Ipam:
    return await Ipam.load(
        SqliteLeases(database), defaults=(), surroundings=Host(), clock=lambda: RELEASED
    )


async def test_its_schema_is_the_newest(database):
    version = await database.read(lambda c: c.execute("PRAGMA user_version").fetchone()[0])
    assert version == len(storefile.migrations())
    assert len(OLD) == len(storefile.migrations()) - 2  # there was no release with the first


async def test_its_pools_and_leases_are_there(database):
    ipam = await load(database)
    assert {
        str(pool.subnet): [(str(each.address), each.kind.value, each.name) for each in leases]
        for pool in ipam.pools()
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
    window, _, team = ipam.pools()
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
    web = Reservation(space="team1", address=IPAddress("172.24.0.9"), name="web")
    await ipam.reserve([web])
    again = await load(database)
    assert [each.name for each in again.reservations()] == ["web"]
