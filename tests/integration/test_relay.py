"""From ``::1`` to a container by copying, and ports that are held while it goes on."""

import asyncio
import errno
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from netaddr import IPAddress

from ovsdriver.adapters.host_ports import relay
from ovsdriver.adapters.host_ports.sockets import KernelHostPorts
from ovsdriver.domain.records.model import HostPort, Transport
from tests.integration.netns import own_namespace, run

pytestmark = pytest.mark.netns

CONTAINER = "fd66:1::2"
ANY6 = IPAddress("::")
PORT = 8080
PATIENCE_S = 30


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with own_namespace():
        run("ip", "address", "add", f"{CONTAINER}/64", "dev", "lo", "nodad")
        while not has_way():  # for a moment the kernel may have the address and no route to it
            time.sleep(0.01)
        yield


def has_way() -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex((CONTAINER, PORT)) == 0


@pytest.fixture
async def ports() -> AsyncIterator[KernelHostPorts]:
    made = KernelHostPorts()
    yield made
    await made.close()


async def relayed(
    ports: KernelHostPorts, protocol: Transport, target: int, host: IPAddress = ANY6
) -> HostPort:
    held = HostPort(protocol=protocol, address=host, port=PORT)
    assert await ports.hold(protocol, [host], [PORT]) == PORT
    await ports.relay(held, IPAddress(CONTAINER), target)
    return held


@dataclass
class Upper:
    """A server in the container: reads to the end, answers in capitals, closes."""

    port: int = 0
    peers: list[str] = field(default_factory=list)

    async def __aenter__(self) -> "Upper":
        self._server = await asyncio.start_server(self._serve, CONTAINER, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.append(writer.get_extra_info("peername")[0])
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()


async def asked(text: bytes) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("::1", PORT)
        writer.write(text)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer


async def test_a_connection_is_copied_in_both_directions_to_its_end(ports: KernelHostPorts) -> None:
    async with Upper() as server:
        await relayed(ports, Transport.TCP, server.port)
        text = b"abc" * 1_000_000
        assert await asked(text) == text.upper()
        answers = await asyncio.gather(*(asked(b"%d x" % number) for number in range(50)))
        assert answers == [b"%d X" % number for number in range(50)]


def connected(target: str) -> None:
    """Connect, or raise what the kernel says once it has its way to a new address again."""
    while True:
        with socket.socket(socket.AF_INET6) as client:
            try:
                return client.connect((target, PORT))
            except OSError as error:
                if error.errno != errno.ENETUNREACH:
                    raise


async def test_only_the_loopback_is_relayed(ports: KernelHostPorts) -> None:
    async with Upper() as server:
        await relayed(ports, Transport.TCP, server.port)
        with pytest.raises(ConnectionRefusedError):
            connected(CONTAINER)


async def test_a_container_that_does_not_listen_ends_the_connection(ports: KernelHostPorts) -> None:
    await relayed(ports, Transport.TCP, 9)
    try:
        answer = await asked(b"hello")
    except ConnectionError:
        answer = b""
    assert answer == b""


async def test_releasing_ends_open_connections_and_the_port_is_held_again_at_once(
    ports: KernelHostPorts,
) -> None:
    async with Upper() as server:
        held = await relayed(ports, Transport.TCP, server.port)
        assert await asked(b"a") == b"A"  # the server closes first: TIME_WAIT stays here
        reader, writer = await asyncio.open_connection("::1", PORT)
        writer.write(b"never ends")
        await ports.release(held)
        async with asyncio.timeout(PATIENCE_S):
            try:
                assert await reader.read() == b""
            except ConnectionError:
                assert not ports.held()
        writer.close()
        assert f":{PORT}" in run("ss", "-Htan", "state", "all"), "connections are fading out"
        await relayed(ports, Transport.TCP, server.port)
        assert await asked(b"b") == b"B"


async def test_a_port_whose_server_has_just_ended_can_be_held_and_is_nobodys_else(
    ports: KernelHostPorts,
) -> None:
    """The case of a host's own web server that gives way to one in a container."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", PORT)
    _, writer = await asyncio.open_connection("127.0.0.1", PORT)
    await asyncio.sleep(0.05)
    writer.close()
    server.close()
    await server.wait_closed()
    assert await ports.hold(Transport.TCP, [IPAddress("0.0.0.0")], [PORT]) == PORT
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            taken(other)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", PORT)


def taken(other: socket.socket) -> None:
    other.bind(("0.0.0.0", PORT))
    other.listen()


class Echo(asyncio.DatagramProtocol):
    """Answers each datagram with itself and a number, which counts its clients' sockets."""

    def __init__(self) -> None:
        self.clients: dict[Any, int] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        number = self.clients.setdefault(addr, len(self.clients))
        self.transport.sendto(b"%s %d" % (data, number), addr)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(Echo, local_addr=(CONTAINER, 5353))
    yield made
    transport.close()


async def sent(client: socket.socket, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, data)
    async with asyncio.timeout(PATIENCE_S):
        return await loop.sock_recv(client, 100)


def a_client() -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.connect(("::1", PORT))
    return made


async def test_datagrams_are_copied_and_each_client_keeps_its_own_way(
    ports: KernelHostPorts, echo: Echo
) -> None:
    await relayed(ports, Transport.UDP, 5353)
    with a_client() as one, a_client() as two:
        assert await sent(one, b"a") == b"a 0"
        assert await sent(two, b"b") == b"b 1"
        assert await sent(one, b"c") == b"c 0"


@pytest.mark.parametrize("host", [ANY6, IPAddress("::1")])
async def test_large_datagrams_come_through_many_at_once(
    ports: KernelHostPorts, echo: Echo, host: IPAddress
) -> None:
    await relayed(ports, Transport.UDP, 5353, host)
    loop = asyncio.get_running_loop()
    with a_client() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        texts = [b"%d" % number * 5000 for number in range(8)]
        for each in texts:
            client.send(each)  # without giving the relay its turn
        async with asyncio.timeout(PATIENCE_S):
            answers = [await loop.sock_recv(client, 1 << 16) for _ in texts]
        assert answers == [each + b" 0" for each in texts]


async def test_a_connection_to_one_address_is_copied_as_well(ports: KernelHostPorts) -> None:
    async with Upper() as server:
        held = await relayed(ports, Transport.TCP, server.port, IPAddress("::1"))
        assert await asked(b"a") == b"A"
        await ports.release(held)
        with pytest.raises(ConnectionRefusedError):
            await asked(b"b")


async def test_a_silent_client_is_forgotten_and_the_eldest_makes_room(
    ports: KernelHostPorts, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_CLIENTS", 1)
    await relayed(ports, Transport.UDP, 5353)
    with a_client() as one, a_client() as two:
        assert await sent(one, b"a") == b"a 0"
        assert await sent(two, b"b") == b"b 1"
        assert await sent(one, b"c") == b"c 2", "a new way"
    monkeypatch.setattr(relay, "_IDLE_S", 2)  # more than an answer takes on a busy machine
    with a_client() as three:
        assert await sent(three, b"d") == b"d 3"
        async with asyncio.timeout(PATIENCE_S):
            while "5353" in run("ss", "-Hun", "state", "established"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_container_that_refuses_datagrams_harms_nothing(ports: KernelHostPorts) -> None:
    held = await relayed(ports, Transport.UDP, 5353)
    with a_client() as one:
        await asyncio.get_running_loop().sock_sendall(one, b"a")
        await asyncio.sleep(0.05)
        await asyncio.get_running_loop().sock_sendall(one, b"b")
        await asyncio.sleep(0.05)
    assert await ports.release(held)
