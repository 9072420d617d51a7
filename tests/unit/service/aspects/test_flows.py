"""Flows of ports and of bridges: when they come, stay and go."""

import asyncio

import pytest

from ovsdriver.domain.access.policy import AccessPlan
from ovsdriver.domain.records import names
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.traffic import tagging
from ovsdriver.domain.wires.observed import ObservedBridge
from ovsdriver.errors import InvalidOptionError, UnsupportedError
from ovsdriver.service.aspects.flows.flow_rules import FlowRules
from ovsdriver.words.changes import OtherOptions
from tests.builders import FIRST, RED
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host

ALL_PORTS = 0


def adopted(host: Host) -> None:
    host.switch.put_bridge(foreign_bridge("br-lab", Datapath.SYSTEM))


def number_of(host: Host, endpoint: str = FIRST) -> int:
    recorded = host.state.endpoint(endpoint)  # type: ignore[arg-type]
    assert recorded is not None
    port = host.switch.port(names.port(recorded))
    assert port is not None
    assert port.ofport is not None
    return port.ofport


async def stop(host: Host) -> None:
    await host.endpoints.leave(RED, FIRST)
    await host.endpoints.delete(RED, FIRST)


async def guarded(host: Host) -> int:
    await host.create_network(said={"ovs.guard": "true"})
    await host.run_container()
    return number_of(host)


async def test_a_guarded_port_has_flows_while_it_is_plugged_in(host: Host) -> None:
    number = await guarded(host)
    assert host.flows.of("br-ovsnet", number).flows
    await stop(host)
    assert not host.flows.of("br-ovsnet", number)


async def test_no_bridge_is_spoken_to_for_ports_that_ask_for_nothing(host: Host) -> None:
    await host.create_network()
    host.flows.available = False
    host.flows.calls.clear()
    await host.run_container()
    await stop(host)
    assert host.flows.calls == []


async def test_a_bridge_of_ours_has_its_flows_before_it_has_ports(host: Host) -> None:
    await host.create_network()
    assert host.flows.of("br-ovsnet", ALL_PORTS).flows
    host.flows.forget()
    dry = await host.reconciler.look()
    repairs = await host.reconciler.reconcile()
    assert repairs.mended == dry.found
    assert any("VLAN tags" in each for each in repairs.mended)
    assert host.flows.of("br-ovsnet", ALL_PORTS).flows


async def test_a_controllers_bridge_has_no_flows_of_ours_about_tags(host: Host) -> None:
    await host.create_network()
    await host.changes.network(RED, OtherOptions(typed={"ovs.controller": "tcp:192.0.2.9:6653"}))
    assert not host.flows.of("br-ovsnet", ALL_PORTS)
    await host.run_container(said={"ovs.trunks": "7"})
    assert not await host.flows.differing("br-ovsnet", dict)


async def test_ports_on_an_adopted_bridge_have_flows_about_tags_while_they_are_there(
    host: Host,
) -> None:
    adopted(host)
    await host.create_network(said={"ovs.bridge": "br-lab", "ovs.vlan": "30"})
    await host.run_container()
    number = number_of(host)
    assert host.flows.of("br-lab", number).flows == tagging.untagged(two_tags=False)
    assert set(await host.flows.differing("br-lab", dict)) == {number}
    await stop(host)
    assert not await host.flows.differing("br-lab", dict)


async def test_a_bridge_that_does_not_speak_our_openflow_is_used_and_named(host: Host) -> None:
    adopted(host)
    await host.create_network(said={"ovs.bridge": "br-lab", "ovs.vlan": "30"})
    host.flows.speaks = False
    await host.run_container()
    assert any("br-lab" in each for each in (await host.reconciler.reconcile()).failed)


async def test_a_container_may_be_let_off_and_another_one_held(host: Host) -> None:
    await host.create_network(said={"ovs.guard": "true"})
    await host.run_container(said={"ovs.guard": "false"})
    assert not host.flows.of("br-ovsnet", number_of(host))


async def test_a_vswitchd_that_forgot_the_flows_gets_them_again(host: Host) -> None:
    await guarded(host)
    await host.reconciler.reconcile()  # the first one sets the containers' offload right
    host.flows.forget()
    dry = await host.reconciler.look()
    repairs = await host.reconciler.reconcile()
    assert any("flows" in each for each in repairs.mended)
    assert repairs.mended == dry.found
    assert host.flows.of("br-ovsnet", number_of(host)).flows
    assert not (await host.reconciler.reconcile()).mended


async def test_flows_that_a_killed_process_left_are_removed(host: Host) -> None:
    number = await guarded(host)
    left = host.flows.of("br-ovsnet", number)
    await stop(host)
    await host.flows.ensure("br-ovsnet", {number: left})
    again = await host.restart()
    try:
        dry = await again.reconciler.look()
        assert again.flows.of("br-ovsnet", number)
        repairs = await again.reconciler.reconcile()
        assert any(f"port {number}" in each for each in repairs.mended)
        assert repairs.mended == dry.found
        assert not again.flows.of("br-ovsnet", number)
    finally:
        await again.stop()


async def test_a_guard_is_lifted_by_a_process_that_did_not_make_it(host: Host) -> None:
    await guarded(host)
    again = await host.restart()
    try:
        await again.reconciler.reconcile()
        await again.changes.network(RED, OtherOptions(typed={"ovs.guard": "false"}))
        assert set(await again.flows.differing("br-ovsnet", dict)) == {ALL_PORTS}
    finally:
        await again.stop()


async def test_a_port_that_cannot_be_guarded_is_not_plugged_in(host: Host) -> None:
    await host.create_network(said={"ovs.guard": "true"})
    host.flows.available = False
    with pytest.raises(Exception, match="does not answer"):
        await host.run_container()
    host.flows.available = True
    recorded = host.state.endpoint(FIRST)
    assert recorded is not None
    assert recorded.sandbox is None
    assert host.switch.port(names.port(recorded)) is None


async def test_a_bridge_with_a_controller_is_refused(host: Host) -> None:
    host.switch.put_bridge(
        ObservedBridge(name="br-lab", datapath=Datapath.NETDEV, owned=False, controllers=1)
    )
    with pytest.raises(UnsupportedError, match="has a controller"):
        await host.create_network(
            said={"ovs.guard": "true", "ovs.bridge": "br-lab", "ovs.vlan": "30"}
        )


async def test_a_single_container_is_not_guarded_where_a_controller_is(host: Host) -> None:
    host.switch.put_bridge(
        ObservedBridge(name="br-lab", datapath=Datapath.NETDEV, owned=False, controllers=1)
    )
    await host.create_network(said={"ovs.bridge": "br-lab", "ovs.vlan": "30"})
    with pytest.raises(UnsupportedError, match="has a controller"):
        await host.run_container(said={"ovs.guard": "true"})


async def test_a_guard_is_switched_on_and_off_while_the_container_runs(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    await host.changes.network(RED, OtherOptions(typed={"ovs.guard": "true"}))
    guarded = number_of(host)
    assert host.flows.of("br-ovsnet", guarded).flows
    await host.changes.endpoint(FIRST, OtherOptions(typed={"ovs.guard": "false"}))
    assert not host.flows.of("br-ovsnet", guarded)
    assert not host.flows.of("br-ovsnet", number_of(host))


async def test_a_trunk_cannot_be_guarded(host: Host) -> None:
    await host.create_network(said={"ovs.guard": "true"})
    with pytest.raises(InvalidOptionError, match=r"ovs\.guard=false for this container"):
        await host.run_container(said={"ovs.trunks": "10"})


async def test_a_purge_takes_the_flows_away_from_a_bridge_that_stays(host: Host) -> None:
    adopted(host)
    await host.create_network(said={"ovs.bridge": "br-lab", "ovs.vlan": "30", "ovs.guard": "true"})
    await host.run_container()
    number = number_of(host)
    assert host.flows.of("br-lab", number)
    await host.purge.run(switch_wait_s=1)
    assert host.switch.bridge("br-lab")
    assert not host.flows.of("br-lab", number)
    assert RED not in {each.id for each in host.state.networks()}


async def test_a_vswitchd_that_was_started_anew_is_noticed(host: Host) -> None:
    await host.create_network()
    answers = asyncio.Event()
    rules = FlowRules(
        state=host.state,
        switch=host.switch,
        flows=host.flows,
        locks=host.locks,
        access=AccessPlan,
    )
    rules.on_loss(answers.set)
    running = asyncio.ensure_future(rules.run())
    await asyncio.wait_for(answers.wait(), 20)
    answers.clear()
    host.flows.forget()
    await asyncio.wait_for(answers.wait(), 20)
    running.cancel()
