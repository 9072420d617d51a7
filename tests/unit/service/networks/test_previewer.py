"""Plans of networks: what would be made, and that nothing is."""

from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from ipam.errors import IpamError
from ovsdriver.domain.plan.preview import Preview
from ovsdriver.domain.records import names
from ovsdriver.errors import ConflictError, InvalidOptionError, UnsupportedError
from ovsdriver.service.networks.previewer import WantedNetwork
from ovsdriver.words import options as typed
from tests.builders import RED
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host


async def plan(host: Host, *, subnets: tuple[str, ...] = (), **said: str) -> Preview:
    options = {f"ovs.{name}": value for name, value in said.items()}
    return await host.previewer.wish(
        WantedNetwork(
            options=typed.network(options, internal=False),
            subnets=tuple(map(IPNetwork, subnets)),
            ipv6="ipv6" in said,
        )
    )


async def test_a_plan_names_what_is_then_made(host: Host) -> None:
    found = await plan(host)
    assert not host.state.networks()
    assert not host.switch.bridges()
    assert not host.ipam.pools()
    assert [(each.table, each.there) for each in found.rows] == [("Bridge", False), ("Port", False)]
    await host.create_network()
    made = host.state.network(RED)
    assert made is not None
    assert found.network.subnets[0].cidr == made.subnets[0].cidr
    assert found.network.subnets[0].gateway == made.subnets[0].gateway
    assert found.network.segment == made.segment
    port = host.switch.port(names.gateway_link(made.id))
    assert port is not None
    assert found.rows[1].columns["tag"] == port.tag
    assert found.links[0].addresses == (f"{made.subnets[0].gateway}/24",)
    assert found.rules


async def test_the_next_plan_finds_the_bridge_there_and_another_vlan(host: Host) -> None:
    await host.create_network()
    found = await plan(host)
    assert found.rows[0].there
    assert not found.rows[1].there
    assert found.network.segment.tag == 2


async def test_a_gateway_and_a_subnet_that_are_typed_are_taken(host: Host) -> None:
    found = await host.previewer.wish(
        WantedNetwork(
            options=typed.network({"ovs.mode": "flat"}, internal=False),
            subnets=(IPNetwork("10.9.0.0/24"),),
            gateways=(IPAddress("10.9.0.254"),),
        )
    )
    assert str(found.network.subnets[0].gateway) == "10.9.0.254"


async def test_an_adopted_bridge_is_warned_of(host: Host) -> None:
    host.switch.put_bridge(replace(foreign_bridge("br-lab"), controllers=1))
    found = await plan(host, bridge="br-lab", vlan="30")
    assert found.rows == ()
    assert any("controller" in each for each in found.warnings)


async def test_a_rate_and_a_guard_are_told_for_each_container(host: Host) -> None:
    found = await plan(host, rate="10mbit")
    assert len(found.container.meters) == 1


async def test_access_rules_are_told_with_the_guard_that_they_bring(host: Host) -> None:
    found = await plan(host, allow="example.com tcp/443", rules="agent")
    assert found.network.port.judged
    assert found.network.port.guard
    with pytest.raises(InvalidOptionError, match="there are no such rules"):
        await plan(host, rules="unheard-of")


async def test_what_would_be_refused_is_refused(host: Host) -> None:
    with pytest.raises(InvalidOptionError, match=r"ovs\.vlna"):
        await plan(host, vlna="30")
    await host.create_network(said={"ovs.vlan": "30"})
    with pytest.raises(ConflictError, match="VLAN 30"):
        await plan(host, vlan="30")
    with pytest.raises(IpamError):
        await plan(host, subnets=("10.1.0.0/24",))


async def test_a_dry_run_says_it_and_makes_nothing(host: Host) -> None:
    with pytest.raises(UnsupportedError, match="dry run: nothing was made; it would be bridge"):
        await host.create_network(said={"ovs.dry_run": "true", "ovs.vlan": "30"})
    assert not host.state.networks()
    assert not host.switch.bridges()
