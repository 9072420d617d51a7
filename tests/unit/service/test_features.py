"""Features of bridges as their networks say them."""

from dataclasses import replace

import pytest

from ovsdriver.domain.features import Exporter, Features
from ovsdriver.errors import ConflictError, UnsupportedError
from ovsdriver.protocol.changes import Wish
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
    with pytest.raises(UnsupportedError, match=r"ovs\.rstp: bridge br-lab is not ours"):
        await host.create_network(
            said={"ovs.bridge": "br-lab", "ovs.vlan": "30", "ovs.rstp": "true"}
        )


async def test_features_change_live_and_come_back_when_somebody_took_them(host: Host) -> None:
    await host.create_network()
    await host.changes.network(RED, Wish(typed={"ovs.mcast": "true"}))  # type: ignore[arg-type]
    assert features(host) == Features(mcast=True)
    (bridge,) = host.switch.bridges().values()
    host.switch.put_bridge(replace(bridge, features=Features()))
    repairs = await host.reconciler.reconcile()
    assert any("features" in each for each in repairs.mended)
    assert features(host) == Features(mcast=True)
    await host.changes.network(RED, Wish(typed={"ovs.mcast": ""}))  # type: ignore[arg-type]
    assert features(host) == Features()


async def test_rstp_stays_on_a_bridge_that_stands(host: Host) -> None:
    await host.create_network(said={"ovs.rstp": "true"})
    await host.create_network(BLUE)
    await host.networks.delete(RED)  # type: ignore[arg-type]
    assert not (await host.reconciler.reconcile()).mended
