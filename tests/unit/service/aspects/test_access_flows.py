"""Flows of access rules: what containers with rules have, and what their bridge has for them."""

import asyncio

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.options.access import RuleSet
from ovsdriver.domain.records.options.flows import PortFlows
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.traffic import judging
from ovsdriver.domain.wires import desired
from ovsdriver.ports import Verdict
from ovsdriver.service.aspects.flows.flow_rules import FlowRules
from ovsdriver.words import access_words
from ovsdriver.words.changes import OtherOptions
from tests.builders import FIRST, RED, SECOND
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host

BRIDGE = "br-ovsnet"
PATIENCE_S = 20
RULES = {"ovs.deny": "to any tcp/22"}


def number_of(host: Host, endpoint: EndpointId) -> int:
    recorded = host.state.endpoint(endpoint)
    assert recorded is not None
    port = host.switch.port(names.port(recorded))
    assert port is not None
    assert port.ofport is not None
    return port.ofport


async def present(host: Host) -> dict[int, PortFlows]:
    numbers = await host.flows.differing(BRIDGE, dict)
    return {number: host.flows.of(BRIDGE, number) for number in numbers}


async def policies(host: Host) -> set[int]:
    return {number for number, flows in (await present(host)).items() if flows.rulings}


async def rested(host: Host, policies_left: int) -> None:
    """Wait until what nobody needs has gone."""
    async with asyncio.timeout(PATIENCE_S):
        while len(await policies(host)) > policies_left:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def stop(host: Host, endpoint: EndpointId) -> None:
    await host.endpoints.leave(RED, endpoint)
    await host.endpoints.delete(RED, endpoint)


async def test_the_first_rule_makes_a_bridge_judge_and_the_last_ends_it(host: Host) -> None:
    await host.create_network()
    await host.run_container(FIRST)
    before = await present(host)
    await host.run_container(SECOND, sandbox="/netns/two", said=RULES)
    found = await present(host)
    assert found[0].judging
    assert found[number_of(host, SECOND)].governed
    assert number_of(host, FIRST) not in found
    assert judging.port_number(number_of(host, FIRST)) in found
    assert len(await policies(host)) == 1
    await stop(host, SECOND)
    await rested(host, 0)
    assert await present(host) == before


async def test_what_the_last_one_had_is_there_for_the_next_one_if_that_comes_soon(
    host: Host,
) -> None:
    await host.create_network()
    await host.run_container(FIRST, said=RULES)
    await host.reconciler.reconcile()
    standing = await present(host)
    number = number_of(host, FIRST)
    await stop(host, FIRST)
    del standing[number]
    assert await present(host) == standing
    assert not any("flows" in each for each in (await host.reconciler.look()).found)
    host.flows.calls.clear()
    await host.run_container(SECOND, said=RULES)
    assert host.flows.calls == [
        f"prepare {BRIDGE}",
        f"ensure {BRIDGE} {number_of(host, SECOND)}",
    ]


async def test_nothing_rests_when_a_network_is_removed(host: Host) -> None:
    host.switch.put_bridge(foreign_bridge("br-lab", Datapath.SYSTEM))
    await host.create_network(said={"ovs.bridge": "br-lab", "ovs.vlan": "30", **RULES})
    await host.run_container(FIRST)
    await stop(host, FIRST)
    assert await host.flows.differing("br-lab", dict)
    await host.networks.delete(RED)
    assert not await host.flows.differing("br-lab", dict)


async def test_nothing_rests_when_the_process_ends(host: Host) -> None:
    await host.create_network()
    before = await present(host)
    await host.run_container(FIRST, said=RULES)
    await stop(host, FIRST)
    again = await host.restart()
    assert await present(again) == before
    await again.stop()


async def test_what_rests_is_not_counted_on_after_vswitchd_forgot_it(host: Host) -> None:
    await host.create_network()
    await host.run_container(FIRST, said=RULES)
    (policy,) = await policies(host)
    await stop(host, FIRST)
    host.flows.forget()
    await host.reconciler.reconcile()
    await host.run_container(FIRST, said=RULES)
    assert (await present(host)).keys() == {0, policy, number_of(host, FIRST)}
    assert host.flows.of(BRIDGE, 0).judging


async def test_who_has_no_rules_is_known_to_be_in_a_network_where_others_have(host: Host) -> None:
    await host.create_network()
    await host.run_container(FIRST, said=RULES)
    await host.run_container(SECOND, sandbox="/netns/two")
    place = judging.port_number(number_of(host, SECOND))
    assert place in await present(host)
    await stop(host, SECOND)
    assert not (await host.reconciler.reconcile()).failed
    assert place not in await present(host)


async def test_the_gateways_port_is_not_judged(host: Host) -> None:
    await host.create_network()
    await host.run_container(FIRST, said=RULES)
    gateway = host.switch.port(names.gateway_link(RED))
    assert gateway is not None
    assert gateway.ofport is not None
    assert judging.port_number(gateway.ofport) not in await present(host)


async def test_a_neighbour_without_rules_does_not_send_as_the_gateway(host: Host) -> None:
    await host.create_network()
    await host.run_container(FIRST, said=RULES)
    await host.run_container(SECOND, sandbox="/netns/two")
    place = (await present(host))[judging.port_number(number_of(host, SECOND))]
    refused = {each.match.eth_src for each in place.flows if not (each.passes or each.zone)}
    network = host.state.network(RED)
    assert network is not None
    own = desired.gateway(network, owner="")
    assert own is not None
    assert refused == {own.port.mac}


async def test_containers_share_a_policy_and_leave_it_when_they_get_another(host: Host) -> None:
    await host.create_network(said=RULES)
    await host.run_container(FIRST)
    await host.run_container(SECOND, sandbox="/netns/two")
    (shared,) = await policies(host)
    other = OtherOptions(typed={"ovs.deny": "to any tcp/23"})
    await host.changes.endpoint(FIRST, other)
    assert len(await policies(host)) == 2
    await host.changes.endpoint(SECOND, other)
    await rested(host, 1)
    (left,) = await policies(host)
    assert left != shared


async def test_what_vswitchd_forgot_or_somebody_changed_is_made_again(host: Host) -> None:
    await host.create_network(said=RULES)
    await host.run_container(FIRST)
    await host.reconciler.reconcile()
    right = await present(host)
    host.flows.forget()
    assert any("access rules" in each for each in (await host.reconciler.look()).found)
    assert any("access rules" in each for each in (await host.reconciler.reconcile()).mended)
    assert await present(host) == right
    (policy,) = await policies(host)
    await host.flows.ensure(BRIDGE, {policy: PortFlows()})
    await host.flows.ensure(BRIDGE, {policy + 1: right[policy]})
    mended = (await host.reconciler.reconcile()).mended
    assert any("were left" in each for each in mended)
    assert await present(host) == right


async def test_what_a_new_vswitchd_forgot_of_rules_is_made_again_before_everything_is_looked_at(
    host: Host,
) -> None:
    await host.create_network(said=RULES)
    await host.run_container(FIRST)
    rules = FlowRules(
        state=host.state,
        switch=host.switch,
        flows=host.flows,
        locks=host.locks,
        access=host.admin.access.now,
    )
    answers = asyncio.Event()
    rules.on_loss(answers.set)
    running = asyncio.ensure_future(rules.run())
    await asyncio.wait_for(answers.wait(), 20)
    await rules.follow()
    right = await present(host)
    host.flows.forget()
    assert await present(host) != right
    for _ in range(2000):
        if await present(host) == right:
            break
        await asyncio.sleep(0.01)
    assert await present(host) == right
    running.cancel()


async def test_a_process_that_was_started_anew_goes_on_with_what_is_there(host: Host) -> None:
    await host.create_network()
    await host.run_container(FIRST, said=RULES)
    again = await host.restart()
    try:
        assert not any("flows" in each for each in (await again.reconciler.reconcile()).mended)
        await again.run_container(SECOND, sandbox="/netns/two")
        assert judging.port_number(number_of(again, SECOND)) in await present(again)
    finally:
        await again.stop()


async def test_a_set_that_is_changed_holds_at_once_for_all_who_have_it(host: Host) -> None:
    await host.admin.rule_sets.put(RuleSet(name="mine", deny=access_words.parse("any tcp/22")))
    await host.create_network(said={"ovs.rules": "mine"})
    await host.run_container(FIRST)
    await host.run_container(SECOND, sandbox="/netns/two")
    (before,) = await policies(host)
    await host.admin.rule_sets.put(RuleSet(name="mine", deny=access_words.parse("any tcp/23")))
    await rested(host, 1)
    (after,) = await policies(host)
    assert after != before
    assert not any("flows" in each for each in (await host.reconciler.reconcile()).mended)


async def test_what_a_rule_has_met_is_counted_once_however_many_flows_it_takes(host: Host) -> None:
    await host.create_network(said={"ovs.deny": "to any tcp/22-25", "ovs.allow": "from any udp"})
    await host.run_container(FIRST)
    (policy,) = await policies(host)
    rulings = host.flows.of(BRIDGE, policy).rulings
    assert len([each for each in rulings if each.rule == "to any tcp/22-25"]) == 2
    host.flows.packets = dict.fromkeys(rulings, (3, 100))
    met = {each.rule: each for each in await host.admin.rule_counts()}
    assert {rule: each.packets for rule, each in met.items()} == {
        "to any tcp/22-25": 6,
        "from any udp": 3,
        "": 3,
    }
    assert (met["to any tcp/22-25"].verdict, met[""].verdict) == (Verdict.DENIED, Verdict.CLOSED)
    host.flows.available = False
    assert not any(each.packets for each in await host.admin.rule_counts())


async def test_a_network_without_rules_asks_nothing_of_a_bridge(host: Host) -> None:
    await host.create_network()
    host.flows.calls.clear()
    await host.run_container(FIRST)
    await stop(host, FIRST)
    assert host.flows.calls == []
