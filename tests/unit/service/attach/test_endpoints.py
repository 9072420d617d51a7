import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ipam.model import AddressRequest
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, Mode, PortMapping, Transport
from ovsdriver.domain.records.options.port_options import PortKind, VlanMode, VlanTag
from ovsdriver.domain.records.requests import EndpointOptions, NewEndpoint
from ovsdriver.errors import (
    ConflictError,
    InvalidOptionError,
    UnavailableError,
    UnknownObjectError,
)
from tests.builders import BLUE, FIRST, RED, SECOND, endpoint_options, new_network
from tests.unit.service.conftest import Host

HOST = names.host_link(FIRST)
CONTAINER = names.container_link(FIRST)
SANDBOX = "/netns/one"


def links_of(found: Any) -> set[str]:
    return {name for name in found if name.startswith(("ovh", "ovc"))}


async def test_a_joined_endpoint_is_an_access_port_with_the_network_s_tag(host: Host) -> None:
    await host.create_network()
    await host.create_endpoint()
    joined = await host.endpoints.join(RED, FIRST, SANDBOX)
    assert (joined.source, joined.prefix) == (CONTAINER, "eth")
    assert (joined.gateway4, joined.gateway6) == (IPAddress("10.1.0.1"), None)
    port = host.switch.port(HOST)
    assert port is not None
    assert (port.bridge, port.tag) == ("br-ovsnet", 1)
    assert port.external_ids["ovsnet-endpoint"] == FIRST
    link = (await host.links.links())[CONTAINER]
    assert link.mac == EUI("0a:0f:0a:01:00:02")
    assert link.mtu == 1500


async def test_checksum_offload_is_off_unless_the_userspace_switch_completes_them(
    host: Host,
) -> None:
    await host.create_network()
    await host.create_endpoint()
    await host.endpoints.join(RED, FIRST, SANDBOX)
    assert host.links.tx_offload[CONTAINER] is False


async def test_a_mac_is_returned_only_if_docker_sent_none(host: Host) -> None:
    await host.create_network()
    sent = EUI("02:42:ac:11:00:02")
    new = NewEndpoint(network=RED, id=SECOND, mac=sent)
    assert await host.endpoints.create(new) is None
    assert await host.endpoints.create(new) is None
    endpoint = host.state.endpoint(SECOND)
    assert endpoint is not None
    assert endpoint.mac == sent
    chosen = await host.endpoints.create(NewEndpoint(network=RED, id=FIRST))
    assert chosen is not None
    assert chosen == await host.endpoints.create(NewEndpoint(network=RED, id=FIRST))


async def test_a_mac_said_twice_and_differently_is_refused(host: Host) -> None:
    await host.create_network()
    options = EndpointOptions(mac=EUI("02:00:00:00:00:01"))
    with pytest.raises(InvalidOptionError, match="say it once"):
        await host.endpoints.create(
            NewEndpoint(network=RED, id=FIRST, mac=EUI("02:00:00:00:00:02"), options=options)
        )
    assert host.state.endpoints() == ()


async def test_an_mtu_beyond_the_network_s_is_refused(host: Host) -> None:
    await host.create_network()
    with pytest.raises(InvalidOptionError, match="at most 1500"):
        await host.endpoints.create(
            NewEndpoint(network=RED, id=FIRST, options=endpoint_options(mtu=9000))
        )


async def test_unknown_networks_and_endpoints_are_refused_where_they_are_needed(
    host: Host,
) -> None:
    with pytest.raises(UnknownObjectError, match="network a1a1"):
        await host.endpoints.create(NewEndpoint(network=RED, id=FIRST))
    await host.create_network()
    with pytest.raises(UnknownObjectError, match="endpoint e1e1"):
        await host.endpoints.join(RED, FIRST, SANDBOX)


async def test_an_address_without_a_lease_of_ours_is_refused(host: Host) -> None:
    await host.create_network()
    with pytest.raises(UnknownObjectError, match="not leased"):
        await host.endpoints.create(
            NewEndpoint(network=RED, id=FIRST, addresses=(IPNetwork("10.1.0.77/24"),))
        )


async def test_the_stop_sequence_leaves_nothing(host: Host) -> None:
    await host.create_network()
    address = await host.run_container()
    (pool,) = host.ipam.pools()
    await host.publications.revoke(RED, FIRST)
    await host.endpoints.leave(RED, FIRST)
    assert host.switch.port(HOST) is None
    assert HOST in await host.links.links()
    await host.endpoints.delete(RED, FIRST)
    assert links_of(await host.links.links()) == set()
    assert host.state.endpoints() == ()
    await host.endpoints.release(pool.id, address)
    assert await host.ipam.release_address(pool.id, address)


async def test_a_pair_that_nothing_uses_is_gone_before_docker_would_move_it(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    host.links.sandboxes[SANDBOX].used = False
    await host.endpoints.leave(RED, FIRST)
    assert links_of(await host.links.links()) == set()
    await host.endpoints.delete(RED, FIRST)
    assert host.state.endpoints() == ()


async def test_an_endpoint_that_joins_again_after_its_pair_has_gone_leaves_nothing_either(
    host: Host,
) -> None:
    await host.create_network()
    await host.run_container()
    host.links.sandboxes[SANDBOX].used = False
    await host.endpoints.leave(RED, FIRST)
    await host.endpoints.join(RED, FIRST, "/netns/two")
    assert links_of(await host.links.links()) == {HOST, CONTAINER}
    await host.endpoints.delete(RED, FIRST)
    assert links_of(await host.links.links()) == set()


async def test_a_pair_that_leave_cannot_remove_is_removed_by_delete(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    await host.create_network()
    await host.run_container()
    host.links.sandboxes[SANDBOX].used = False
    failing(host.links, "remove_link")
    await host.endpoints.leave(RED, FIRST)
    assert HOST in await host.links.links()
    await host.endpoints.delete(RED, FIRST)
    assert links_of(await host.links.links()) == set()


async def test_every_step_of_the_stop_may_come_twice_or_for_what_is_unknown(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    for _ in range(2):
        await host.publications.revoke(RED, FIRST)
        await host.endpoints.leave(RED, FIRST)
        await host.endpoints.delete(RED, FIRST)
    await host.endpoints.leave(BLUE, SECOND)
    await host.endpoints.delete(BLUE, SECOND)


async def test_delete_without_leave_does_leave_s_work(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    await host.endpoints.delete(RED, FIRST)
    assert host.switch.port(HOST) is None
    assert links_of(await host.links.links()) == set()


async def test_delete_on_another_network_is_not_ours_to_do(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    await host.endpoints.delete(BLUE, FIRST)
    assert host.switch.port(HOST) is not None


async def test_releasing_an_address_ends_the_endpoint_that_still_stands_on_it(host: Host) -> None:
    await host.create_network()
    address = await host.run_container()
    (pool,) = host.ipam.pools()
    await host.endpoints.release(pool.id, address)
    assert host.state.endpoints() == ()
    assert host.switch.port(HOST) is None
    assert links_of(await host.links.links()) == set()


async def test_releasing_a_later_lease_of_the_same_address_ends_nothing(host: Host) -> None:
    await host.create_network()
    address = await host.run_container()
    (pool,) = host.ipam.pools()
    await host.ipam.release_address(pool.id, address)
    await host.ipam.request_address(AddressRequest(pool=pool.id, address=address))
    await host.endpoints.release(pool.id, address)
    assert host.state.endpoint(FIRST) is not None


async def test_releasing_a_gateway_or_an_unknown_address_ends_nothing(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    (pool,) = host.ipam.pools()
    await host.endpoints.release(pool.id, IPAddress("10.1.0.1"))
    await host.endpoints.release(pool.id, IPAddress("10.1.0.200"))
    assert host.state.endpoint(FIRST) is not None


async def test_an_endpoint_whose_address_was_given_anew_is_ended(host: Host) -> None:
    await host.create_network()
    address = await host.run_container()
    (pool,) = host.ipam.pools()
    await host.ipam.release_address(pool.id, address)
    assert await host.run_container(SECOND, sandbox="/netns/two") == address
    assert [endpoint.id for endpoint in host.state.endpoints()] == [SECOND]
    assert host.switch.port(HOST) is None


@pytest.mark.parametrize(("part", "method"), [("links", "ensure_veth"), ("switch", "ensure_port")])
async def test_a_join_that_fails_leaves_no_port_and_no_link(
    host: Host, failing: Callable[[Any, str], None], part: str, method: str
) -> None:
    await host.create_network()
    await host.create_endpoint()
    failing(getattr(host, part), method)
    with pytest.raises(UnavailableError):
        await host.endpoints.join(RED, FIRST, SANDBOX)
    assert host.switch.port(HOST) is None
    assert links_of(await host.links.links()) == set()
    endpoint = host.state.endpoint(FIRST)
    assert endpoint is not None
    assert endpoint.sandbox is None
    assert (await host.endpoints.join(RED, FIRST, SANDBOX)).source == CONTAINER


async def test_a_join_that_cannot_be_recorded_leaves_no_port_and_no_link(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    await host.create_network()
    await host.create_endpoint()
    failing(host.state, "put_endpoint")
    with pytest.raises(UnavailableError):
        await host.endpoints.join(RED, FIRST, SANDBOX)
    assert host.switch.port(HOST) is None
    assert links_of(await host.links.links()) == set()
    assert (await host.endpoints.join(RED, FIRST, SANDBOX)).source == CONTAINER


async def test_a_join_is_refused_while_nobody_tells_whether_the_switch_finishes_checksums(
    host: Host,
) -> None:
    await host.create_network()
    await host.create_endpoint()
    host.links.drop_link("br-ovsnet")
    host.links.add_tap("br-ovsnet", tso=None)
    with pytest.raises(UnavailableError, match="no process holds it"):
        await host.endpoints.join(RED, FIRST, SANDBOX)
    assert links_of(await host.links.links()) == set()


async def test_only_gateways_of_the_endpoint_s_own_families_are_told(host: Host) -> None:
    await host.create_network(family=6)
    await host.create_endpoint()
    joined = await host.endpoints.join(RED, FIRST, SANDBOX)
    assert (joined.gateway4, str(joined.gateway6)) == (None, "fd00:1::1")
    assert joined.disable_gateway_service


@pytest.mark.parametrize(
    ("address", "gateway", "beside"),
    [
        pytest.param("10.5.0.2/24", "10.5.0.1", "10.6.0.0/24", id="first"),
        pytest.param("10.6.0.2/24", "10.6.0.1", "10.5.0.0/24", id="second"),
    ],
)
async def test_an_endpoint_is_told_its_subnet_s_gateway_and_that_the_other_subnets_are_on_link(
    host: Host, address: str, gateway: str, beside: str
) -> None:
    subnets = (("10.5.0.0/24", "10.5.0.1"), ("fd00:5::/64", "fd00:5::1"))
    subnets = (*subnets, ("10.6.0.0/24", "10.6.0.1"))
    await host.networks.create(new_network(RED, *subnets, space="of Docker"))
    new = NewEndpoint(network=RED, id=FIRST, addresses=(IPNetwork(address),))
    await host.endpoints.create(new)
    joined = await host.endpoints.join(RED, FIRST, SANDBOX)
    assert (joined.gateway4, joined.gateway6) == (IPAddress(gateway), None)
    assert joined.on_link == (IPNetwork(beside),)


async def test_a_crash_in_the_middle_of_a_delete_is_finished_at_the_next_start(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    await host.create_network()
    await host.run_container()
    failing(host.links, "remove_link")
    with pytest.raises(UnavailableError):
        await host.endpoints.delete(RED, FIRST)
    again = await host.restart()
    await again.reconciler.reconcile()
    assert again.state.endpoints() == ()
    assert links_of(await again.links.links()) == set()
    await again.stop()


async def test_a_second_create_after_an_unfinished_end_starts_afresh(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    endpoint = host.state.endpoint(FIRST)
    assert endpoint is not None
    await host.state.put_endpoint(replace(endpoint, ended=True, sandbox=None))
    await host.endpoints.create(NewEndpoint(network=RED, id=FIRST))
    fresh = host.state.endpoint(FIRST)
    assert fresh is not None
    assert (fresh.ended, fresh.addresses) == (False, ())
    assert host.switch.port(HOST) is None


async def test_a_container_that_ends_while_open_vswitch_is_away_gets_its_address_freed(
    host: Host,
) -> None:
    await host.create_network()
    address = await host.run_container()
    (pool,) = host.ipam.pools()
    host.switch.available = False
    for step in (
        host.endpoints.leave(RED, FIRST),
        host.endpoints.delete(RED, FIRST),
        host.endpoints.release(pool.id, address),
    ):
        with pytest.raises(UnavailableError):
            await step
    assert await host.ipam.lease(pool.id, address) is not None
    host.switch.available = True
    await host.reconciler.reconcile()
    assert host.state.endpoints() == ()
    assert await host.ipam.lease(pool.id, address) is None


async def test_a_create_that_is_cut_leaves_no_record(host: Host) -> None:
    await host.create_network()
    put = host.state.put_endpoint
    started = asyncio.Event()

    async def slow(endpoint: Endpoint) -> None:
        writing = asyncio.ensure_future(put(endpoint))
        started.set()
        await asyncio.shield(writing)

    host.state.put_endpoint = slow  # type: ignore[method-assign]
    task = asyncio.create_task(host.endpoints.create(NewEndpoint(network=RED, id=FIRST)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = await host.restart()
    assert again.state.endpoints() == ()
    await again.stop()


async def test_a_second_join_that_fails_does_not_unplug_the_first(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    await host.create_network()
    await host.run_container()
    failing(host.switch, "ensure_port")
    with pytest.raises(UnavailableError):
        await host.endpoints.join(RED, FIRST, SANDBOX)
    assert host.switch.port(HOST) is not None
    endpoint = host.state.endpoint(FIRST)
    assert endpoint is not None
    assert endpoint.sandbox == SANDBOX


async def test_each_step_of_a_failed_join_is_taken_back_by_itself(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    await host.create_network()
    await host.create_endpoint()
    failing(host.switch, "ensure_port")
    failing(host.switch, "remove_port")
    with pytest.raises(UnavailableError):
        await host.endpoints.join(RED, FIRST, SANDBOX)
    assert links_of(await host.links.links()) == set()


async def test_ports_that_nobody_will_publish_are_noted(host: Host) -> None:
    await host.create_network(mode=Mode.ISOLATED)
    await host.create_endpoint()
    web = [PortMapping(protocol=Transport.TCP, port=80, host_port=8080)]
    await host.endpoints.join(RED, FIRST, SANDBOX, web)
    endpoint = host.state.endpoint(FIRST)
    assert endpoint is not None
    assert endpoint.unpublished == tuple(web)


async def test_docker_attaches_and_publishes_on_its_own_bridge_where_it_is_asked_to(
    host: Host,
) -> None:
    await host.create_network(mode=Mode.GWBRIDGE)
    await host.create_endpoint()
    web = [PortMapping(protocol=Transport.TCP, port=80, host_port=8080)]
    joined = await host.endpoints.join(RED, FIRST, SANDBOX, web)
    assert (joined.gateway4, joined.gateway6) == (None, None)
    assert not joined.disable_gateway_service
    endpoint = host.state.endpoint(FIRST)
    assert endpoint is not None
    assert endpoint.unpublished == ()


async def test_containers_of_a_routed_network_have_its_gateway_and_publish_nothing(
    host: Host,
) -> None:
    await host.create_network(mode=Mode.ROUTED)
    await host.create_endpoint()
    joined = await host.endpoints.join(RED, FIRST, SANDBOX)
    assert str(joined.gateway4) == "10.1.0.1"
    assert joined.disable_gateway_service
    web = [PortMapping(protocol=Transport.TCP, port=80, host_port=8080)]
    await host.publications.publish(RED, FIRST, web)
    endpoint = host.state.endpoint(FIRST)
    assert endpoint is not None
    assert endpoint.unpublished == tuple(web)
    assert "reached by their own addresses" in endpoint.unpublished_why


@pytest.mark.parametrize("icc", [True, False])
async def test_ports_of_a_network_without_icc_are_protected(host: Host, *, icc: bool) -> None:
    await host.create_network(icc=icc)
    await host.run_container()
    ports = {port.name: port for port in host.switch.bridges()["br-ovsnet"].ports}
    assert ports[HOST].protected is not icc
    gateway = next(port for name, port in ports.items() if name != HOST)
    assert not gateway.protected, "containers reach it"


async def test_an_mtu_too_small_for_ipv6_is_refused(host: Host) -> None:
    await host.create_network(family=6)
    with pytest.raises(InvalidOptionError, match="1280"):
        await host.endpoints.create(
            NewEndpoint(
                network=RED,
                id=FIRST,
                addresses=(IPNetwork("fd00:9::2/64"),),
                options=endpoint_options(mtu=1000),
            )
        )


TAP = names.internal_link(FIRST)


async def test_an_internal_endpoint_is_a_port_whose_device_docker_moves(host: Host) -> None:
    await host.create_network(kind=PortKind.INTERNAL)
    await host.create_endpoint()
    joined = await host.endpoints.join(RED, FIRST, SANDBOX)
    assert (joined.source, joined.prefix) == (TAP, "eth")
    port = host.switch.port(TAP)
    assert port is not None
    assert (port.internal, port.tag, port.bridge) == (True, 1, "br-ovsnet")
    link = (await host.links.links())[TAP]
    assert (link.mac, link.mtu) == (EUI("0a:0f:0a:01:00:02"), 1500)
    assert link.alias == names.alias("ovsnet", FIRST)
    assert not link.up


async def test_an_internal_join_that_comes_again_leaves_the_moved_device(host: Host) -> None:
    await host.create_network(kind=PortKind.INTERNAL)
    await host.run_container()
    joined = await host.endpoints.join(RED, FIRST, SANDBOX)
    assert joined.source == TAP
    assert TAP in host.links.sandboxes[SANDBOX].taps
    host.switch.drop_port(TAP)
    with pytest.raises(UnavailableError, match="start the container again"):
        await host.endpoints.join(RED, FIRST, SANDBOX)
    assert host.switch.port(TAP) is None


async def test_an_internal_join_that_fails_leaves_nothing(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    await host.create_network(kind=PortKind.INTERNAL)
    await host.create_endpoint()
    failing(host.links, "ensure_tap")
    with pytest.raises(UnavailableError):
        await host.endpoints.join(RED, FIRST, SANDBOX)
    assert host.switch.port(TAP) is None
    assert TAP not in await host.links.links()


async def test_an_internal_endpoint_ends_without_a_trace(host: Host) -> None:
    await host.create_network(kind=PortKind.INTERNAL)
    await host.run_container()
    await host.endpoints.leave(RED, FIRST)
    assert host.links.sandboxes[SANDBOX].taps == {}
    await host.endpoints.delete(RED, FIRST)
    assert host.switch.port(TAP) is None
    assert TAP not in await host.links.links()
    assert host.state.endpoints() == ()


async def test_a_tap_that_came_back_while_vswitchd_was_away_is_removed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.create_network(kind=PortKind.INTERNAL)
    await host.run_container()
    monkeypatch.setattr(host.links, "drop_tap", lambda name: None)
    await host.endpoints.leave(RED, FIRST)
    host.links.move_back(TAP, SANDBOX)
    await host.endpoints.delete(RED, FIRST)
    assert TAP not in await host.links.links()


async def test_the_port_that_was_asked_for_is_made_and_kept_in_the_record(host: Host) -> None:
    await host.create_network()
    trunks = (VlanTag(10), VlanTag(11))
    options = endpoint_options(trunks=trunks, ofport=77, protected=True, vlan=VlanTag(9))
    await host.endpoints.create(NewEndpoint(network=RED, id=FIRST, options=options))
    await host.endpoints.join(RED, FIRST, SANDBOX)
    port = host.switch.port(HOST)
    assert port is not None
    assert (port.tag, port.trunks, port.vlan_mode) == (9, (10, 11), VlanMode.NATIVE_UNTAGGED)
    assert (port.ofport, port.protected) == (77, True)
    again = await host.restart()
    record = again.state.endpoint(FIRST)
    assert record is not None
    assert (record.port.vlan, record.port.trunks, record.ofport, record.protected) == (
        9,
        trunks,
        77,
        True,
    )
    await again.stop()


async def test_a_container_that_is_let_into_other_vlans_is_told_in_the_log(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    await host.create_network(RED)
    await host.create_network(BLUE, vlan=VlanTag(10))
    caplog.set_level("INFO")
    options = endpoint_options(trunks=(VlanTag(10), VlanTag(11)))
    await host.endpoints.create(NewEndpoint(network=RED, id=FIRST, options=options))
    await host.endpoints.create(NewEndpoint(network=RED, id=SECOND))
    (told,) = [each for each in caplog.records if each.message == "endpoint.vlans"]
    assert vars(told)["vlans"] == "1,10-11"
    assert vars(told)["other_networks"] == BLUE[:12]
    assert vars(told)["endpoint"] == FIRST


async def test_options_that_contradict_each_other_leave_no_record(host: Host) -> None:
    await host.create_network()
    options = endpoint_options(vlan_mode=VlanMode.TRUNK)
    with pytest.raises(InvalidOptionError, match=r"ovs\.trunks"):
        await host.endpoints.create(NewEndpoint(network=RED, id=FIRST, options=options))
    assert host.state.endpoints() == ()


async def test_a_number_that_is_taken_fails_the_join_and_leaves_nothing(host: Host) -> None:
    await host.create_network()
    for endpoint in (FIRST, SECOND):
        await host.endpoints.create(
            NewEndpoint(network=RED, id=endpoint, options=EndpointOptions(ofport=77))
        )
    await host.endpoints.join(RED, FIRST, SANDBOX)
    with pytest.raises(ConflictError, match="77"):
        await host.endpoints.join(RED, SECOND, "/netns/two")
    assert host.switch.port(names.host_link(SECOND)) is None
    assert names.host_link(SECOND) not in await host.links.links()


async def test_leaving_waits_until_the_name_of_an_internal_port_is_free(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.create_network(kind=PortKind.INTERNAL)
    await host.run_container()
    host.links.add_tap(TAP)  # by a vswitchd that was restarted
    drop = host.links.drop_tap
    monkeypatch.setattr(host.links, "drop_tap", lambda name: None)
    leaving = asyncio.create_task(host.endpoints.leave(RED, FIRST))
    await asyncio.sleep(0.05)
    assert host.switch.port(TAP) is None
    assert not leaving.done()
    drop(TAP)
    await leaving
