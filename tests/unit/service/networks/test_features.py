"""Features of bridges as their networks say them."""

from dataclasses import replace

import pytest

from ovsdriver.domain.plan.bridges import spanning
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.options.features import Exporter, Features
from ovsdriver.errors import ConflictError, UnsupportedError
from ovsdriver.words.changes import OtherOptions
from tests.builders import BLUE, RED
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host


def features(host: Host) -> Features:
    found = host.switch.bridge("br-ovsnet")
    assert found is not None
    return found.features


async def test_a_bridge_does_what_any_of_its_networks_says(host: Host) -> None:
    await host.create_network(said={"ovs.mcast": "true"})
    await host.create_network(BLUE, said={"ovs.sflow": "192.0.2.9"})
    assert features(host) == Features(mcast=True, sflow=Exporter(targets=("192.0.2.9:6343",)))
    await host.networks.delete(BLUE)  # type: ignore[arg-type]
    assert features(host) == Features(mcast=True)


async def test_networks_of_one_bridge_do_not_contradict_each_other(host: Host) -> None:
    await host.create_network(said={"ovs.mcast": "true"})
    with pytest.raises(ConflictError, match=r"ovs\.mcast: network"):
        await host.create_network(BLUE, said={"ovs.mcast": "false"})
    await host.create_network(BLUE, said={"ovs.mcast": "true"})


async def test_a_bridge_of_somebody_else_stays_as_it_is(host: Host) -> None:
    host.switch.put_bridge(foreign_bridge("br-lab"))
    with pytest.raises(UnsupportedError, match=r"ovs\.mcast: ovsnet did not make bridge br-lab"):
        await host.create_network(
            said={"ovs.bridge": "br-lab", "ovs.vlan": "30", "ovs.mcast": "true"}
        )


async def test_features_change_live_and_come_back_when_somebody_took_them(host: Host) -> None:
    await host.create_network()
    await host.changes.network(RED, OtherOptions(typed={"ovs.mcast": "true"}))  # type: ignore[arg-type]
    assert features(host) == Features(mcast=True)
    (bridge,) = host.switch.bridges().values()
    host.switch.put_bridge(replace(bridge, features=Features()))
    repairs = await host.reconciler.reconcile()
    assert any("features" in each for each in repairs.mended)
    assert features(host) == Features(mcast=True)
    await host.changes.network(RED, OtherOptions(typed={"ovs.mcast": ""}))  # type: ignore[arg-type]
    assert features(host) == Features()


TREE = {"ovs.mode": "isolated", "ovs.rstp": "containers"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"ovs.mode": "nat"}, "floods nothing to a gateway"),
        ({"ovs.mode": "routed"}, "floods nothing to a gateway"),
        ({"ovs.port": "internal"}, "floods nothing to internal ports"),
        ({"ovs.guard": "true"}, "no guard stops that"),
    ],
)
async def test_a_network_whose_containers_take_part_in_a_tree_has_nothing_that_cannot(
    host: Host, said: dict[str, str], why: str
) -> None:
    with pytest.raises(UnsupportedError, match=why):
        await host.create_network(said=TREE | said)


def test_this_host_is_not_on_a_network_with_a_tree() -> None:
    with pytest.raises(UnsupportedError, match=r"ovs\.host_address"):
        spanning.refuse_aside(Mode.FLAT, internal=False, wire=False, probe=False, leg=True)


async def test_all_networks_of_a_bridge_say_that_containers_take_part_or_none(host: Host) -> None:
    await host.create_network(said=TREE)
    with pytest.raises(ConflictError, match="says it, and all of a bridge must; say it too"):
        await host.create_network(BLUE, said={"ovs.mode": "isolated"})
    await host.create_network(BLUE, said=TREE)
    for network in (RED, BLUE):
        await host.networks.delete(network)  # type: ignore[arg-type]
    await host.create_network(said={"ovs.mode": "isolated"})
    with pytest.raises(ConflictError, match="does not say it, and all of a bridge must; name"):
        await host.create_network(BLUE, said=TREE)


async def test_a_bridge_of_somebody_else_says_itself_whether_it_speaks_rstp(host: Host) -> None:
    there = {"ovs.bridge": "br-lab", "ovs.vlan": "30"}
    host.switch.put_bridge(foreign_bridge("br-lab"))
    with pytest.raises(UnsupportedError, match="rstp_enable=true"):
        await host.create_network(said=TREE | there)
    host.switch.put_bridge(replace(foreign_bridge("br-lab"), rstp=True))
    with pytest.raises(UnsupportedError, match=r"say -o ovs\.rstp=containers, or switch it off"):
        await host.create_network(said=there)
    await host.create_network(said=TREE | there)
    assert not (await host.reconciler.look()).beyond


async def test_a_bridge_that_speaks_stp_is_not_adopted_and_told_of_when_it_begins_to(
    host: Host,
) -> None:
    there = {"ovs.bridge": "br-lab", "ovs.vlan": "30"}
    off = "ovs-vsctl set Bridge br-lab stp_enable=false"
    host.switch.put_bridge(replace(foreign_bridge("br-lab"), stp=True))
    for said in (there, TREE | there):
        with pytest.raises(UnsupportedError, match=off):
            await host.create_network(said=said)
    host.switch.put_bridge(foreign_bridge("br-lab"))
    await host.create_network(said=there)
    host.switch.put_bridge(replace(foreign_bridge("br-lab"), stp=True))
    (told,) = (await host.reconciler.look()).beyond
    assert off in told


async def test_a_guard_is_not_put_on_who_takes_part_in_a_tree(host: Host) -> None:
    await host.create_network(said=TREE)
    with pytest.raises(UnsupportedError, match="no guard stops that"):
        await host.changes.network(RED, OtherOptions(typed={"ovs.guard": "true"}))  # type: ignore[arg-type]


async def test_rstp_that_somebody_switched_on_is_told_and_left_to_him(host: Host) -> None:
    await host.create_network()
    (bridge,) = host.switch.bridges().values()
    host.switch.put_bridge(replace(bridge, rstp=True))
    seen = await host.reconciler.look()
    assert not seen.found
    (told,) = seen.beyond
    assert "ovs-vsctl set Bridge br-ovsnet rstp_enable=false" in told
    host.switch.put_bridge(replace(bridge, rstp=False))
    assert not (await host.reconciler.look()).beyond
