"""Names of containers over hosts: who says which, who gives way, and what becomes of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import LeaseKind, PoolId
from ovsdriver.adapters.store import storefile
from ovsdriver.domain.records.model import EndpointId, Mode
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.errors import UnavailableError
from ovsdriver.ports.northbound import SegmentPool, SharedLease, SharedName
from ovsdriver.service.segments.names import SegmentNames
from ovsdriver.world import Store, open_store
from tests.builders import FIRST, RED, SECOND, a_network, a_subnet, an_endpoint
from tests.fakes.engine import FakeEngine
from tests.fakes.northbound import FakeCentral, FakeNorthbound

SUBNET = "10.50.0.0/24"
NETWORK = a_network(
    segment=OvnSegment(segment="blue"),
    mode=Mode.GWBRIDGE,
    subnets=(a_subnet(SUBNET, None, "segment:blue/4/aaaa"),),
)


class Member:
    """A host of a fleet with a network on segment blue."""

    def __init__(self, central: FakeCentral, name: str, store: Store) -> None:
        self.name = name
        self.state = store.state
        self.engine = FakeEngine()
        self.northbound = FakeNorthbound(central)
        self.start()

    def start(self) -> None:
        """Begin anew, with nothing learned so far."""
        self.names = SegmentNames(
            state=self.state,
            northbound=self.northbound,
            engine=self.engine,
            listed=self.listed,
            host=lambda: self.name,
            pauses_s=(0.0, 0.0),
        )

    def listed(self, endpoint: EndpointId) -> str:
        found = self.engine._endpoints.get(endpoint)
        return found.container if found else ""

    async def run(self, endpoint: EndpointId, container: str, address: str, *aliases: str) -> None:
        """Do what Docker does for ``docker run``."""
        self.engine.add_endpoint(endpoint, RED, container)
        for each in aliases:
            self.engine.add_alias(endpoint, each)
        record = an_endpoint(endpoint, addresses=(IPNetwork(f"{address}/24"),), sandbox="/netns/1")
        await self.state.put_endpoint(record)
        await self.names.joined(NETWORK, record)

    async def end(self, endpoint: EndpointId) -> None:
        record = self.state.endpoint(endpoint)
        assert record is not None
        await self.state.put_endpoint(replace(record, sandbox=None))
        await self.names.left(record)
        await self.names.forget(record)
        await self.state.forget_endpoint(endpoint)

    def called(self, name: str) -> list[str]:
        return [str(each.addresses[0]) for each in self.northbound.called("blue", name)]


@pytest.fixture
async def members() -> AsyncIterator[list[Member]]:
    central = FakeCentral()
    async with (
        open_store(storefile.MEMORY) as one,
        open_store(storefile.MEMORY) as two,
    ):
        found = [Member(central, "host1", one), Member(central, "host2", two)]
        pool = SegmentPool(id=PoolId("segment:blue/4/aaaa"), host="host1")
        await found[0].northbound.hold("blue", IPNetwork(SUBNET), pool)
        for each in found:
            await each.state.put_network(NETWORK)
        running = [asyncio.create_task(each.names.run()) for each in found]
        yield found
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], object], what: str) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(what)


async def test_a_container_is_called_by_its_name_and_aliases_in_lower_case(
    members: list[Member],
) -> None:
    one, two = members
    await one.run(FIRST, "Web", "10.50.0.5", "WWW", "not a name")
    await until(lambda: two.called("web") == ["10.50.0.5"], "web is known")
    found = two.northbound.name(FIRST)
    assert found is not None
    assert (found.names, found.host, found.segment) == (("web", "www"), "host1", "blue")


async def test_names_go_with_their_container(members: list[Member]) -> None:
    one, two = members
    await one.run(FIRST, "web", "10.50.0.5")
    await until(lambda: two.called("web"), "web is known")
    await one.end(FIRST)
    await until(lambda: not two.northbound.names(), "web is gone")


async def test_what_ended_while_the_database_was_away_is_taken_back_when_it_is_there(
    members: list[Member],
) -> None:
    one, two = members
    await one.run(FIRST, "web", "10.50.0.5")
    await until(lambda: two.called("web"), "web is known")
    one.northbound.available = False
    await one.end(FIRST)
    await one.run(SECOND, "db", "10.50.0.6")
    await asyncio.sleep(0.05)
    assert two.called("web")
    one.northbound.available = True
    await until(lambda: not two.called("web") and two.called("db"), "host1 has caught up")


async def test_the_first_container_keeps_a_name_and_the_next_one_gets_it_after_it(
    members: list[Member], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = members
    await one.run(FIRST, "web", "10.50.0.5")
    await until(lambda: one.called("web"), "web is host1's")
    await two.run(SECOND, "web", "10.50.0.6", "other")
    await until(lambda: one.called("other"), "the alias is known")
    assert one.called("web") == ["10.50.0.5"]
    (finding,) = await two.names.find()
    assert finding.mend is None
    assert (
        "name web on segment blue is the container's with 10.50.0.5 on host host1" in finding.what
    )
    assert [each.message for each in caplog.records].count("segment.name-taken") == 1
    await one.end(FIRST)
    await until(lambda: two.called("web") == ["10.50.0.6"], "host2's has it now")
    assert not await two.names.find()


async def test_an_alias_of_several_containers_is_no_conflict(
    members: list[Member], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = members
    await one.run(FIRST, "lab-web-1", "10.50.0.5", "web")
    await until(lambda: one.called("web"), "web is host1's")
    await two.run(SECOND, "lab-web-2", "10.50.0.6", "web")
    await until(lambda: one.called("lab-web-2"), "the other one is known")
    assert one.called("web") == ["10.50.0.5"]
    assert not await two.names.find()
    assert "segment.name-taken" not in [each.message for each in caplog.records]
    await one.end(FIRST)
    await until(lambda: two.called("web") == ["10.50.0.6"], "host2's has it now")


async def test_of_two_that_took_a_name_at_once_one_gives_way(members: list[Member]) -> None:
    one, two = members
    blind = one.northbound.called
    one.northbound.called = two.northbound.called = lambda segment, name: []  # type: ignore[method-assign]
    await one.run(FIRST, "web", "10.50.0.5")
    await two.run(SECOND, "web", "10.50.0.6")
    await until(lambda: len(one.northbound.names()) == 2, "both have it")
    one.northbound.called = two.northbound.called = blind  # type: ignore[method-assign]
    one.northbound.central.said(*one.northbound.names())
    await until(lambda: len(one.called("web")) == 1, "one has it")
    assert FIRST < SECOND
    assert one.called("web") == ["10.50.0.5"]


async def test_a_name_that_cannot_be_said_does_not_keep_others_from_it(
    members: list[Member],
) -> None:
    one, two = members
    put = one.northbound.put_name

    async def refused(name: SharedName) -> None:
        if name.endpoint == FIRST:
            raise UnavailableError("segment blue is gone")
        await put(name)

    one.northbound.put_name = refused  # type: ignore[method-assign]
    await one.run(FIRST, "web", "10.50.0.5")
    await one.run(SECOND, "db", "10.50.0.6")
    await until(lambda: two.called("db"), "db is known")
    assert not two.called("web")


async def test_a_row_that_was_lost_is_put_again(members: list[Member]) -> None:
    one, two = members
    await one.run(FIRST, "web", "10.50.0.5")
    await until(lambda: two.called("web"), "web is known")
    await two.northbound.forget_name(FIRST)
    await until(lambda: two.called("web"), "web is known again")


async def test_after_a_restart_rows_stay_and_those_of_nobody_go(members: list[Member]) -> None:
    one, two = members
    await one.run(FIRST, "web", "10.50.0.5")
    await one.run(SECOND, "db", "10.50.0.6")
    await until(lambda: two.called("web") and two.called("db"), "both are known")
    await one.state.forget_endpoint(SECOND)
    one.engine.remove_endpoint(SECOND)
    one.start()
    (finding,) = await one.names.find()
    assert finding.mend is not None
    assert await finding.mend()
    assert two.called("web")
    assert not two.called("db")


async def test_a_container_that_is_renamed_is_found_by_its_new_name(members: list[Member]) -> None:
    one, two = members
    await one.run(FIRST, "web", "10.50.0.5")
    await until(lambda: two.called("web"), "web is known")
    one.engine.add_endpoint(FIRST, RED, "shop")
    one.names.read()
    await until(lambda: two.called("shop") and not two.called("web"), "it is shop now")


async def test_a_name_that_came_with_the_address_is_said_while_docker_is_silent(
    members: list[Member],
) -> None:
    one, two = members
    lease = SharedLease(
        segment="blue",
        address=IPAddress("10.50.0.5"),
        kind=LeaseKind.ENDPOINT,
        host="host1",
        serial=7,
        name="Web",
    )
    await one.northbound.take(lease)
    one.engine.end()
    await one.run(FIRST, "web", "10.50.0.5")
    await until(lambda: two.called("web"), "web is known")


async def test_a_name_that_came_with_the_address_is_said_when_another_host_gives_it_up(
    members: list[Member],
) -> None:
    one, two = members
    await two.northbound.put_name(replace(a_name(SECOND), names=("web",)))
    lease = SharedLease(
        segment="blue",
        address=IPAddress("10.50.0.5"),
        kind=LeaseKind.ENDPOINT,
        host="host1",
        serial=7,
        name="web",
    )
    await one.northbound.take(lease)
    one.engine.end()
    await one.run(FIRST, "web", "10.50.0.5")
    await two.northbound.forget_name(SECOND)
    await until(lambda: two.called("web") == ["10.50.0.5"], "host1's has it now")


async def test_while_a_host_is_cleared_of_all_its_names_none_is_said_anew(
    members: list[Member],
) -> None:
    one, two = members
    pool = SegmentPool(id=PoolId("segment:blue/4/bbbb"), host="host2")
    await two.northbound.hold("blue", IPNetwork(SUBNET), pool)
    await one.run(FIRST, "web", "10.50.0.5")
    await until(lambda: two.called("web"), "web is known")

    await one.names.clear()
    await one.northbound.forget_host("host1")
    calls = one.northbound.calls
    calls.clear()
    await two.run(SECOND, "db", "10.50.0.6")
    await until(lambda: one.called("db"), "db is known")

    assert not two.called("web")
    assert calls == []
    assert [await each.mend() for each in await one.names.find() if each.mend] == [True]
    assert two.called("web")


async def test_what_others_do_on_a_segment_is_looked_at_only_if_it_is_about_a_name_that_is_wanted(
    members: list[Member],
) -> None:
    one, two = members
    await one.run(FIRST, "web", "10.50.0.5")
    await until(lambda: two.called("web"), "web is known")
    asked: list[EndpointId] = []
    name = one.northbound.name

    def asking(endpoint: EndpointId) -> SharedName | None:
        asked.append(endpoint)
        return name(endpoint)

    one.northbound.name = asking  # type: ignore[method-assign]
    await two.run(SECOND, "db", "10.50.0.6")
    await until(lambda: one.called("db"), "db is known")
    assert not asked
    other = replace(a_name(SECOND), names=("web",))
    await two.northbound.put_name(other)
    await until(lambda: asked, "who wants web has looked")


def a_name(endpoint: EndpointId) -> SharedName:
    return SharedName(segment="blue", endpoint=endpoint, host="host2", names=("db",), addresses=())
