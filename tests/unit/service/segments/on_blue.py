"""What tests ask of a host of a fleet: networks and containers on segment ``blue``."""

from netaddr import IPNetwork

from ipam import AddressRequest, PoolRequest
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.requests import NewEndpoint, NewNetwork, OfferedSubnet
from ovsdriver.domain.records.segments import space_of
from ovsdriver.words import options as typed
from tests.builders import FIRST, RED
from tests.fakes.northbound import FakeNorthbound
from tests.unit.service.conftest import Host

SUBNET = IPNetwork("10.50.0.0/24")


def northbound(host: Host) -> FakeNorthbound:
    """Return the fake of a host's world."""
    assert isinstance(host.world.northbound, FakeNorthbound)
    return host.world.northbound


async def network(host: Host, network_id: str = RED, **said: str) -> None:
    """Create a network on the segment; options are typed as ``ovs.icc``."""
    pool = await host.ipam.request_pool(PoolRequest(space=space_of("blue"), subnet=SUBNET))
    options = {"ovs.segment": "blue"} | said
    await host.networks.create(
        NewNetwork(
            id=NetworkId(network_id),
            subnets=(OfferedSubnet(space="ovsnet", cidr=pool.subnet),),
            options=typed.network(options, internal=False),
        )
    )


async def container(
    host: Host, endpoint: str = FIRST, sandbox: str = "/netns/one", **said: str
) -> None:
    """Run a container on the network."""
    found = host.state.network(NetworkId(RED))
    assert found is not None
    assert found.subnets[0].pool is not None
    lease = await host.ipam.request_address(AddressRequest(pool=found.subnets[0].pool))
    await host.endpoints.create(
        NewEndpoint(
            network=found.id,
            id=EndpointId(endpoint),
            addresses=(IPNetwork(f"{lease.address}/24"),),
            options=typed.endpoint(said),
        )
    )
    joined = await host.endpoints.join(found.id, EndpointId(endpoint), sandbox)
    assert joined.gateway4 is None
    host.links.move(joined.source, sandbox)
