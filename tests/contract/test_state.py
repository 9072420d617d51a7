"""The ports State, SandboxMemory and HostNotes: what they acknowledged outlives a restart."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ipam import PoolId
from ovsdriver.adapters.store import records
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.domain.records.model import Endpoint, EndpointId, Mode, Network, NetworkId, Subnet
from ovsdriver.domain.records.on_link import Held, HeldAddress, HeldRoute
from ovsdriver.domain.records.options import changed_options
from ovsdriver.domain.records.options.port_options import (
    PortKind,
    PortOptions,
    Rate,
    VlanMode,
    VlanTag,
)
from ovsdriver.domain.records.segments import Datapath, VlanSegment
from ovsdriver.domain.wires.sandbox_link import SandboxLink, UpperLink
from ovsdriver.errors import ConflictError, UnavailableError, UnknownObjectError
from tests.builders import altered

BLUE = NetworkId("b1" * 32)
RED = NetworkId("4ed" + "0" * 61)
WEB = EndpointId("3eb" + "0" * 61)
DB = EndpointId("db" * 32)


class Store:
    """A state that can be restarted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def start(self) -> SqliteState:
        self.database = await Database.open(self.path)
        try:
            return await SqliteState.load(self.database)
        except BaseException:
            await self.database.close()
            raise

    async def restart(self) -> SqliteState:
        await self.database.close()
        return await self.start()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "state.db")
    yield made
    await made.database.close()


@pytest.fixture
async def state(store: Store) -> SqliteState:
    return await store.start()


def network(name: NetworkId = BLUE, *, tag: int = 10, pool: str | None = None, **more) -> Network:
    subnet = Subnet(
        cidr=IPNetwork("10.0.0.0/24"),
        gateway=IPAddress("10.0.0.1"),
        pool=None if pool is None else PoolId(pool),
    )
    segment = VlanSegment(bridge=more.pop("bridge", "br-ovsnet"), tag=VlanTag(tag))
    made = Network(id=name, segment=segment, mode=Mode.NAT, subnets=(subnet,))
    return altered(made, **more)


def endpoint(
    name: EndpointId = WEB, *addresses: str, network: NetworkId = BLUE, **more
) -> Endpoint:
    return Endpoint(
        id=name,
        network=network,
        addresses=tuple(map(IPNetwork, addresses or ("10.0.0.5/24",))),
        mac=EUI("0a:0f:0a:00:00:05"),
        **more,
    )


async def test_a_new_state_is_empty(state: SqliteState):
    assert state.networks() == ()
    assert state.endpoints() == ()
    assert state.notes() == {}
    assert state.network(BLUE) is None
    assert state.endpoint(WEB) is None
    assert state.network_of_pool(PoolId("p")) is None
    assert state.endpoint_at(BLUE, IPAddress("10.0.0.5")) is None


async def test_what_was_put_is_read(state: SqliteState):
    await state.put_network(network(pool="p"))
    await state.put_endpoint(endpoint())
    assert state.network(BLUE) == network(pool="p")
    assert state.networks() == (network(pool="p"),)
    assert state.network_of_pool(PoolId("p")) == network(pool="p")
    assert state.endpoint(WEB) == endpoint()
    assert state.endpoints() == state.endpoints(BLUE) == (endpoint(),)
    assert state.endpoints(RED) == ()
    assert state.endpoint_at(BLUE, IPAddress("10.0.0.5")) == endpoint()
    assert state.endpoint_at(RED, IPAddress("10.0.0.5")) is None


async def test_who_is_in_a_sandbox_is_found(state: SqliteState) -> None:
    await state.put_network(network(pool="p"))
    await state.put_endpoint(replace(endpoint(), sandbox="/netns/a"))
    assert [each.id for each in state.endpoints_in("/netns/a")] == [WEB]
    await state.put_endpoint(replace(endpoint(), sandbox="/netns/b"))
    assert state.endpoints_in("/netns/a") == ()
    assert [each.id for each in state.endpoints_in("/netns/b")] == [WEB]
    await state.put_endpoint(endpoint())
    assert state.endpoints_in("/netns/b") == ()
    await state.put_endpoint(replace(endpoint(), sandbox="/netns/b"))
    await state.forget_network(BLUE)
    assert state.endpoints_in("/netns/b") == ()


async def test_a_restart_loses_nothing(state: SqliteState, store: Store):
    full_network = Network(
        id=BLUE,
        segment=VlanSegment(bridge="br9", tag=VlanTag(0), adopted=True, datapath=Datapath.NETDEV),
        mode=Mode.FLAT,
        subnets=(
            Subnet(
                cidr=IPNetwork("10.0.0.0/24"),
                gateway=IPAddress("10.0.0.1"),
                space="lab",
                pool=PoolId("p4"),
            ),
            Subnet(cidr=IPNetwork("fd00::/64"), gateway=None, pool=PoolId("p6")),
        ),
        internal=True,
        shared=True,
        masquerade=False,
        ended=True,
        interface_prefix="net",
        port=PortOptions(mtu=1400, rate=Rate(towards=8000, away=None)),
        options={"ovs.bridge": "br9", "ovs.mtu": "1400"},
        engine="ABCD",
    )
    full_endpoint = altered(
        endpoint(WEB, "10.0.0.5/24", "fd00::5/64"),
        leases=(7, 8),
        mtu=1400,
        sandbox="/run/docker/netns/1",
        ended=True,
        options={"ovs.mtu": "1400"},
        kind=PortKind.INTERNAL,
        vlan=VlanTag(9),
        vlan_mode=VlanMode.NATIVE_TAGGED,
        trunks=(VlanTag(10), VlanTag(20)),
        ofport=77,
        protected=True,
    )
    await state.put_network(full_network)
    await state.put_endpoint(full_endpoint)
    await state.put_note("sysctl net.ipv4.ip_forward", "0")

    again = await store.restart()

    for known, expected in (
        (again.network(BLUE), full_network),
        (again.endpoint(WEB), full_endpoint),
    ):
        assert known is not None
        for field in fields(expected):
            assert getattr(known, field.name) == getattr(expected, field.name), field.name
    # netaddr's equality does not see host bits
    assert [str(each) for each in again.endpoints(BLUE)[0].addresses] == [
        "10.0.0.5/24",
        "fd00::5/64",
    ]
    assert again.network_of_pool(PoolId("p6")) == full_network
    assert again.endpoint_at(BLUE, IPAddress("fd00::5")) == full_endpoint
    assert again.notes() == {"sysctl net.ipv4.ip_forward": "0"}


async def test_putting_twice_replaces(state: SqliteState, store: Store):
    await state.put_network(network(pool="p"))
    await state.put_network(network(pool="q", tag=11, mtu=1400))
    await state.put_endpoint(endpoint())
    await state.put_endpoint(endpoint(WEB, "10.0.0.6/24", sandbox="/s"))
    await state.put_note("a", "1")
    await state.put_note("a", "2")
    for each in (state, await store.restart()):
        assert each.networks() == (network(pool="q", tag=11, mtu=1400),)
        assert each.network_of_pool(PoolId("p")) is None
        assert each.network_of_pool(PoolId("q")) is not None
        assert each.endpoints() == (endpoint(WEB, "10.0.0.6/24", sandbox="/s"),)
        assert each.endpoint_at(BLUE, IPAddress("10.0.0.5")) is None
        assert each.endpoint_at(BLUE, IPAddress("10.0.0.6")) is not None
        assert each.notes() == {"a": "2"}


async def test_what_is_forgotten_is_gone_also_after_a_restart(state: SqliteState, store: Store):
    await state.put_network(network())
    await state.put_endpoint(endpoint())
    await state.put_endpoint(endpoint(DB, "10.0.0.6/24"))
    await state.put_note("a", "1")
    assert await state.forget_endpoint(WEB)
    assert await state.forget_note("a")
    for each in (state, await store.restart()):
        assert each.endpoints() == (endpoint(DB, "10.0.0.6/24"),)
        assert each.endpoint_at(BLUE, IPAddress("10.0.0.5")) is None
        assert each.notes() == {}


async def test_a_dropped_endpoint_is_gone_at_once_and_durably_with_the_next_commit(
    state: SqliteState, store: Store
):
    await state.put_network(network())
    await state.put_endpoint(endpoint(ended=True))
    commits = store.database.commits
    state.drop_endpoint(WEB)
    assert state.endpoints() == ()
    assert state.endpoint_at(BLUE, IPAddress("10.0.0.5")) is None
    await state.put_note("a", "1")
    assert store.database.commits == commits + 1
    again = await store.restart()
    assert again.endpoints() == ()


async def test_a_dropped_endpoint_is_gone_though_nothing_else_is_written(
    state: SqliteState, store: Store
):
    await state.put_network(network())
    await state.put_endpoint(endpoint(ended=True))
    commits = store.database.commits
    state.drop_endpoint(WEB)
    async with asyncio.timeout(30):
        while store.database.commits == commits:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    state.drop_endpoint(WEB)  # again, and not written any more when the store is closed
    assert (await store.restart()).endpoints() == ()


async def test_an_endpoint_that_is_made_again_after_it_was_dropped_stays(
    state: SqliteState, store: Store
):
    await state.put_network(network())
    await state.put_endpoint(endpoint(ended=True))
    state.drop_endpoint(WEB)
    await state.put_endpoint(endpoint())
    for each in (state, await store.restart()):
        assert each.endpoints() == (endpoint(),)


async def test_forgetting_what_is_not_known_says_so_and_succeeds(state: SqliteState):
    assert not await state.forget_network(BLUE)
    assert not await state.forget_endpoint(WEB)
    assert not await state.forget_note("a")


async def test_with_a_network_goes_what_was_noted_of_options_changed_on_it(
    state: SqliteState, store: Store
):
    await state.put_network(network())
    await state.put_network(network(RED, tag=20))
    theirs = changed_options.key(RED, "c1")
    for key in (changed_options.key(BLUE, "c1"), changed_options.key(BLUE, "c2"), theirs, "a"):
        await state.put_note(key, "x")
    await state.forget_network(BLUE)
    for each in (state, await store.restart()):
        assert set(each.notes()) == {theirs, "a"}


async def test_forgetting_a_network_forgets_its_endpoints_and_frees_its_pool_and_segment(
    state: SqliteState, store: Store
):
    await state.put_network(network(pool="p"))
    await state.put_network(network(RED, tag=20))
    await state.put_endpoint(endpoint())
    await state.put_endpoint(endpoint(DB, network=RED))
    assert await state.forget_network(BLUE)
    for each in (state, await store.restart()):
        assert each.networks() == (network(RED, tag=20),)
        assert each.endpoints() == (endpoint(DB, network=RED),)
        assert each.endpoint_at(BLUE, IPAddress("10.0.0.5")) is None
        assert each.network_of_pool(PoolId("p")) is None
    await store.database.close()
    state = await store.start()
    await state.put_network(network(NetworkId("c" * 64), pool="p"))


async def test_a_taken_segment_is_refused_with_the_name_of_its_network(state: SqliteState):
    await state.put_network(network())
    with pytest.raises(ConflictError) as refused:
        await state.put_network(network(RED))
    assert BLUE[:12] in str(refused.value)
    assert "VLAN 10 on bridge br-ovsnet" in str(refused.value)
    assert "ovs.vlan" in str(refused.value)
    assert "ovs.shared=true" in str(refused.value)
    assert state.networks() == (network(),)


async def test_a_network_may_share_a_segment_if_it_says_so(state: SqliteState):
    await state.put_network(network())
    await state.put_network(network(RED, shared=True))
    await state.put_network(network(mtu=1400))
    assert {each.id for each in state.networks()} == {BLUE, RED}


async def test_a_network_that_does_not_say_so_may_not_join_one_that_does(state: SqliteState):
    await state.put_network(network(shared=True))
    with pytest.raises(ConflictError, match=BLUE[:12]):
        await state.put_network(network(RED))


async def test_a_network_may_not_move_onto_a_taken_segment(state: SqliteState):
    await state.put_network(network())
    await state.put_network(network(RED, tag=20))
    with pytest.raises(ConflictError, match=BLUE[:12]):
        await state.put_network(network(RED, tag=10))
    assert state.network(RED) == network(RED, tag=20)


async def test_a_network_may_not_move_onto_one_that_shares_nor_stop_to_share(state: SqliteState):
    await state.put_network(network())
    await state.put_network(network(RED, shared=True))
    third = NetworkId("cc" * 32)
    await state.put_network(network(third, tag=20, shared=True))
    with pytest.raises(ConflictError, match=BLUE[:12]):
        await state.put_network(network(RED))
    await state.put_network(network(tag=30))
    await state.put_network(network(RED, tag=20, shared=True))
    with pytest.raises(ConflictError, match=RED[:12]):
        await state.put_network(network(tag=20))
    with pytest.raises(ConflictError, match=RED[:12]):
        await state.put_network(network(third, tag=20))
    assert state.network(BLUE) == network(tag=30)


async def test_several_networks_are_written_together_or_not_at_all(
    state: SqliteState, store: Store
):
    await state.put_networks([network(), network(RED, tag=20)])
    third = network(NetworkId("cc" * 32), tag=20)
    with pytest.raises(ConflictError, match=RED[:12]):
        await state.put_networks([network(mtu=1400), third])
    assert {each.id: each.mtu for each in state.networks()} == {BLUE: 1500, RED: 1500}
    await state.put_networks([network(mtu=1400), network(RED, tag=20, mtu=1300)])
    again = await store.restart()
    assert {each.id: each.mtu for each in again.networks()} == {BLUE: 1400, RED: 1300}


async def test_the_same_tag_on_another_bridge_is_free(state: SqliteState):
    await state.put_network(network())
    await state.put_network(network(RED, bridge="br1"))
    assert len(state.networks()) == 2


async def test_a_pool_of_another_network_is_refused_and_nothing_is_kept(
    state: SqliteState, store: Store
):
    await state.put_network(network(pool="p"))
    with pytest.raises(ConflictError) as refused:
        await state.put_network(network(RED, tag=20, pool="p"))
    assert BLUE[:12] in str(refused.value)
    assert "10.0.0.0/24" in str(refused.value)
    assert "--subnet" in str(refused.value)
    for each in (state, await store.restart()):
        assert each.networks() == (network(pool="p"),)
        assert each.network_of_pool(PoolId("p")) == network(pool="p")


async def test_of_two_networks_that_want_a_segment_at_once_one_gets_it(state: SqliteState):
    ids = [NetworkId(f"{n:064x}") for n in range(10)]
    results = await asyncio.gather(
        *(state.put_network(network(each)) for each in ids), return_exceptions=True
    )
    assert [type(each) for each in results].count(ConflictError) == 9
    assert len(state.networks()) == 1


async def test_an_endpoint_of_an_unknown_network_is_refused(state: SqliteState):
    with pytest.raises(UnknownObjectError, match=BLUE[:12]):
        await state.put_endpoint(endpoint())
    assert state.endpoints() == ()


async def test_an_endpoint_that_races_the_end_of_its_network_is_refused(state: SqliteState):
    await state.put_network(network())
    gone, put = await asyncio.gather(
        state.forget_network(BLUE), state.put_endpoint(endpoint()), return_exceptions=True
    )
    assert gone is True
    assert isinstance(put, UnknownObjectError)
    assert state.endpoints() == ()


async def test_the_one_that_lives_is_found_at_an_address_that_was_given_again(state: SqliteState):
    await state.put_network(network())
    await state.put_endpoint(endpoint(WEB, ended=True))
    await state.put_endpoint(endpoint(DB))
    await state.put_endpoint(endpoint(WEB, ended=True))
    address = IPAddress("10.0.0.5")
    assert state.endpoint_at(BLUE, address) == endpoint(DB)
    await state.forget_endpoint(DB)
    assert state.endpoint_at(BLUE, address) == endpoint(WEB, ended=True)


LINK = SandboxLink(
    sandbox="/run/docker/netns/1",
    name="eth0",
    index=7,
    mac=EUI("0a:0f:0a:01:00:02"),
    mtu=1400,
    held=Held(
        addresses=(HeldAddress(address=IPNetwork("fd00::2/64"), permanent=True, message="0a"),),
        routes=(HeldRoute(text="default", gateway=IPAddress("fd00::1"), message="0b"),),
    ),
    neighbours=("0c",),
    settings={"ipv6/conf/disable_ipv6": "0"},
    uppers=(
        UpperLink(
            name="eth0.5",
            index=8,
            mac=EUI("0a:0f:0a:01:00:02"),
            mtu=1400,
            up=False,
            master="br0",
            lower="eth0",
            kind="vlan",
            data="0d",
        ),
    ),
    gateways=(IPAddress("10.0.0.1"),),
    on_link=(IPNetwork("10.0.1.0/24"),),
    restoring=True,
)


async def test_what_a_container_sees_is_there_after_a_restart_until_its_endpoint_is_forgotten(
    state: SqliteState, store: Store
):
    await state.put_network(network())
    await state.put_endpoint(endpoint(WEB))
    assert state.sandbox_link(WEB) is None
    await state.put_sandbox_link(WEB, replace(LINK, mtu=1500))
    await state.put_sandbox_link(WEB, LINK)
    await state.put_endpoint(endpoint(WEB, ended=True))
    assert state.sandbox_link(WEB) == LINK
    again = await store.restart()
    assert again.sandbox_link(WEB) == LINK
    await again.forget_endpoint(WEB)
    assert again.sandbox_link(WEB) is None
    await again.put_sandbox_link(WEB, LINK)  # came too late
    assert again.sandbox_link(WEB) is None
    last = await store.restart()
    await last.put_endpoint(endpoint(WEB))
    assert last.sandbox_link(WEB) is None


async def test_what_a_container_sees_is_seen_anew_if_it_cannot_be_read(
    state: SqliteState, store: Store
):
    await state.put_network(network())
    await state.put_endpoint(endpoint(WEB))
    await state.put_sandbox_link(WEB, LINK)
    await store.database.close()
    with closing(sqlite3.connect(store.path)) as other:
        other.execute("UPDATE sandbox_link SET record = '{}'")
        other.commit()
    again = await store.start()
    assert again.endpoint(WEB) == endpoint(WEB)
    assert again.sandbox_link(WEB) is None


async def test_nobody_reads_what_is_not_on_the_disk(state: SqliteState, store: Store):
    writing = asyncio.create_task(state.put_network(network()))
    while state.network(BLUE) is None:
        assert not writing.done()
        await asyncio.sleep(0)
    with closing(sqlite3.connect(store.path)) as other:
        assert other.execute("SELECT id FROM network").fetchall() == [(BLUE,)]
    await writing


async def test_a_write_whose_caller_was_cancelled_is_seen_once_it_is_on_the_disk(
    state: SqliteState, store: Store
):
    writing = asyncio.create_task(state.put_network(network()))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await state.put_note("after", "")
    assert state.network(BLUE) == network()
    assert (await store.restart()).network(BLUE) == network()


async def test_what_the_file_refuses_is_not_seen(state: SqliteState, store: Store):
    await store.database.close()
    with pytest.raises(UnavailableError):
        await state.put_network(network())
    assert state.networks() == ()


async def test_writes_at_once_share_a_commit(state: SqliteState, store: Store):
    await state.put_network(network())
    before = store.database.commits
    await asyncio.gather(
        *(state.put_endpoint(endpoint(EndpointId(f"{n:064x}"))) for n in range(100))
    )
    assert store.database.commits - before == 1
    assert len(state.endpoints()) == 100


async def test_a_row_of_an_older_program_is_read_with_defaults(state: SqliteState, store: Store):
    await state.put_network(network(interface_prefix="lan"))
    await edit(store, lambda record: record.pop("interface_prefix"))
    assert (await store.start()).network(BLUE) == network(interface_prefix="eth")


async def test_a_member_that_no_field_has_is_skipped(state: SqliteState, store: Store):
    await state.put_network(network())
    await edit(store, lambda record: record.update(colour="blue"))
    assert (await store.start()).network(BLUE) == network()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"mode": "teleport"}, id="unknown-mode"),
        pytest.param({"port": {"mtu": "1500"}}, id="wrong-type"),
        pytest.param({"subnets": [{"cidr": "10.0.0/99", "gateway": None}]}, id="no-subnet"),
        pytest.param({"segment": None}, id="no-segment"),
        pytest.param({"_version": 99}, id="newer-version"),
    ],
)
async def test_a_row_without_a_meaning_stops_the_start(
    state: SqliteState, store: Store, change: dict[str, object]
):
    await state.put_network(network())
    await edit(store, lambda record: record.update(change))
    with pytest.raises(UnavailableError, match=rf"network {BLUE[:12]} cannot be read.*was kept"):
        await store.start()


async def edit(store: Store, change) -> None:
    await store.database.close()
    with closing(sqlite3.connect(store.path)) as other:
        ((text,),) = other.execute("SELECT record FROM network").fetchall()
        record = json.loads(text)
        change(record)
        other.execute("UPDATE network SET record = ?", (json.dumps(record),))
        other.commit()


def test_what_cannot_be_stored_is_refused_and_not_stored_as_something_else():
    with pytest.raises(TypeError):
        records.encode(endpoint(sandbox=Path("/s")))  # type: ignore[arg-type]
