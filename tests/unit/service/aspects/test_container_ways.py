"""Routes in containers, and containers that are gateways."""

import asyncio

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, Mode, NetworkId, Way
from ovsdriver.domain.records.requests import Joined
from ovsdriver.errors import InvalidOptionError
from ovsdriver.service.aspects.container_ways import ContainerWays
from ovsdriver.words.changes import OtherOptions
from tests.builders import BLUE, FIRST, OWNER, RED, SECOND
from tests.unit.service.conftest import Host

ANY = IPNetwork("0.0.0.0/0")
FLAT = {"ovs.mode": "flat"}
SANDBOX = "/netns/one"
FAR = "10.51.0.0/16"


def way(to: str, via: str) -> Way:
    return Way(to=IPNetwork(to), via=IPAddress(via))


async def plugged(
    host: Host, endpoint: str = FIRST, sandbox: str = SANDBOX, network: str = RED, **said: str
) -> Joined:
    """Run a container; Docker puts there what it is told."""
    await host.create_endpoint(endpoint, network, {f"ovs.{k}": v for k, v in said.items()})
    joined = await host.endpoints.join(
        host.state.endpoint(EndpointId(endpoint)).network,  # type: ignore[union-attr]
        EndpointId(endpoint),
        sandbox,
    )
    host.links.move(joined.source, sandbox)
    told = routes(host, endpoint, sandbox)
    told |= {each: False for each in joined.ways}
    if joined.gateway4 is not None:
        told[Way(to=ANY, via=joined.gateway4)] = False
    return joined


def routes(host: Host, endpoint: str = FIRST, sandbox: str = SANDBOX) -> dict[Way, bool]:
    port = names.host_link(EndpointId(endpoint))
    links = host.links.sandboxes[sandbox].links.values()
    return next(each.routes for each in links if each.port == port)


async def change(host: Host, **typed: str) -> None:
    done = await host.changes.network(
        RED, OtherOptions(typed={f"ovs.{name}": text for name, text in typed.items()})
    )
    assert done.pending == ()


async def mended(host: Host) -> bool:
    """Whether a repair that looks at once mends anything."""
    await asyncio.sleep(0)
    aspect = ways_of(host, {})
    return bool((await aspect.look(mend=True)).mended)


def ways_of(host: Host, called: dict[str, str]) -> ContainerWays:
    return ContainerWays(
        owner=OWNER,
        state=host.state,
        sandboxes=host.links,
        locks=host.locks,
        called=lambda endpoint: called.get(endpoint, ""),
        after_s=0.0,
    )


async def test_routes_are_told_at_join_changed_in_place_and_put_back(host: Host) -> None:
    await host.create_network(said={**FLAT, "ovs.routes": f"{FAR} via 10.1.0.9"})
    joined = await plugged(host)
    assert joined.ways == (way(FAR, "10.1.0.9"),)
    theirs = way("10.99.0.0/16", "10.1.0.77")
    routes(host)[theirs] = False
    await change(host, routes="10.52.0.0/16 via 10.1.0.8")
    assert routes(host) == {theirs: False, way("10.52.0.0/16", "10.1.0.8"): True}
    del routes(host)[way("10.52.0.0/16", "10.1.0.8")]
    assert await mended(host)
    assert way("10.52.0.0/16", "10.1.0.8") in routes(host)
    assert not await mended(host)
    await change(host, routes="")
    assert routes(host) == {theirs: False}


async def test_docker_is_given_time_to_put_what_it_was_told(host: Host) -> None:
    await host.create_network(said={**FLAT, "ovs.routes": f"{FAR} via 10.1.0.9"})
    await host.create_endpoint()
    joined = await host.endpoints.join(NetworkId(RED), EndpointId(FIRST), SANDBOX)
    host.links.move(joined.source, SANDBOX)
    await host.reconciler.reconcile()
    assert routes(host) == {}, "one of ours would be in its way"


async def test_a_container_s_own_routes_stand_in_the_place_of_its_network_s(host: Host) -> None:
    await host.create_network(said={**FLAT, "ovs.routes": f"{FAR} via 10.1.0.9"})
    joined = await plugged(host, routes="10.52.0.0/16 via 10.1.0.8")
    assert joined.ways == (way("10.52.0.0/16", "10.1.0.8"),)


async def test_a_route_that_meets_another_network_is_not_told_but_put_there_later(
    host: Host,
) -> None:
    await host.create_network(said={**FLAT, "ovs.routes": "10.0.0.0/8 via 10.1.0.9"})
    await host.create_network(BLUE)
    joined = await plugged(host)
    assert joined.ways == ()
    await plugged(host, SECOND, network=BLUE)
    assert await mended(host)
    assert routes(host) == {way("10.0.0.0/8", "10.1.0.9"): True}


async def test_a_route_makes_way_for_a_moment_for_a_network_that_it_leads_to(host: Host) -> None:
    await host.create_network(said={**FLAT, "ovs.routes": "10.0.0.0/8 via 10.1.0.9"})
    await plugged(host)
    assert set(routes(host)) == {way("10.0.0.0/8", "10.1.0.9")}
    await host.create_network(BLUE)
    await host.create_endpoint(SECOND, BLUE)
    await host.endpoints.join(BLUE, EndpointId(SECOND), SANDBOX)
    assert routes(host) == {}
    assert await mended(host)
    assert set(routes(host)) == {way("10.0.0.0/8", "10.1.0.9")}


async def test_a_new_gateway_takes_the_place_of_the_one_that_docker_was_told(host: Host) -> None:
    await host.create_network(said={**FLAT, "ovs.gateway": "10.1.0.9", "ovs.routes": FAR})
    joined = await plugged(host)
    assert (joined.gateway4, joined.ways) == (IPAddress("10.1.0.9"), (way(FAR, "10.1.0.9"),))
    await change(host, gateway="10.1.0.8")
    assert routes(host) == {
        Way(to=ANY, via=IPAddress("10.1.0.8")): True,
        way(FAR, "10.1.0.8"): True,
    }
    await change(host, gateway="", routes="")
    assert routes(host) == {}
    await change(host, gateway="10.1.0.9", routes=FAR)
    assert set(routes(host)) == {Way(to=ANY, via=IPAddress("10.1.0.9")), way(FAR, "10.1.0.9")}


async def test_a_route_that_docker_was_told_comes_back_with_what_asks_for_it(host: Host) -> None:
    await host.create_network(said={**FLAT, "ovs.routes": f"{FAR} via 10.1.0.9"})
    await plugged(host)
    for text, found in (("", set()), (f"{FAR} via 10.1.0.9", {way(FAR, "10.1.0.9")})):
        await change(host, routes=text)
        assert set(routes(host)) == found


@pytest.mark.parametrize("mode", [Mode.FLAT, Mode.ISOLATED])
async def test_a_container_is_the_gateway_whatever_address_it_comes_with(
    host: Host, mode: Mode
) -> None:
    await host.create_network(said={"ovs.mode": mode, "ovs.gateway": "container:vpn"})
    assert (await plugged(host)).gateway4 is None
    called: dict[str, str] = {}
    aspect = ways_of(host, called)
    running = asyncio.create_task(aspect.run())
    try:
        await plugged(host, SECOND, "/netns/two")
        called[SECOND] = "vpn"
        aspect.poke()
        router = host.state.endpoint(EndpointId(SECOND)).addresses[0].ip  # type: ignore[union-attr]
        async with asyncio.timeout(5):
            while Way(to=ANY, via=router) not in routes(host):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert routes(host, SECOND, "/netns/two") == {}
        # it is away, and somebody else gets its address: better no way out than that one
        await host.endpoints.delete(RED, EndpointId(SECOND))
        (pool,) = host.ipam.pools()
        await host.ipam.release_address(pool.id, router)
        await plugged(host, "d4" * 32, "/netns/three")
        called["d4" * 32] = "other"
        aspect.poke()
        async with asyncio.timeout(5):
            while routes(host):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        running.cancel()


async def test_a_gateway_that_is_found_while_a_container_starts_is_its_way_out_soon(
    host: Host,
) -> None:
    said = {**FLAT, "ovs.gateway": "container:vpn", "ovs.routes": f"{FAR} via 10.1.0.9"}
    await host.create_network(said=said)
    await host.create_endpoint()
    joined = await host.endpoints.join(NetworkId(RED), EndpointId(FIRST), SANDBOX)
    host.links.move(joined.source, SANDBOX)
    called: dict[str, str] = {}
    aspect = ways_of(host, called)
    network, endpoint = host.state.network(NetworkId(RED)), host.state.endpoint(EndpointId(FIRST))
    assert network is not None
    assert endpoint is not None
    await aspect.joined(network, endpoint)
    running = asyncio.create_task(aspect.run())
    try:
        await plugged(host, SECOND, "/netns/two")
        called[SECOND] = "vpn"
        aspect.poke()
        router = host.state.endpoint(EndpointId(SECOND)).addresses[0].ip  # type: ignore[union-attr]
        async with asyncio.timeout(5):
            while Way(to=ANY, via=router) not in routes(host):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert way(FAR, "10.1.0.9") not in routes(host), "Docker was told to put that"
    finally:
        running.cancel()


async def test_routes_that_lead_nowhere_are_refused(host: Host) -> None:
    await host.create_network(said=FLAT)
    for text, why in (
        (FAR, "no gateway that leads there"),
        (f"{FAR} via 10.77.0.1", "lies in no subnet"),
        ("10.1.0.0/25 via 10.1.0.9", "own subnet"),
        ("fd00::/64 via fd00::1", "no IPv6 subnet"),
    ):
        with pytest.raises(InvalidOptionError, match=why):
            await change(host, routes=text)
