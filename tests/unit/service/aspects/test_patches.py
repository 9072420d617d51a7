"""Patches: when pairs come, stay and go."""

import pytest

from ovsdriver.domain.records import names
from ovsdriver.domain.wires.observed import ObservedPort
from ovsdriver.errors import InvalidOptionError, UnavailableError
from ovsdriver.words.changes import OtherOptions
from tests.builders import BLUE, RED
from tests.unit.service.conftest import Host

LEAF = {"ovs.bridge": "br-leaf", "ovs.patch": "br-core", "ovs.vlan": "30"}
CORE = {"ovs.bridge": "br-core", "ovs.vlan": "30", "ovs.shared": "true"}
ENDS = names.patch_port("br-leaf", "br-core"), names.patch_port("br-core", "br-leaf")


def ends(host: Host) -> list[ObservedPort]:
    return [port for name in ENDS if (port := host.switch.port(name)) is not None]


async def test_a_pair_is_there_while_both_bridges_have_a_network(host: Host) -> None:
    await host.create_network(RED, said=LEAF)
    assert ends(host) == []
    await host.create_network(BLUE, said=CORE)
    assert [(each.bridge, each.trunks) for each in ends(host)] == [
        ("br-leaf", (30,)),
        ("br-core", (30,)),
    ]
    assert not (await host.reconciler.reconcile()).mended
    await host.networks.delete(BLUE)  # type: ignore[arg-type]
    assert ends(host) == []
    assert host.switch.bridge("br-core") is None
    await host.create_network(BLUE, said=CORE)
    await host.networks.delete(RED)  # type: ignore[arg-type]
    assert ends(host) == []


async def test_a_pair_that_was_broken_is_mended_and_one_that_is_left_over_goes(host: Host) -> None:
    await host.create_network(RED, said=LEAF)
    await host.create_network(BLUE, said=CORE)
    left, right = ends(host)
    host.switch.drop_port(left.name)
    (found,) = (await host.reconciler.look()).found
    assert "patch of br-core and br-leaf" in found
    assert (await host.reconciler.reconcile()).mended
    assert [each.peer for each in ends(host)] == [right.name, left.name]
    again = await host.restart()
    try:
        await again.changes.network(RED, OtherOptions(typed={"ovs.patch": ""}))
        assert ends(again) == []
        again.switch.put_port(left)
        assert (await again.reconciler.reconcile()).mended
        assert ends(again) == []
    finally:
        await again.stop()


async def test_its_cable_is_pulled_and_stays_so(host: Host) -> None:
    await host.create_network(RED, said=LEAF)
    await host.create_network(BLUE, said=CORE)
    await host.changes.network(RED, OtherOptions(typed={"ovs.patch_link": "down"}))
    assert ends(host) == []
    assert not (await host.reconciler.reconcile()).mended
    again = await host.restart()
    try:
        assert not (await again.reconciler.reconcile()).mended
        await again.changes.network(RED, OtherOptions(typed={"ovs.patch_link": "up"}))
        assert len(ends(again)) == 2
    finally:
        await again.stop()


async def test_a_vlan_that_crosses_a_bridge_is_not_chosen_there(host: Host) -> None:
    await host.create_network(RED, said={**LEAF, "ovs.vlan": "1"})
    await host.create_network(BLUE, said={"ovs.bridge": "br-core"})
    blue = host.state.network(BLUE)  # type: ignore[arg-type]
    assert blue is not None
    assert blue.segment.tag == 2
    with pytest.raises(InvalidOptionError, match="so name it"):
        await host.create_network("c3" * 32, said={"ovs.bridge": "br-x", "ovs.patch": "br-core"})


async def test_a_network_whose_pair_cannot_be_made_leaves_nothing(host: Host) -> None:
    await host.create_network(BLUE, said=CORE)

    async def refused(_: object) -> None:
        raise UnavailableError("no")

    host.switch.ensure_patch = refused  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        await host.create_network(RED, said=LEAF)
    assert host.state.network(RED) is None  # type: ignore[arg-type]
    assert host.switch.bridge("br-leaf") is None
