"""Shaped links: when they come, stay and go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from netaddr import EUI

from ovsdriver.domain.records import names
from ovsdriver.errors import InvalidOptionError, UnsupportedError
from ovsdriver.words.changes import OtherOptions
from tests.builders import FIRST, RED
from tests.unit.service.conftest import Host

BOX = "/netns/one"


def link(host: Host) -> str:
    recorded = host.state.endpoint(FIRST)
    assert recorded is not None
    return names.port(recorded)


def mac(host: Host) -> EUI:
    recorded = host.state.endpoint(FIRST)
    assert recorded is not None
    return recorded.mac


@asynccontextmanager
async def following(host: Host) -> AsyncIterator[None]:
    task = asyncio.create_task(host.shaper.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until_inside(host: Host) -> None:
    async with following(host):
        for _ in range(1000):
            if host.shapes.of_inside(BOX, mac(host)):
                return
            await asyncio.sleep(0.01)
    raise AssertionError("the container's own end is not shaped")


async def test_a_rate_is_kept_by_the_link_one_way_and_by_a_meter_the_other(host: Host) -> None:
    await host.create_network(said={"ovs.rate": "10mbit+2mbit"})
    await host.run_container()
    assert host.shapes.of(link(host)).rate == 10_000_000
    port = host.switch.port(link(host))
    assert port is not None
    assert port.ofport is not None
    (meter,) = host.flows.of("br-ovsnet", port.ofport).meters
    assert (meter.rate, meter.packets) == (2000, False)


async def test_links_of_which_nothing_is_asked_are_not_touched(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    await host.reconciler.reconcile()
    assert host.shapes.calls == 0


async def test_a_containers_own_end_is_delayed_once_docker_has_moved_it(host: Host) -> None:
    await host.create_network(said={"ovs.delay": "20ms", "ovs.loss": "1%"})
    await host.run_container()
    assert (host.shapes.of(link(host)).delay_us, host.shapes.of(link(host)).loss_ppm) == (
        20_000,
        10_000,
    )
    await until_inside(host)
    assert host.shapes.of_inside(BOX, mac(host)).delay_us == 20_000


async def test_an_endpoint_has_its_own_rate_and_the_networks_burst(host: Host) -> None:
    await host.create_network(said={"ovs.rate": "10mbit", "ovs.burst": "100kb"})
    await host.run_container(said={"ovs.rate": "1mbit"})
    shape = host.shapes.of(link(host))
    assert (shape.rate, shape.burst) == (1_000_000, 102_400)


async def test_a_delay_is_changed_and_lifted_while_the_container_runs(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    await host.changes.endpoint(FIRST, OtherOptions(typed={"ovs.delay": "5ms"}))
    assert host.shapes.of(link(host)).delay_us == 5_000
    assert host.shapes.of_inside(BOX, mac(host)).delay_us == 5_000
    await host.changes.endpoint(FIRST, OtherOptions(typed={"ovs.delay": ""}))
    assert not host.shapes.of(link(host))
    assert not host.shapes.of_inside(BOX, mac(host))
    assert not any(key.startswith("shaped:") for key in host.state.notes())


async def test_what_somebody_took_away_comes_back(host: Host) -> None:
    await host.create_network(said={"ovs.rate": "10mbit"})
    await host.run_container()
    await host.reconciler.reconcile()
    host.shapes.forget()
    dry = await host.reconciler.look()
    repairs = await host.reconciler.reconcile()
    assert repairs.mended == dry.found
    assert any("shaped" in each for each in repairs.mended)
    assert host.shapes.of(link(host)).rate == 10_000_000
    assert not (await host.reconciler.reconcile()).mended


async def test_a_shape_is_kept_over_a_restart_and_goes_with_its_container(host: Host) -> None:
    await host.create_network(said={"ovs.rate": "10mbit"})
    await host.run_container()
    again = await host.restart()
    try:
        await again.reconciler.reconcile()
        assert again.shapes.of(link(again)).rate == 10_000_000
        await again.endpoints.leave(RED, FIRST)
        await again.endpoints.delete(RED, FIRST)
        assert not any(key.startswith("shaped:") for key in again.state.notes())
    finally:
        await again.stop()


async def test_a_kernel_without_netem_is_told_before_anything_is_made(host: Host) -> None:
    host.shapes.netem = False
    with pytest.raises(UnsupportedError, match="modprobe sch_netem"):
        await host.create_network(said={"ovs.delay": "20ms"})
    assert not host.state.networks()
    await host.create_network()
    with pytest.raises(UnsupportedError, match="modprobe sch_netem"):
        await host.run_container(said={"ovs.loss": "1%"})
    assert host.state.endpoint(FIRST) is None


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ({"ovs.burst": "64kb"}, "add ovs.rate"),
        ({"ovs.rate": "1mbit", "ovs.burst": "100"}, "choose more"),
        ({"ovs.delay": "1ms", "ovs.jitter": "2ms"}, "an ovs.delay of at least as much"),
    ],
)
async def test_contradictions_are_refused(host: Host, said: dict[str, str], hint: str) -> None:
    with pytest.raises(InvalidOptionError, match=hint):
        await host.create_network(said=said)
    await host.create_network()
    with pytest.raises(InvalidOptionError, match=hint):
        await host.run_container(said=said)


async def test_an_internal_port_has_no_end_to_be_shaped(host: Host) -> None:
    await host.create_network()
    with pytest.raises(UnsupportedError, match=r"use ovs\.port=veth"):
        await host.run_container(said={"ovs.rate": "1mbit", "ovs.port": "internal"})
