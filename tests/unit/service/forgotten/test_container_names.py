"""Refusals of the IPAM name containers and networks as Docker told them last."""

import asyncio
from contextlib import suppress

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import AddressError, AddressRequest, IpamError, OverlapError, Pool, PoolRequest
from ovsdriver.domain.records.model import NetworkId
from ovsdriver.errors import UnavailableError
from ovsdriver.service.forgotten.container_names import ContainerNames
from ovsdriver.service.forgotten.witnesses import Witness
from tests.builders import FIRST, RED, SECOND
from tests.unit.service.conftest import Host

DOCKERS = NetworkId("d0" * 32)


async def refusal(host: Host, pool: Pool, address: str) -> str:
    with pytest.raises(AddressError) as refused:
        await host.ipam.request_address(AddressRequest(pool=pool.id, address=IPAddress(address)))
    return str(refused.value)


async def test_a_container_of_ours_is_named_by_its_endpoint(host: Host) -> None:
    await host.create_network()
    address = str(await host.run_container())
    pool = host.ipam.pools()[0]
    assert "is held by a container since" in await refusal(host, pool, address)
    host.engine.add_network(RED, "red")
    host.engine.add_endpoint(FIRST, RED, "web", f"{address}/24")
    await host.witness.read()
    assert "is held by container web since" in await refusal(host, pool, address)
    await host.endpoints.delete(RED, FIRST)
    await host.ipam.release_address(pool.id, IPAddress(address))
    assert await host.run_container(SECOND) == IPAddress(address)
    assert "is held by a container since" in await refusal(host, pool, address), "another endpoint"


async def test_a_container_of_another_driver_is_named_while_it_is_the_lease_of_then(
    host: Host,
) -> None:
    pool = await host.ipam.request_pool(
        PoolRequest(space="ovsnet", subnet=IPNetwork("10.77.1.0/24"))
    )
    wish = AddressRequest(pool=pool.id, address=IPAddress("10.77.1.9"))
    given = await host.ipam.request_address(wish)
    lease = given._replace(created=pool.created + 1.0)
    host.engine.add_network(DOCKERS, "dockers")
    host.engine.add_subnet(DOCKERS, "10.77.1.0/24", kept=["10.77.1.1", "10.77.1.8"])
    host.engine.add_endpoint(FIRST, DOCKERS, "web", "10.77.1.9/24", "fd00::9/64")
    now = [pool.created - 0.5]
    witness = Witness(host.engine, clock=lambda: now[0])
    naming = ContainerNames(state=host.state, witness=witness)
    assert (naming.network(pool), naming.container(pool, lease)) == ("", "")
    assert (list(naming.containers(pool)), naming.auxiliary(pool)) == ([], None)
    await witness.read()
    assert (naming.network(pool), naming.auxiliary(pool)) == ("", None), "of an earlier pool"
    assert list(naming.containers(pool)) == []
    now[0] += 1.0
    await witness.read()
    assert naming.network(pool) == "dockers"
    assert naming.container(pool, lease) == "", "somebody may have had it before"
    now[0] += 1.0
    await witness.read()
    assert naming.container(pool, lease) == "web"
    assert list(naming.containers(pool)) == [(IPAddress("10.77.1.9"), "web")]
    assert set(naming.auxiliary(pool) or ()) == {IPAddress("10.77.1.1"), IPAddress("10.77.1.8")}
    host.engine.add_subnet(NetworkId("d1" * 32), "10.77.1.0/24")
    await witness.read()
    assert naming.container(pool, lease) == "", "either network may have the pool"
    assert naming.auxiliary(pool) is None


async def test_a_full_subnet_names_some_of_its_containers_and_what_is_auxiliary(
    host: Host,
) -> None:
    await host.create_network()
    pool = host.ipam.pools()[0]
    host.engine.add_network(RED, "red")
    for endpoint, name in ((FIRST, "web"), (SECOND, "db")):
        address = await host.run_container(endpoint)
        host.engine.add_endpoint(endpoint, RED, name, f"{address}/24")
    await host.witness.read()
    while host.ipam.usage(pool.id).free:
        await host.ipam.request_address(AddressRequest(pool=pool.id))
    with pytest.raises(
        IpamError, match=r"253 are held by containers \(web, db and 251 more\) and 1"
    ):
        await host.ipam.request_address(AddressRequest(pool=pool.id))


async def test_an_overlap_names_the_network(host: Host) -> None:
    await host.create_network()
    host.engine.add_network(RED, "red")
    wish = PoolRequest(space="ovsnet", subnet=IPNetwork("10.1.0.0/16"))
    with pytest.raises(OverlapError, match=r"space ovsnet \(pool"):
        await host.ipam.request_pool(wish)
    await host.witness.read()
    with pytest.raises(OverlapError, match=r"space ovsnet \(network red, pool"):
        await host.ipam.request_pool(wish)


async def test_what_was_seen_stays_while_docker_is_read_and_goes_with_its_daemon(
    host: Host,
) -> None:
    watching = asyncio.create_task(host.witness.run())
    host.engine.add_network(RED, "red")
    view = await host.witness.read()
    host.engine.up = False
    with pytest.raises(UnavailableError):
        await host.witness.read()
    seen = host.witness.seen()
    assert seen is not None
    assert seen.view is view
    await asyncio.sleep(0)
    host.engine.end()
    for _ in range(3):  # the daemon's end is noticed, and acted on
        await asyncio.sleep(0)
    assert host.witness.seen() is None
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
