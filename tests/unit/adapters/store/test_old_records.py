"""Records that an earlier ovsnet wrote say the same in today's form.

``files/records-1.db`` was written by the ovsnet with version 1 of them, by its own code: it planned
what the records have as typed. ``files/records-2.db`` was written likewise with version 2, for what
that had of published ports.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.store import records
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.codec import UnreadableError
from ovsdriver.domain.records.model import (
    Endpoint,
    EndpointId,
    NetworkId,
    PortMapping,
    Publication,
    Transport,
)
from ovsdriver.domain.records.options.features import NOTHING, Exporter, Features
from ovsdriver.domain.records.options.port_options import (
    PLAIN,
    MirrorKind,
    MirrorTarget,
    PortKind,
    PortOptions,
    Rate,
    VlanMode,
)
from ovsdriver.domain.traffic.publishing import EVERYWHERE
from ovsdriver.words import options

FILES = Path(__file__).parent / "files"
TUNNEL, STICK, BARE = (NetworkId(digit * 64) for digit in "acd")
ROUTER, GUEST, INNER, PLUGGED = (EndpointId(digit * 64) for digit in "1234")
WEB, GATE, LONE, QUIET = ROUTER, GUEST, INNER, PLUGGED
"""Of the second file."""


@pytest.fixture
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name = getattr(request, "param", "records-1.db")
    return Path(shutil.copyfile(FILES / name, tmp_path / "state.db"))


@pytest.fixture
async def state(file: Path):
    database = await Database.open(file)
    yield await SqliteState.load(database)
    await database.close()


ports_of_2 = pytest.mark.parametrize("file", ["records-2.db"], indirect=True)


async def test_what_a_network_says_of_its_ports_and_bridge_is_there(state: SqliteState) -> None:
    networks = {each.id: each for each in state.networks()}
    assert {id_: each.port for id_, each in networks.items()} == {
        TUNNEL: PortOptions(
            mtu=1400,
            kind=PortKind.VETH,
            vlan_mode=VlanMode.DOT1Q_TUNNEL,
            cvlans=(5, 7, 8),
            guard=True,
            mirror=MirrorTarget(kind=MirrorKind.NIC, nic="eth2"),
            rate=Rate(towards=100_000_000, away=20_000_000),
            burst=65536,
            broadcast=100,
            delay_us=20_000,
            jitter_us=5_000,
            loss_ppm=10_000,
        ),
        STICK: PortOptions(
            mtu=1500,
            kind=PortKind.INTERNAL,
            vlan_mode=VlanMode.ACCESS,
            trunks=(10, 20, 21),
            guard=False,
            sink="ids",
        ),
        BARE: PLAIN,
    }
    sampled = Exporter(targets=("192.0.2.9:6343",), sampling=64)
    assert networks[TUNNEL].features == Features(mcast=True, sflow=sampled)
    assert networks[BARE].features == NOTHING
    assert [each.segment.tag for each in networks.values()] == [30, 9, 1]


async def test_what_an_endpoint_says_itself_is_there_and_the_rest_follows(
    state: SqliteState,
) -> None:
    endpoints = {each.id: each for each in state.endpoints()}
    assert {id_: each.port for id_, each in endpoints.items()} == {
        ROUTER: PortOptions(
            mtu=1300,
            kind=PortKind.VETH,
            vlan=40,
            vlan_mode=VlanMode.NATIVE_TAGGED,
            trunks=(30, 31),
            guard=False,
            mirror=MirrorTarget(kind=MirrorKind.SINK, sink="ids"),
            rate=Rate(towards=10_000_000, away=None),
            burst=32768,
            broadcast=0,
            delay_us=0,
            jitter_us=0,
            loss_ppm=20_000,
        ),
        GUEST: PortOptions(kind=PortKind.VETH),
        INNER: PortOptions(kind=PortKind.INTERNAL),
        PLUGGED: PortOptions(kind=PortKind.VETH),
    }
    router = endpoints[ROUTER]
    assert (router.ofport, router.protected, router.interface) == (77, True, "lan0")
    assert router.addresses == (IPNetwork("10.20.0.2/24"),)
    assert router.sandbox == "/run/docker/netns/1"


async def test_they_are_what_is_made_today_of_what_was_typed(state: SqliteState) -> None:
    for network in state.networks():
        said = options.network(network.options, internal=False)
        assert network.port == replace(said.port | PLAIN, vlan=None)
        assert network.features == said.features
    for endpoint in state.endpoints():
        assert endpoint.port == options.endpoint(endpoint.options).port | endpoint.port


@ports_of_2
async def test_published_ports_are_there(state: SqliteState) -> None:
    web = state.endpoint(WEB)
    assert web is not None
    four, six = IPAddress("10.1.0.2"), IPAddress("fd00:1::2")
    every4, every6 = EVERYWHERE[4], EVERYWHERE[6]

    def at(protocol: Transport, host: IPAddress, host_port: int, address: IPAddress, port: int):
        return Publication(
            protocol=protocol, host=host, host_port=host_port, address=address, port=port
        )

    assert web.published == (
        replace(at(Transport.TCP, every4, 8080, four, 80), instead_of=GATE),
        replace(at(Transport.TCP, every6, 10000, six, 10000), count=101),
        at(Transport.SCTP, IPAddress("::1"), 9, six, 9),
        at(Transport.UDP, every4, 5353, four, 53),
    )


@ports_of_2
async def test_what_is_wanted_and_published_by_nobody_is_there(state: SqliteState) -> None:
    gate, lone, quiet = map(state.endpoint, (GATE, LONE, QUIET))
    assert gate is not None
    assert lone is not None
    assert quiet is not None
    assert gate.wanted == (
        PortMapping(protocol=Transport.TCP, port=80, host_port=8080, host_port_end=8080),
        PortMapping(
            protocol=Transport.UDP, port=53, host_address=IPAddress("192.0.2.1"), host_port=53
        ),
        PortMapping(protocol=Transport.TCP, port=9000, host_port=19000, count=11),
    )
    assert gate.unpublished == (
        PortMapping(protocol=Transport.UDP, port=53),
        PortMapping(protocol=Transport.TCP, port=9000, count=11),
    )
    assert gate.unpublished_why == "the host has no such address"
    assert [each.text for each in lone.unpublished] == ["80/tcp", "9/sctp", "10000-20000/udp"]
    assert (quiet.published, quiet.wanted, quiet.unpublished) == ((), (), ())


@pytest.mark.parametrize(
    "members",
    [
        {"_version": 2, "published": None},
        {"_version": 2, "published": [{"protocol": 7}]},
        {"_version": 2, "wanted": ["80/tcp"]},
        {"_version": 2, "unpublished": ["some/tcp"]},
    ],
)
def test_what_makes_no_sense_as_an_old_record_is_unreadable(members: dict[str, object]) -> None:
    with pytest.raises(UnreadableError, match="it is none of version 2"):
        records.decode(Endpoint, json.dumps(members))


@pytest.mark.parametrize("file", ["records-1.db", "records-2.db"], indirect=True)
async def test_one_that_changes_is_written_in_todays_form(file: Path) -> None:
    database = await Database.open(file)
    state = await SqliteState.load(database)
    before = (state.networks(), state.endpoints())
    await state.put_networks(state.networks())
    for each in state.endpoints():
        await state.put_endpoint(each)
    await database.close()
    with closing(sqlite3.connect(file)) as other:
        texts = other.execute("SELECT record FROM network UNION SELECT record FROM endpoint")
        assert {json.loads(text)["_version"] for (text,) in texts} == {records.VERSION}
    database = await Database.open(file)
    again = await SqliteState.load(database)
    assert (again.networks(), again.endpoints()) == before
    await database.close()
