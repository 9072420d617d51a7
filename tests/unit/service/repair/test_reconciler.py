import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from netaddr import EUI

from ovsdriver.domain.records import names
from ovsdriver.domain.records.options.port_options import PortKind
from ovsdriver.domain.wires.observed import ObservedPort
from ovsdriver.service.repair.reconciler import Repairs
from tests.builders import BLUE, FIRST, OWNER, RED
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host

GATEWAY = names.gateway_link(RED)
HOST = names.host_link(FIRST)
SANDBOX = "/netns/one"


async def test_all_is_as_recorded_and_nothing_is_done(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    await host.reconciler.reconcile()  # notes what the offload was set for
    before = list(host.switch.calls)
    found = await host.reconciler.reconcile()
    assert (found.mended, found.failed, found.beyond) == ((), (), ())
    assert host.switch.calls == before


async def test_a_lost_database_comes_back_from_the_records(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    host.switch.drop_bridge("br-ovsnet")
    host.links.drop_link(GATEWAY)
    host.links.drop_link("br-ovsnet")
    again = await host.restart()
    await again.reconciler.reconcile()
    assert again.switch.port(HOST) is not None
    assert again.switch.port(GATEWAY) is not None
    assert [str(a) for a in (await again.links.links())[GATEWAY].addresses] == ["10.1.0.1/24"]
    await again.stop()


async def test_a_flushed_firewall_is_built_again(host: Host) -> None:
    await host.create_network()
    host.firewall.lose()
    found = await host.reconciler.reconcile()
    assert host.firewall.plan.gateways
    assert found.mended == ("firewall: ovsnet's table was not as it should be",)


async def test_rules_that_a_call_is_just_making_are_no_repair(host: Host) -> None:
    await host.create_network()
    record = host.state.network(RED)
    assert record is not None
    await host.state.put_network(replace(record, ended=True))
    assert not [each for each in (await host.reconciler.look()).found if "ovsnet's table" in each]
    found = await host.reconciler.reconcile()
    assert not [each for each in found.mended if "ovsnet's table" in each]
    host.firewall.lose()
    await host.create_network()
    host.firewall.lose()
    assert [each for each in (await host.reconciler.look()).found if "ovsnet's table" in each]


async def test_a_creation_that_the_look_waited_for_is_no_repair(host: Host) -> None:
    await host.create_network()
    record = host.state.network(RED)
    assert record is not None
    await host.state.put_network(replace(record, made=False))
    async with host.locks.held(RED):
        looking = asyncio.create_task(host.reconciler.reconcile())
        await asyncio.sleep(0.1)
        await host.state.put_network(record)
    found = await looking
    assert found.mended == ()
    assert host.state.network(RED) == record


async def test_the_firewall_is_built_again_even_without_open_vswitch(host: Host) -> None:
    await host.create_network()
    host.firewall.lose()
    host.switch.available = False
    found = await host.reconciler.reconcile()
    assert host.firewall.plan.gateways
    assert "bridges and ports wait" in found.failed[0]


async def test_a_port_deleted_by_hand_comes_back(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    host.switch.drop_port(HOST)
    found = await host.reconciler.reconcile()
    assert host.switch.port(HOST) is not None
    assert "is not there" in found.mended[0]


async def test_one_repair_that_fails_does_not_keep_the_others_from_happening(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    await host.create_network(RED)
    await host.create_network(BLUE)
    for network in (RED, BLUE):
        host.switch.drop_port(names.gateway_link(network))
    failing(host.switch, "ensure_port")
    found = await host.reconciler.reconcile()
    assert (len(found.mended), len(found.failed)) == (1, 1)
    again = await host.reconciler.reconcile()
    assert (len(again.mended), len(again.failed)) == (1, 0)


async def test_offload_follows_when_vswitchd_starts_with_tso(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    await host.reconciler.reconcile()
    mac = EUI("0a:0f:0a:01:00:02")
    assert host.links.sandboxes[SANDBOX].tx_offload[mac] is False
    host.links.drop_link("br-ovsnet")
    host.links.add_tap("br-ovsnet", tso=True)
    found = await host.reconciler.reconcile()
    assert host.links.sandboxes[SANDBOX].tx_offload[mac] is True
    assert any("userspace TSO" in text for text in found.mended)


async def test_a_bridge_that_nobody_holds_is_told_and_the_rest_goes_on(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    host.links.drop_link("br-ovsnet")
    host.links.add_tap("br-ovsnet", tso=None)
    host.switch.drop_port(HOST)
    found = await host.reconciler.reconcile()
    assert any("checksum offload" in text for text in found.failed)


async def test_purge_removes_what_is_marked_and_nothing_else(host: Host) -> None:
    host.switch.put_bridge(foreign_bridge("br-theirs"))
    theirs = ObservedPort(name="tap0", bridge="br-theirs", tag=9, external_ids={})
    host.switch.put_port(theirs)
    host.links.add_link("veth0", kind="veth")
    await host.create_network()
    await host.run_container()
    purged = await host.purge.run(switch_wait_s=1.0)
    assert purged.failed == ()
    assert set(purged.ports) == {HOST, GATEWAY}
    assert purged.bridges == ("br-ovsnet",)
    assert host.state.networks() == ()
    assert host.ipam.pools() == ()
    assert host.firewall.plan.gateways == ()
    assert set(host.switch.bridges()) == {"br-theirs"}
    assert host.switch.port("tap0") == theirs
    assert "veth0" in await host.links.links()


async def test_a_purge_that_fails_keeps_the_records_for_the_next_one(host: Host) -> None:
    await host.create_network()
    host.switch.available = False
    purged = await host.purge.run(switch_wait_s=0.1)
    assert purged.failed
    assert host.state.networks()
    host.switch.available = True
    assert (await host.purge.run(switch_wait_s=1.0)).failed == ()
    assert host.switch.bridges() == {}


async def test_the_reconciler_looks_when_poked(host: Host) -> None:
    await host.create_network()
    looked = asyncio.Event()
    reconcile = host.reconciler.reconcile

    async def noted() -> object:
        found = await reconcile()
        looked.set()
        return found

    host.reconciler.reconcile = noted  # type: ignore[method-assign,assignment]
    host.switch.on_change(host.reconciler.poke)
    task = asyncio.create_task(host.reconciler.run())
    try:
        async with asyncio.timeout(10):
            await looked.wait()
            looked.clear()
            host.switch.drop_port(GATEWAY)
            await looked.wait()
    finally:
        task.cancel()
    assert host.switch.port(GATEWAY) is not None


@asynccontextmanager
async def watching(host: Host) -> AsyncIterator[list[Repairs]]:
    """Run the reconciler and collect what its looks find."""
    looks: list[Repairs] = []
    reconcile = host.reconciler.reconcile

    async def noted() -> Repairs:
        looks.append(await reconcile())
        return looks[-1]

    host.reconciler.reconcile = noted  # type: ignore[method-assign]
    host.switch.on_change(host.reconciler.poke)
    task = asyncio.create_task(host.reconciler.run())
    try:
        await until(lambda: bool(looks))
        yield looks
    finally:
        task.cancel()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def settled() -> None:
    """Give a reconciler that waits for nothing time to look several times."""
    for _ in range(50):
        await asyncio.sleep(0.001)


async def test_containers_that_come_and_go_are_no_reason_to_look_at_everything(
    host: Host,
) -> None:
    await host.create_network()
    async with watching(host) as looks:
        await settled()
        before = len(looks)
        for _ in range(3):
            await host.run_container()
            await settled()
            await host.endpoints.leave(RED, FIRST)
            await settled()
            await host.endpoints.delete(RED, FIRST)
            await settled()
        assert len(looks) == before


async def test_a_container_s_port_that_goes_without_a_call_is_a_reason(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    async with watching(host) as looks:
        await settled()
        before = len(looks)
        host.switch.drop_port(HOST)
        await until(lambda: len(looks) > before)
        assert host.switch.port(HOST) is not None
        assert "is not there" in looks[before].mended[0]


async def test_a_port_of_a_container_that_is_not_in_the_records_is_a_reason(host: Host) -> None:
    await host.create_network()
    await host.run_container()
    stray = host.switch.port(HOST)
    assert stray is not None
    await host.endpoints.leave(RED, FIRST)
    await host.endpoints.delete(RED, FIRST)
    async with watching(host) as looks:
        await settled()
        before = len(looks)
        host.switch.put_port(stray)
        await until(lambda: len(looks) > before)
        assert "has no record" in looks[-1].beyond[0]


async def test_a_firewall_that_fails_does_not_keep_ports_from_coming_back(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    await host.create_network()
    await host.run_container()
    host.switch.drop_port(HOST)
    failing(host.firewall, "ensure")
    found = await host.reconciler.reconcile()
    assert host.switch.port(HOST) is not None
    assert found.failed == ("firewall: ensure did not answer",)


async def test_nothing_is_looked_at_while_it_is_paused(host: Host) -> None:
    await host.create_network()
    async with host.reconciler.paused():
        looking = asyncio.create_task(host.reconciler.reconcile())
        await asyncio.sleep(0.02)
        assert not looking.done()
    await looking


async def test_the_vlan_of_an_internal_port_is_put_right(host: Host) -> None:
    tap = names.internal_link(FIRST)
    await host.create_network(kind=PortKind.INTERNAL)
    await host.run_container()
    port = host.switch.port(tap)
    assert port is not None
    host.switch.put_port(replace(port, tag=5, ifindex=0))
    found = await host.reconciler.reconcile()
    port = host.switch.port(tap)
    assert port is not None
    assert port.tag == 1
    assert "has VLAN 5, not 1" in found.mended[0]
    assert tap not in await host.links.links()


async def test_what_happens_to_a_gateway_is_a_reason_to_look_only_if_it_is_amiss(
    host: Host,
) -> None:
    await host.create_network()
    host.firewall.on_gateway(host.reconciler.doubt)
    async with watching(host) as looks:
        host.firewall.tell_of(GATEWAY)
        host.firewall.tell_of("ovg000000000000")
        await settled()
        assert len(looks) == 1, "the first look"
        host.links.drop_link(GATEWAY)
        host.firewall.looked_at_again.clear()
        await settled()
        assert len(looks) == 1, "nobody told"
        host.firewall.tell_of(GATEWAY)
        await until(lambda: len(looks) >= 2)
    assert GATEWAY in await host.links.links()
    assert host.firewall.looked_at_again == [GATEWAY], "the new device's switches"


async def test_a_bridges_device_that_vswitchd_left_is_told_by_a_dry_run_and_deleted_by_a_look(
    host: Host,
) -> None:
    host.links.add_link("br-old", kind="tun", alias=names.bridge_alias(OWNER, "br-old"))
    told = "device br-old: its bridge was removed while ovs-vswitchd was away"
    assert (await host.reconciler.look()).found == (told,)
    assert "br-old" in await host.links.links()
    assert (await host.reconciler.reconcile()).mended == (told,)
    assert "br-old" not in await host.links.links()


async def test_a_bridges_device_that_vswitchd_left_is_purged(host: Host) -> None:
    host.links.add_link("br-old", kind="tun", alias=names.bridge_alias(OWNER, "br-old"))
    held = names.bridge_alias(OWNER, "br-held")
    host.links.add_link("br-held", kind="tun", alias=held, carrier=True)
    assert (await host.purge.run(switch_wait_s=1.0)).links == ("br-old",)
    assert "br-held" in await host.links.links()
