import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ipam.errors import IpamError
from ipam.model import DEFAULT_SPACE, AddressRequest, LeaseKind, PoolRequest
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Mode, Network
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.domain.records.requests import NetworkOptions, TypedGateway
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires.observed import ObservedPort
from ovsdriver.errors import ConflictError, UnavailableError
from ovsdriver.ports import Route
from tests.builders import BLUE, FIRST, RED, SECOND, new_network
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host

GATEWAY = names.gateway_link(RED)


async def test_a_nat_network_has_bridge_gateway_rules_and_record(host: Host) -> None:
    await host.create_network()
    network = host.state.network(RED)
    assert network is not None
    assert network.mode is Mode.NAT
    bridge = host.switch.bridge("br-ovsnet")
    assert bridge is not None
    assert (bridge.owned, bridge.datapath) == (True, Datapath.NETDEV)
    port = host.switch.port(GATEWAY)
    assert port is not None
    assert (port.tag, port.internal) == (1, True)
    link = (await host.links.links())[GATEWAY]
    assert [str(address) for address in link.addresses] == ["10.1.0.1/24"]
    assert [rules.link for rules in host.firewall.plan.gateways] == [GATEWAY]


async def test_rules_stand_before_the_gateway_has_its_address(host: Host) -> None:
    order: list[str] = []
    ensure, settle = host.firewall.ensure, host.links.ensure_gateway

    async def note_rules(plan: Any) -> bool:
        order.append("rules" if plan.gateways else "no rules")
        return await ensure(plan)

    async def note_gateway(gateway: Any) -> None:
        order.append("gateway")
        await settle(gateway)

    host.firewall.ensure = note_rules  # type: ignore[method-assign]
    host.links.ensure_gateway = note_gateway  # type: ignore[method-assign]
    await host.create_network()
    assert order.index("rules") < order.index("gateway")


async def test_an_isolated_network_puts_nothing_on_the_host(host: Host) -> None:
    await host.create_network(internal=True)
    assert host.switch.port(GATEWAY) is None
    assert host.firewall.plan.gateways == ()


async def test_creating_a_network_twice_changes_nothing(host: Host) -> None:
    await host.create_network()
    record = host.state.network(RED)
    await host.networks.create(new_network(RED, ("10.1.0.0/24", "10.1.0.1")))
    assert host.state.networks() == (record,)


async def test_fifty_networks_at_once_get_fifty_tags(host: Host) -> None:
    ids = [f"{number:064x}" for number in range(50)]
    await asyncio.gather(*(host.create_network(each, mode=Mode.ISOLATED) for each in ids))
    assert sorted(n.segment.tag for n in host.state.networks()) == list(range(1, 51))


@pytest.mark.parametrize(
    ("part", "method"),
    [
        ("switch", "ensure_bridge"),
        ("firewall", "ensure"),
        ("switch", "ensure_port"),
        ("links", "ensure_gateway"),
        ("state", "put_network"),
    ],
)
async def test_nothing_stays_of_a_network_that_could_not_be_made(
    host: Host, failing: Callable[[Any, str], None], part: str, method: str
) -> None:
    failing(getattr(host, part), method)
    with pytest.raises(UnavailableError, match="did not answer"):
        await host.create_network()
    assert host.state.networks() == ()
    assert host.switch.bridges() == {}
    assert host.firewall.plan.gateways == ()
    assert set(await host.links.links()) == set()


async def test_a_call_cut_by_its_deadline_leaves_nothing(host: Host) -> None:
    host.links.gate.clear()
    task = asyncio.create_task(host.create_network(internal=False))
    await asyncio.sleep(0.05)
    task.cancel()
    host.links.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert host.state.networks() == ()
    assert host.switch.bridges() == {}


async def test_what_cannot_be_undone_now_is_finished_by_the_reconciler(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    failing(host.links, "ensure_gateway")
    failing(host.switch, "remove_port")
    with pytest.raises(UnavailableError):
        await host.create_network()
    (record,) = host.state.networks()
    assert record.ended
    await host.reconciler.reconcile()
    assert host.state.networks() == ()
    assert host.switch.bridges() == {}


async def test_deleting_the_last_network_removes_the_bridge_and_the_rules(host: Host) -> None:
    await host.create_network(RED)
    await host.create_network(BLUE)
    assert await host.networks.delete(RED)
    assert "br-ovsnet" in host.switch.bridges()
    assert await host.networks.delete(BLUE)
    assert host.switch.bridges() == {}
    assert host.firewall.plan.gateways == ()
    assert host.state.networks() == ()


async def test_deleting_an_unknown_network_succeeds(host: Host) -> None:
    assert not await host.networks.delete(RED)


async def test_deleting_a_network_ends_the_endpoints_that_docker_forgot(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    await host.networks.delete(RED)
    assert host.state.endpoints() == ()
    assert host.switch.bridges() == {}
    assert not any(link.kind == "veth" for link in (await host.links.links()).values())


async def test_an_adopted_bridge_is_left_as_it_was(host: Host) -> None:
    host.switch.put_bridge(foreign_bridge("br-lab"))
    await host.create_network(bridge="br-lab", vlan=VlanTag(30))
    await host.networks.delete(RED)
    assert host.switch.bridge("br-lab") == foreign_bridge("br-lab")


async def test_our_bridge_stays_while_others_have_ports_on_it(host: Host) -> None:
    await host.create_network()
    host.switch.put_port(ObservedPort(name="tap0", bridge="br-ovsnet", tag=9, external_ids={}))
    await host.networks.delete(RED)
    assert "br-ovsnet" in host.switch.bridges()


async def test_a_gateway_that_answers_on_an_adopted_bridge_is_refused_with_its_mac(
    host: Host,
) -> None:
    host.switch.put_bridge(foreign_bridge("br-lab"))
    host.links.add_tap("br-lab", tso=False)
    host.links.answering[(GATEWAY, IPAddress("10.1.0.1"))] = EUI("02:00:00:00:00:07")
    with pytest.raises(ConflictError, match=r"10\.1\.0\.1 is in use .* by 02:00:00:00:00:07"):
        await host.create_network(bridge="br-lab", vlan=VlanTag(30), mode=Mode.NAT)
    assert host.state.networks() == ()
    assert host.switch.port(GATEWAY) is None


async def test_a_pool_is_bound_to_one_network_for_life(host: Host) -> None:
    await host.create_network()
    (pool,) = host.ipam.pools()
    bound = host.state.network_of_pool(pool.id)
    assert bound is not None
    assert bound.id == RED


async def test_without_open_vswitch_a_network_is_refused_with_a_sentence(host: Host) -> None:
    await host.ipam.request_pool(PoolRequest(space=DEFAULT_SPACE))
    host.switch.available = False
    with pytest.raises(UnavailableError, match="does not answer"):
        await host.networks.create(new_network(RED, ("10.1.0.0/24", "10.1.0.1")))
    assert host.state.networks() == ()


async def test_a_gateway_address_is_needed_only_where_the_host_holds_it(host: Host) -> None:
    host.switch.put_bridge(foreign_bridge("br-lab"))
    skips = host.networks.gateway_skips
    assert not skips(NetworkOptions(), internal=False)
    assert skips(NetworkOptions(), internal=True)
    assert skips(NetworkOptions(mode=Mode.FLAT), internal=False)
    assert skips(NetworkOptions(bridge="br-lab"), internal=False)
    assert not skips(NetworkOptions(bridge="br-lab", mode=Mode.NAT), internal=False)


async def test_a_creation_cut_by_a_crash_is_removed_at_the_next_start(host: Host) -> None:
    await host.create_network()
    record = host.state.network(RED)
    assert record is not None
    await host.state.put_network(replace(record, made=False))
    again = await host.restart()
    await again.reconciler.reconcile()
    assert again.state.networks() == ()
    assert again.switch.bridges() == {}
    await again.stop()


async def test_a_network_whose_creation_docker_rolled_back_is_removed(host: Host) -> None:
    await host.create_network()
    (pool,) = host.ipam.pools()
    await host.ipam.release_pool(pool.id)
    await host.reconciler.reconcile()
    assert host.state.networks() == ()
    assert host.switch.bridges() == {}


async def test_a_creation_cut_while_its_record_is_on_its_way_to_the_disk_leaves_nothing(
    host: Host,
) -> None:
    put = host.state.put_network
    started = asyncio.Event()

    async def slow(network: Network) -> None:
        writing = asyncio.ensure_future(put(network))
        started.set()
        await asyncio.sleep(0)
        await asyncio.shield(writing)

    host.state.put_network = slow  # type: ignore[method-assign]
    task = asyncio.create_task(host.create_network())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    host.state.put_network = put  # type: ignore[method-assign]
    again = await host.restart()
    assert again.state.networks() == ()
    await again.stop()


async def test_a_join_that_races_the_end_of_its_network_leaves_nothing(host: Host) -> None:
    await host.create_network()
    await host.create_endpoint()
    host.links.gate.clear()
    joining = asyncio.create_task(host.endpoints.join(RED, FIRST, "/netns/one"))
    await asyncio.sleep(0.05)
    deleting = asyncio.create_task(host.networks.delete(RED))
    await asyncio.sleep(0.05)
    host.links.gate.set()
    await asyncio.gather(joining, deleting, return_exceptions=True)
    assert host.state.networks() == ()
    assert host.state.endpoints() == ()
    assert host.switch.bridges() == {}
    assert not any(link.kind == "veth" for link in (await host.links.links()).values())


async def test_the_router_of_a_flat_network_is_held_in_our_pool(host: Host) -> None:
    await host.create_network(
        mode=Mode.FLAT, gateways=TypedGateway(addresses=(IPAddress("10.1.0.2"),))
    )
    assert await host.create_endpoint() == IPAddress("10.1.0.3")
    (pool,) = host.ipam.pools()
    lease = await host.ipam.lease(pool.id, IPAddress("10.1.0.2"))
    assert lease is not None
    assert lease.kind is LeaseKind.AUX
    # until a container asks for it, which is the router then, and has it to itself
    router = AddressRequest(pool=pool.id, address=lease.address)
    assert (await host.ipam.request_address(router)).kind is LeaseKind.ENDPOINT
    with pytest.raises(IpamError, match="is held by a container"):
        await host.ipam.request_address(router)
    await host.ipam.release_address(pool.id, lease.address)
    assert await host.create_endpoint(SECOND) == IPAddress("10.1.0.4")
    again = await host.restart()
    try:
        assert (await again.ipam.request_address(router)).address == lease.address
    finally:
        await again.stop()


@pytest.mark.parametrize("held", [False, True], ids=["port-gone", "of-another-instance"])
async def test_the_route_of_a_gateway_that_vswitchd_is_removing_is_not_in_the_way(
    host: Host, held: bool
) -> None:
    link, subnet = names.gateway_link(BLUE), IPNetwork("10.1.0.0/24")
    host.links.add_route(Route(destination=subnet, link=link))
    await host.ipam.request_pool(PoolRequest(space=DEFAULT_SPACE, subnet=subnet))
    new = new_network(RED, (str(subnet), "10.1.0.1"))
    if not held:
        await host.networks.create(new)
        return
    host.switch.put_bridge(foreign_bridge("br-theirs"))
    host.switch.put_port(ObservedPort(name=link, bridge="br-theirs", tag=9))
    with pytest.raises(ConflictError, match=f"overlaps the host's route to .* via {link}"):
        await host.networks.create(new)
