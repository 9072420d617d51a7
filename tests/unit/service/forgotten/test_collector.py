import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from netaddr import IPNetwork

from ipam import AddressRequest
from ipam.model import DEFAULT_SPACE, PoolRequest
from ovsdriver.domain.records.model import NetworkId
from ovsdriver.domain.records.requests import EndpointOptions, NewEndpoint
from ovsdriver.errors import ConflictError, UnavailableError
from tests.builders import FIRST, RED, SECOND, new_network
from tests.unit.service.conftest import Host

SANDBOX = "/netns/one"


async def forgotten(host: Host) -> None:
    """A container that ran and of which nothing is left but what we have."""
    await host.create_network()
    await host.run_container()
    host.links.sandboxes[SANDBOX].alive = False


async def test_an_endpoint_that_docker_forgot_is_ended_at_the_second_look(host: Host) -> None:
    await forgotten(host)
    (pool,) = host.ipam.pools()
    held = host.ipam.usage(pool.id).held
    await host.collector.collect()
    assert host.state.endpoint(FIRST) is not None
    await host.collector.collect()
    assert host.state.endpoint(FIRST) is None
    assert host.ipam.usage(pool.id).held == held - 1


async def test_an_endpoint_that_docker_lists_is_kept(host: Host) -> None:
    await forgotten(host)
    host.engine.add_endpoint(FIRST, RED, "web")
    for _ in range(3):
        await host.collector.collect()
    assert host.state.endpoint(FIRST) is not None


async def test_an_endpoint_with_a_live_sandbox_is_kept(host: Host) -> None:
    await forgotten(host)
    host.links.sandboxes[SANDBOX].alive = True
    for _ in range(3):
        await host.collector.collect()
    assert host.state.endpoint(FIRST) is not None


async def test_nothing_is_collected_while_docker_does_not_answer(host: Host) -> None:
    await forgotten(host)
    await host.collector.collect()
    host.engine.end()
    with pytest.raises(UnavailableError):
        await host.collector.collect()
    assert host.state.endpoint(FIRST) is not None
    host.engine.begin()
    await host.collector.collect()
    assert host.state.endpoint(FIRST) is None


async def test_an_endpoint_that_was_never_joined_is_collected_with_its_lease(host: Host) -> None:
    await host.create_network()
    await host.create_endpoint()
    (pool,) = host.ipam.pools()
    await host.collector.collect()
    await host.collector.collect()
    assert host.state.endpoints() == ()
    assert [lease.kind.value for lease in await host.ipam.leases(pool.id)] == ["gateway"]


async def test_releasing_the_address_of_a_live_listed_endpoint_is_a_contradiction(
    host: Host,
) -> None:
    await host.create_network()
    address = await host.run_container()
    (pool,) = host.ipam.pools()
    host.engine.add_endpoint(FIRST, RED, "web")
    await host.witness.read()
    with pytest.raises(ConflictError, match="still lists endpoint"):
        await host.endpoints.release(pool.id, address)
    assert host.state.endpoint(FIRST) is not None


async def test_what_an_ended_daemon_said_counts_no_more(host: Host) -> None:
    await host.create_network()
    address = await host.run_container()
    (pool,) = host.ipam.pools()
    host.engine.add_endpoint(FIRST, RED, "web")
    await host.witness.read()
    watching = asyncio.create_task(host.witness.run())
    await asyncio.sleep(0)
    host.engine.end()
    async with asyncio.timeout(10):
        while host.witness.lists(FIRST):  # noqa: ASYNC110
            await asyncio.sleep(0)
    watching.cancel()
    await host.endpoints.release(pool.id, address)
    assert host.state.endpoint(FIRST) is None


async def test_the_end_of_a_daemon_is_told_once_and_only_of_one_that_has_answered(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovsdriver.service.forgotten.witnesses._AGAIN_S", 0)
    ends: list[bool] = []
    host.witness.on_end(lambda: ends.append(host.witness.answers()))
    watching = asyncio.create_task(host.witness.run())
    async with asyncio.timeout(10):
        while not host.witness.answers():  # noqa: ASYNC110
            await asyncio.sleep(0)
        host.engine.end()
        while not ends:  # noqa: ASYNC110
            await asyncio.sleep(0)
    for _ in range(20):  # nobody answers, time and again
        await asyncio.sleep(0)
    watching.cancel()
    assert ends == [False]


async def test_an_address_that_no_endpoint_came_for_is_collected_at_the_second_look(
    host: Host,
) -> None:
    await host.create_network()
    await host.run_container()
    (pool,) = host.ipam.pools()
    lost = await host.ipam.request_address(AddressRequest(pool=pool.id))
    await host.collector.collect()
    assert await host.ipam.lease(pool.id, lost.address) is not None
    await host.collector.collect()
    assert await host.ipam.lease(pool.id, lost.address) is None
    assert host.ipam.usage(pool.id).held == 2


async def test_auxiliary_addresses_are_never_collected(host: Host) -> None:
    await host.create_network()
    (pool,) = host.ipam.pools()
    aux = await host.ipam.request_address(AddressRequest(pool=pool.id))
    network = host.state.network(RED)
    assert network is not None
    subnet = replace(network.subnets[0], auxiliary=(aux.address,))
    await host.state.put_network(replace(network, subnets=(subnet,)))
    for _ in range(3):
        await host.collector.collect()
    assert await host.ipam.lease(pool.id, aux.address) is not None


async def test_the_daemon_that_a_network_is_of_is_noted_once(host: Host) -> None:
    await host.create_network()
    host.engine.add_network(RED, "red")
    await host.collector.collect()
    host.engine.id = "ANOTHER"
    await host.collector.collect()
    network = host.state.network(RED)
    assert network is not None
    assert network.engine == "ENGINE"


async def test_the_collector_looks_again_and_again_also_after_docker_was_away(host: Host) -> None:
    await host.create_network()
    (pool,) = host.ipam.pools()
    await host.ipam.request_address(AddressRequest(pool=pool.id))
    host.engine.end()
    collector = host.another_collector(interval_s=0.0)
    looking = asyncio.create_task(collector.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert host.ipam.usage(pool.id).held == 2
    host.engine.begin()
    async with asyncio.timeout(30):
        while host.ipam.usage(pool.id).held > 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
    looking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking


async def test_an_address_is_missed_however_many_endpoints_have_two(host: Host) -> None:
    await host.ipam.request_pool(PoolRequest(space=DEFAULT_SPACE, subnet=IPNetwork("10.1.0.0/24")))
    await host.ipam.request_pool(
        PoolRequest(space=DEFAULT_SPACE, family=6, subnet=IPNetwork("fd00:1::/64"))
    )
    subnets = (("10.1.0.0/24", None), ("fd00:1::/64", None))
    await host.networks.create(new_network(RED, *subnets, internal=True))
    network = host.state.network(RED)
    assert network is not None
    v4, v6 = (subnet.pool for subnet in network.subnets)
    assert v4 is not None
    assert v6 is not None

    async def leased() -> tuple[IPNetwork, ...]:
        pairs = ((v4, 24), (v6, 64))
        found = [(await host.ipam.request_address(AddressRequest(pool=p)), n) for p, n in pairs]
        return tuple(IPNetwork(f"{lease.address}/{length}") for lease, length in found)

    for each in (FIRST, SECOND):
        await host.endpoints.create(
            NewEndpoint(network=RED, id=each, addresses=await leased(), options=EndpointOptions())
        )
        host.engine.add_endpoint(each, RED, each[:4])
    await host.ipam.request_address(AddressRequest(pool=v4))
    assert host.ipam.usage(v4).held == 3
    await host.collector.collect()
    await host.collector.collect()
    assert host.ipam.usage(v4).held == 2
    assert len(host.state.endpoints()) == 2


async def test_use_is_noted_once_before_the_endpoint_is_there(
    host: Host, failing: Callable[[Any, str], None]
) -> None:
    await host.create_network()
    failing(host.state, "put_network")
    with pytest.raises(UnavailableError):
        await host.create_endpoint()
    assert host.state.endpoints() == ()
    await host.run_container(FIRST)
    failing(host.state, "put_network")
    await host.run_container(SECOND, sandbox="/netns/two")  # nothing to be noted any more
    network = host.state.network(NetworkId(RED))
    assert network is not None
    assert not network.unused
