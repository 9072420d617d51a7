"""The switch adapter against a real Open vSwitch that is stopped, frozen, killed and emptied."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from netaddr import EUI

from ovsdriver.adapters.ovs.rows import OvsSwitch, device_index
from ovsdriver.adapters.ovs.rows.bridges import RemoveBridge
from ovsdriver.adapters.ovs.rows.rows import WATCHED
from ovsdriver.adapters.ovsdb import Operation, OvsdbClient, Replica
from ovsdriver.domain.records import names
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.domain.records.segments import Datapath, HostPlace
from ovsdriver.domain.wires.plumbing import Bridge, Port, UplinkPort
from ovsdriver.errors import ConflictError, UnavailableError, UnsupportedError
from ovsdriver.ports import SwitchStatus
from tests.integration.conftest import PATIENCE_S
from tests.integration.ovs import PrivateOvs, eventually, running_switch

pytestmark = [pytest.mark.ovs, pytest.mark.netns]

BRIDGE = Bridge(name="brt", datapath=Datapath.NETDEV, owned=True)


def internal(name: str, tag: int = 7) -> Port:
    return Port(name=name, bridge="brt", tag=VlanTag(tag), internal=True)


def plugged(name: str, tag: int = 7) -> Port:
    return Port(name=name, bridge="brt", tag=VlanTag(tag))


def ports(ovs: PrivateOvs) -> set[str]:
    return set(ovs.vsctl("--no-wait", "list-ports", "brt").split())


@asynccontextmanager
async def hasty(ovs: PrivateOvs, **settings: Any) -> AsyncIterator[OvsSwitch]:
    """An adapter that gives up soon, for calls that should fail."""
    async with running_switch(ovs, timeout_s=1.0, **settings) as switch:
        yield switch


async def until_taken(switch: OvsSwitch, port: Port) -> None:
    """Ask again and again, as dockerd's user would."""
    give_up = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            return await switch.ensure_port(port)
        except UnavailableError:
            if asyncio.get_running_loop().time() > give_up:
                raise


async def test_a_hundred_ports_at_once_share_a_few_transactions(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    before = ovs_switch.transactions

    await asyncio.gather(*(ovs_switch.ensure_port(internal(f"it{n}")) for n in range(100)))

    assert ovs_switch.transactions - before <= 5
    assert ports(ovs) == {f"it{n}" for n in range(100)}
    assert {row["tag"] for row in ovs.rows("Port", "name", "tag") if row["name"] != "brt"} == {7}


async def test_next_cfg_is_left_alone(ovs: PrivateOvs, ovs_switch: OvsSwitch) -> None:
    before = ovs.rows("Open_vSwitch", "next_cfg")

    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1"))
    await ovs_switch.remove_port("it1")

    assert ovs.rows("Open_vSwitch", "next_cfg") == before


async def test_every_row_we_make_carries_our_mark(ovs: PrivateOvs, ovs_switch: OvsSwitch) -> None:
    ovs.add_veth("vt1", "vp1")

    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1"))
    await ovs_switch.ensure_port(plugged("vt1"))

    for table in ("Bridge", "Port", "Interface"):
        for row in ovs.rows(table, "name", "external_ids"):
            assert [names.OWNER_KEY, "ovsnet"] in row["external_ids"][1], (table, row["name"])


async def test_no_port_we_make_has_an_empty_tag(ovs: PrivateOvs, ovs_switch: OvsSwitch) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1", tag=0))

    rows = {row["name"]: row for row in ovs.rows("Port", "name", "tag", "vlan_mode")}

    assert rows["it1"] == {"name": "it1", "tag": 0, "vlan_mode": "access"}
    assert rows["brt"] == {"name": "brt", "tag": 4095, "vlan_mode": "access"}


async def test_frames_stay_in_their_vlan_and_off_the_local_port(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    for name, tag in (("a7", 7), ("b7", 7), ("a0", 0), ("b0", 0), ("a8", 8)):
        await ovs_switch.ensure_port(internal(name, tag))
    assert ovs.links()["brt"]["operstate"] == "DOWN"
    for name in ("a7", "b7", "a0", "b0", "a8", "brt"):
        ovs.ip("link", "set", name, "up")

    assert ovs.reached("a7", "b7", "a0", "b0", "a8", "brt") == {"b7"}
    assert ovs.reached("a0", "b0", "a7", "b7", "a8", "brt") == {"b0"}


async def test_the_local_port_reaches_nobody(ovs: PrivateOvs, ovs_switch: OvsSwitch) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    for name, tag in (("a7", 7), ("a0", 0)):
        await ovs_switch.ensure_port(internal(name, tag))
    ovs.vsctl(
        "add-port", "brt", "spy", "tag=4095", "--", "set", "Interface", "spy", "type=internal"
    )
    for name in ("a7", "a0", "spy", "brt"):
        ovs.ip("link", "set", name, "up")

    assert ovs.reached("brt", "spy", "a7", "a0") == {"spy"}


async def test_a_local_port_that_somebody_opened_is_closed_again(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    ovs.vsctl("clear", "Port", "brt", "tag", "vlan_mode", "--", "set-fail-mode", "brt", "secure")

    await eventually(lambda: ovs_switch.bridges()["brt"].fail_mode == "secure", "seen")
    await ovs_switch.ensure_bridge(BRIDGE)

    assert ovs.rows("Port", "tag", "vlan_mode") == [{"tag": 4095, "vlan_mode": "access"}]
    assert ovs.rows("Bridge", "fail_mode") == [{"fail_mode": "standalone"}]


async def test_the_gateway_port_gets_its_mac_and_mtu(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)

    await ovs_switch.ensure_port(replace(internal("it1"), mac=EUI("0a:0f:0a:28:00:01"), mtu=1400))

    def right() -> bool:
        link = ovs.links().get("it1", {})
        return link.get("address") == "0a:0f:0a:28:00:01" and link.get("mtu") == 1400

    await eventually(right, "vswitchd has set MAC and MTU")


async def test_rows_of_other_people_are_left_as_they_were(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    ovs.vsctl("add-br", "theirs", "--", "set", "Bridge", "theirs", "datapath_type=netdev")
    ovs.vsctl("add-port", "theirs", "tr", "--", "set", "Interface", "tr", "type=internal")
    ovs.vsctl("set", "Port", "tr", "trunks=5,6", "external_ids:ovsnet-owner=another")

    def theirs() -> list[str]:
        rows = [row for table in ("Bridge", "Port", "Interface") for row in ovs.rows(table)]
        # vswitchd refreshes these every few seconds
        kept = [{key: row[key] for key in row.keys() - {"statistics", "status"}} for row in rows]
        return sorted(str(sorted(row.items())) for row in kept if row["name"] in ("theirs", "tr"))

    before = theirs()
    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1"))
    await eventually(lambda: ovs_switch.port("tr"), "their port is seen")
    assert not await ovs_switch.remove_port("tr")
    assert await ovs_switch.remove_port("it1")
    assert await ovs_switch.remove_bridge("brt")

    assert len(before) == 5
    assert theirs() == before


async def test_keys_that_others_add_to_our_marks_stay(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1"))
    ovs.vsctl("set", "Port", "it1", "external_ids:note=keep", "external_ids:iface-id=wrong")

    await eventually(lambda: "note" in ovs_switch.bridges()["brt"].ports[0].external_ids, "seen")
    await ovs_switch.ensure_port(replace(internal("it1"), external_ids={"iface-id": "right"}))

    port = ovs_switch.port("it1")
    assert port is not None
    assert port.external_ids == {names.OWNER_KEY: "ovsnet", "note": "keep", "iface-id": "right"}


async def test_a_device_made_again_is_plugged_in_again(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1"))
    ovs.ip("link", "set", "it1", "up")
    ovs.add_veth("vt1", "vp1")
    await ovs_switch.ensure_port(plugged("vt1"))
    ovs.ip("link", "del", "vt1")
    ovs.add_veth("vt1", "vp1")

    # Open vSwitch shows the new device's index and a good ofport, and holds the dead device.
    def index_shown() -> bool:
        port = ovs_switch.port("vt1")
        return port is not None and port.ifindex == ovs.link_index("vt1")

    await eventually(index_shown, "the index of the new device")
    await ovs_switch.ensure_port(plugged("vt1"))

    assert ovs.reached("vp1", "it1") == {"it1"}
    [row] = [row for row in ovs.rows("Interface", "name", "ofport_request") if row["name"] == "vt1"]
    assert row["ofport_request"] == ["set", []]
    before = ovs_switch.transactions
    await ovs_switch.ensure_port(plugged("vt1"))
    assert ovs_switch.transactions == before


async def test_a_new_device_of_a_name_server_is_plugged_in_by_a_new_row(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    def interface() -> dict[str, object]:
        columns = ("_uuid", "name", "ofport", "ofport_request")
        [row] = [row for row in ovs.rows("Interface", *columns) if row["name"] == "vt1"]
        return row

    server = replace(plugged("vt1"), external_ids=names.server_ids("ovsnet", "blue"))
    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1"))
    ovs.ip("link", "set", "it1", "up")
    ovs.add_veth("vt1", "vp1")
    await ovs_switch.ensure_port(server)
    before = interface()
    await ovs_switch.ensure_port(server)
    assert interface() == before
    ovs.ip("link", "del", "vt1")
    ovs.add_veth("vt1", "vp1")
    await ovs_switch.ensure_port(server)

    assert ovs.reached("vp1", "it1") == {"it1"}
    after = interface()
    assert after["_uuid"] != before["_uuid"]
    assert after["ofport"] != before["ofport"]
    assert after["ofport_request"] == ["set", []]


async def test_an_internal_port_whose_device_was_deleted_gets_it_back(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1"))
    await ovs_switch.ensure_port(internal("it2"))
    ovs.ip("link", "del", "it1")

    def gone() -> bool:
        port = ovs_switch.port("it1")
        return port is not None and not port.ifindex

    await eventually(gone, "the loss shows")
    await ovs_switch.ensure_port(internal("it1"))

    ovs.ip("link", "set", "it1", "up")
    ovs.ip("link", "set", "it2", "up")
    assert ovs.reached("it1", "it2") == {"it2"}


async def test_a_port_with_an_old_error_is_waited_for(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    ovs.add_veth("vt1", "vp1")
    await ovs_switch.ensure_port(plugged("vt1"))
    ovs.kill_vswitchd()
    ovs.ip("link", "del", "vt1")
    ovs.start_vswitchd()

    def failed() -> bool:
        port = ovs_switch.port("vt1")
        return port is not None and "No such device" in port.error

    await eventually(failed, "vswitchd misses the device")
    with ovs.frozen_vswitchd():
        ovs.add_veth("vt1", "vp1")
        call = asyncio.create_task(ovs_switch.ensure_port(plugged("vt1")))
        await asyncio.sleep(0.1)
        assert not call.done()
    await call

    port = ovs_switch.port("vt1")
    assert port is not None
    assert (port.error, port.ifindex) == ("", ovs.link_index("vt1"))


async def test_replugging_that_was_cut_short_is_finished_by_the_next_call(ovs: PrivateOvs) -> None:
    async with running_switch(ovs, timeout_s=PATIENCE_S) as patient:
        await patient.ensure_bridge(BRIDGE)
        await patient.ensure_port(internal("it1"))
        ovs.ip("link", "set", "it1", "up")
        ovs.add_veth("vt1", "vp1")
        await patient.ensure_port(plugged("vt1"))
        ovs.ip("link", "del", "vt1")
        ovs.add_veth("vt1", "vp1")
        async with hasty(ovs) as switch:
            with ovs.frozen_vswitchd(), pytest.raises(UnavailableError, match="vt1"):
                await switch.ensure_port(plugged("vt1"))
        await eventually(lambda: patient.port("vt1"), "not removed: it was there before")

        await patient.ensure_port(plugged("vt1"))

    assert ovs.reached("vp1", "it1") == {"it1"}
    assert not any(row["ofport_request"] != ["set", []] for row in ovs.rows("Interface"))


async def test_a_port_number_that_somebody_asked_for_is_taken_back(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1"))
    ovs.vsctl("set", "Interface", "it1", "ofport_request=77")
    await eventually(lambda: (seen := ovs_switch.port("it1")) and seen.ofport == 77, "renumbered")

    await ovs_switch.ensure_port(internal("it1"))

    assert not any(row["ofport_request"] != ["set", []] for row in ovs.rows("Interface"))


async def test_a_port_of_ours_whose_device_is_missing_stays_and_says_so(ovs: PrivateOvs) -> None:
    ovs.add_veth("vt1", "vp1")
    async with running_switch(ovs, timeout_s=PATIENCE_S) as patient:
        await patient.ensure_bridge(BRIDGE)
        await patient.ensure_port(plugged("vt1"))
    ovs.kill_vswitchd()
    ovs.ip("link", "del", "vt1")
    ovs.start_vswitchd()

    async with hasty(ovs) as switch:
        with pytest.raises(UnavailableError, match="No such device"):
            await switch.ensure_port(plugged("vt1"))

    assert ports(ovs) == {"vt1"}


async def test_an_interface_inside_somebodys_bond_is_refused(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    for name in ("b1", "b2"):
        ovs.add_veth(name, f"p{name}")
    ovs.vsctl("add-bond", "brt", "bond", "b1", "b2")
    await eventually(lambda: ovs_switch.port("bond"), "the bond is seen")

    with pytest.raises(ConflictError, match="b1"):
        await ovs_switch.ensure_port(plugged("b1"))
    with pytest.raises(ConflictError, match="b2"):
        await ovs_switch.ensure_bridge(replace(BRIDGE, name="b2"))

    assert ports(ovs) == {"bond"}


async def test_a_value_that_the_database_forbids_leaves_nothing(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)

    with pytest.raises(UnsupportedError, match="mtu_request"):
        await ovs_switch.ensure_port(replace(internal("it1"), mtu=0))

    assert ports(ovs) == set()


async def test_a_local_port_that_somebody_removed_is_made_again(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    local = ovs.rows("Port", "_uuid")[0]["_uuid"][1]
    ovs.vsctl("remove", "Bridge", "brt", "ports", local)
    await eventually(lambda: ovs_switch.port("brt") is None, "its loss is seen")

    await ovs_switch.ensure_bridge(BRIDGE)

    assert ovs.rows("Port", "name", "tag") == [{"name": "brt", "tag": 4095}]


def test_the_index_of_a_device_is_the_kernels() -> None:
    assert device_index("lo") == 1
    assert device_index("ovt-none") is None


async def test_a_stopped_vswitchd_is_an_error_that_leaves_no_rows(ovs: PrivateOvs) -> None:
    async with running_switch(ovs, timeout_s=PATIENCE_S) as patient:
        await patient.ensure_bridge(BRIDGE)
    ovs.kill_vswitchd()

    async with hasty(ovs) as switch:
        with pytest.raises(UnavailableError, match="ovs-vswitchd"):
            await switch.ensure_port(internal("it1"))
        with pytest.raises(UnavailableError, match="ovs-vswitchd"):
            await switch.ensure_bridge(replace(BRIDGE, name="brt2"))

        assert switch.bridges().keys() == {"brt"}
        assert switch.bridges()["brt"].ports == ()
    assert len(ovs.rows("Interface", "name")) == 1


async def test_a_frozen_vswitchd_is_an_error_and_the_next_call_succeeds(ovs: PrivateOvs) -> None:
    async with running_switch(ovs, timeout_s=PATIENCE_S) as patient:
        await patient.ensure_bridge(BRIDGE)
        async with hasty(ovs) as switch:
            with ovs.frozen_vswitchd(), pytest.raises(UnavailableError, match="it1"):
                await switch.ensure_port(internal("it1"))
            assert ports(ovs) == set()

        await patient.ensure_port(internal("it1"))

    assert ports(ovs) == {"it1"}


async def test_a_frozen_database_is_an_error_that_leaves_no_rows(ovs: PrivateOvs) -> None:
    async with hasty(ovs, probe_s=0.5) as switch:
        async with running_switch(ovs, timeout_s=PATIENCE_S) as patient:
            await patient.ensure_bridge(BRIDGE)
        await eventually(lambda: switch.bridge("brt"), "the bridge is seen")
        with ovs.frozen_db():
            with pytest.raises(UnavailableError, match="does not answer"):
                await switch.ensure_port(internal("it1"))
            await eventually(lambda: not switch.status().connected, "the probe notices")

        # It may have been committed when the server woke up, and then it is taken back first.
        await until_taken(switch, internal("it2"))
        assert ports(ovs) == {"it2"}
        await until_taken(switch, internal("it1"))

    assert ports(ovs) == {"it1", "it2"}


@pytest.mark.parametrize("delay_s", [0, 0.002, 0.01])
async def test_ports_in_the_making_survive_the_death_of_the_database(
    ovs: PrivateOvs, ovs_switch: OvsSwitch, delay_s: float
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    calls = [
        asyncio.create_task(ovs_switch.ensure_port(internal(f"it{n}", tag=n + 1)))
        for n in range(40)
    ]
    await asyncio.sleep(delay_s)

    ovs.kill_db()
    ovs.start_db()
    await asyncio.gather(*calls)

    rows = {row["name"]: row["tag"] for row in ovs.rows("Port", "name", "tag")}
    assert rows == {"brt": 4095, **{f"it{n}": n + 1 for n in range(40)}}
    assert ovs_switch.connections == 2


async def test_a_removal_asked_for_while_the_database_is_away_happens_later(
    ovs: PrivateOvs,
) -> None:
    async with hasty(ovs) as switch, running_switch(ovs, timeout_s=PATIENCE_S) as patient:
        await patient.ensure_bridge(BRIDGE)
        await patient.ensure_port(internal("it1"))
        await eventually(lambda: switch.port("it1"), "the port is seen")
        ovs.kill_db()
        with pytest.raises(UnavailableError, match="not removed yet"):
            await switch.remove_port("it1")
        with pytest.raises(UnavailableError, match="not removed yet"):
            await switch.remove_port("it1")

        ovs.start_db()

        await eventually(lambda: ports(ovs) == set(), "the port goes")


async def test_who_waits_when_the_adapter_stops_is_told_so(ovs: PrivateOvs) -> None:
    async with running_switch(ovs, timeout_s=PATIENCE_S) as switch:
        ovs.kill_db()
        await eventually(lambda: not switch.status().connected, "the loss is noticed")
        calls = [
            asyncio.create_task(switch.remove_port("it1")),
            asyncio.create_task(switch.ensure_port(internal("it1"))),
        ]
        await asyncio.sleep(0)

    for call in calls:
        with pytest.raises(UnavailableError, match="does not answer"):
            await call


async def test_a_port_wanted_again_outlives_a_removal_that_had_to_wait(ovs: PrivateOvs) -> None:
    async with running_switch(ovs, timeout_s=PATIENCE_S) as switch:
        await switch.ensure_bridge(BRIDGE)
        await switch.ensure_port(internal("it1"))
        ovs.kill_db()
        await eventually(lambda: not switch.status().connected, "the loss is noticed")
        removal = asyncio.create_task(switch.remove_port("it1"))
        await asyncio.sleep(0)
        wanted = asyncio.create_task(switch.ensure_port(internal("it1", tag=9)))
        await asyncio.sleep(0)

        ovs.start_db()
        await asyncio.gather(removal, wanted)

    assert removal.result()
    [row] = [row for row in ovs.rows("Port", "name", "tag") if row["name"] == "it1"]
    assert row["tag"] == 9


async def test_the_last_of_several_wishes_that_had_to_wait_is_the_one_that_counts(
    ovs: PrivateOvs,
) -> None:
    async with running_switch(ovs, timeout_s=PATIENCE_S) as switch:
        await switch.ensure_bridge(BRIDGE)
        await switch.ensure_port(internal("it1"))
        ovs.kill_db()
        await eventually(lambda: not switch.status().connected, "the loss is noticed")
        wishes = []
        for wish in (
            switch.remove_port("it1"),
            switch.ensure_port(internal("it1")),
            switch.remove_port("it1"),
        ):
            wishes.append(asyncio.create_task(wish))
            await asyncio.sleep(0)

        ovs.start_db()
        results = await asyncio.gather(*wishes, return_exceptions=True)

    assert results[0] is results[2] is True
    # the port may have come and gone before vswitchd looked, or not
    assert results[1] is None or isinstance(results[1], UnavailableError)
    assert ports(ovs) == set()


async def test_a_bridge_that_somebody_plugs_into_in_the_same_moment_stays(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    removal = RemoveBridge("brt", owner="ovsnet")
    asked = 0

    def overtaken(replica: Replica) -> Sequence[Operation]:
        nonlocal asked
        operations = removal(replica)
        if not asked:
            ovs.vsctl("--no-wait", "add-port", "brt", "theirs")
        asked += 1
        return operations

    client = OvsdbClient(ovs.address, WATCHED, on_change=lambda _: None)
    running = asyncio.create_task(client.run())
    async with asyncio.timeout(PATIENCE_S):
        assert not await client.submit(overtaken, subject="brt")
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    assert (asked, removal.foreign) == (2, ("theirs",))
    assert ports(ovs) == {"theirs"}


async def test_what_a_cancelled_call_inserted_goes_with_its_undo(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    with ovs.frozen_vswitchd():
        call = asyncio.create_task(ovs_switch.ensure_port(internal("it1")))
        await eventually(lambda: ovs_switch.port("it1"), "the row is there")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        assert await ovs_switch.remove_port("it1")

        assert ports(ovs) == set()


async def test_a_port_that_somebody_removes_in_the_making_is_an_error(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    with ovs.frozen_vswitchd():
        call = asyncio.create_task(ovs_switch.ensure_port(internal("it1")))
        await eventually(lambda: ovs_switch.port("it1"), "the row is there")
        ovs.vsctl("--no-wait", "del-port", "it1")

        with pytest.raises(UnavailableError, match="removed"):
            await call


async def test_everything_can_be_made_again_after_conf_db_was_replaced(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1"))
    changed = asyncio.Event()
    ovs_switch.on_change(lambda _: changed.set())

    ovs.kill_db()
    ovs.create_database()
    ovs.start_db()

    await asyncio.wait_for(changed.wait(), PATIENCE_S)
    assert ovs_switch.bridges() == {}
    assert ovs_switch.status() == SwitchStatus(connected=True)
    await ovs_switch.ensure_bridge(BRIDGE)
    await ovs_switch.ensure_port(internal("it1"))
    assert ports(ovs) == {"it1"}


async def test_ports_survive_the_death_of_vswitchd(ovs: PrivateOvs, ovs_switch: OvsSwitch) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    ovs.add_veth("vt1", "vp1")
    await ovs_switch.ensure_port(plugged("vt1"))
    ovs.kill_vswitchd()
    ovs.start_vswitchd()

    before = ovs_switch.transactions
    await ovs_switch.ensure_port(plugged("vt1"))
    await ovs_switch.ensure_port(internal("it1"))

    assert ovs_switch.transactions == before + 1
    ovs.ip("link", "set", "it1", "up")
    assert ovs.reached("vp1", "it1") == {"it1"}


async def test_a_bridge_of_another_instance_is_foreign(ovs: PrivateOvs) -> None:
    async with (
        running_switch(ovs, owner="one", timeout_s=PATIENCE_S) as one,
        running_switch(ovs, owner="two", timeout_s=PATIENCE_S) as two,
    ):
        await one.ensure_bridge(BRIDGE)
        await eventually(lambda: two.bridge("brt"), "the other sees it")
        await two.ensure_port(internal("it2"))
        await eventually(lambda: one.port("it2"), "the one sees the port")

        assert not two.bridges()["brt"].owned
        assert not await two.remove_bridge("brt")
        assert not await one.remove_port("it2")
        assert not await one.remove_bridge("brt")


async def test_ovns_integration_bridge_is_known(ovs: PrivateOvs, ovs_switch: OvsSwitch) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-bridge=brt")
    ovs.vsctl("set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=false")

    await eventually(lambda: ovs_switch.bridges()["brt"].integration, "seen")

    assert ovs_switch.status().other_config == {"userspace-tso-enable": "false"}


async def test_changes_are_announced_once_for_those_that_come_together(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    calls: list[int] = []
    await asyncio.gather(*(ovs_switch.ensure_port(internal(f"it{n}")) for n in range(20)))
    ovs_switch.on_change(lambda _: calls.append(len(ovs_switch.bridges()["brt"].ports)))

    await asyncio.gather(*(ovs_switch.remove_port(f"it{n}") for n in range(20)))
    await eventually(lambda: calls and calls[-1] == 0, "the removal is announced")

    assert len(calls) <= 4


async def test_vswitchd_notices_the_trunks_of_an_uplink_each_time(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    for nic in ("nic", "con"):
        ovs.add_veth(nic, f"{nic}-far")
    await ovs_switch.ensure_port(plugged("con", tag=30))

    def lets_through(tag: int) -> bool:
        flow = f"in_port=nic,dl_vlan={tag},dl_type=0x88b5,dl_dst=ff:ff:ff:ff:ff:ff"
        return "actions: drop" not in ovs.appctl("ofproto/trace", "brt", flow)

    for trunks in ((30,), (31,), (30, 31), (31,), (30,)):
        wanted = UplinkPort(
            name="nic", bridge="brt", nics=("nic",), trunks=tuple(map(VlanTag, trunks))
        )
        await ovs_switch.ensure_uplink(wanted)
        await eventually(lambda: lets_through(30) == (30 in trunks), f"trunks are {trunks}")  # noqa: B023
    ovs.vsctl("set", "Port", "nic", "trunks=99")
    await eventually(lambda: ovs_switch.bridges()["brt"].ports[1].trunks == (99,), "it is seen")
    await ovs_switch.ensure_uplink(wanted)
    await eventually(lambda: lets_through(30), "what was changed by hand is put right")


async def test_the_hosts_own_port_has_the_mac_and_the_mtu_of_its_nic(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    host = HostPlace(mac=EUI("02:00:00:00:00:e1"), mtu=1400)

    def device() -> tuple[str, int]:
        link = ovs.links()["brt"]
        return link["address"], link["mtu"]

    await ovs_switch.ensure_bridge(replace(BRIDGE, host=host))
    await eventually(lambda: device() == ("02:00:00:00:00:e1", 1400), "a new bridge has them")
    await ovs_switch.ensure_bridge(BRIDGE)
    await eventually(lambda: device()[0] != "02:00:00:00:00:e1", "it has its own MAC again")
    await ovs_switch.ensure_bridge(replace(BRIDGE, host=host))
    await eventually(lambda: device() == ("02:00:00:00:00:e1", 1400), "an old bridge has them")
    assert ovs.rows("Bridge", "other_config") == [
        {"other_config": ["map", [["hwaddr", "02:00:00:00:00:e1"]]]}
    ]


async def test_a_mac_that_the_administrator_gave_our_bridge_stays(
    ovs: PrivateOvs, ovs_switch: OvsSwitch
) -> None:
    await ovs_switch.ensure_bridge(BRIDGE)
    ovs.vsctl("set", "Bridge", "brt", 'other_config:hwaddr="02:00:00:00:00:aa"')
    await ovs_switch.ensure_bridge(BRIDGE)
    assert ovs.links()["brt"]["address"] == "02:00:00:00:00:aa"
