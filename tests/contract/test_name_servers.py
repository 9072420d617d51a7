"""What every ``NameServers`` does: the fake in memory, and namespaces of the kernel."""

import socket
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Protocol

import dns.message
import dns.query
import dns.rcode
import pytest
from netaddr import IPAddress

from ovsdriver.adapters.kernel.kernel import Kernel
from ovsdriver.adapters.kernel.netlink import on_own_thread
from ovsdriver.adapters.names import SegmentNameServers
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.records.segments import NAME_SERVER, OvnSegment
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.plumbing import NameServer
from ovsdriver.errors import ConflictError
from ovsdriver.ports import Links, NameServers
from tests.builders import OWNER, a_network, a_subnet
from tests.fakes.links import FakeLinks
from tests.fakes.name_servers import FakeNameServers
from tests.integration.netns import own_namespace, run

CLIENT, STRANGER = "10.50.0.5", "10.50.0.66"
DB = IPAddress("10.50.0.9")


class Book:
    """Every segment has a client, and a name of its own."""

    def serves(self, segment: str, client: IPAddress) -> bool:
        return client == IPAddress(CLIENT)

    def addresses(self, segment: str, client: IPAddress, name: str) -> Collection[IPAddress] | None:
        return [DB] if name == f"db.{segment}" else None


def server(segment: str) -> NameServer:
    network = a_network(
        segment=OvnSegment(segment=segment), mode=Mode.GWBRIDGE, subnets=(a_subnet("10.50.0.0/24"),)
    )
    found = desired.name_server(network, owner=OWNER)
    assert found is not None
    return found


BLUE, RED = server("blue"), server("red")


class World(Protocol):
    """The servers, and OVN between them and containers."""

    servers: NameServers
    links: Links

    async def ask(self, server: NameServer, client: str, name: str) -> list[str] | None: ...
    def delete(self, link: str) -> None: ...
    def take_name(self, link: str) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakeLinks(owner=OWNER)
        self.links: Links = self.fake
        self._servers = FakeNameServers(self.fake)
        self.servers: NameServers = self._servers

    async def ask(self, server: NameServer, client: str, name: str) -> list[str] | None:
        return self._servers.ask(server.segment, client, name)

    def delete(self, link: str) -> None:
        self.fake.drop_link(link)

    def take_name(self, link: str) -> None:
        self.fake.add_link(link)


class KernelWorld:
    def __init__(self, kernel: Kernel, servers: SegmentNameServers) -> None:
        self.links: Links = kernel.links
        self.servers: NameServers = servers

    async def ask(self, server: NameServer, client: str, name: str) -> list[str] | None:
        """Be a container behind the bridge's end of the link."""
        link = server.link.host
        run("ip", "link", "set", link, "arp", "on")
        run("ip", "address", "add", f"{client}/24", "dev", link)
        run("ip", "route", "add", str(NAME_SERVER), "dev", link)
        query = dns.message.make_query(name, "A")
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            wait_s = 0.5 if client == STRANGER else 20.0
            reply = await on_own_thread(
                lambda: dns.query.udp(query, str(NAME_SERVER), timeout=wait_s, sock=sock),
                name="container",
            )
        except dns.exception.Timeout:
            return None
        finally:
            sock.close()
            run("ip", "address", "flush", "dev", link)
        if reply.rcode() == dns.rcode.SERVFAIL:
            return ["outside"]
        return [str(each) for rrset in reply.answer for each in rrset]

    def delete(self, link: str) -> None:
        run("ip", "link", "delete", link)

    def take_name(self, link: str) -> None:
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "other0")


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.netns)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    with own_namespace():
        kernel = Kernel(owner=OWNER)
        servers = SegmentNameServers(
            links=kernel.links, sandboxes=kernel.sandboxes, resolvers=tmp_path / "none"
        )
        yield KernelWorld(kernel, servers)
        await servers.close()
        await kernel.close()


async def test_a_server_answers_containers_of_its_segment_and_nobody_else(world: World) -> None:
    await world.servers.ensure(BLUE, Book())
    assert set(world.servers.running()) == {"blue"}
    assert (await world.links.links())[BLUE.link.host].alias == BLUE.link.alias
    assert await world.ask(BLUE, CLIENT, "DB.blue") == [str(DB)]
    assert await world.ask(BLUE, CLIENT, "db.red") == ["outside"]
    assert await world.ask(BLUE, STRANGER, "db.blue") is None


async def test_segments_with_one_subnet_are_kept_apart(world: World) -> None:
    for each in (BLUE, RED):
        await world.servers.ensure(each, Book())
    for each, name in ((BLUE, "db.blue"), (RED, "db.red")):
        assert await world.ask(each, CLIENT, name) == [str(DB)]


async def test_what_is_as_it_should_be_stays(world: World) -> None:
    await world.servers.ensure(BLUE, Book())
    before = (await world.links.links())[BLUE.link.host].index
    await world.servers.ensure(BLUE, Book())
    assert (await world.links.links())[BLUE.link.host].index == before


async def test_a_link_that_was_lost_is_made_anew(world: World) -> None:
    await world.servers.ensure(BLUE, Book())
    world.delete(BLUE.link.host)
    await world.servers.ensure(BLUE, Book())
    assert await world.ask(BLUE, CLIENT, "db.blue") == [str(DB)]


async def test_a_server_that_is_removed_takes_its_link_with_it(world: World) -> None:
    await world.servers.ensure(BLUE, Book())
    assert await world.servers.remove("blue", BLUE.link.host)
    assert not world.servers.running()
    assert BLUE.link.host not in await world.links.links()
    assert not await world.servers.remove("blue", BLUE.link.host)
    await world.servers.ensure(BLUE, Book())
    assert await world.ask(BLUE, CLIENT, "db.blue") == [str(DB)]


async def test_a_foreign_link_of_its_name_is_left_alone(world: World) -> None:
    world.take_name(BLUE.link.host)
    with pytest.raises(ConflictError, match=BLUE.link.host):
        await world.servers.ensure(BLUE, Book())
    assert BLUE.link.host in await world.links.links()
