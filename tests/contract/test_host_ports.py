"""The port HostPorts: a fake, and sockets in a namespace of the test's own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from netaddr import IPAddress

from ovsdriver.adapters.host_ports.sockets import KernelHostPorts
from ovsdriver.domain.records.model import HostPort, Transport
from ovsdriver.domain.traffic.publishing import MOST_HELD
from ovsdriver.errors import UnsupportedError
from ovsdriver.ports import HostPorts
from tests.fakes.host_ports import FakeHostPorts
from tests.integration.netns import own_namespace, run

ANY4, ANY6 = IPAddress("0.0.0.0"), IPAddress("::")
OURS4, OURS6 = IPAddress("192.0.2.1"), IPAddress("2001:db8::1")
KINDS = {Transport.TCP: socket.SOCK_STREAM, Transport.UDP: socket.SOCK_DGRAM}


@dataclass
class World:
    """Ports, and another program of the same host."""

    ports: HostPorts
    takes: Callable[[Transport, IPAddress, int], bool]
    """Have it take a port, for good; False if it may not."""


@asynccontextmanager
async def fake() -> AsyncIterator[World]:
    ports = FakeHostPorts()

    def takes(protocol: Transport, address: IPAddress, port: int) -> bool:
        wanted = HostPort(protocol=protocol, address=address, port=port)
        if any(wanted.overlaps(each) for each in ports.held() if each.count <= MOST_HELD):
            return False
        ports.others.add(wanted)
        return True

    yield World(ports, takes)


@asynccontextmanager
async def real() -> AsyncIterator[World]:
    with ExitStack() as stack:
        stack.enter_context(own_namespace())
        run("ip", "address", "add", f"{OURS4}/32", "dev", "lo")
        run("ip", "address", "add", f"{OURS6}/128", "dev", "lo", "nodad")

        def takes(protocol: Transport, address: IPAddress, port: int) -> bool:
            family = {4: socket.AF_INET, 6: socket.AF_INET6}[address.version]
            made = stack.enter_context(socket.socket(family, KINDS[protocol]))
            # as servers do, who want their port back after a restart
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                made.bind((str(address), port))
                if protocol is Transport.TCP:
                    made.listen()
            except OSError:
                return False
            return True

        ports = KernelHostPorts()
        try:
            yield World(ports, takes)
        finally:
            await ports.close()


@pytest.fixture(params=[fake, pytest.param(real, marks=pytest.mark.netns)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with request.param() as made:
        yield made


def at(protocol: Transport, address: IPAddress, port: int) -> HostPort:
    return HostPort(protocol=protocol, address=address, port=port)


@pytest.mark.parametrize("protocol", list(Transport))
async def test_a_port_is_held_in_both_families_until_it_is_released(
    world: World, protocol: Transport
) -> None:
    assert await world.ports.hold(protocol, [ANY4, ANY6], [8080]) == 8080
    assert set(world.ports.held()) == {at(protocol, ANY4, 8080), at(protocol, ANY6, 8080)}
    assert await world.ports.hold(protocol, [ANY4], [8080]) is None
    assert await world.ports.hold(protocol, [OURS6], [8080]) is None
    assert await world.ports.release(at(protocol, ANY4, 8080))
    assert not await world.ports.release(at(protocol, ANY4, 8080))
    assert await world.ports.hold(protocol, [ANY4], [8080]) == 8080


@pytest.mark.parametrize("protocol", list(KINDS))
async def test_no_other_program_gets_a_port_that_is_held(world: World, protocol: Transport) -> None:
    await world.ports.hold(protocol, [ANY4], [8080])
    assert not world.takes(protocol, ANY4, 8080)
    assert not world.takes(protocol, IPAddress("127.0.0.1"), 8080)
    assert world.takes(protocol, ANY6, 8080)
    await world.ports.release(at(protocol, ANY4, 8080))
    assert world.takes(protocol, ANY4, 8080)


@pytest.mark.parametrize("protocol", list(KINDS))
async def test_a_port_of_another_program_is_passed_over(world: World, protocol: Transport) -> None:
    assert world.takes(protocol, ANY6, 8080)
    assert await world.ports.hold(protocol, [ANY4, ANY6], [8080]) is None
    assert not world.ports.held(), "on all addresses or on none"
    assert await world.ports.hold(protocol, [ANY4, ANY6], range(8080, 8090)) == 8081


async def test_one_port_number_is_held_for_each_protocol_and_each_address(world: World) -> None:
    for protocol in Transport:
        assert await world.ports.hold(protocol, [IPAddress("127.0.0.1")], [53]) == 53
        assert await world.ports.hold(protocol, [OURS4], [53]) == 53
        assert await world.ports.hold(protocol, [ANY4], [53]) is None
    assert len(world.ports.held()) == 6


@pytest.mark.parametrize("protocol", list(Transport))
async def test_any_port_is_one_that_nobody_has_yet(world: World, protocol: Transport) -> None:
    found = [await world.ports.hold(protocol, [ANY4, ANY6], ()) for _ in range(20)]
    assert len(set(found)) == 20
    assert all(port is not None and port > 1023 for port in found)
    assert len(world.ports.held()) == 40


async def test_an_address_that_is_not_this_hosts_is_refused(world: World) -> None:
    with pytest.raises(UnsupportedError, match=r"192\.0\.2\.99 is no address of this host"):
        await world.ports.hold(Transport.TCP, [IPAddress("192.0.2.99")], [80])
    assert not world.ports.held()


async def test_many_at_once_never_get_the_same(world: World) -> None:
    found = await asyncio.gather(
        *(world.ports.hold(Transport.TCP, [ANY4, ANY6], range(9000, 9010)) for _ in range(15))
    )
    assert sorted(port for port in found if port) == list(range(9000, 9010))


@pytest.mark.parametrize("protocol", list(KINDS))
@pytest.mark.parametrize("host", [ANY6, IPAddress("::1")])
async def test_a_relayed_port_is_held_as_before_and_free_after_its_release(
    world: World, protocol: Transport, host: IPAddress
) -> None:
    await world.ports.hold(protocol, [host], [8080])
    held = at(protocol, host, 8080)
    for _ in range(2):
        await world.ports.relay(held, IPAddress("::1"), 9)
    assert not world.takes(protocol, IPAddress("::1"), 8080)
    assert await world.ports.hold(protocol, [IPAddress("::1")], [8080]) is None
    assert await world.ports.release(held)
    assert world.takes(protocol, IPAddress("::1"), 8080)


async def test_what_is_not_held_or_not_of_the_loopback_is_not_relayed(world: World) -> None:
    await world.ports.relay(at(Transport.TCP, ANY6, 8080), OURS6, 9)
    await world.ports.hold(Transport.TCP, [OURS6], [8080])
    await world.ports.relay(at(Transport.TCP, OURS6, 8080), IPAddress("::1"), 9)
    assert world.takes(Transport.TCP, IPAddress("::1"), 8080)


@pytest.mark.parametrize("count", [100, MOST_HELD + 1])
@pytest.mark.parametrize("protocol", KINDS)
async def test_a_range_is_had_whole_or_not_at_all(
    world: World, protocol: Transport, count: int
) -> None:
    assert world.takes(protocol, ANY6, 10000 + count - 1)
    assert await world.ports.hold(protocol, [ANY4, ANY6], [10000], count=count) is None
    assert not world.ports.held()
    assert await world.ports.hold(protocol, [ANY4], [10000], count=count) == 10000
    (held,) = world.ports.held()
    assert (held.port, held.last) == (10000, 10000 + count - 1)
    assert await world.ports.hold(protocol, [OURS4], [10050]) is None
    assert await world.ports.hold(protocol, [ANY4], [9990], count=20) is None
    assert await world.ports.hold(protocol, [ANY4], [9990], count=10) == 9990
    assert world.takes(protocol, ANY4, 10050) is (count > MOST_HELD)
    assert await world.ports.release(held)
    assert world.takes(protocol, ANY4, 10051)
