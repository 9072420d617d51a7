"""What is done about questions of containers, and how many at once."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from netaddr import IPAddress

from ovsdriver.adapters.names import messages
from ovsdriver.adapters.names.forwarding import framed, read_framed

log = logging.getLogger(__name__)

PER_CLIENT = 64
"""Questions of one container that are being passed on; what comes on top is not answered."""
AT_ONCE = 512
"""Of all containers of a server: each has a socket."""
PER_SECOND = 500
"""Questions of one container that are read: what comes on top is not, or waits with its connection.
Reading them takes time of who also serves Docker."""
_CONNECTIONS = 64
CONNECTIONS_PER_CLIENT = 8
"""What comes on top of it, or of all clients', is closed."""
_IDLE_S = 10.0
_SHARE_S, _TURNS = 0.1, 100
_BACKLOG = 16

Address = tuple[str, int]


class Replies(Protocol):
    """Who knows the answers of one server."""

    def serves(self, client: IPAddress) -> bool:
        """Whether a client is answered at all."""
        ...

    def known(self, client: IPAddress, query: messages.Query) -> bytes | None:
        """Return what is answered at once; None: somebody is to be asked."""
        ...

    async def asked(self, client: IPAddress, query: messages.Query, *, tcp: bool) -> bytes:
        """Ask, and return what is answered then."""
        ...


class Answering(asyncio.DatagramProtocol):
    """Serves the sockets of one name server."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self._asking: Counter[str] = Counter()
        self._read_lately: Counter[str] = Counter()
        self._second = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected: Counter[str] = Counter()
        self._transport: asyncio.DatagramTransport | None = None
        self._servers: list[asyncio.Server] = []

    async def start(self, datagrams: socket.socket, connections: socket.socket) -> None:
        """Serve bound sockets, which are taken over."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=datagrams)
        await self.listen(connections)

    async def listen(self, connections: socket.socket) -> None:
        """Serve one bound socket of TCP, which is taken over."""
        self._servers.append(
            await asyncio.start_server(self._accepted, sock=connections, backlog=_BACKLOG)
        )

    async def close(self) -> None:
        """Close the sockets; what is being asked is not answered any more."""
        if self._transport is not None:
            self._transport.abort()
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # UDP

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Hear a datagram of the transport's."""
        self.heard(data, addr[0], partial(self._send, addr))

    def heard(self, data: bytes, client: str, send: Callable[[bytes], None]) -> None:
        """Answer what is known at once, and the rest when the host's servers have."""
        query = self._read(client, data) if self._may_ask(client) else None
        if query is None:
            return
        known = self._replies.known(IPAddress(client), query)
        if known is not None:
            send(known)
        elif self._asking[client] < PER_CLIENT and self._asking.total() < AT_ONCE:
            self._begin(client, self._pass_on(query, client, send))

    def error_received(self, exc: Exception) -> None:
        """A client is gone."""
        log.debug("names.client-gone why=%s", exc)

    async def _pass_on(
        self, query: messages.Query, client: str, send: Callable[[bytes], None]
    ) -> None:
        send(await self._replies.asked(IPAddress(client), query, tcp=False))

    def _send(self, addr: Address, wire: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(wire, addr)

    def _begin(self, client: str, work: Awaitable[None]) -> None:
        async def counted() -> None:
            self._asking[client] += 1
            try:
                await work
            finally:
                self._asking[client] -= 1
                if not self._asking[client]:
                    del self._asking[client]

        task = asyncio.get_running_loop().create_task(counted())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # TCP, for what does not fit into a datagram

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        client = writer.get_extra_info("peername")[0].partition("%")[0]
        full = (
            self._connected[client] >= CONNECTIONS_PER_CLIENT
            or self._connected.total() >= _CONNECTIONS
        )
        if task is None or full:
            writer.transport.abort()
            return
        self._tasks.add(task)
        self._connected[client] += 1
        try:
            # by close(): asyncio's server would report it as a fault
            with suppress(asyncio.CancelledError, OSError, EOFError, TimeoutError):
                await self._converse(client, reader, writer)
        finally:
            self._connected[client] -= 1
            if not self._connected[client]:
                del self._connected[client]
            self._tasks.discard(task)
            writer.transport.abort()

    async def _converse(
        self, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            async with asyncio.timeout(_IDLE_S):
                asked = await read_framed(reader, most=messages.QUESTION_BYTES)
            await self._turn(client)
            query = self._read(client, asked)
            if query is None:
                return
            answer = self._replies.known(IPAddress(client), query)
            if answer is None:
                answer = await self._replies.asked(IPAddress(client), query, tcp=True)
            async with asyncio.timeout(_IDLE_S):
                writer.write(framed(answer))
                await writer.drain()

    # Both

    async def _turn(self, client: str) -> None:
        """Wait until one more question of a client may be read; EOFError if that takes too long."""
        for _ in range(_TURNS):
            if self._may_ask(client):
                return
            await asyncio.sleep(_SHARE_S)
        raise EOFError

    def _may_ask(self, client: str) -> bool:
        """Count one more question of a client in this second; False if there were enough."""
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._second = second
            self._read_lately.clear()
        if self._read_lately[client] >= PER_SECOND:
            return False
        self._read_lately[client] += 1
        return True

    def _read(self, client: str, wire: bytes) -> messages.Query | None:
        served = self._replies.serves(IPAddress(client))
        return messages.read(wire) if served else None
