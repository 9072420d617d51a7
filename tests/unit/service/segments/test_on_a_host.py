"""A host of a fleet, with all of its services: what Docker asks, what is set, what is lost."""

from pathlib import Path
from typing import Any

import pytest
from netaddr import IPAddress

from ipam import AddressRequest, IpamError, LeaseKind, PoolRequest
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.requests import NewNetwork, OfferedSubnet
from ovsdriver.domain.records.segments import space_of
from ovsdriver.errors import (
    ConflictError,
    InvalidOptionError,
    UnavailableError,
    UnsupportedError,
)
from ovsdriver.ports import SegmentPool
from ovsdriver.service.fleet.debts import Debts
from ovsdriver.service.segments.ports import SegmentPorts
from ovsdriver.words import options as typed
from ovsdriver.words.changes import OtherOptions
from tests.builders import BLUE, FIRST, RED
from tests.fakes.northbound import FakeCentral
from tests.unit.service.conftest import Host
from tests.unit.service.segments.on_blue import SUBNET, container, network, northbound

ADDRESS = IPAddress("10.50.0.2")


def _folder(beside: Path) -> Path:
    other = beside / "other"
    other.mkdir()
    return other


async def test_a_containers_port_stands_for_its_lease(member: Host) -> None:
    await network(member)
    await container(member)
    port = member.switch.port(names.host_link(EndpointId(FIRST)))
    assert port is not None
    assert port.external_ids["iface-id"] == "blue/10.50.0.2"
    lease = northbound(member).lease("blue", ADDRESS)
    assert lease is not None
    assert lease.port is not None
    assert (lease.port.guard, lease.port.endpoint, lease.host) == (True, FIRST, "host1")


async def test_an_option_that_is_set_is_in_force_at_once(member: Host) -> None:
    await network(member)
    await container(member)
    wish = OtherOptions(typed={"ovs.guard": "false"})
    await member.changes.endpoint(EndpointId(FIRST), wish)
    lease = northbound(member).lease("blue", ADDRESS)
    assert lease is not None
    assert lease.port is not None
    assert not lease.port.guard


async def test_what_holds_on_all_hosts_is_not_set_on_one(member: Host) -> None:
    await network(member)
    with pytest.raises(UnsupportedError, match="hold on all its hosts"):
        await member.changes.network(NetworkId(RED), OtherOptions(typed={"ovs.mtu": "1400"}))
    with pytest.raises(Exception, match="on a segment"):
        await member.changes.network(NetworkId(RED), OtherOptions(typed={"ovs.vlan": "30"}))


async def test_what_was_inherited_stays_when_something_else_is_set(member: Host) -> None:
    northbound(member).rival = {"mtu": "1400", "guard": "false"}
    await network(member)
    await member.changes.network(NetworkId(RED), OtherOptions(typed={"ovs.delay": "20ms"}))
    found = member.state.network(NetworkId(RED))
    assert found is not None
    assert (found.mtu, found.port.guard) == (1400, False)


async def test_a_host_has_one_network_on_a_segment(member: Host) -> None:
    await network(member)
    with pytest.raises(ConflictError, match="is on it already"):
        await network(member, BLUE)


async def test_what_another_host_was_first_to_say_is_planned_with_once(member: Host) -> None:
    northbound(member).rival = {"mtu": "1400", "guard": "false", "of-a-later-version": "yes"}
    await network(member)
    found = member.state.network(NetworkId(RED))
    assert found is not None
    assert (found.mtu, found.port.guard) == (1400, False)
    assert northbound(member).calls.count("describe blue") == 1


async def test_an_internal_network_of_a_segment_has_no_gateway(member: Host) -> None:
    pool = await member.ipam.request_pool(PoolRequest(space=space_of("blue"), subnet=SUBNET))
    gateway = IPAddress("10.50.0.7")
    await member.ipam.request_address(
        AddressRequest(pool=pool.id, kind=LeaseKind.GATEWAY, address=gateway)
    )
    new = NewNetwork(
        id=NetworkId(RED),
        subnets=(OfferedSubnet(space="ovsnet", cidr=SUBNET, gateway=gateway),),
        internal=True,
        options=typed.network({"ovs.segment": "blue"}, internal=True),
    )
    with pytest.raises(InvalidOptionError, match="internal network has no gateway"):
        await member.networks.create(new)


async def test_of_two_pools_that_wait_for_a_network_none_is_taken(member: Host) -> None:
    await member.ipam.request_pool(PoolRequest(space=space_of("blue"), subnet=SUBNET))
    with pytest.raises(ConflictError, match=r"two networks of this host .* of segment:blue"):
        await network(member)


async def test_a_port_that_ovn_does_not_take_is_taken_back(member: Host) -> None:
    await network(member)
    member.switch.unbound = {"ovh111111111111", *(f"ovh{FIRST[:12]}",)}
    with pytest.raises(UnavailableError, match="OVN has not taken port"):
        await container(member)
    assert member.switch.port(names.host_link(EndpointId(FIRST))) is None


async def test_a_port_that_ovn_does_not_take_any_more_is_told(member: Host) -> None:
    await network(member)
    await container(member)
    assert not (await member.reconciler.reconcile()).beyond
    member.switch.unbound = {names.host_link(EndpointId(FIRST))}
    for available in (True, False):
        northbound(member).available = available
        (told,) = (await member.reconciler.reconcile()).beyond
        assert "OVN has not taken its port" in told


async def test_on_a_wire_ovn_is_told_of_no_rate(member: Host) -> None:
    member.links.add_link("eth1")
    await network(member, **{"ovs.uplink": "eth1", "ovs.vlan": "30"})
    await container(member, **{"ovs.rate": "1mbit", "ovs.protected": "true"})
    await member.reconciler.reconcile()
    lease = northbound(member).lease("blue", ADDRESS)
    assert lease is not None
    assert lease.port is not None
    assert (lease.port.endpoint, lease.port.sent, lease.port.apart) == (FIRST, None, False)


async def test_rows_that_were_lost_are_made_again(member: Host) -> None:
    await network(member)
    await container(member)
    before = northbound(member).lease("blue", ADDRESS)
    await northbound(member).forget_host("host1")
    assert not northbound(member).segments()
    await member.reconciler.reconcile()
    after = northbound(member).lease("blue", ADDRESS)
    assert before is not None
    assert after is not None
    assert (after.serial, after.port, after.host) == (before.serial, before.port, "host1")
    assert northbound(member).segments()["blue"].described
    assert not (await member.reconciler.look()).found


def losses(host: Host) -> list[None]:
    """Return what grows whenever a repair is asked for."""
    asked: list[None] = []
    SegmentPorts(
        state=host.state,
        northbound=northbound(host),
        switch=host.switch,
        links=host.links,
        locks=host.locks,
        host=lambda: "host1",
    ).on_loss(lambda: asked.append(None))
    return asked


async def test_a_row_that_is_lost_alone_is_looked_for_at_once(member: Host) -> None:
    await network(member)
    await container(member)
    asked = losses(member)
    row = northbound(member).lease("blue", ADDRESS)
    assert row is not None
    await northbound(member).release("blue", ADDRESS, row.serial)
    assert asked
    await member.reconciler.reconcile()
    again = northbound(member).lease("blue", ADDRESS)
    assert again is not None
    assert (again.serial, again.port) == (row.serial, row.port)


async def test_an_address_that_docker_gave_back_after_a_power_failure_is_not_taken_again(
    member: Host,
) -> None:
    await network(member)
    await container(member)
    (pool,) = member.ipam.pools()
    member.links.end_sandbox("/netns/one")
    await northbound(member).forget_host("host1")
    await member.ipam.release_address(pool.id, ADDRESS)
    await member.reconciler.reconcile()
    assert northbound(member).lease("blue", ADDRESS) is None
    lease = await member.ipam.request_address(AddressRequest(pool=pool.id, address=ADDRESS))
    assert lease.address == ADDRESS
    assert "was given to host" not in str((await member.reconciler.look()).found)


async def test_a_row_that_goes_with_its_container_is_not_looked_for(member: Host) -> None:
    await network(member)
    await container(member)
    asked = losses(member)
    row = northbound(member).lease("blue", ADDRESS)
    assert row is not None
    await member.endpoints.leave(NetworkId(RED), EndpointId(FIRST))
    await northbound(member).release("blue", ADDRESS, row.serial)
    assert not asked


async def test_an_address_that_was_given_away_is_told_and_left(member: Host) -> None:
    await network(member)
    await container(member)
    await northbound(member).forget_host("host1")
    other = await Host.start(_folder(member.path), central=northbound(member).central)
    try:
        other.switch.system_id, other.switch.integration = "host2", "br-int"
        pool = await other.ipam.request_pool(PoolRequest(space=space_of("blue"), subnet=SUBNET))
        await other.ipam.request_address(AddressRequest(pool=pool.id, address=ADDRESS))
    finally:
        await other.stop()
    report = await member.reconciler.reconcile()
    assert any("was given to host host2" in each for each in report.beyond)
    lease = northbound(member).lease("blue", ADDRESS)
    assert lease is not None
    assert lease.host == "host2"


async def test_a_host_that_is_in_no_fleet_any_more_forgets_nothing(member: Host) -> None:
    await network(member)
    central = northbound(member).central
    await member.stop()
    outside = await Host.start(member.path, member)
    try:
        await outside.reconciler.reconcile()
        assert outside.state.network(NetworkId(RED)) is not None
        with pytest.raises(UnsupportedError, match="segment blue: this host is in no fleet"):
            await network(outside, BLUE)
        await outside.networks.delete(NetworkId(RED))
        assert not outside.ipam.pools()
    finally:
        await outside.stop()
    again = await Host.start(member.path, outside, central=central)
    try:
        assert central.segments
        debts = Debts(notes=again.state, northbound=northbound(again))
        for debt in debts.waiting():
            await debts.settle(debt)
        assert not central.segments
    finally:
        await again.stop()


async def test_an_address_that_is_released_outside_the_fleet_is_noted(member: Host) -> None:
    await network(member)
    await container(member)
    central = northbound(member).central
    await member.stop()
    outside = await Host.start(member.path, member)
    try:
        await outside.endpoints.leave(NetworkId(RED), EndpointId(FIRST))
        await outside.endpoints.delete(NetworkId(RED), EndpointId(FIRST))
        (pool,) = outside.ipam.pools()
        assert await outside.ipam.release_address(pool.id, ADDRESS)
    finally:
        await outside.stop()
    again = await Host.start(member.path, outside, central=central)
    try:
        assert central.leases["blue"]
        debts = Debts(notes=again.state, northbound=northbound(again))
        for debt in debts.waiting():
            await debts.settle(debt)
        assert not central.leases["blue"]
    finally:
        await again.stop()


async def test_a_restart_without_the_database_removes_nothing(member: Host) -> None:
    await network(member)
    await container(member)
    northbound(member).available = False
    again = await member.restart()
    try:
        northbound(again).central = FakeCentral()  # nothing is known of it
        northbound(again).available = False
        await again.reconciler.reconcile()
        assert again.state.network(NetworkId(RED)) is not None
        assert again.state.endpoint(EndpointId(FIRST)) is not None
        assert again.switch.bridges()["br-int"].ports
    finally:
        await again.stop()


async def test_a_purge_takes_back_what_a_removed_network_still_owes(member: Host) -> None:
    await network(member)
    northbound(member).available = False
    await member.networks.delete(NetworkId(RED))
    assert not member.ipam.pools()

    assert (await member.purge.run(switch_wait_s=1.0)).failed
    northbound(member).available = True
    assert northbound(member).segments()
    assert not (await member.purge.run(switch_wait_s=1.0)).failed

    assert not northbound(member).segments()


async def test_a_purge_without_records_takes_back_what_is_under_the_hosts_name(
    member: Host,
) -> None:
    await network(member)
    await container(member)
    northbound(member).available = False
    purged = await member.purge_unread("gone")
    assert any("northbound database does not answer" in each for each in purged.failed)
    northbound(member).available = True

    assert not (await member.purge_unread("gone")).failed

    assert not northbound(member).segments()


async def test_a_purge_needs_no_fleet_where_nothing_is_of_one(member: Host) -> None:
    northbound(member).available = False
    assert not (await member.purge.run(switch_wait_s=1.0)).failed


async def test_ports_that_were_lost_with_their_rows_are_mended_after_them(member: Host) -> None:
    await network(member)
    await container(member)
    port = names.host_link(EndpointId(FIRST))
    await northbound(member).forget_host("host1")
    member.switch.drop_port(port)
    member.switch.unbound = {port}

    report = await member.reconciler.reconcile()

    assert not report.failed
    pool, row, plugged, *_ = report.mended
    assert "this host's pool" in pool
    assert "its rows in OVN's northbound database" in row
    assert port in plugged
    assert member.switch.port(port) is not None


async def test_an_address_on_which_a_container_runs_is_not_given_though_its_row_is_lost(
    member: Host,
) -> None:
    await network(member)
    await container(member)
    (pool,) = member.ipam.pools()
    member.reconciler._wanted = False
    await northbound(member).forget_host("host1")
    assert member.reconciler._wanted
    await northbound(member).hold("blue", SUBNET, SegmentPool(id=pool.id, host="host1"))
    with pytest.raises(IpamError, match="a container of this host runs on it"):
        await member.ipam.request_address(AddressRequest(pool=pool.id, address=ADDRESS))
    lease = await member.ipam.request_address(AddressRequest(pool=pool.id))
    assert str(lease.address) == "10.50.0.3"
    member.links.end_sandbox("/netns/one")
    lease = await member.ipam.request_address(AddressRequest(pool=pool.id))
    assert lease.address == ADDRESS


async def test_a_pool_that_is_released_while_it_is_looked_for_is_not_held_again(
    member: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await network(member)
    (pool,) = member.ipam.pools()
    central = northbound(member)
    await central.forget_host("host1")
    held = central.hold

    async def slow(*arguments: Any) -> Any:
        stands = await held(*arguments)
        await member.ipam.release_pool(pool.id)
        return stands

    monkeypatch.setattr(central, "hold", slow)
    await member.reconciler.reconcile()
    assert not central.segments()


async def test_a_dead_container_ends_with_its_address_while_the_database_is_away(
    member: Host,
) -> None:
    await network(member)
    await container(member)
    found = member.state.network(NetworkId(RED))
    assert found is not None
    assert found.subnets[0].pool is not None
    northbound(member).available = False
    await member.endpoints.release(found.subnets[0].pool, ADDRESS)
    assert member.state.endpoint(EndpointId(FIRST)) is not None
    member.links.end_sandbox("/netns/one")
    await member.endpoints.release(found.subnets[0].pool, ADDRESS)
    assert member.state.endpoint(EndpointId(FIRST)) is None


async def test_an_address_is_waited_for_while_nothing_is_known_of_the_fleet(
    member: Host,
) -> None:
    await network(member)
    (pool,) = member.ipam.pools()
    lease = await member.ipam.request_address(AddressRequest(pool=pool.id))
    central = northbound(member).central
    northbound(member).central = FakeCentral()
    northbound(member).available = False
    with pytest.raises(UnavailableError, match="does not answer"):
        await member.ipam.lease(pool.id, lease.address)
    northbound(member).central = central
    northbound(member).available = True
    assert await member.ipam.lease(pool.id, lease.address) == lease
