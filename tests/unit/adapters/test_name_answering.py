"""A name server on the loopback, asked by programs, between a directory and the outside."""

import asyncio
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import pytest
from netaddr import IPAddress

from ovsdriver.adapters.names import answering
from ovsdriver.adapters.names.answering import Answering
from ovsdriver.adapters.names.forwarding import Forwarder, framed, read_framed
from ovsdriver.adapters.names.servers import SegmentReplies

CLIENT = IPAddress("127.0.0.1")
DB = IPAddress("10.50.0.5")


class Book:
    """A directory with one name."""

    def __init__(self) -> None:
        self.clients = {CLIENT}

    def serves(self, segment: str, client: IPAddress) -> bool:
        assert segment == "blue"
        return client in self.clients

    def addresses(self, segment: str, client: IPAddress, name: str) -> Collection[IPAddress] | None:
        return [DB] if name == "db" else None


class Outside(asyncio.DatagramProtocol):
    """A server that says NXDOMAIN, or nothing while it is ``silent``."""

    def __init__(self) -> None:
        self.silent = False
        self.asked: list[str] = []
        self.forged = False
        self.heard = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = dns.message.from_wire(data)
        self.asked.append(query.question[0].name.to_text())
        self.heard.set()
        if self.silent:
            return
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.NXDOMAIN)
        wire = reply.to_wire()
        if self.forged:
            self.transport.sendto(bytes([wire[0] ^ 1]) + wire[1:], addr)
        self.transport.sendto(wire, addr)


class Bed:
    def __init__(self, book: Book, outside: Outside, served: Answering, port: int) -> None:
        self.book = book
        self.outside = outside
        self.served = served
        self.port = port

    async def ask(self, name: str, kind: str = "A", *, wait_s: float = 20.0) -> str:
        """Return what is answered, ``TIMEOUT`` if nothing is."""
        loop = asyncio.get_running_loop()
        query = dns.message.make_query(name, kind)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", self.port))
            await loop.sock_sendall(sock, query.to_wire())
            try:
                async with asyncio.timeout(wait_s):
                    return _said(query, await loop.sock_recv(sock, 4096))
            except TimeoutError:
                return "TIMEOUT"

    async def ask_by_stream(self, *names: str) -> list[str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        found = []
        try:
            for name in names:
                query = dns.message.make_query(name, "A")
                writer.write(framed(query.to_wire()))
                found.append(_said(query, await read_framed(reader)))
        finally:
            writer.close()
        return found


def _said(query: dns.message.Message, wire: bytes) -> str:
    reply = dns.message.from_wire(wire)
    assert query.is_response(reply)
    return " ".join(
        [dns.rcode.to_text(reply.rcode()), *(str(e) for rrset in reply.answer for e in rrset)]
    )


@asynccontextmanager
async def made(folder: Path, *servers: str) -> AsyncIterator[Bed]:
    loop = asyncio.get_running_loop()
    outside = Outside()
    transport, _ = await loop.create_datagram_endpoint(lambda: outside, local_addr=("127.0.0.1", 0))
    path = _resolvers(folder, servers)
    forwarder = Forwarder(never=["169.254.53.53"], resolvers=path, port=outside.port)
    book = Book()
    served = Answering(SegmentReplies("blue", book, forwarder))
    connections = socket.create_server(("127.0.0.1", 0))
    port = connections.getsockname()[1]
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", port))
    for each in (connections, datagrams):
        each.setblocking(False)
    await served.start(datagrams, connections)
    yield Bed(book, outside, served, port)
    await served.close()
    transport.close()


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    async with made(tmp_path, "127.0.0.1") as found:
        yield found


async def test_known_names_are_answered_and_others_passed_on(bed: Bed) -> None:
    assert await bed.ask("DB") == "NOERROR 10.50.0.5"
    assert await bed.ask("db", "AAAA") == "NOERROR"
    assert not bed.outside.asked
    assert await bed.ask("nowhere.test") == "NXDOMAIN"
    assert bed.outside.asked == ["nowhere.test."]


async def test_a_connection_takes_one_question_after_the_other(bed: Bed) -> None:
    assert await bed.ask_by_stream("db", "db") == ["NOERROR 10.50.0.5"] * 2
    # the outside here has no TCP
    assert await bed.ask_by_stream("nowhere.test") == ["SERVFAIL"]


async def test_who_is_no_container_of_the_segment_is_not_answered(bed: Bed) -> None:
    bed.book.clients.clear()
    assert await bed.ask("db", wait_s=0.1) == "TIMEOUT"
    assert await bed.ask("nowhere.test", wait_s=0.1) == "TIMEOUT"
    with pytest.raises(EOFError):
        await bed.ask_by_stream("db")
    assert not bed.outside.asked


async def test_a_forged_answer_is_passed_over(bed: Bed) -> None:
    bed.outside.forged = True
    assert await bed.ask("nowhere.test") == "NXDOMAIN"


async def test_one_client_does_not_take_all_there_is(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "PER_CLIENT", 2)
    bed.outside.silent = True
    asking = []
    for number in range(2):
        asking.append(asyncio.create_task(bed.ask(f"n{number}.test")))
        await bed.outside.heard.wait()
        bed.outside.heard.clear()
    assert await bed.ask("more.test", wait_s=0.1) == "TIMEOUT"
    assert await bed.ask("db") == "NOERROR 10.50.0.5"
    assert await asyncio.gather(*asking) == ["SERVFAIL", "SERVFAIL"]
    assert "more.test." not in bed.outside.asked
    bed.outside.silent = False
    assert await bed.ask("more.test") == "NXDOMAIN"


async def test_of_one_client_so_many_questions_are_read_in_a_second_and_later_ones_wait(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "PER_SECOND", 0)
    assert await bed.ask("db", wait_s=0.1) == "TIMEOUT"
    waiting = asyncio.create_task(bed.ask_by_stream("db"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    monkeypatch.setattr(answering, "PER_SECOND", 1)
    assert await waiting == ["NOERROR 10.50.0.5"]


async def test_a_message_too_long_for_a_question_ends_its_connection(bed: Bed) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bed.port)
    writer.write(framed(bytes(4000)))
    assert await reader.read() == b""
    writer.close()


async def test_one_client_holds_so_many_connections_and_no_more(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "CONNECTIONS_PER_CLIENT", 1)
    _, held = await asyncio.open_connection("127.0.0.1", bed.port)
    with pytest.raises((EOFError, ConnectionError)):
        await bed.ask_by_stream("db")
    held.close()
    async with asyncio.timeout(20):
        while True:
            with suppress(EOFError, ConnectionError):
                assert await bed.ask_by_stream("db") == ["NOERROR 10.50.0.5"]
                break


async def test_dead_servers_are_passed_over_and_then_asked_last(tmp_path: Path) -> None:
    # nobody listens on the second one, and of the first nothing ever comes back
    async with made(tmp_path, "127.0.0.3", "127.0.0.2", "127.0.0.1") as bed:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
            deaf.bind(("127.0.0.3", bed.outside.port))
            assert await bed.ask("nowhere.test") == "NXDOMAIN"
            assert len(_received(deaf)) == 1
            assert await bed.ask("nowhere.test") == "NXDOMAIN"
            assert not _received(deaf)


async def test_with_no_server_at_all_it_fails_at_once(tmp_path: Path) -> None:
    async with made(tmp_path, "169.254.53.53") as bed:
        assert await bed.ask("nowhere.test") == "SERVFAIL"


def _resolvers(folder: Path, servers: Sequence[str]) -> Path:
    path = folder / "resolv.conf"
    path.write_text("".join(f"nameserver {each}\n" for each in servers))
    return path


def _received(sock: socket.socket) -> list[bytes]:
    sock.setblocking(False)
    found = []
    while True:
        try:
            found.append(sock.recv(4096))
        except BlockingIOError:
            return found
