"""``ovsnet check`` looks at a real Open vSwitch."""

import socket

import pytest

from ovsdriver.adapters.kernel.host.datapath import default_receive_buffer
from ovsdriver.cli.doctor import Level, openvswitch
from ovsdriver.cli.doctor.openvswitch import Kernel
from ovsdriver.domain.records.segments import Datapath
from tests.integration.ovs import private_ovs

pytestmark = [pytest.mark.ovs, pytest.mark.netns]


async def test_a_running_switch_is_seen_whole_and_its_end_is_noticed():
    with private_ovs("store-") as ovs:
        seen = await openvswitch.look(ovs.address, loaded=False)
        assert seen.fault == ""
        assert seen.version
        assert (seen.row, seen.taken, seen.vswitchd, seen.behind) == (True, True, True, False)
        assert not seen.tso
        levels = {each.subject: each.level for each in openvswitch.judge(seen, Datapath.NETDEV)}
        assert levels == {
            "Open vSwitch database": Level.OK,
            "ovs-vswitchd": Level.OK,
            "datapath": Level.OK,
            "userspace TSO": Level.WARN,
        }

        ovs.vsctl("set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=true")
        assert (await openvswitch.look(ovs.address, loaded=False)).tso
        assert (await openvswitch.look(ovs.address, loaded=True)).kernel is Kernel.LOADED

        ovs.kill_vswitchd()
        assert (await openvswitch.look(ovs.address, loaded=False)).vswitchd is False
        ovs.vsctl("--no-wait", "set", "Open_vSwitch", ".", "next_cfg=99")
        assert (await openvswitch.look(ovs.address, loaded=False)).behind

        ovs.kill_db()
        assert "refused" in (await openvswitch.look(ovs.address, loaded=False)).fault


async def test_a_database_without_its_daemon_is_told_apart():
    with private_ovs("store-", vswitchd=False) as ovs:
        assert not (await openvswitch.look(ovs.address, loaded=False)).row
        ovs.vsctl("--no-wait", "init")
        seen = await openvswitch.look(ovs.address, loaded=False)
        assert (seen.row, seen.taken) == (True, False)
        (_, daemon, *_) = openvswitch.judge(seen, None)
        assert daemon.level is Level.FAIL


def test_the_receive_buffer_is_that_of_a_new_socket():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as new:
        assert default_receive_buffer() == new.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
