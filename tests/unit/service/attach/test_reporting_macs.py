"""What is said of containers with the same MAC."""

import logging

import pytest
from netaddr import EUI, IPNetwork

from ipam import AddressRequest
from ovsdriver.admin.networks import report as reports
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.requests import NewEndpoint
from tests.builders import BLUE, FIRST, OWNER, RED
from tests.unit.service.conftest import Host

SECOND = EndpointId("e2" * 32)
MAC = EUI("02:00:00:00:00:07")


async def run(host: Host, endpoint: EndpointId, network: NetworkId) -> None:
    record = host.state.network(network)
    assert record is not None
    (subnet,) = record.subnets
    assert subnet.pool is not None
    lease = await host.ipam.request_address(AddressRequest(pool=subnet.pool))
    address = IPNetwork(f"{lease.address}/24")
    await host.endpoints.create(
        NewEndpoint(network=network, id=endpoint, addresses=(address,), mac=MAC)
    )
    joined = await host.endpoints.join(network, endpoint, f"/netns/{endpoint[:2]}")
    host.links.move(joined.source, f"/netns/{endpoint[:2]}")


def told(host: Host) -> list[str]:
    seen = host.witness.seen()
    scene = reports.Scene(
        owner=OWNER, state=host.state, switch=host.switch, view=seen.view if seen else None
    )
    return [each for each in reports.warnings(scene) if "same MAC" in each]


async def test_two_containers_of_a_network_with_one_mac_are_told_by_name(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    await host.create_network()
    await run(host, FIRST, RED)
    assert told(host) == []
    caplog.set_level(logging.WARNING)
    await run(host, SECOND, RED)
    (line,) = [each for each in caplog.records if each.message == "endpoint.equal-mac"]
    assert "has MAC address 02:00:00:00:00:07 as well" in vars(line)["why"]
    host.engine.add_network(RED, "red")
    host.engine.add_endpoint(FIRST, RED, "ann")
    host.engine.add_endpoint(SECOND, RED, "bob")
    await host.witness.read()
    (sentence,) = told(host)
    assert sentence.startswith("containers ann, bob have the same MAC address 02:00:00:00:00:07 in")
    await host.endpoints.leave(RED, SECOND)
    await host.endpoints.delete(RED, SECOND)
    assert told(host) == []


async def test_the_same_mac_on_two_networks_is_no_fault(host: Host) -> None:
    await host.create_network()
    await host.create_network(BLUE)
    await run(host, FIRST, RED)
    await run(host, SECOND, BLUE)
    assert told(host) == []
