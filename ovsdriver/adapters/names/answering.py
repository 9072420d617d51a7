"""What is done about questions of a segment's containers, and how many at once."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress

from netaddr import IPAddress

from ovsdriver.adapters.names import messages
from ovsdriver.adapters.names.forwarding import Forwarder, framed, read_framed
from ovsdriver.ports import Directory

log = logging.getLogger(__name__)

PER_CLIENT = 64
"""Questions of one container that are being passed on; what comes on top is not answered."""
AT_ONCE = 512
"""Of all containers of a segment: each has a socket."""
_CONNECTIONS = 64
_IDLE_S = 10.0
_BACKLOG = 16

Address = tuple[str, int]


class Answering(asyncio.DatagramProtocol):
    """Serves the sockets of one segment's name server."""

    def __init__(self, segment: str, directory: Directory, forwarder: Forwarder) -> None:
        self._segment = segment
        self._directory = directory
        self._forwarder = forwarder
        self._asking: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    async def start(self, datagrams: socket.socket, connections: socket.socket) -> None:
        """Serve bound sockets, which are taken over."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=datagrams)
        self._server = await asyncio.start_server(
            self._accepted, sock=connections, backlog=_BACKLOG
        )

    async def close(self) -> None:
        """Close the sockets; what is being asked is not answered any more."""
        if self._transport is not None:
            self._transport.abort()
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # UDP

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Answer what is known at once, and the rest when the host's servers have."""
        client = addr[0]
        query = self._read(client, data)
        if query is None:
            return
        known = self._known(client, query)
        if known is not None:
            self._send(known, addr)
        elif self._asking[client] < PER_CLIENT and self._asking.total() < AT_ONCE:
            self._begin(client, self._pass_on(query, addr))

    def error_received(self, exc: Exception) -> None:
        """A client is gone."""
        log.debug("names.client-gone why=%s", exc)

    async def _pass_on(self, query: messages.Query, addr: Address) -> None:
        self._send(await self._outside(query, tcp=False), addr)

    def _send(self, wire: bytes, addr: Address) -> None:
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
        if task is None or self._connections >= _CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.add(task)
        self._connections += 1
        try:
            # by close(): asyncio's server would report it as a fault
            with suppress(asyncio.CancelledError, OSError, EOFError, TimeoutError):
                await self._converse(writer.get_extra_info("peername")[0], reader, writer)
        finally:
            self._connections -= 1
            self._tasks.discard(task)
            writer.transport.abort()

    async def _converse(
        self, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            async with asyncio.timeout(_IDLE_S):
                query = self._read(client, await read_framed(reader))
            if query is None:
                return
            known = self._known(client, query)
            answer = await self._outside(query, tcp=True) if known is None else known
            async with asyncio.timeout(_IDLE_S):
                writer.write(framed(answer))
                await writer.drain()

    # Both

    def _read(self, client: str, wire: bytes) -> messages.Query | None:
        if not self._directory.serves(self._segment, IPAddress(client)):
            return None
        return messages.read(wire)

    def _known(self, client: str, query: messages.Query) -> bytes | None:
        found = self._directory.addresses(self._segment, IPAddress(client), query.name)
        return None if found is None else query.answer(found)

    async def _outside(self, query: messages.Query, *, tcp: bool) -> bytes:
        return await self._forwarder.ask(query.wire, tcp=tcp) or query.failure()
