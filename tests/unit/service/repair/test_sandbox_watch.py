"""When sandboxes are looked into."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.service.repair.sandbox_watch import SandboxWatch
from tests.builders import BLUE, FIRST, RED, SECOND
from tests.unit.service.conftest import Host

SANDBOX = "/netns/one"


class Looks:
    """Which endpoints were looked at, by a watch whose clock is turned by hand."""

    def __init__(self, host: Host, apart_s: float = 0.5) -> None:
        self.now = 1000.0
        self.looked: list[str] = []
        note = host.replugs.note

        async def noted(endpoint: EndpointId) -> bool | None:
            self.looked.append(endpoint)
            return await note(endpoint)

        host.replugs.note = noted  # type: ignore[method-assign]
        self.watch = SandboxWatch(
            state=host.state,
            replugs=host.replugs,
            clock=lambda: self.now,
            after_s=(1.0, 10.0),
            again_s=300.0,
            apart_s=apart_s,
            gather_s=0.0,
        )
        host.plugs.on_change(self.watch.soon)

    async def at(self, now: float) -> list[str]:
        """Return who is looked at when it is ``now``."""
        self.now = 1000.0 + now
        self.looked.clear()
        await self.watch.turn()
        return sorted(self.looked)


async def test_a_sandbox_is_looked_at_after_each_call_that_changes_it(host: Host) -> None:
    looks = Looks(host)
    await host.create_network(RED)
    await host.create_network(BLUE)
    await host.run_container(FIRST, RED)
    assert await looks.at(0) == []
    assert await looks.at(1) == [FIRST]
    assert await looks.at(9) == []
    await host.run_container(SECOND, BLUE)  # connected
    assert await looks.at(10) == [FIRST, SECOND]
    assert await looks.at(19) == [FIRST, SECOND]
    assert await looks.at(200) == []
    await host.endpoints.leave(NetworkId(BLUE), EndpointId(SECOND))
    assert await looks.at(201) == [FIRST]
    assert host.state.sandbox_link(EndpointId(FIRST)) is not None


async def test_first_looks_wait_while_other_containers_come_and_go(host: Host) -> None:
    looks = Looks(host)
    await host.create_network()
    await host.run_container(FIRST)
    assert await looks.at(0.5) == []
    await host.run_container(SECOND, sandbox="/netns/two")
    assert await looks.at(1.4) == []
    assert await looks.at(1.5) == [FIRST, SECOND]
    looks.watch.soon("/netns/two")
    looks.now += 9.0
    looks.watch.soon(SANDBOX)
    assert await looks.at(10) == [FIRST], "its last look does not wait"
    assert await looks.at(11.5) == [FIRST, SECOND]


async def test_what_nobody_tells_of_is_looked_at_from_time_to_time(host: Host) -> None:
    looks = Looks(host)
    await host.create_network()
    await host.run_container()
    assert await looks.at(10) == [FIRST]
    assert await looks.at(309) == []
    assert await looks.at(310) == [], "all are walked over every 30 s"
    assert await looks.at(339) == [FIRST]
    assert await looks.at(370) == []


async def test_of_many_that_nobody_tells_of_a_few_are_looked_at_who_waited_longest_first(
    host: Host,
) -> None:
    looks = Looks(host, apart_s=30.0)
    await host.create_network()
    every = [f"{number:02x}" * 32 for number in range(1, 13)]
    for number, each in enumerate(every):
        await host.run_container(each, sandbox=f"/netns/{each[:2]}")
        assert await looks.at(20 * number + 10) == [each]
    assert await looks.at(900) == every[:8]
    assert await looks.at(930) == every[8:]
    assert await looks.at(960) == []


async def test_a_process_looks_first_at_what_its_forerunner_did_not_know(host: Host) -> None:
    await host.create_network()
    await host.run_container(FIRST)
    await host.watch.look()
    await host.run_container(SECOND, sandbox="/netns/two")
    again = await host.restart()
    looks = Looks(again)
    assert await looks.at(0) == [SECOND]
    assert FIRST in await looks.at(300)
    await again.stop()


async def test_what_cannot_be_looked_at_does_not_keep_the_rest_from_it(host: Host) -> None:
    looks = Looks(host)
    await host.create_network()
    await host.run_container()
    host.links.broken = "busy"
    assert await looks.at(1) == [FIRST]
    host.links.broken = None
    assert host.state.sandbox_link(EndpointId(FIRST)) is None
    assert await looks.at(10) == [FIRST]
    assert host.state.sandbox_link(EndpointId(FIRST)) is not None


@asynccontextmanager
async def running(watch: SandboxWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_watch_looks_by_itself(host: Host) -> None:
    watch = SandboxWatch(
        state=host.state, replugs=host.replugs, after_s=(0.02,), again_s=60, gather_s=0.0
    )
    host.plugs.on_change(watch.soon)
    await host.create_network()
    async with running(watch):
        await host.run_container()
        await until(lambda: host.state.sandbox_link(EndpointId(FIRST)))
