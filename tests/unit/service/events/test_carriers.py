"""Carriers that come and go while containers stay."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.options.port_options import Cable
from ovsdriver.service.events.carriers import YOUNG_S, Carriers
from tests.builders import FIRST, RED
from tests.unit.service.conftest import Host

LINK = names.host_link(EndpointId(FIRST))


class Heard:
    """What the kernel says, and what is told of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.busy: set[EndpointId] = set()
        self.now = 1000.0
        self.plugged = 0
        self.carriers = Carriers(
            state=host.state,
            links=host.links,
            events=host.admin.events,  # type: ignore[arg-type]
            busy=self.busy.__contains__,
            plugged=self._count,
            settle_s=0.0,
            clock=lambda: self.now,
        )

    def _count(self) -> None:
        self.plugged += 1

    def __call__(self, *running: bool | None, link: str = LINK) -> None:
        for each in running:
            self.carriers.heard(link, each)

    async def told(self) -> list[str]:
        for _ in range(20):
            await asyncio.sleep(0)
        await self.host.state.put_note("x", "y")  # what was told is written with it
        events = await self.host.admin.events.after(0, limit=1000)
        return [f"{e.type}.{e.action}" for e in events if e.type in ("link", "uplink")]


@pytest.fixture
async def heard(host: Host) -> AsyncIterator[Heard]:
    await host.create_network()
    await host.run_container()
    made = Heard(host)
    host.links.set_link(LINK, up=True, carrier=True)
    running = asyncio.create_task(made.carriers.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()


async def test_a_cable_that_is_pulled_and_put_back_is_told(heard: Heard) -> None:
    heard(True, False)
    assert await heard.told() == ["link.down"]
    heard(False, True, True)
    assert await heard.told() == ["link.down", "link.up"]


async def test_the_other_end_of_a_new_link_that_is_moved_is_none(heard: Heard) -> None:
    heard(None, True, False, True)
    assert await heard.told() == []


async def test_a_new_link_that_does_not_come_back_is_told(heard: Heard) -> None:
    heard(None, True, False)
    assert await heard.told() == []
    heard.now += YOUNG_S
    assert await heard.told() == ["link.down"]


async def test_a_short_loss_is_told_whole(heard: Heard) -> None:
    heard(True, False, True)
    assert await heard.told() == ["link.down", "link.up"]


async def test_a_container_that_stops_is_none(heard: Heard) -> None:
    heard(True)
    await heard.host.endpoints.leave(NetworkId(RED), EndpointId(FIRST))
    heard(False, None)
    assert await heard.told() == []


async def test_what_a_call_is_at_work_on_is_none(heard: Heard) -> None:
    heard.busy.add(EndpointId(FIRST))
    heard(True, False)
    assert await heard.told() == []


async def test_a_link_that_begins_without_carrier_is_none(heard: Heard) -> None:
    heard(False, True, link="ovh123456789ab")
    heard(True, False, link="veth7")
    assert await heard.told() == []


async def test_what_was_lost_while_nobody_listened_is_told_once(heard: Heard) -> None:
    heard.host.links.set_link(LINK, carrier=False)
    for _ in range(2):
        again = Heard(heard.host)
        running = asyncio.create_task(again.carriers.run())
        assert await again.told() == ["link.down"]
        running.cancel()
    heard.host.links.set_link(LINK, carrier=True)
    again = Heard(heard.host)
    running = asyncio.create_task(again.carriers.run())
    assert await again.told() == ["link.down", "link.up"]
    running.cancel()


async def test_who_plugs_a_pulled_cable_in_is_noticed_at_once(heard: Heard) -> None:
    heard(True, False, True)
    heard.now += YOUNG_S
    assert not heard.plugged
    (endpoint,) = heard.host.state.endpoints()
    pulled = replace(endpoint, port=replace(endpoint.port, cable=Cable.DOWN))
    await heard.host.state.put_endpoint(pulled)
    heard(False)
    assert not heard.plugged
    heard(True)
    assert heard.plugged == 1
