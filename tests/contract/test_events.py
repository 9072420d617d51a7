"""What keeps events: in order, with the commits that cause them, bounded, over restarts."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from netaddr import IPNetwork

from ipam import AddressRequest, Ipam, PoolRequest
from ovsdriver.adapters.store import events as module
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.events import SqliteEvents
from ovsdriver.adapters.store.leases import SqliteLeases
from ovsdriver.adapters.store.state import SqliteState
from ovsdriver.causes import because
from ovsdriver.domain.events.event import Event, EventType, Happening
from ovsdriver.errors import UnknownObjectError
from tests.contract.test_state import BLUE, WEB, endpoint, network
from tests.unit.ipam.conftest import Host

MADE = replace(network(), made=True)
RUNS = replace(endpoint(), sandbox="/run/netns/web")
MENDED = Happening(EventType.REPAIR, "mended", attributes={"what": "a port"})


class Store:
    """A store with events that can be restarted, also as after a crash."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1_790_000_000.0

    async def start(self) -> None:
        self.database = await Database.open(self.path)
        self.events = await SqliteEvents.load(self.database, clock=lambda: self.now)
        self.state = await SqliteState.load(self.database, self.events)
        self.leases = SqliteLeases(self.database, self.events, network_of=lambda _: BLUE)

    async def restart(self) -> None:
        await self.database.close()
        await self.start()

    async def told(self, last: int = 0) -> list[str]:
        return [f"{e.type}.{e.action}" for e in await self.all(last)]

    async def all(self, last: int = 0) -> list[Event]:
        return list(await self.events.after(last, limit=1000))

    def on_disk(self) -> list[str]:
        """What another process, or one after a crash, would find."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT type, action FROM event ORDER BY id").fetchall()
        return [f"{kind}.{action}" for kind, action in rows]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "state.db")
    await made.start()
    yield made
    await made.database.close()


async def a_life(store: Store) -> None:
    await store.state.put_network(network())
    await store.state.put_network(MADE)
    await store.state.put_endpoint(endpoint())
    await store.state.put_endpoint(RUNS)
    await store.state.put_endpoint(endpoint())
    await store.state.forget_endpoint(WEB)
    await store.state.forget_network(BLUE)


LIFE = ["network.created", "endpoint.attached", "endpoint.detached", "network.deleted"]


async def test_a_store_begins_without_events(store: Store) -> None:
    assert await store.all() == []
    assert (store.events.newest, await store.events.oldest()) == (0, 0)


async def test_what_records_say_is_told_in_order_with_numbers_that_grow(store: Store) -> None:
    await a_life(store)
    events = await store.all()
    assert [f"{e.type}.{e.action}" for e in events] == LIFE
    assert sorted({e.id for e in events}) == [e.id for e in events]
    assert store.events.newest == events[-1].id
    assert events[1].endpoint == WEB
    assert events[1].attributes == {"address": "10.0.0.5/24", "mac": "0a:0f:0a:00:00:05"}


async def test_an_event_is_in_the_commit_of_what_caused_it(store: Store) -> None:
    commits = store.database.commits
    await store.state.put_network(MADE)
    await store.state.put_endpoint(RUNS)
    # no crash comes between: the disk has both, and there was no commit more
    assert store.on_disk() == ["network.created", "endpoint.attached"]
    assert store.database.commits - commits == 2


async def test_leases_of_containers_are_told_with_their_commits(store: Store) -> None:
    ipam = await Ipam.load(store.leases, defaults=(), surroundings=Host(), clock=lambda: store.now)
    pool = await ipam.request_pool(PoolRequest(space="ovsnet", subnet=IPNetwork("10.9.0.0/24")))
    commits = store.database.commits
    lease = await ipam.request_address(AddressRequest(pool=pool.id, name="web"))
    assert store.on_disk() == ["lease.given"]
    assert store.database.commits - commits == 1
    await ipam.release_address(pool.id, lease.address)
    await ipam.release_address(pool.id, lease.address)
    assert store.on_disk() == ["lease.given", "lease.released"]
    for each in await store.all():
        assert (each.container, each.network_id) == ("web", BLUE)
        assert each.attributes == {"address": str(lease.address), "pool": pool.id}
    await ipam.close()


async def test_an_address_that_is_held_already_is_not_told_twice(store: Store) -> None:
    ipam = await Ipam.load(store.leases, defaults=(), surroundings=Host(), clock=lambda: store.now)
    pool = await ipam.request_pool(PoolRequest(space="ovsnet", subnet=IPNetwork("10.9.0.0/24")))
    lease = await ipam.request_address(AddressRequest(pool=pool.id))
    added = asyncio.get_running_loop().create_future()
    other = lease._replace(serial=lease.serial + 1)
    store.leases.add_lease(other, lambda result, _: added.set_result(result))
    assert await added is False
    assert store.on_disk() == ["lease.given"]
    await ipam.close()


async def test_what_the_store_refuses_is_not_told(store: Store) -> None:
    with pytest.raises(UnknownObjectError):
        await store.state.put_endpoint(RUNS)
    assert await store.all() == []
    assert store.on_disk() == []


async def test_what_is_told_besides_comes_with_the_next_commit(store: Store) -> None:
    store.events.tell(MENDED)
    assert await store.all() == []
    commits = store.database.commits
    await store.state.put_network(MADE)
    assert store.on_disk() == ["repair.mended", "network.created"]
    assert store.database.commits - commits == 1
    assert await store.told() == ["repair.mended", "network.created"]


async def test_a_restart_loses_nothing_and_numbers_go_on(store: Store) -> None:
    await a_life(store)
    before = await store.all()
    await store.restart()
    assert await store.all() == before
    store.events.tell(MENDED)
    await store.restart()
    assert await store.told(before[-1].id) == ["repair.mended"]
    assert (await store.all())[-1].id > before[-1].id


async def test_who_did_it_and_why_is_kept(store: Store) -> None:
    with because("user", by="ann as root"), because(options="ovs.icc=false"):
        await store.state.put_network(MADE)
    (event,) = await store.all()
    assert event.cause == "user"
    assert event.attributes["by"] == "ann as root"
    assert event.attributes["options"] == "ovs.icc=false"


async def test_names_are_known_afterwards_too_and_cost_no_commit(store: Store) -> None:
    await store.state.put_network(MADE)
    await store.state.put_endpoint(RUNS)
    (_, nameless) = await store.all()
    assert (nameless.network, nameless.container) == (BLUE[:12], "")
    commits = store.database.commits
    store.events.note_names({BLUE: "lab", WEB: "web"})
    assert store.database.commits == commits
    await store.state.forget_network(BLUE)
    await store.restart()
    assert {(e.network, e.container) for e in await store.all()} == {("lab", "web"), ("lab", "")}


async def test_readers_are_called_when_there_is_more(store: Store) -> None:
    seen: list[int] = []
    stop = store.events.on_event(lambda: seen.append(store.events.newest))
    await store.state.put_network(MADE)
    stop()
    await store.state.forget_network(BLUE)
    assert seen == [1]


async def test_pages_follow_each_other(store: Store) -> None:
    await a_life(store)
    found: list[Event] = []
    while page := await store.events.after(found[-1].id if found else 0, limit=3):
        found += page
    assert [f"{e.type}.{e.action}" for e in found] == LIFE


async def test_what_memory_has_no_more_comes_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY", 2)
    store = Store(tmp_path / "state.db")
    await store.start()
    try:
        await a_life(store)
        assert await store.told() == LIFE
        assert await store.events.oldest() == 1
        assert await store.told(await store.events.since(store.now)) == LIFE
        await store.restart()
        assert await store.told() == LIFE
        assert await store.told(2) == LIFE[2:]
    finally:
        await store.database.close()


async def test_since_finds_the_last_one_before(store: Store) -> None:
    await store.state.put_network(MADE)
    store.now += 60
    await store.state.forget_network(BLUE)
    assert await store.events.since(store.now - 61) == 0
    assert await store.events.since(store.now - 30) == 1
    assert await store.events.since(store.now + 1) == 2


async def test_what_is_older_than_a_week_goes_but_for_the_newest(store: Store) -> None:
    await a_life(store)
    last = store.events.newest
    store.now += module.KEPT_S + 1
    await store.events.tidy()
    assert store.on_disk() == LIFE[-1:]
    assert await store.told() == LIFE[-1:]
    await store.restart()
    store.events.tell(MENDED)
    await store.restart()
    assert (await store.all())[-1].id == last + 1


async def test_a_tidy_store_is_not_written_to(store: Store) -> None:
    await a_life(store)
    commits = store.database.commits
    await store.events.tidy()
    assert store.database.commits == commits


async def test_no_more_than_so_many_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    for _ in range(3):
        await a_life(store)
    await store.events.tidy()
    assert store.on_disk() == LIFE[-3:]


async def test_names_go_with_the_events_they_are_of(store: Store) -> None:
    await a_life(store)
    store.events.note_names({BLUE: "lab"})
    await a_life(store)
    store.now += module.KEPT_S + 1
    store.events.tell(MENDED)
    await store.state.put_network(MADE)
    await store.events.tidy()
    await store.restart()
    assert {e.network for e in await store.all()} == {"", BLUE[:12]}


async def test_how_far_readers_have_got_is_kept_without_a_commit_of_its_own(store: Store) -> None:
    commits = store.database.commits
    store.events.note_position("https://a.example/", 7)
    store.events.note_position("https://b.example/", 8)
    store.events.note_position("https://a.example/", 9)
    assert store.events.positions()["https://a.example/"] == 9
    assert store.database.commits == commits
    store.events.forget_reader("https://b.example/")
    await store.restart()
    assert dict(store.events.positions()) == {"https://a.example/": 9}
