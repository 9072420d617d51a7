"""From a port of ``::1`` to a container, by copying: the kernel does not forward such packets.

The container sees the gateway's address as the client's, as it does for what was for 127.0.0.1.
A relay lives in this process, so its connections end with it.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

log = logging.getLogger(__name__)

Target = tuple[str, int]

_CONNECT_S = 5.0
_CONNECTIONS = 1024
"""At once, for one port; each costs two descriptors."""
_CHUNK = 1 << 16
_IDLE_S = 90.0
"""How long a client of UDP is known after its last datagram, in either direction."""
_CLIENTS = 1024
_WAITING = 16
"""Datagrams of a client that are kept while the way to the container is made."""


class Relay(Protocol):
    """Serves a socket."""

    target: Target

    async def start(self, sock: socket.socket) -> None:
        """Take the socket over and begin."""
        ...

    async def close(self) -> None:
        """End, with everything that goes on."""
        ...


class TcpRelay:
    """Connections, each copied in both directions until both have ended."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, sock: socket.socket) -> None:
        """Serve a socket that listens."""
        self._server = await asyncio.start_server(self._accepted, sock=sock, limit=_CHUNK)

    async def close(self) -> None:
        """Close the socket and every connection."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= _CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            log.debug("relay.cut")  # by close(): asyncio's server would report it as a fault
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                onward, back = await asyncio.open_connection(*self.target, limit=_CHUNK)
        except (OSError, TimeoutError):
            return
        try:
            for each in (writer, back):
                _keep_alive(each)
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, back))
                both.create_task(_copy(onward, writer))
        except* OSError:
            log.debug("relay.broken")
        finally:
            back.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the one side ends, and tell the other side so, which may go on answering."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
    await writer.drain()


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have the kernel find out when the other side has vanished."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class UdpRelay(asyncio.DatagramProtocol):
    """Datagrams; each client has a socket of its own towards the container."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._transport: asyncio.DatagramTransport | None = None
        self._clients: dict[Any, _Client] = {}

    async def start(self, sock: socket.socket) -> None:
        """Serve a bound socket."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)

    async def close(self) -> None:
        """Close all sockets."""
        if self._transport is not None:
            self._transport.abort()
        for client in tuple(self._clients.values()):
            client.end()
        await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Send on; the client that was silent longest makes room for a new one."""
        client = self._clients.pop(addr, None)
        if client is None:
            if len(self._clients) >= _CLIENTS:
                next(iter(self._clients.values())).end()
            client = _Client(
                self.target,
                answer=lambda answer: self._answer(answer, addr),
                ended=lambda: self._clients.pop(addr, None),
            )
        self._clients[addr] = client
        client.send(data)

    def error_received(self, exc: Exception) -> None:
        """A client is gone; its socket ends when it is idle."""
        log.debug("relay.client-gone why=%s", exc)

    def _answer(self, data: bytes, addr: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, addr)


class _Client(asyncio.DatagramProtocol):
    """The way of one client to the container."""

    def __init__(
        self, target: Target, *, answer: Callable[[bytes], None], ended: Callable[[], object]
    ) -> None:
        self._answer = answer
        self._ended = ended
        self._waiting: deque[bytes] = deque(maxlen=_WAITING)
        self._transport: asyncio.DatagramTransport | None = None
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        self._idle = loop.call_later(_IDLE_S, self._look)
        self._opening = loop.create_task(self._open(target))

    def send(self, data: bytes) -> None:
        """Send a datagram to the container, as soon as there is a way."""
        self._heard = asyncio.get_running_loop().time()
        if self._transport is None:
            self._waiting.append(data)
        else:
            self._transport.sendto(data)

    def end(self) -> None:
        """Close the socket."""
        self._idle.cancel()
        self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._ended()

    def datagram_received(self, data: bytes, _addr: Any) -> None:
        """Give the client its answer."""
        self._heard = asyncio.get_running_loop().time()
        self._answer(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens in the container: what is lost is lost, as without a relay."""
        log.debug("relay.refused why=%s", exc)

    async def _open(self, target: Target) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=target)
        except OSError as error:
            log.debug("relay.no-way why=%s", error)
            self.end()
            return
        self._transport = transport
        while self._waiting:
            self._transport.sendto(self._waiting.popleft())

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._heard + _IDLE_S - loop.time()
        if left <= 0:
            self.end()
        else:
            self._idle = loop.call_later(left, self._look)
