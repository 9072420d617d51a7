"""What of the address space is in use that no pool tells of."""

from collections.abc import Sequence

from netaddr import IPNetwork

from ipam import Occupied
from ovsdriver.domain.records.model import Mode
from ovsdriver.service.networks.surroundings import Surroundings
from tests.builders import BLUE
from tests.unit.service.conftest import Host

NEAR = [IPNetwork("10.0.0.0/8")]
ROUTE = Occupied(network=IPNetwork("10.9.0.0/24"), why="route via eth0")


class Routes:
    """A host with one route, which remembers what it was asked about."""

    def __init__(self) -> None:
        self.asked: list[Sequence[IPNetwork]] = []

    async def occupied(self, within: Sequence[IPNetwork]) -> Sequence[Occupied]:
        self.asked.append(within)
        return [ROUTE]


async def test_the_hosts_own_is_asked_for_what_is_near(host: Host) -> None:
    routes = Routes()
    assert await Surroundings(routes, state=host.state).occupied(NEAR) == [ROUTE]
    assert routes.asked == [NEAR]


async def test_a_network_with_a_gateway_has_its_subnet_until_its_record_is_gone(host: Host) -> None:
    await host.create_network()
    (pool,) = host.ipam.pools()
    await host.ipam.release_pool(pool.id)
    around = Surroundings(Routes(), state=host.state)
    (network,) = host.state.networks()
    own = Occupied(network=pool.subnet, why=f"network {network.id[:12]}")
    assert await around.occupied(NEAR) == [ROUTE, own]
    await host.networks.delete(network.id)
    assert await around.occupied(NEAR) == [ROUTE]


async def test_a_network_without_a_gateway_is_in_nobodys_way(host: Host) -> None:
    await host.create_network(BLUE, mode=Mode.FLAT)
    assert await Surroundings(Routes(), state=host.state).occupied(NEAR) == [ROUTE]
