"""Open vSwitch and Docker come and go."""

import asyncio
from collections.abc import Callable

from ovsdriver.service.events.connections import Connections
from ovsdriver.service.forgotten.witnesses import Witness
from tests.fakes.journal import FakeJournal
from tests.unit.service.conftest import Host


def test_open_vswitch_is_told_of_both_ways(host: Host) -> None:
    journal = FakeJournal()
    host.switch.connection_callbacks.clear()
    Connections(switch=host.switch, witness=host.witness, journal=journal)
    for connected in (True, False):
        for callback in host.switch.connection_callbacks:
            callback(connected)
    assert [f"{e.type}.{e.action}" for e in journal.told] == ["switch.connected", "switch.lost"]


async def test_docker_is_told_of_both_ways(host: Host) -> None:
    journal = FakeJournal()
    witness = Witness(host.engine)
    Connections(switch=host.switch, witness=witness, journal=journal)
    running = asyncio.create_task(witness.run())
    await until(lambda: len(journal.told) == 1)
    host.engine.end()
    await until(lambda: len(journal.told) == 2)
    host.engine.begin()
    await until(lambda: len(journal.told) == 3)
    running.cancel()
    assert [f"{e.type}.{e.action}" for e in journal.told] == [
        "docker.answered",
        "docker.lost",
        "docker.answered",
    ]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
