"""Networks of ours that Docker has no more: what is removed of them, and above all what is not."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ipam import AddressRequest
from ovsdriver.domain.records.model import NetworkId
from ovsdriver.errors import UnavailableError
from ovsdriver.service.forgotten.lost_networks import LostNetworks
from tests.builders import BLUE, FIRST, RED
from tests.unit.service.conftest import Host
from tests.unit.service.forgotten.watch import Minutes


class Watch(Minutes):
    """For networks of ours."""

    def parts(self) -> Mapping[str, Any]:
        host = self.host
        networks = LostNetworks(state=host.state, networks=host.networks, clock=lambda: self.now)
        return {"lost_networks": networks}


@pytest.fixture
async def watch(host: Host) -> Watch:
    await host.create_network()
    return Watch(host)


async def test_a_network_that_docker_has_no_more_goes_with_its_pools_after_ten_minutes(
    watch: Watch, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.engine.add_network(RED, "red")
    await watch.look(20)
    host.engine.remove_network(RED)
    await watch.look(10)
    assert host.state.network(RED) is not None
    caplog.set_level(logging.WARNING)
    await watch.look()
    assert host.state.networks() == ()
    assert host.ipam.pools() == ()
    assert host.switch.bridges() == {}
    (line,) = [each for each in caplog.records if each.message == "network.collected"]
    assert (line.network, line.subnets) == (RED, "10.1.0.0/24")
    assert "Docker does not list it and nothing is attached to it" in line.why


async def test_a_network_that_no_daemon_ever_listed_goes_too(watch: Watch, host: Host) -> None:
    await watch.look(10)
    assert host.state.network(RED) is not None
    await watch.look()
    assert host.state.networks() == ()


async def test_a_network_that_was_used_stays_if_no_daemon_was_seen_to_have_it(
    watch: Watch, host: Host
) -> None:
    await host.run_container()
    await host.endpoints.leave(RED, FIRST)
    await host.endpoints.delete(RED, FIRST)
    await watch.look(20)
    assert host.state.network(RED) is not None
    assert watch.collector.doubted() == ()


async def test_what_is_in_doubt_is_told(watch: Watch) -> None:
    await watch.look()
    assert watch.collector.doubted() == ("network a1a1a1a1a1a1, without endpoints",)


async def test_what_is_gone_is_not_told_as_what_will_be_removed(watch: Watch, host: Host) -> None:
    await watch.look()
    await host.networks.delete(RED)
    assert watch.collector.doubted() == ()


async def test_readings_that_follow_each_other_at_once_prove_nothing(
    watch: Watch, host: Host
) -> None:
    await watch.collector.collect()
    watch.now += 3600.0
    for _ in range(5):
        await watch.collector.collect()
    assert host.state.network(RED) is not None
    watch.now += 60.0
    await watch.collector.collect()
    assert host.state.networks() == ()


async def test_a_network_that_docker_lists_again_begins_anew(watch: Watch, host: Host) -> None:
    await watch.look(9)
    host.engine.add_network(RED, "red")
    await watch.look()
    host.engine.remove_network(RED)
    await watch.look(10)
    assert host.state.network(RED) is not None


async def test_a_network_with_an_endpoint_stays(watch: Watch, host: Host) -> None:
    await host.run_container()
    await watch.look(30)
    assert host.state.network(RED) is not None
    assert host.state.endpoint(FIRST) is not None


async def test_what_is_attached_at_the_last_moment_keeps_the_network(
    watch: Watch, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.create_network(BLUE)
    await watch.look(10)
    delete, order = host.networks.delete, []

    async def slow(network: NetworkId) -> bool:
        order.append(network)
        for each in {RED, BLUE} - {network}:
            await host.run_container(FIRST, each)
        return await delete(network)

    monkeypatch.setattr(host.networks, "delete", slow)
    await watch.look(3)
    assert len(order) == 1
    assert [each.id for each in host.state.networks()] == [*({RED, BLUE} - set(order))]


async def test_only_the_daemon_that_a_network_is_of_can_say_that_it_is_gone(
    watch: Watch, host: Host
) -> None:
    host.engine.add_network(RED, "red")
    await watch.look()
    host.engine.remove_network(RED)
    host.engine.id = "ANOTHER"
    await watch.look(30)
    assert host.state.network(RED) is not None
    host.engine.id = "ENGINE"
    await watch.look(10)
    assert host.state.network(RED) is not None, "it begins anew"
    await watch.look()
    assert host.state.networks() == ()


async def test_nothing_is_removed_while_docker_does_not_answer(watch: Watch, host: Host) -> None:
    await watch.look(3)
    host.engine.end()
    watch.now += 3600.0
    with pytest.raises(UnavailableError):
        await watch.look()
    assert host.state.network(RED) is not None


@pytest.mark.parametrize("state", ["made", "ended"])
async def test_a_network_on_its_way_is_the_reconcilers(
    watch: Watch, host: Host, state: str
) -> None:
    network = host.state.network(RED)
    assert network is not None
    half = replace(network, made=False) if state == "made" else replace(network, ended=True)
    await host.state.put_network(half)
    await watch.look(30)
    assert host.state.network(RED) == half


async def test_networks_of_swarm_are_left_to_people(host: Host) -> None:
    """A node lists them only while it has tasks on them."""
    swarms = NetworkId("x5kd0f0mfwvsivlzmsmo8y4cs")
    await host.create_network(swarms)
    await Watch(host).look(30)
    assert host.state.network(swarms) is not None


async def test_addresses_that_are_held_of_its_pool_do_not_keep_it(watch: Watch, host: Host) -> None:
    """Nobody can use them: Docker has no network to which they belong."""
    (pool,) = host.ipam.pools()
    await host.ipam.request_address(AddressRequest(pool=pool.id))
    await watch.look(20)
    assert host.ipam.pools() == ()
