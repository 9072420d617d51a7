"""Addresses that a network keeps from its containers."""

from dataclasses import replace

from netaddr import IPAddress

from ipam.model import LeaseKind
from ovsdriver.domain.records.model import NetworkId
from tests.builders import RED
from tests.unit.service.conftest import Host


async def held(host: Host) -> set[str]:
    """Return what is held for no container."""
    (pool,) = host.ipam.pools()
    return {str(e.address) for e in await host.ipam.leases(pool.id) if e.kind is LeaseKind.AUX}


async def test_what_a_killed_process_had_not_held_yet_is_held_by_the_next_one(host: Host) -> None:
    await host.create_network(said={"ovs.mode": "flat", "ovs.gateway": "10.1.0.9"})
    assert await held(host) == {"10.1.0.9"}
    network = host.state.network(NetworkId(RED))
    assert network is not None
    other = replace(network.subnets[0], gateway=IPAddress("10.1.0.8"))
    await host.state.put_network(replace(network, subnets=(other,)))
    again = await host.restart()
    found = (await again.reconciler.look()).found
    assert any("other addresses were held" in each for each in found)
    assert await held(again) == {"10.1.0.9"}, "a look changes nothing"
    assert (await again.reconciler.reconcile()).mended == found
    assert await held(again) == {"10.1.0.8"}
    assert not (await again.reconciler.look()).found
    await again.stop()
