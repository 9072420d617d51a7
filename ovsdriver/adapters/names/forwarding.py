"""Questions that are passed on to the servers that the host itself asks."""

import asyncio
import secrets
import socket
from collections.abc import Collection, Sequence
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

from ovsdriver.adapters.descriptors import out_of_the_way
from ovsdriver.adapters.names import messages

RESOLVERS = Path("/etc/resolv.conf")
_DEFAULT = "127.0.0.1"
"""What the C library asks if its file names nobody."""
_MOST = 3
"""The C library's own limit."""
_PORT = 53
_DATAGRAM = 65535
_TIMEOUT_S = 1.0
_SILENT_TIMEOUT_S = 0.3
"""For one that did not answer lately, and is asked when all others were."""
_SILENT_FOR_S = 30.0
_TCP_TIMEOUT_S = 3.0


class Forwarder:
    """Asks one server after the other; who was silent lately comes last."""

    def __init__(
        self, *, never: Collection[str], resolvers: Path = RESOLVERS, port: int = _PORT
    ) -> None:
        """``never``: addresses that are not asked, for they would ask us."""
        self._never = frozenset(never)
        self._path = resolvers
        self._port = port
        self._read: tuple[int, int] = (0, 0)
        self._servers: Sequence[str] = ()
        self._silent: dict[str, float] = {}

    def servers(self) -> Sequence[str]:
        """Return the host's servers as its file names them now."""
        try:
            found = self._path.stat()
            if self._read != (found.st_ino, found.st_mtime_ns):
                self._servers = _named(self._path.read_text(errors="replace"))
                self._read = (found.st_ino, found.st_mtime_ns)
        except OSError:
            self._servers = ()
        servers = self._servers or (_DEFAULT,)
        return [each for each in servers if each not in self._never]

    async def ask(self, wire: bytes, *, tcp: bool) -> bytes | None:
        """Return what the first server that answers says; None if none does."""
        loop = asyncio.get_running_loop()
        asked = secrets.token_bytes(messages.ID_BYTES) + wire[messages.ID_BYTES :]
        servers = self.servers()
        self._silent = {
            each: until
            for each, until in self._silent.items()
            if until > loop.time() and each in servers
        }
        for server in sorted(servers, key=lambda each: each in self._silent):
            wait_s = _SILENT_TIMEOUT_S if server in self._silent else _TIMEOUT_S
            try:
                async with asyncio.timeout(_TCP_TIMEOUT_S if tcp else wait_s):
                    ask = self._by_stream if tcp else self._by_datagram
                    reply = await ask(server, asked)
            except (OSError, TimeoutError, EOFError):
                self._silent[server] = loop.time() + _SILENT_FOR_S
                continue
            self._silent.pop(server, None)
            return wire[: messages.ID_BYTES] + reply[messages.ID_BYTES :]
        return None

    async def _by_datagram(self, server: str, asked: bytes) -> bytes:
        """Ask from a port of its own, as whoever forges answers has to guess it, too."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        with closing(out_of_the_way(socket.socket(family, kind))) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (server, self._port))
            await loop.sock_sendall(sock, asked)
            while True:
                reply = await loop.sock_recv(sock, _DATAGRAM)
                if messages.answers(reply, asked):
                    return reply

    async def _by_stream(self, server: str, asked: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(framed(asked))
            reply = await read_framed(reader)
        finally:
            writer.transport.abort()
        if not messages.answers(reply, asked):
            raise EOFError
        return reply


def framed(wire: bytes) -> bytes:
    """Return a message as it is sent over a connection."""
    return len(wire).to_bytes(2, "big") + wire


async def read_framed(reader: asyncio.StreamReader, *, most: int = _DATAGRAM) -> bytes:
    """Return the next message of a connection; EOFError if there is none, or it is longer."""
    length = int.from_bytes(await reader.readexactly(2), "big")
    if length > most:
        raise EOFError
    return await reader.readexactly(length)


def _named(text: str) -> Sequence[str]:
    """Return the servers of a resolv.conf; what is no address is passed over."""
    found = []
    for line in text.splitlines():
        key, *values = line.split()[:2] or [""]
        if key == "nameserver" and values and _is_address(values[0]):
            found.append(values[0])
    return tuple(found[:_MOST])


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
