"""Which daemon a network is of is noted between two readings of the collector."""

import asyncio
from contextlib import suppress
from typing import NoReturn

import pytest

from ovsdriver.errors import UnavailableError
from ovsdriver.service.forgotten.witnesses import Origins
from tests.builders import BLUE, FIRST, RED
from tests.unit.service.conftest import Host


def origins(host: Host) -> Origins:
    return Origins(
        engine=host.engine,
        witness=host.witness,
        state=host.state,
        networks=host.networks,
        soon_s=0.0,
    )


def engine_of_red(host: Host) -> str:
    network = host.state.network(RED)
    assert network is not None
    return network.engine


async def until_noted(host: Host) -> None:
    async with asyncio.timeout(30):
        while not engine_of_red(host):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


async def test_a_network_gets_its_daemon_soon_after_it_was_made(host: Host) -> None:
    running = asyncio.create_task(origins(host).run())
    host.engine.add_network(RED, "red")
    await host.create_network()
    await until_noted(host)
    assert engine_of_red(host) == host.engine.id
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_without_docker_it_is_tried_again_with_the_next_network(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def away() -> NoReturn:
        asked.set()
        raise UnavailableError("Docker does not answer")

    running = asyncio.create_task(origins(host).run())
    host.engine.add_network(RED, "red")
    with monkeypatch.context() as patch:
        patch.setattr(host.engine, "list_networks", away)
        await host.create_network()
        async with asyncio.timeout(30):
            await asked.wait()
    assert engine_of_red(host) == ""
    await host.create_network(BLUE)
    await until_noted(host)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_names_are_known_soon_after_a_container_was_put_on_a_network(host: Host) -> None:
    asking = origins(host)
    host.plugs.on_change(asking.poke)
    running = asyncio.create_task(asking.run())
    await host.create_network()
    host.engine.add_network(RED, "red")
    host.engine.add_endpoint(FIRST, RED, "ann", "10.1.0.2/24")
    await host.run_container()
    async with asyncio.timeout(30):
        while not host.witness.lists(FIRST):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_what_docker_does_not_list_yet_or_has_a_daemon_is_left(host: Host) -> None:
    noting = origins(host)
    await host.create_network()
    await noting.note()
    assert engine_of_red(host) == ""
    host.engine.add_network(RED, "red")
    await noting.note()
    host.engine.end()  # which is not asked when there is nothing to ask
    await noting.note()
    assert engine_of_red(host) == host.engine.id
