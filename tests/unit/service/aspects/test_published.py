"""Published ports of endpoints: held, recorded, in the rules; and how each of it ends."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import (
    EndpointId,
    HostPort,
    Mode,
    PortMapping,
    Publication,
    Transport,
)
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.errors import ConflictError, UnavailableError, UnsupportedError
from tests.builders import BLUE, FIRST, RED, SECOND, altered
from tests.unit.service.conftest import Host

WEB = PortMapping(protocol=Transport.TCP, port=80, host_port=8080, host_port_end=8080)
DNS = PortMapping(protocol=Transport.UDP, port=53, host_port=5353, host_port_end=5353)
ANY = PortMapping(protocol=Transport.TCP, port=81)
THIRD = EndpointId("d3" * 32)


def at(port: int, host: str = "0.0.0.0", protocol: Transport = Transport.TCP) -> HostPort:
    return HostPort(protocol=protocol, address=IPAddress(host), port=port)


def records(host: Host, endpoint: str = FIRST) -> Sequence[Publication]:
    found = host.state.endpoint(EndpointId(endpoint))
    return found.published if found is not None else ()


def rules(host: Host) -> list[tuple[str, int, str]]:
    return [(str(p.host), p.host_port, str(p.address)) for p in host.firewall.plan.published]


@pytest.fixture
async def running(host: Host) -> Host:
    """A host with a nat network and a container on it, 10.1.0.2."""
    await host.create_network()
    await host.run_container(FIRST)
    return host


async def second(host: Host, network: str = RED) -> None:
    await host.run_container(SECOND, network, sandbox="/netns/two")


async def test_a_port_is_held_recorded_and_in_the_rules(running: Host) -> None:
    await running.publications.publish(RED, FIRST, [WEB, DNS])
    assert set(running.ports.held()) == {at(8080), at(5353, protocol=Transport.UDP)}
    assert [(p.host_port, p.port) for p in records(running)] == [(8080, 80), (5353, 53)]
    assert rules(running) == [("0.0.0.0", 8080, "10.1.0.2"), ("0.0.0.0", 5353, "10.1.0.2")]
    assert running.firewall.plan.gateways[0].loopback


async def test_program_may_come_twice_and_chosen_ports_stay(running: Host) -> None:
    await running.publications.publish(RED, FIRST, [WEB, ANY])
    before = records(running)
    await running.publications.publish(RED, FIRST, [WEB, ANY])
    assert records(running) == before
    assert len(running.ports.held()) == 2


async def test_program_with_other_ports_publishes_those_and_no_others(running: Host) -> None:
    await running.publications.publish(RED, FIRST, [WEB, ANY])
    await running.publications.publish(RED, FIRST, [DNS])
    assert set(running.ports.held()) == {at(5353, protocol=Transport.UDP)}
    assert rules(running) == [("0.0.0.0", 5353, "10.1.0.2")]
    await running.publications.publish(RED, FIRST, [])
    assert not running.ports.held()
    assert rules(running) == []


async def test_of_datagrams_that_were_sent_before_nothing_is_remembered(running: Host) -> None:
    await running.publications.publish(RED, FIRST, [WEB, DNS])
    assert [p.protocol for p in running.firewall.cuts] == [Transport.UDP]


@pytest.mark.parametrize("end", ["revoke", "leave", "delete"])
async def test_each_end_takes_back_everything(running: Host, end: str) -> None:
    await running.publications.publish(RED, FIRST, [WEB, DNS])
    published = records(running)
    running.firewall.cuts.clear()
    for _ in range(2):
        await getattr(running.publications if end == "revoke" else running.endpoints, end)(
            RED, FIRST
        )
    assert not running.ports.held()
    assert rules(running) == []
    assert not records(running)
    assert running.firewall.cuts == list(published)


async def test_ends_of_what_is_not_known_succeed(running: Host) -> None:
    await running.publications.publish(RED, FIRST, [WEB])
    await running.publications.revoke(BLUE, FIRST)
    await running.publications.revoke(RED, SECOND)
    assert running.ports.held()


async def test_a_networks_end_takes_its_ports_with_it(running: Host) -> None:
    await running.publications.publish(RED, FIRST, [WEB])
    await running.networks.delete(RED)
    assert not running.ports.held()
    assert rules(running) == []


async def test_a_purge_lets_go_of_everything(running: Host) -> None:
    await running.publications.publish(RED, FIRST, [WEB])
    await running.purge.run(switch_wait_s=0.1)
    assert not running.ports.held()


async def test_a_port_of_another_container_is_refused_by_name(running: Host) -> None:
    await second(running)
    await running.publications.publish(RED, FIRST, [WEB])
    other = replace(WEB, port=81)
    with pytest.raises(ConflictError) as caught:
        await running.publications.publish(RED, SECOND, [DNS, other])
    assert str(caught.value) == (
        f"publishing 81/tcp: host port 8080 of this host is in use (endpoint {FIRST[:12]} has it, "
        "see `ovsnet ports`); choose another one with -p, or end what uses it"
    )
    assert set(running.ports.held()) == {at(8080)}, "what came before the refusal is let go"
    assert not records(running, SECOND)
    assert rules(running) == [("0.0.0.0", 8080, "10.1.0.2")]


async def test_a_port_of_another_program_is_refused_with_what_to_type(running: Host) -> None:
    running.ports.others.add(at(8080, "127.0.0.1"))
    with pytest.raises(ConflictError, match=r"\(see `ss -antp sport = :8080`\)"):
        await running.publications.publish(RED, FIRST, [WEB])
    span = replace(WEB, host_port_end=8081)
    await running.publications.publish(RED, FIRST, [span])
    assert [p.host_port for p in records(running)] == [8081]


async def test_an_address_that_is_not_the_hosts_is_refused(running: Host) -> None:
    wrong = replace(WEB, host_address=IPAddress("192.0.2.99"))
    with pytest.raises(UnsupportedError, match=r"publishing 80/tcp: 192\.0\.2\.99 is no address"):
        await running.publications.publish(RED, FIRST, [wrong])
    assert not running.ports.held()


def lacks(host: Host, endpoint: str = FIRST) -> tuple[PortMapping, ...]:
    found = host.state.endpoint(EndpointId(endpoint))
    return found.unpublished if found is not None else ()


async def test_networks_without_a_gateway_of_ours_publish_nothing_and_say_so(host: Host) -> None:
    await host.create_network(mode=Mode.ISOLATED)
    await host.run_container(FIRST)
    await host.publications.publish(RED, FIRST, [])
    assert lacks(host) == ()
    await host.publications.publish(RED, FIRST, [WEB])
    assert lacks(host) == (WEB,)
    noted = host.state.endpoint(FIRST)
    assert noted is not None
    assert noted.unpublished_why == "a network with ovs.mode=isolated has no gateway on this host"
    await host.publications.revoke(RED, FIRST)
    assert lacks(host) == ()


@pytest.fixture
async def routed_first(host: Host) -> Host:
    """A container on a routed network, which has its gateway, and then on a nat one."""
    await host.create_network(BLUE, mode=Mode.ROUTED)
    await host.create_network(RED)
    await host.run_container(SECOND, BLUE, "/netns/one")
    await host.publications.publish(BLUE, SECOND, [WEB])
    assert lacks(host, SECOND) == (WEB,)
    await host.run_container(FIRST, RED, "/netns/one")
    return host


async def test_another_network_of_the_container_publishes(routed_first: Host) -> None:
    host = routed_first
    assert not lacks(host, SECOND)
    assert [(p.host_port, p.instead_of) for p in records(host)] == [(8080, SECOND)]
    gateway = f"ovg{RED[:12]}"
    assert host.firewall.plan.detours == {(gateway, records(host)[0].address)}
    again = await host.restart()
    await again.publications.publish(BLUE, SECOND, [WEB])
    assert [(p.host_port, p.instead_of) for p in records(again)] == [(8080, SECOND)]
    await again.stop()


@pytest.mark.parametrize("end", ["revoke", "leave", "delete"])
async def test_with_the_gateways_endpoint_ends_what_another_publishes(
    routed_first: Host, end: str
) -> None:
    await getattr(routed_first.publications if end == "revoke" else routed_first.endpoints, end)(
        BLUE, SECOND
    )
    assert not records(routed_first)
    assert not routed_first.ports.held()
    assert rules(routed_first) == []


async def test_what_the_helper_published_is_missing_when_it_leaves(routed_first: Host) -> None:
    await routed_first.endpoints.leave(RED, FIRST)
    assert lacks(routed_first, SECOND) == (WEB,)
    assert not routed_first.ports.held()


async def test_the_helper_publishes_for_itself_once_it_is_asked(routed_first: Host) -> None:
    await routed_first.publications.revoke(BLUE, SECOND)
    await routed_first.publications.publish(RED, FIRST, [WEB])
    assert [(p.host_port, p.instead_of) for p in records(routed_first)] == [(8080, None)]
    assert not routed_first.firewall.plan.detours


async def test_a_taken_port_is_an_error_only_before_the_container_runs(host: Host) -> None:
    await host.create_network()
    await host.run_container(FIRST)
    host.ports.others.add(at(8080))
    with pytest.raises(ConflictError):
        await host.publications.publish(RED, FIRST, [WEB, DNS])
    assert not host.ports.held()
    host.links.sandboxes["/netns/one"].started = True
    await host.publications.publish(RED, FIRST, [WEB, DNS])
    assert lacks(host) == (WEB,)
    assert [p.host_port for p in records(host)] == [5353]


@pytest.mark.parametrize(
    "change", [{"vlan": VlanTag(7)}, {"vlan_mode": VlanMode.TRUNK, "trunks": (VlanTag(7),)}]
)
async def test_a_container_in_another_vlan_than_the_gateway_publishes_nothing(
    running: Host, change: dict[str, Any]
) -> None:
    plugged = running.state.endpoint(FIRST)
    assert plugged is not None
    await running.state.put_endpoint(altered(plugged, **change))
    await running.publications.publish(RED, FIRST, [WEB])
    noted = running.state.endpoint(FIRST)
    assert noted is not None
    assert noted.unpublished == (WEB,)
    assert "outside the network's VLAN" in noted.unpublished_why


async def test_connections_that_the_kernel_cannot_end_do_not_keep_ports_from_coming_and_going(
    running: Host, failing: Callable[[Any, str], None]
) -> None:
    failing(running.firewall, "cut")
    await running.publications.publish(RED, FIRST, [WEB, DNS])
    assert len(rules(running)) == 2
    failing(running.firewall, "cut")
    await running.publications.revoke(RED, FIRST)
    assert not running.ports.held()


@pytest.mark.parametrize("part", ["firewall", "ports"])
async def test_a_failure_leaves_nothing(
    running: Host, failing: Callable[[Any, str], None], part: str
) -> None:
    failing(getattr(running, part), "ensure" if part == "firewall" else "relay")
    with pytest.raises(UnavailableError):
        await running.publications.publish(RED, FIRST, [WEB, DNS])
    assert not running.ports.held()
    assert not records(running)
    assert rules(running) == []
    await running.publications.publish(RED, FIRST, [WEB, DNS])
    assert len(rules(running)) == 2


async def test_a_failure_of_a_later_call_keeps_what_an_earlier_one_made(
    running: Host, failing: Callable[[Any, str], None]
) -> None:
    await running.publications.publish(RED, FIRST, [WEB])
    failing(running.firewall, "ensure")
    with pytest.raises(UnavailableError):
        await running.publications.publish(RED, FIRST, [WEB, DNS])
    assert set(running.ports.held()) == {at(8080)}
    assert rules(running) == [("0.0.0.0", 8080, "10.1.0.2")]


async def test_what_a_failed_end_left_is_let_go_by_the_next_look(
    running: Host, failing: Callable[[Any, str], None]
) -> None:
    await running.publications.publish(RED, FIRST, [WEB])
    failing(running.firewall, "ensure")
    with pytest.raises(UnavailableError):
        await running.endpoints.leave(RED, FIRST)
    assert running.ports.held()
    assert running.switch.port(f"ovh{FIRST[:12]}") is None, "unplugged all the same"
    await running.reconciler.reconcile()
    assert not running.ports.held()
    assert rules(running) == []


async def test_a_new_process_holds_the_same_ports_before_it_serves(running: Host) -> None:
    await running.publications.publish(RED, FIRST, [WEB, ANY])
    before = records(running)
    again = await running.restart()
    assert set(again.ports.held()) == {each.at for each in before}
    await again.publications.publish(RED, FIRST, [WEB, ANY])
    assert records(again) == before
    await again.endpoints.leave(RED, FIRST)
    assert not again.ports.held()
    await again.stop()


async def test_a_port_that_was_taken_while_we_were_away_is_held_when_it_is_free(
    running: Host,
) -> None:
    await running.publications.publish(RED, FIRST, [WEB])
    running.ports.others.add(at(8080))
    again = await running.restart()
    assert not again.ports.held()
    found = await again.reconciler.reconcile()
    assert any("0.0.0.0:8080/tcp" in text and "another program" in text for text in found.failed)
    assert rules(again) == [("0.0.0.0", 8080, "10.1.0.2")], "the container is reached meanwhile"
    again.ports.others.clear()
    found = await again.reconciler.reconcile()
    assert "host port 0.0.0.0:8080/tcp was not reserved" in found.mended
    assert set(again.ports.held()) == {at(8080)}
    await again.stop()


async def test_the_port_of_a_container_that_died_with_docker_is_given_to_the_next(
    running: Host,
) -> None:
    await running.publications.publish(RED, FIRST, [WEB])
    await second(running)
    running.links.sandboxes["/netns/one"].used = False
    with pytest.raises(ConflictError):  # it may just be starting: Docker has asked for it
        await running.publications.publish(RED, SECOND, [WEB])
    running.publisher.daemon_ended()
    await running.publications.publish(RED, SECOND, [WEB])
    assert rules(running) == [("0.0.0.0", 8080, "10.1.0.3")]
    assert not records(running, FIRST)
    await running.endpoints.delete(RED, FIRST)
    assert set(running.ports.held()) == {at(8080)}, "a late end takes nothing from the next"


async def test_a_container_that_lives_on_without_docker_keeps_its_port(running: Host) -> None:
    await running.publications.publish(RED, FIRST, [WEB])
    await second(running)
    running.publisher.daemon_ended()
    with pytest.raises(ConflictError, match=FIRST[:12]):
        await running.publications.publish(RED, SECOND, [WEB])


async def test_after_a_reboot_the_ports_of_dead_containers_are_free(running: Host) -> None:
    await running.publications.publish(RED, FIRST, [WEB])
    running.links.sandboxes["/netns/one"].alive = False
    again = await running.restart()
    assert not again.ports.held()
    await again.run_container(SECOND, sandbox="/netns/two")
    await again.publications.publish(RED, SECOND, [WEB])
    assert rules(again) == [("0.0.0.0", 8080, "10.1.0.3")]
    await again.stop()


async def test_who_comes_while_a_live_container_waits_for_its_port_is_refused(
    running: Host,
) -> None:
    await running.publications.publish(RED, FIRST, [WEB])
    running.ports.others.add(at(8080))
    again = await running.restart()
    again.ports.others.clear()
    await again.run_container(SECOND, sandbox="/netns/two")
    with pytest.raises(ConflictError, match=FIRST[:12]):
        await again.publications.publish(RED, SECOND, [WEB])
    assert not again.ports.held()
    await again.stop()


async def dual(host: Host, network: str, number: int, endpoint: str, sandbox: str) -> None:
    """A container on a network of both families."""
    await host.create_network(network)
    await host.run_container(endpoint, network, sandbox)
    record = host.state.network(network)  # type: ignore[arg-type]
    plugged = host.state.endpoint(EndpointId(endpoint))
    assert record is not None
    assert plugged is not None
    six = replace(
        record.subnets[0],
        cidr=IPNetwork(f"fd00:{number}::/64"),
        gateway=IPAddress(f"fd00:{number}::1"),
        pool=None,
    )
    await host.state.put_network(replace(record, subnets=(*record.subnets, six)))
    addresses = (*plugged.addresses, IPNetwork(f"fd00:{number}::2/64"))
    await host.state.put_endpoint(replace(plugged, addresses=addresses))


async def test_both_families_get_one_port_and_the_loopback_is_relayed(host: Host) -> None:
    await dual(host, RED, 1, FIRST, "/netns/one")
    await host.publications.publish(RED, FIRST, [WEB])
    assert set(host.ports.held()) == {at(8080), at(8080, "::")}
    assert host.ports.relays == {at(8080, "::"): (IPAddress("fd00:1::2"), 80)}
    assert rules(host) == [("0.0.0.0", 8080, "10.1.0.2"), ("::", 8080, "fd00:1::2")]


async def test_two_endpoints_of_one_container_publish_a_family_each(host: Host) -> None:
    """Engine 28 and newer may have one gateway for IPv4 and another for IPv6."""
    await dual(host, RED, 1, FIRST, "/netns/one")
    await dual(host, BLUE, 2, SECOND, "/netns/one")
    await host.publications.publish(RED, FIRST, [WEB], other_gateway6=True)
    await host.publications.publish(BLUE, SECOND, [WEB])
    assert rules(host) == [("0.0.0.0", 8080, "10.1.0.2"), ("::", 8080, "fd00:2::2")]
    await host.publications.publish(RED, FIRST, [WEB], other_gateway6=True)
    assert len(rules(host)) == 2
    await host.publications.revoke(BLUE, SECOND)
    # now the first has both
    await host.publications.publish(RED, FIRST, [WEB])
    assert rules(host) == [("0.0.0.0", 8080, "10.1.0.2"), ("::", 8080, "fd00:1::2")]


async def test_a_role_that_was_lost_while_docker_forgot_it_is_taken_over(host: Host) -> None:
    """Engine 29 sends no Revoke for endpoints of before its own restart with live-restore."""
    await dual(host, RED, 1, FIRST, "/netns/one")
    await dual(host, BLUE, 2, SECOND, "/netns/one")
    await host.publications.publish(RED, FIRST, [WEB])
    host.publisher.daemon_ended()
    await host.publications.publish(BLUE, SECOND, [WEB])
    assert [address for _, _, address in rules(host)] == ["10.1.1.2", "fd00:2::2"]
    assert not records(host, FIRST)
    assert len(host.ports.held()) == 2


async def test_the_order_in_which_two_endpoints_are_asked_makes_no_difference(host: Host) -> None:
    await dual(host, RED, 1, FIRST, "/netns/one")
    await dual(host, BLUE, 2, SECOND, "/netns/one")
    await host.publications.publish(BLUE, SECOND, [WEB])
    await host.publications.publish(RED, FIRST, [WEB], other_gateway6=True)
    assert rules(host) == [("0.0.0.0", 8080, "10.1.0.2"), ("::", 8080, "fd00:2::2")]


async def test_many_at_once_get_a_port_each_and_no_more_than_there_are(host: Host) -> None:
    await host.create_network()
    names = [f"{number:02x}" * 32 for number in range(16, 28)]
    for name in names:
        await host.run_container(name, sandbox=f"/netns/{name}")
    span = replace(WEB, host_port=9000, host_port_end=9009)
    outcomes = await asyncio.gather(
        *(host.publications.publish(RED, EndpointId(name), [span]) for name in names),
        return_exceptions=True,
    )
    refused = [each for each in outcomes if each is not None]
    assert [type(each) for each in refused] == [ConflictError] * 2
    assert sorted(port for _, port, _ in rules(host)) == list(range(9000, 9010))
    await asyncio.gather(*(host.endpoints.leave(RED, EndpointId(name)) for name in names))
    assert not host.ports.held()
    assert rules(host) == []


async def test_publishing_races_its_own_end_and_nothing_is_left(host: Host) -> None:
    await host.create_network()
    await host.run_container(FIRST)
    for _ in range(20):
        await asyncio.gather(
            host.publications.publish(RED, FIRST, [WEB, ANY]),
            host.reconciler.reconcile(),
            host.publications.revoke(RED, FIRST),
            host.publications.publish(RED, FIRST, [WEB]),
            host.publisher.look(mend=True),
        )
        assert {each.at for each in records(host)} == set(host.ports.held())
        await asyncio.gather(host.endpoints.leave(RED, FIRST), host.reconciler.reconcile())
        assert not host.ports.held()
        assert rules(host) == []
        await host.endpoints.join(RED, FIRST, "/netns/one")


async def test_a_port_whose_relay_cannot_be_made_is_not_held_halfway(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    await dual(host, RED, 1, FIRST, "/netns/one")
    failing(host.ports, "relay")
    with pytest.raises(UnavailableError):
        await host.publications.publish(RED, FIRST, [WEB])
    assert not host.ports.held()
    await host.publications.publish(RED, FIRST, [WEB])
    again = await host.restart()
    await again.ports.release(at(8080, "::"))
    failing(again.ports, "relay")
    found = await again.publisher.look(mend=True)
    assert "relay did not answer" in found.failed[0]
    assert set(again.ports.held()) == {at(8080)}
    assert (await again.publisher.look(mend=True)).mended
    assert again.ports.relays
    await again.stop()


async def test_a_networks_binding_is_the_default_address(host: Host) -> None:
    await host.create_network(bindings=(IPAddress("127.0.0.1"),))
    await host.run_container(FIRST)
    elsewhere = replace(DNS, host_address=IPAddress("0.0.0.0"))
    await host.publications.publish(RED, FIRST, [WEB, elsewhere])
    assert rules(host) == [("127.0.0.1", 8080, "10.1.0.2"), ("0.0.0.0", 5353, "10.1.0.2")]
