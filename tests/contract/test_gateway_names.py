"""What every ``GatewayNameServers`` does: the fake in memory, and sockets of the kernel."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest
from netaddr import IPAddress

from ovsdriver.adapters.names.at_gateways import KernelGatewayNameServers
from ovsdriver.domain.access.naming import CEILING_S, PORT, NameRecord
from ovsdriver.errors import ConflictError, UnavailableError
from ovsdriver.ports import GatewayNameServers
from tests.fakes.gateway_names import FakeGatewayNameServers
from tests.integration.netns import Sandbox, own_namespace, run

ONE, TWO = "ovg000000000001", "ovg000000000002"
NUMBER = {ONE: 1, TWO: 2}
LISTED = {"api.test": ["198.51.100.7", "198.51.100.8"], "secret.test": ["198.51.100.9"]}
UPSTREAM = Path(__file__).parents[1] / "integration" / "upstream.py"


class Rules:
    """Everybody's ``.5`` may ask for ``api.test``, and be told of its first address."""

    def __init__(self) -> None:
        self.learnt: list[tuple[str, str, str, list[str]]] = []
        self.full = False

    def serves(self, gateway: str, client: IPAddress) -> bool:
        return str(client) == f"10.55.{NUMBER[gateway]}.5" or str(client) == _six(gateway, 5)

    def answered(self, gateway: str, client: IPAddress, name: str) -> bool:
        return name in ("api.test", "far.test")

    async def learn(
        self, gateway: str, client: IPAddress, name: str, records: Sequence[NameRecord]
    ) -> Collection[IPAddress] | None:
        await asyncio.sleep(0)
        if self.full:
            raise UnavailableError("no room")
        found = sorted(each.address for each in records if each.address is not None)
        self.learnt.append((gateway, str(client), name, [str(each) for each in found]))
        return found[:1]


class World(Protocol):
    servers: GatewayNameServers

    def gateway(self, name: str) -> None:
        """Make the device, or make it anew."""
        ...

    async def ask(self, gateway: str, client: str, name: str) -> list[str] | None: ...
    def asked(self) -> list[str]: ...
    def take_port(self) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self._servers = FakeGatewayNameServers(
            {
                name: [NameRecord(name=name, seconds=60, address=IPAddress(at)) for at in found]
                for name, found in LISTED.items()
            }
        )
        self.servers: GatewayNameServers = self._servers
        self._number = 0

    def gateway(self, name: str) -> None:
        self._number += 1
        self._servers.devices[name] = self._number

    async def ask(self, gateway: str, client: str, name: str) -> list[str] | None:
        return await self._servers.ask(gateway, client, name)

    def asked(self) -> list[str]:
        return self._servers.asked

    def take_port(self) -> None:
        self._servers.taken = True


class KernelWorld:
    """The test's namespace is the host, with containers behind pairs, and a server it asks."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._containers: dict[str, Sandbox] = {}
        resolvers = folder / "resolv.conf"
        resolvers.write_text("nameserver 127.0.0.1\n")
        self.kernel = KernelGatewayNameServers(resolvers=resolvers)
        self.servers: GatewayNameServers = self.kernel
        self._start_upstream()

    def gateway(self, name: str) -> None:
        run("ip", "link", "delete", name, check=False)
        container = self._stack.enter_context(Sandbox())
        number = NUMBER[name]
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0")
        run("ip", "link", "set", "eth0", "netns", container.path)
        for address in (f"10.55.{number}.1/24", f"10.56.{number}.1/24", _six(name, 1) + "/64"):
            run("ip", "address", "add", address, "dev", name, *_no_dad(address))
        run("ip", "link", "set", name, "up")
        container.run("ip", "link", "set", "eth0", "up")
        for host in (5, 66):
            for address in (f"10.55.{number}.{host}/24", _six(name, host) + "/64"):
                container.run("ip", "address", "add", address, "dev", "eth0", *_no_dad(address))
        container.run("ip", "route", "add", "default", "via", f"10.55.{number}.1")
        self._containers[name] = container

    async def ask(self, gateway: str, client: str, name: str) -> list[str] | None:
        at = _six(gateway, 1) if ":" in client else f"10.55.{NUMBER[gateway]}.1"
        return await self.ask_at(gateway, client, at, name)

    async def ask_at(
        self, gateway: str, client: str, at: str, name: str, *, tcp: bool = False
    ) -> list[str] | None:
        """Ask in a container, or in the host itself if there is none for ``gateway``."""
        work = partial(_ask, client, at, name, tcp=tcp)
        container = self._containers.get(gateway)
        return await asyncio.to_thread(container.call if container else _call, work)

    def asked(self) -> list[str]:
        return (self._said.read() or b"").decode().split()

    def take_port(self) -> None:
        taken = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        taken.bind(("", PORT))

    def _start_upstream(self) -> None:
        program = subprocess.Popen(
            [sys.executable, UPSTREAM, "127.0.0.1", "53"], stdout=subprocess.PIPE
        )
        self._stack.callback(program.wait)
        self._stack.callback(program.terminate)
        assert program.stdout is not None
        self._said = self._stack.enter_context(program.stdout)
        assert self._said.readline() == b"listening\n"
        os.set_blocking(self._said.fileno(), False)


def _call(work: Callable[[], list[str] | None]) -> list[str] | None:
    return work()


def _ask(client: str, at: str, name: str, *, tcp: bool) -> list[str] | None:
    query = dns.message.make_query(name, "A")
    wait_s = 20.0 if client.endswith((".5", ":5")) else 0.5
    ask = dns.query.tcp if tcp else dns.query.udp
    try:
        reply = ask(query, at, port=PORT, timeout=wait_s, source=client)
    except (dns.exception.Timeout, OSError, EOFError):
        return None
    assert all(rrset.ttl <= CEILING_S for rrset in reply.answer)
    found = [str(each) for rrset in reply.answer for each in rrset]
    return [dns.rcode.to_text(reply.rcode()), *found]


def _six(gateway: str, host: int) -> str:
    return f"fd00:55:{NUMBER[gateway]}::{host}"


def _no_dad(address: str) -> list[str]:
    return ["nodad"] if ":" in address else []


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.netns)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    with own_namespace(), ExitStack() as stack:
        made = KernelWorld(tmp_path, stack)
        yield made
        await made.kernel.close()


async def test_who_is_served_hears_what_it_may_and_nobody_else_hears_anything(
    world: World,
) -> None:
    world.gateway(ONE)
    rules = Rules()
    await world.servers.ensure(ONE, rules)
    await world.servers.ensure(ONE, rules)
    assert list(world.servers.running()) == [ONE]
    assert await world.ask(ONE, "10.55.1.5", "api.test") == ["NOERROR", "198.51.100.7"]
    assert rules.learnt == [(ONE, "10.55.1.5", "api.test", LISTED["api.test"])]
    assert await world.ask(ONE, "10.55.1.66", "api.test") is None
    assert world.asked().count("api.test") == 1


async def test_a_name_that_is_not_listed_is_refused_and_nobody_is_asked_for_it(
    world: World,
) -> None:
    world.gateway(ONE)
    await world.servers.ensure(ONE, Rules())
    assert await world.ask(ONE, "10.55.1.5", "secret.test") == ["REFUSED"]
    assert not world.asked()


async def test_what_rules_have_no_room_for_is_not_told(world: World) -> None:
    world.gateway(ONE)
    rules = Rules()
    rules.full = True
    await world.servers.ensure(ONE, rules)
    assert await world.ask(ONE, "10.55.1.5", "api.test") == ["SERVFAIL"]


async def test_each_gateway_has_its_own(world: World) -> None:
    rules = Rules()
    for each in (ONE, TWO):
        world.gateway(each)
        await world.servers.ensure(each, rules)
    assert await world.ask(TWO, "10.55.2.5", "api.test") == ["NOERROR", "198.51.100.7"]
    assert [each[0] for each in rules.learnt] == [TWO]
    assert await world.servers.remove(ONE)
    assert not await world.servers.remove(ONE)
    assert await world.ask(ONE, "10.55.1.66", "api.test") is None
    assert await world.ask(TWO, "10.55.2.5", "api.test") == ["NOERROR", "198.51.100.7"]


async def test_a_device_that_was_made_anew_is_noticed(world: World) -> None:
    with pytest.raises(UnavailableError, match=ONE):
        await world.servers.ensure(ONE, Rules())
    world.gateway(ONE)
    await world.servers.ensure(ONE, Rules())
    world.gateway(ONE)
    assert not world.servers.running()
    await world.servers.ensure(ONE, Rules())
    assert await world.ask(ONE, "10.55.1.5", "api.test") == ["NOERROR", "198.51.100.7"]


async def test_a_port_that_somebody_has_is_left_to_them(world: World) -> None:
    world.gateway(ONE)
    world.take_port()
    with pytest.raises(ConflictError, match=str(PORT)):
        await world.servers.ensure(ONE, Rules())
    assert not world.servers.running()


@pytest.mark.netns
@pytest.mark.parametrize("world", ["kernel"], indirect=True)
async def test_both_families_and_transports_are_answered_from_the_address_that_was_asked(
    world: KernelWorld,
) -> None:
    world.gateway(ONE)
    await world.servers.ensure(ONE, Rules())
    told = ["NOERROR", "198.51.100.7"]
    for client, at in (
        ("10.55.1.5", "10.55.1.1"),
        ("10.55.1.5", "10.56.1.1"),
        (_six(ONE, 5), _six(ONE, 1)),
    ):
        for tcp in (False, True):
            assert await world.ask_at(ONE, client, at, "api.test", tcp=tcp) == told, (at, tcp)


@pytest.mark.netns
@pytest.mark.parametrize("world", ["kernel"], indirect=True)
async def test_neither_the_host_nor_who_is_behind_another_device_can_ask(
    world: KernelWorld,
) -> None:
    for each in (ONE, TWO):
        world.gateway(each)
    await world.servers.ensure(ONE, Rules())
    assert await world.ask_at("host", "10.55.1.1", "10.55.1.1", "api.test") is None
    assert await world.ask_at(TWO, "10.55.2.66", "10.55.1.1", "api.test") is None
    # with an address that would be served
    world._containers[TWO].run("ip", "address", "add", "10.55.1.5/32", "dev", "lo")
    assert await world.ask_at(TWO, "10.55.2.66", "10.55.1.1", "api.test", tcp=True) is None
    assert not world.asked()


@pytest.mark.netns
@pytest.mark.parametrize("world", ["kernel"], indirect=True)
async def test_answers_too_long_for_a_datagram_come_over_a_connection(world: KernelWorld) -> None:
    world.gateway(ONE)
    await world.servers.ensure(ONE, Rules())
    client, at = "10.55.1.5", "10.55.1.1"
    assert await world.ask_at(ONE, client, at, "far.test", tcp=True) == ["NOERROR", "198.51.100.1"]
