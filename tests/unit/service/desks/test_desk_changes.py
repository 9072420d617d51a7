"""``ovsnet set`` by the names that Docker tells."""

import asyncio
from dataclasses import replace

import pytest

from ovsdriver.admin.asks import SetOptions
from ovsdriver.admin.networks.desk import NetworkDesk
from ovsdriver.admin.views import AffectedContainer, Changed, ChangedOption
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.errors import UnknownObjectError
from tests.builders import FIRST, RED
from tests.unit.service.conftest import Host

OFF = SetOptions(target="lab", options={"ovs.icc": "false"})


@pytest.fixture
async def desk(host: Host) -> NetworkDesk:
    await host.create_network(said={"ovs.vlan": "10"})
    await host.run_container(FIRST)
    host.engine.add_network(RED, "lab")
    host.engine.add_endpoint(EndpointId(FIRST), RED, "web")
    return NetworkDesk(
        host.admin, owner="ovsnet", switch=host.switch, engine=host.engine, clock=lambda: 0.0
    )


async def test_a_network_is_changed_by_its_name_and_says_whom_it_is_about(
    desk: NetworkDesk,
) -> None:
    assert await desk.change(OFF) == Changed(
        kind="network",
        id=RED,
        name="lab",
        network=RED,
        options=(ChangedOption(option="ovs.icc", old="true", new="false"),),
        containers=(AffectedContainer(endpoint=FIRST, container="web"),),
        pending=(),
    )


async def test_a_container_is_changed_by_its_name(desk: NetworkDesk) -> None:
    done = await desk.change(
        SetOptions(target="lab/web", options={"ovs.vlan": "20", "ovs.protected": ""})
    )
    assert (done.kind, done.id, done.name, done.network) == ("endpoint", FIRST, "web", RED)
    assert done.options == (
        ChangedOption(option="ovs.vlan", old="10", new="20"),
        ChangedOption(option="ovs.protected", old="false", new="false"),
    )


async def test_without_docker_ids_do(host: Host, desk: NetworkDesk) -> None:
    host.engine.up = False
    with pytest.raises(UnknownObjectError, match="Docker does not answer"):
        await desk.change(OFF)
    done = await desk.change(replace(OFF, target=RED[:12]))
    assert (done.name, done.containers[0].container) == ("", "")


async def test_changes_wait_for_each_other_and_for_a_purge(host: Host, desk: NetworkDesk) -> None:
    async with host.changes.paused():
        waiting = [
            asyncio.create_task(desk.change(SetOptions(target="lab", options={"ovs.vlan": tag})))
            for tag in ("20", "30")
        ]
        for _ in range(50):
            await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
    done = await asyncio.gather(*waiting)
    assert [(each.options[0].old, each.options[0].new) for each in done] == [
        ("10", "20"),
        ("20", "30"),
    ]
