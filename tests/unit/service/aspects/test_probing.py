"""``ipam.probe`` over fakes: who asks, from where, and what is there of it on the host."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ipam import AddressError, AddressRequest, PoolRequest
from ipam.model import DEFAULT_SPACE
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.errors import UnavailableError
from tests.builders import FIRST, RED, SECOND
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host

PROBE = names.probe_link(RED)
GATEWAY = names.gateway_link(RED)
SQUATTER = EUI("02:00:00:00:00:07")
SECOND_ADDRESS = IPAddress("10.1.0.2")


async def flat(host: Host, **more: Any) -> None:
    """A network on somebody's bridge."""
    if "br-lab" not in host.switch.bridges():
        host.switch.put_bridge(foreign_bridge("br-lab"))
        host.links.add_tap("br-lab", tso=False)
    options = {"bridge": "br-lab", "vlan": VlanTag(30), "probe": True} | more
    await host.create_network(**options)


def squat(host: Host, link: str, address: str) -> None:
    host.links.answering[(link, IPAddress(address))] = SQUATTER


@pytest.mark.parametrize("options", [{}, {"mode": Mode.ISOLATED}, {"internal": True}])
async def test_a_segment_without_a_gateway_gets_a_port_to_ask_from(
    host: Host, options: dict[str, Any]
) -> None:
    await flat(host, **options)
    port = host.switch.port(PROBE)
    assert port is not None
    assert (port.bridge, port.tag, port.internal) == ("br-lab", 30, True)
    link = (await host.links.links())[PROBE]
    assert (link.up, link.addresses, link.mac) == (True, (), names.mac_for_probe(RED))
    assert host.firewall.plan.gateways == ()


async def test_a_nat_network_is_asked_from_its_gateway(host: Host) -> None:
    await host.create_network(probe=True)
    assert host.switch.port(PROBE) is None
    await host.create_endpoint()
    assert [link for link, *_ in host.links.asked] == [GATEWAY]


async def test_a_network_that_does_not_want_it_has_no_port_and_asks_nobody(host: Host) -> None:
    await flat(host, probe=False)
    await host.create_endpoint()
    assert host.switch.port(PROBE) is None
    assert host.links.asked == []


async def test_one_question_of_less_than_a_second_is_all_that_a_quiet_segment_costs(
    host: Host,
) -> None:
    await flat(host)
    await host.create_endpoint()
    ((link, addresses, within_s),) = host.links.asked
    assert (link, addresses) == (PROBE, (SECOND_ADDRESS,))
    assert within_s <= 0.5


async def test_addresses_of_live_endpoints_are_not_asked_for(host: Host) -> None:
    await flat(host)
    await host.create_endpoint(FIRST)
    await host.create_endpoint(SECOND)
    assert [addresses for _, addresses, _ in host.links.asked] == [
        (SECOND_ADDRESS,),
        (IPAddress("10.1.0.3"),),
    ]


async def test_who_answers_keeps_the_address_and_is_told_by_an_event(host: Host) -> None:
    await flat(host)
    squat(host, PROBE, "10.1.0.2")
    assert await host.create_endpoint() == IPAddress("10.1.0.3")
    events = await host.admin.events.after(0, limit=100)
    (conflict,) = [each for each in events if each.type == "conflict"]
    assert conflict.attributes["mac"] == "02:00:00:00:00:07"
    assert conflict.attributes["address"] == "10.1.0.2"
    assert conflict.network_id == host.state.networks()[0].id
    assert sum(within_s for _, _, within_s in host.links.asked) <= 1.0


async def test_an_address_that_was_asked_for_is_refused_with_the_mac(host: Host) -> None:
    await flat(host)
    squat(host, PROBE, "10.1.0.9")
    (pool,) = host.ipam.pools()
    with pytest.raises(AddressError, match=r"10\.1\.0\.9 .* in use .* by 02:00:00:00:00:07"):
        await host.ipam.request_address(AddressRequest(pool=pool.id, address=IPAddress("10.1.0.9")))


async def test_a_pool_that_no_network_of_ours_has_is_given_from_without_asking(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await host.ipam.request_pool(
        PoolRequest(space=DEFAULT_SPACE, subnet=IPNetwork("10.9.0.0/24"), probe=True)
    )
    with caplog.at_level(logging.DEBUG):
        lease = await host.ipam.request_address(AddressRequest(pool=pool.id))
    assert lease.address == IPAddress("10.9.0.2")
    assert host.links.asked == []
    assert [each.levelname for each in caplog.records if each.msg == "ipam.probe-nowhere"] == [
        "DEBUG"
    ]


async def test_a_question_that_cannot_be_asked_does_not_keep_containers_from_starting(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    await flat(host)
    host.links.drop_link(PROBE)
    with caplog.at_level(logging.WARNING):
        assert await host.create_endpoint() == SECOND_ADDRESS
    (told,) = [each for each in caplog.records if each.msg == "ipam.probe-failed"]
    assert PROBE in vars(told)["why"]


@pytest.mark.parametrize(("part", "method"), [("switch", "ensure_port"), ("links", "ensure_probe")])
async def test_nothing_stays_of_a_network_whose_port_could_not_be_made(
    host: Host, failing: Callable[[Any, str], None], part: str, method: str
) -> None:
    failing(getattr(host, part), method)
    with pytest.raises(UnavailableError, match="did not answer"):
        await flat(host)
    assert host.state.networks() == ()
    assert host.switch.port(PROBE) is None
    assert PROBE not in await host.links.links()


async def test_the_port_goes_with_its_network(host: Host) -> None:
    await flat(host)
    await host.networks.delete(RED)
    assert host.switch.port(PROBE) is None
    assert PROBE not in await host.links.links()
    assert "br-lab" in host.switch.bridges()


async def test_the_port_goes_with_a_purge(host: Host) -> None:
    await flat(host)
    purged = await host.purge.run(switch_wait_s=1.0)
    assert (purged.ports, purged.failed) == ((PROBE,), ())
    assert PROBE not in await host.links.links()


async def test_a_port_deleted_by_hand_comes_back(host: Host) -> None:
    await flat(host)
    host.switch.drop_port(PROBE)
    found = await host.reconciler.reconcile()
    assert host.switch.port(PROBE) is not None
    assert found.mended == (f"network {RED[:12]}: port {PROBE} is not there",)
    assert (await host.reconciler.reconcile()).mended == ()


async def test_an_address_that_the_host_got_on_the_port_is_taken_away(host: Host) -> None:
    await flat(host)
    host.links.add_address(PROBE, "10.1.0.77/24")
    found = await host.reconciler.reconcile()
    assert (await host.links.links())[PROBE].addresses == ()
    assert "10.1.0.77/24, which ovsnet did not set" in found.mended[0]


async def test_the_port_comes_back_after_a_reboot_that_lost_the_database(host: Host) -> None:
    await host.create_network(probe=True, mode=Mode.FLAT)
    host.switch.drop_bridge("br-ovsnet")
    host.links.drop_link(PROBE)
    host.links.drop_link("br-ovsnet")
    again = await host.restart()
    await again.reconciler.reconcile()
    assert (await again.links.links())[PROBE].up
    squat(again, PROBE, "10.1.0.2")
    assert await again.create_endpoint() == IPAddress("10.1.0.3")
    await again.stop()
