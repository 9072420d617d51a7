"""What is begun at CreateEndpoint, so that Join finds it done."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ovsdriver.domain.records import names
from ovsdriver.domain.wires.plumbing import Port
from ovsdriver.errors import UnavailableError
from ovsdriver.words.changes import OtherOptions
from tests.builders import BLUE, FIRST, RED
from tests.unit.service.conftest import Host

HOST = names.host_link(FIRST)
CONTAINER = names.container_link(FIRST)
SANDBOX = "/netns/one"


async def plugged(host: Host) -> bool:
    """Let what was begun go on to its end, and tell what came of it."""
    for _ in range(20):
        await asyncio.sleep(0)
    pair = {HOST, CONTAINER} & (await host.links.links()).keys()
    assert len(pair) != 1
    return bool(pair) and host.switch.port(HOST) is not None


async def test_pair_and_port_are_there_before_join_asks_for_them(host: Host) -> None:
    await host.create_network()
    await host.create_endpoint()
    assert await plugged(host)
    calls = list(host.switch.calls)
    assert (await host.endpoints.join(RED, FIRST, SANDBOX)).source == CONTAINER
    assert host.switch.calls == calls


async def test_join_waits_for_what_was_begun(host: Host) -> None:
    await host.create_network()
    await host.create_endpoint()
    await host.endpoints.join(RED, FIRST, SANDBOX)
    assert await plugged(host)
    assert host.switch.calls.count(f"ensure_port {HOST}") == 1


async def test_an_endpoint_that_is_never_joined_leaves_nothing(host: Host) -> None:
    await host.create_network()
    for after in (0, 1, 2, 3, 50):
        await host.create_endpoint()
        for _ in range(after):
            await asyncio.sleep(0)
        await host.endpoints.delete(RED, FIRST)
        assert not await plugged(host)
        assert host.switch.port(HOST) is None


async def test_a_network_that_is_removed_under_an_endpoint_leaves_nothing_of_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed, ensure_port = asyncio.Event(), host.switch.ensure_port

    async def late(port: Port) -> None:
        await removed.wait()
        await ensure_port(port)

    await host.create_network(BLUE)  # so the bridge stays
    await host.create_network()
    monkeypatch.setattr(host.switch, "ensure_port", late)
    await host.create_endpoint()
    assert not await plugged(host)
    await host.networks.delete(RED)
    removed.set()
    for _ in range(500):
        await asyncio.sleep(0)
    assert host.switch.port(HOST) is None
    assert HOST not in await host.links.links()


@pytest.mark.parametrize(("part", "method"), [("links", "ensure_veth"), ("switch", "ensure_port")])
async def test_what_had_failed_before_is_tried_again_by_join(
    host: Host, failing: Callable[[Any, str], None], part: str, method: str
) -> None:
    await host.create_network()
    failing(getattr(host, part), method)
    await host.create_endpoint()
    assert not await plugged(host)
    await host.endpoints.join(RED, FIRST, SANDBOX)
    assert await plugged(host)


async def test_nothing_is_begun_while_open_vswitch_is_away(host: Host) -> None:
    await host.create_network()
    host.switch.available = False
    await host.create_endpoint()
    assert not await plugged(host)
    with pytest.raises(UnavailableError):
        await host.endpoints.join(RED, FIRST, SANDBOX)
    host.switch.available = True
    await host.endpoints.join(RED, FIRST, SANDBOX)
    assert await plugged(host)


async def test_a_port_that_was_removed_meanwhile_is_made_again(host: Host) -> None:
    await host.create_network()
    await host.create_endpoint()
    assert await plugged(host)
    host.switch.drop_port(HOST)
    await host.endpoints.join(RED, FIRST, SANDBOX)
    assert await plugged(host)


async def test_join_follows_a_network_that_was_changed_meanwhile(host: Host) -> None:
    await host.create_network()
    await host.create_endpoint()
    assert await plugged(host)
    await host.changes.network(RED, OtherOptions(typed={"ovs.icc": "false"}))  # type: ignore[arg-type]
    await host.endpoints.join(RED, FIRST, SANDBOX)
    port = host.switch.port(HOST)
    assert port is not None
    assert port.protected


async def test_the_reconciler_leaves_alone_what_waits_for_its_join(host: Host) -> None:
    await host.create_network()
    await host.create_endpoint()
    assert await plugged(host)
    found = await host.reconciler.reconcile()
    assert (found.mended, found.failed, found.beyond) == ((), (), ())
    assert await plugged(host)


async def test_after_a_restart_nobody_waits_for_it(host: Host) -> None:
    await host.create_network()
    await host.create_endpoint()
    assert await plugged(host)
    again = await host.restart()
    try:
        await again.reconciler.reconcile()
        assert again.switch.port(HOST) is None
        assert (await again.endpoints.join(RED, FIRST, SANDBOX)).source == CONTAINER
        assert again.switch.port(HOST) is not None
    finally:
        await again.stop()
