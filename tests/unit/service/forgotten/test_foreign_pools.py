"""Pools that other drivers use: what is collected of them, and above all what is not."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import DEFAULT_SPACE, AddressRequest, Lease, LeaseKind, Pool, PoolRequest
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Route
from ovsdriver.service.forgotten.foreign_pools import ForeignPools
from tests.builders import FIRST, RED, SECOND, a_network, a_subnet
from tests.fakes.northbound import FakeCentral, FakeNorthbound
from tests.unit.service.conftest import Host
from tests.unit.service.forgotten.watch import Minutes

DOCKERS = NetworkId("d0" * 32)
SUBNET = "10.77.1.0/24"


class Watch(Minutes):
    """Beside Docker networks of other drivers."""

    def parts(self) -> Mapping[str, Any]:
        host = self.host
        pools = ForeignPools(
            state=host.state, ipam=host.ipam, links=host.links, clock=lambda: self.now
        )
        return {"foreign_pools": pools}

    async def pool(self, subnet: str = SUBNET, space: str = DEFAULT_SPACE) -> Pool:
        """Do what dockerd does for ``docker network create --driver bridge``."""
        made = await self.host.ipam.request_pool(
            PoolRequest(space=space, subnet=IPNetwork(subnet), family=IPNetwork(subnet).version)
        )
        await self.host.ipam.request_address(AddressRequest(pool=made.id, kind=LeaseKind.GATEWAY))
        return made

    async def address(self, pool: Pool, address: str | None = None) -> Lease:
        wanted = None if address is None else IPAddress(address)
        return await self.host.ipam.request_address(AddressRequest(pool=pool.id, address=wanted))

    async def held(self, pool: Pool) -> list[str]:
        """Return the addresses that endpoints hold."""
        leases = await self.host.ipam.leases(pool.id)
        return [str(each.address) for each in leases if each.kind is LeaseKind.ENDPOINT]

    def there(self, pool: Pool) -> bool:
        return self.host.ipam.pool(pool.id) is not None


class FakeBridge:
    """A network of Docker's bridge driver, as its API shows it."""

    def __init__(self, host: Host) -> None:
        self._engine = host.engine
        self._engine.add_network(DOCKERS, "dockers")
        self._engine.add_subnet(DOCKERS, SUBNET)

    def run(self, address: str, *more: str) -> None:
        self._engine.add_endpoint(FIRST, DOCKERS, "web", f"{address}/24", *more)


@pytest.fixture
def watch(host: Host) -> Watch:
    return Watch(host)


@pytest.fixture
def bridge(host: Host) -> FakeBridge:
    return FakeBridge(host)


# Addresses


async def test_an_address_that_no_endpoint_has_is_collected_after_the_grace_time(
    watch: Watch, bridge: FakeBridge, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await watch.pool()
    bridge.run(str((await watch.address(pool)).address))
    await watch.address(pool)
    await watch.look(2)
    assert await watch.held(pool) == ["10.77.1.2", "10.77.1.3"]
    caplog.set_level(logging.WARNING)
    await watch.look()
    assert await watch.held(pool) == ["10.77.1.2"]
    (line,) = [each for each in caplog.records if each.message == "lease.collected"]
    assert str(line.address) == "10.77.1.3"
    assert "Docker lists no endpoint with it" in line.why


async def test_readings_that_follow_each_other_at_once_prove_nothing(
    watch: Watch, bridge: FakeBridge
) -> None:
    pool = await watch.pool()
    await watch.address(pool)
    for _ in range(5):
        await watch.collector.collect()
    assert await watch.held(pool) == ["10.77.1.2"]
    watch.now += 3600.0
    await watch.collector.collect()
    assert await watch.held(pool) == []


async def test_the_address_of_a_container_that_is_just_starting_is_kept(
    watch: Watch, bridge: FakeBridge
) -> None:
    pool = await watch.pool()
    lease = await watch.address(pool)
    await watch.look(2)
    bridge.run(str(lease.address))
    await watch.look(4)
    assert await watch.held(pool) == ["10.77.1.2"]


async def test_an_address_that_was_given_anew_between_two_readings_is_another_lease(
    watch: Watch, host: Host, bridge: FakeBridge
) -> None:
    pool = await watch.pool()
    for _ in range(5):
        lease = await watch.address(pool)
        await watch.look()
        await watch.look()
        await host.ipam.release_address(pool.id, lease.address)
    await watch.address(pool)
    await watch.look(2)
    assert await watch.held(pool) == ["10.77.1.2"]


async def test_gateways_and_auxiliary_addresses_are_kept(watch: Watch, host: Host) -> None:
    pool = await watch.pool()
    await watch.address(pool, "10.77.1.5")
    await watch.address(pool, "10.77.1.6")
    host.engine.add_network(DOCKERS, "dockers")
    host.engine.add_subnet(DOCKERS, SUBNET, kept=("10.77.1.1", "10.77.1.5"))
    await watch.look(5)
    assert await watch.held(pool) == ["10.77.1.5"]
    assert host.ipam.gateway(pool.id) is not None


async def test_an_address_that_an_endpoint_of_any_network_has_is_kept(
    watch: Watch, host: Host, bridge: FakeBridge
) -> None:
    pool = await watch.pool()
    await watch.address(pool)
    host.engine.add_endpoint(SECOND, RED, "elsewhere", "10.77.1.2/16")
    await watch.look(5)
    assert await watch.held(pool) == ["10.77.1.2"]


async def test_both_families_of_a_live_endpoint_are_kept(watch: Watch, host: Host) -> None:
    four, six = await watch.pool(), await watch.pool("fd00:77::/64")
    host.engine.add_network(DOCKERS, "dockers")
    host.engine.add_subnet(DOCKERS, SUBNET)
    host.engine.add_subnet(DOCKERS, "fd00:77::/64")
    for each in (four, six):
        await watch.address(each)
    host.engine.add_endpoint(FIRST, DOCKERS, "web", "10.77.1.2/24", "fd00:77::2/64")
    await watch.look(5)
    assert await watch.held(four) == ["10.77.1.2"]
    assert await watch.held(six) == ["fd00:77::2"]


async def test_nothing_is_collected_while_docker_does_not_answer(
    watch: Watch, host: Host, bridge: FakeBridge
) -> None:
    pool = await watch.pool()
    await watch.address(pool)
    host.engine.end()
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await watch.look()
        watch.now += 60.0
    host.engine.begin()
    await watch.look(2)
    assert await watch.held(pool) == ["10.77.1.2"]


async def test_readings_of_two_daemons_do_not_add_up(
    watch: Watch, host: Host, bridge: FakeBridge
) -> None:
    pool = await watch.pool()
    orphan = await watch.pool("10.77.2.0/24")
    await watch.address(pool)
    for name in ("ONE", "TWO") * 10:
        host.engine.id = name
        await watch.look()
    assert await watch.held(pool) == ["10.77.1.2"]
    assert watch.there(orphan)


@pytest.mark.parametrize(
    ("driver", "options", "space"),
    [
        pytest.param("ovsnet", {}, DEFAULT_SPACE, id="both-kinds"),
        pytest.param("ovsipam-blue", {}, "blue", id="a-space-of-its-own"),
        pytest.param("ovsipam", {"IPAM.Space": "team1"}, "team1", id="a-typed-space"),
        pytest.param("reg.example:5000/x/ovsipam:latest", {}, DEFAULT_SPACE, id="managed"),
    ],
)
async def test_the_pool_of_a_network_is_found_by_driver_and_options(
    watch: Watch, host: Host, driver: str, options: dict[str, str], space: str
) -> None:
    pool = await watch.pool(space=space)
    other = await watch.pool(space="another")
    await watch.address(pool)
    await watch.address(other)
    host.engine.add_subnet(DOCKERS, SUBNET, ipam=driver, options=options)
    await watch.look(4)
    assert await watch.held(pool) == []
    assert await watch.held(other) == ["10.77.1.2"]


@pytest.mark.parametrize(
    ("driver", "scope"),
    [
        pytest.param("lab-addresses:latest", "local", id="unknown-name"),
        pytest.param("ovsipam", "swarm", id="swarm"),
        pytest.param("ovsipam", "global", id="global"),
    ],
)
async def test_of_a_network_that_is_not_ours_for_certain_nothing_is_collected(
    watch: Watch, host: Host, driver: str, scope: str
) -> None:
    used, unused = await watch.pool(), await watch.pool("10.77.2.0/24")
    await watch.address(used)
    for subnet in (SUBNET, "10.77.2.0/24"):
        host.engine.add_subnet(DOCKERS, subnet, ipam=driver, scope=scope)
    await watch.look(20)
    assert await watch.held(used) == ["10.77.1.2"]
    assert watch.there(unused)


async def test_of_two_networks_that_may_have_a_pool_neither_is_believed(
    watch: Watch, host: Host, bridge: FakeBridge
) -> None:
    pool = await watch.pool()
    await watch.address(pool)
    host.engine.add_subnet(NetworkId("e0" * 32), SUBNET, ipam="another")
    await watch.look(20)
    assert await watch.held(pool) == ["10.77.1.2"]


async def test_a_network_of_ours_does_not_stand_for_a_second_pool(watch: Watch, host: Host) -> None:
    await host.create_network()
    (ours,) = host.ipam.pools()
    host.engine.add_network(RED, "red")
    host.engine.add_subnet(RED, str(ours.subnet), ipam="unknown")
    orphan = await watch.pool(str(ours.subnet), space="another")
    await watch.look(20)
    assert not watch.there(orphan)
    assert watch.there(ours)


async def test_an_address_that_docker_lists_is_kept_on_our_own_networks_too(
    watch: Watch, host: Host
) -> None:
    await host.create_network()
    (pool,) = host.ipam.pools()
    lease = await watch.address(pool)
    host.engine.add_endpoint(SECOND, RED, "web", f"{lease.address}/24")
    await watch.look(4)
    assert await watch.held(pool) == [str(lease.address)]


async def test_leases_are_read_page_by_page(
    watch: Watch, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovsdriver.service.forgotten.foreign_pools._PAGE", 2)
    pool = await watch.pool()
    for _ in range(6):
        await watch.address(pool)
    bridge.run("10.77.1.4")
    await watch.look(4)
    assert await watch.held(pool) == ["10.77.1.4"]


# Pools


async def test_a_pool_that_never_became_a_network_is_collected_after_ten_minutes(
    watch: Watch, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await watch.pool()
    await watch.look(10)
    assert watch.there(pool)
    caplog.set_level(logging.WARNING)
    await watch.look()
    assert not watch.there(pool)
    (line,) = [each for each in caplog.records if each.message == "pool.collected"]
    assert line.pool == pool.id
    assert "Docker lists no network with it" in line.why
    assert await watch.pool()  # the subnet is free again


async def test_two_readings_are_not_enough_for_a_pool_however_far_apart(
    watch: Watch, host: Host
) -> None:
    pool = await watch.pool()
    await watch.look()
    watch.now += 3600.0
    await watch.look()
    assert watch.there(pool)
    await watch.look()
    assert not watch.there(pool)


async def test_a_pool_that_is_seen_in_docker_once_begins_anew(watch: Watch, host: Host) -> None:
    pool = await watch.pool()
    await watch.look(10)
    host.engine.add_network(DOCKERS, "dockers")
    host.engine.add_subnet(DOCKERS, SUBNET)
    await watch.look()
    host.engine.remove_network(DOCKERS)
    await watch.look(10)
    assert watch.there(pool)
    await watch.look()
    assert not watch.there(pool)


async def test_a_pool_with_an_endpoints_address_is_left_to_people(watch: Watch) -> None:
    pool = await watch.pool()
    await watch.address(pool)
    await watch.look(30)
    assert await watch.held(pool) == ["10.77.1.2"]


async def test_a_pool_that_a_bridge_of_this_host_is_in_is_left_to_people(
    watch: Watch, host: Host
) -> None:
    pool = await watch.pool()
    host.links.add_route(Route(destination=IPNetwork(SUBNET), link="br-1234"))
    await watch.look(30)
    assert watch.there(pool)


async def test_a_pool_of_a_segment_is_kept_while_it_is_not_known_who_holds_its_addresses(
    tmp_path: Path,
) -> None:
    host = await Host.start(tmp_path, central=FakeCentral())
    try:
        host.switch.system_id = "host1"
        watch = Watch(host)
        pool = await watch.pool(space="segment:blue")
        await watch.address(pool)
        assert isinstance(host.world.northbound, FakeNorthbound)
        known, host.world.northbound.central = host.world.northbound.central, FakeCentral()
        host.world.northbound.available = False
        await watch.look(30)
        assert watch.there(pool)
        host.world.northbound.central = known
        host.world.northbound.available = True
        await watch.look(30)
        assert await watch.held(pool) == ["10.77.1.2"]
    finally:
        await host.stop()


async def test_a_route_that_covers_more_than_the_pool_keeps_nothing(
    watch: Watch, host: Host
) -> None:
    pool = await watch.pool()
    host.links.add_route(Route(destination=IPNetwork("10.0.0.0/8"), link="vpn0"))
    await watch.look(11)
    assert not watch.there(pool)


@pytest.mark.parametrize("late", ["address", "network", "release"])
async def test_what_comes_at_the_last_moment_keeps_or_takes_the_pool(
    watch: Watch,
    host: Host,
    late: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = await watch.pool()
    await watch.look(10)
    working = host.links.routes

    async def routes(near: Sequence[IPNetwork]) -> Sequence[Route]:
        if late == "address":
            await watch.address(pool)
        elif late == "network":
            await host.state.put_network(a_network(subnets=(a_subnet(pool=pool.id),)))
        else:
            await host.ipam.release_pool(pool.id)
        return await working(near)

    monkeypatch.setattr(host.links, "routes", routes)
    caplog.set_level(logging.WARNING)
    await watch.look()
    assert watch.there(pool) == (late != "release")
    assert "pool.collected" not in caplog.messages


async def test_the_pools_of_swarms_manager_are_left_to_people(watch: Watch) -> None:
    pool = await watch.pool(space="ovsnet-global")
    await watch.look(30)
    assert watch.there(pool)


async def test_a_pool_of_a_network_of_ours_that_docker_does_not_list_is_kept(
    watch: Watch, host: Host
) -> None:
    await host.create_network()
    (pool,) = host.ipam.pools()
    await watch.look(30)
    assert watch.there(pool)


async def test_an_endpoint_without_addresses_keeps_nothing(watch: Watch, host: Host) -> None:
    pool = await watch.pool()
    host.engine.add_network(DOCKERS, "dockers")
    host.engine.add_subnet(DOCKERS, SUBNET)
    host.engine.add_endpoint(EndpointId("ab" * 32), DOCKERS, "idle")
    await watch.address(pool)
    await watch.look(4)
    assert await watch.held(pool) == []
