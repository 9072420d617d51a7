"""Rules at gateways follow the records."""

import asyncio

import pytest
from netaddr import IPAddress

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.tracing.name_servers import Server, Servers
from ovsdriver.errors import UnavailableError
from ovsdriver.service.access.asked_past import AskedPast
from ovsdriver.service.access.names import AccessNames
from ovsdriver.service.access.rules import AccessRules
from ovsdriver.words.changes import OtherOptions
from tests.builders import FIRST, RED, SECOND
from tests.unit.service.conftest import Host

WEB = {"ovs.allow": "10.9.0.0/16 tcp/80"}
PATIENCE_S = 10


def kept(host: Host) -> dict[str, list[str]]:
    """Return what each address may reach, as the rules are kept."""
    plan = host.firewall.access.plan
    policies = {each.key: each for each in plan.policies}
    return {
        str(address): [each.rule for each in policies[member.policy].to.allow]
        for member in plan.members
        for address in member.addresses
    }


async def change(host: Host, **said: str) -> None:
    wish = OtherOptions(typed={f"ovs.{key}": value for key, value in said.items()})
    await host.changes.endpoint(EndpointId(FIRST), wish)


async def test_rules_are_kept_before_a_container_is_plugged_in_until_it_is_gone(host: Host) -> None:
    await host.create_network()
    address = await host.create_endpoint(said=WEB)
    async with asyncio.timeout(PATIENCE_S):
        while not kept(host):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert kept(host) == {str(address): ["to 10.9.0.0/16 tcp/80"]}
    await host.endpoints.join(NetworkId(RED), EndpointId(FIRST), "/netns/one")
    await host.endpoints.leave(NetworkId(RED), EndpointId(FIRST))
    await host.endpoints.delete(NetworkId(RED), EndpointId(FIRST))
    assert kept(host) == {}


async def test_a_container_whose_rules_cannot_be_kept_is_not_plugged_in(host: Host) -> None:
    await host.create_network()
    host.firewall.access.available = False
    await host.create_endpoint(said=WEB)
    with pytest.raises(UnavailableError):
        await host.endpoints.join(NetworkId(RED), EndpointId(FIRST), "/netns/one")
    recorded = host.state.endpoint(EndpointId(FIRST))
    assert recorded is not None
    assert recorded.sandbox is None
    assert host.switch.port(names.port(recorded)) is None


async def test_rules_of_a_network_are_those_of_its_containers(host: Host) -> None:
    await host.create_network(said=WEB)
    one, two = await host.run_container(), await host.run_container(SECOND, sandbox="/netns/two")
    assert kept(host).keys() == {str(one), str(two)}
    assert len(host.firewall.access.plan.policies) == 1


async def test_rules_are_changed_while_a_container_runs(host: Host) -> None:
    await host.create_network()
    address = await host.run_container(said=WEB)
    await change(host, allow="10.9.0.0/16 tcp/443")
    assert kept(host) == {str(address): ["to 10.9.0.0/16 tcp/443"]}
    await change(host, allow="")
    assert kept(host) == {}


async def test_a_container_without_rules_asks_nothing_of_anybody(host: Host) -> None:
    await host.create_network()
    await host.run_container(said=WEB)
    before = host.firewall.access.asked
    await host.run_container(SECOND, sandbox="/netns/two")
    await host.endpoints.leave(NetworkId(RED), EndpointId(SECOND))
    await host.endpoints.delete(NetworkId(RED), EndpointId(SECOND))
    assert host.firewall.access.asked == before


async def test_rules_about_a_container_follow_its_name_and_its_end(host: Host) -> None:
    await host.create_network()
    address = await host.run_container(said={"ovs.allow": "container:db"})
    assert kept(host) == {str(address): []}
    other = await host.run_container(SECOND, sandbox="/netns/two")
    host.engine.add_endpoint(EndpointId(SECOND), NetworkId(RED), "db", str(other))
    firewall, servers = host.firewall.access, host.world.gateway_names
    rules = AccessRules(
        plans=host.admin.access,
        firewall=firewall,
        names=AccessNames(firewall=firewall, servers=servers, links=host.links),
        asked_past=AskedPast(state=host.state, engine=host.engine, listed=host.witness.container),
    )
    await rules.apply()
    host.admin.called.on_names(rules.renamed)
    following = asyncio.create_task(rules.run())
    await host.witness.read()
    async with asyncio.timeout(PATIENCE_S):
        while not kept(host)[str(address)]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    following.cancel()
    await host.reconciler.reconcile()
    await host.endpoints.leave(NetworkId(RED), EndpointId(SECOND))
    await host.endpoints.delete(NetworkId(RED), EndpointId(SECOND))
    assert kept(host) == {str(address): []}


async def test_a_named_set_is_followed(host: Host) -> None:
    await host.create_network()
    address = await host.run_container(said={"ovs.rules": "agent"})
    assert kept(host) == {str(address): ["to example.com tcp/443"]}


async def test_what_somebody_flushed_is_kept_again(host: Host) -> None:
    await host.create_network()
    address = await host.run_container(said=WEB)
    host.firewall.access.lose()
    looked = await host.reconciler.look()
    assert [each for each in looked.found if each.startswith("access rules")]
    assert kept(host) == {}
    repaired = await host.reconciler.reconcile()
    assert "access rules: ovsnet's table was not as it should be" in repaired.mended
    assert kept(host).keys() == {str(address)}
    assert not [each for each in (await host.reconciler.reconcile()).mended if "rules" in each]


async def test_the_next_process_finds_them_kept(host: Host) -> None:
    await host.create_network()
    await host.run_container(said=WEB)
    again = await host.restart()
    applied = len(again.firewall.access.applied)
    repaired = await again.reconciler.reconcile()
    assert not [each for each in repaired.mended if "rules" in each]
    assert len(again.firewall.access.applied) == applied
    await again.stop()


async def test_a_purge_leaves_no_rules(host: Host) -> None:
    await host.create_network()
    await host.run_container(said=WEB)
    await host.endpoints.leave(NetworkId(RED), EndpointId(FIRST))
    await host.purge.run(switch_wait_s=1.0)
    assert kept(host) == {}


async def test_names_are_answered_at_the_gateway_and_whom_docker_asks_for_is_told(
    host: Host,
) -> None:
    await host.create_network()
    address = await host.run_container(said={"ovs.allow": "example.com"})
    servers = host.world.gateway_names()
    assert list(servers.running()) == [host.firewall.access.plan.members[0].gateway]
    assert host.firewall.access.plan.names_port
    host.engine.add_endpoint(EndpointId(FIRST), NetworkId(RED), "agent", str(address))
    await host.witness.read()
    server = Server(address=IPAddress("127.0.0.53"), by_host=True)
    host.engine.asking["agent"] = Servers(asked=(IPAddress("127.0.0.11"),), forwarded=(server,))
    repaired = await host.reconciler.reconcile()
    assert [each for each in repaired.beyond if each.startswith("container agent: Docker asks")]
    assert not repaired.mended
    await change(host, allow="")
    assert not servers.running()
