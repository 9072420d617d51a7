"""``ovsdriver.ports.GatewayNameServers``: sockets in the host's namespace, each for one device.

A socket that is bound to a device hears what comes in by it and nothing else: neither the outside,
nor the host itself, nor containers behind another gateway. So it may listen on every address, and
addresses may come and go. A datagram is answered from the address that it came to, for the kernel
translates it back by that.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from netaddr import IPAddress

from ovsdriver.adapters.names import messages
from ovsdriver.adapters.names.answering import Answering
from ovsdriver.adapters.names.forwarding import RESOLVERS, Forwarder
from ovsdriver.adapters.names.listening import bound
from ovsdriver.domain.access.naming import CEILING_S, PORT
from ovsdriver.errors import ConflictError, UnavailableError
from ovsdriver.ports import NameRules

_AT_ONCE = 64
"""Datagrams that are read before others have their turn."""
_DATAGRAM = 65535
_ANCILLARY = 128
_IP_PKTINFO = 8
"""linux/in.h; the module ``socket`` has it from Python 3.14 on."""
_IN_PKTINFO = struct.Struct("=i4s4s")
_IN6_PKTINFO = struct.Struct("=16si")


@dataclass(frozen=True, slots=True)
class _Served:
    index: int
    answering: Answering
    datagrams: Sequence["_Datagrams"]

    async def close(self) -> None:
        for each in self.datagrams:
            each.close()
        await self.answering.close()


class KernelGatewayNameServers:
    """Servers in the network namespace of the thread that runs the loop."""

    def __init__(self, *, resolvers: Path = RESOLVERS, port: int = PORT) -> None:
        """``resolvers``: the file that says whom the host asks."""
        self._forwarder = Forwarder(never=(), resolvers=resolvers)
        self._port = port
        self._served: dict[str, _Served] = {}

    def running(self) -> Collection[str]:
        return [name for name, served in self._served.items() if served.index == _index(name)]

    async def ensure(self, gateway: str, rules: NameRules) -> None:
        index = _index(gateway)
        served = self._served.get(gateway)
        if served is not None and served.index == index:
            return
        await self.remove(gateway)
        if not index:
            raise UnavailableError(f"there is no device {gateway} to answer names at")
        self._served[gateway] = await self._start(gateway, index, rules)

    async def remove(self, gateway: str) -> bool:
        served = self._served.pop(gateway, None)
        if served is not None:
            await served.close()
        return served is not None

    async def close(self) -> None:
        """End all servers."""
        while self._served:
            _, served = self._served.popitem()
            await served.close()

    async def _start(self, gateway: str, index: int, rules: NameRules) -> _Served:
        answering = Answering(_Replies(gateway, rules, self._forwarder))
        datagrams: list[_Datagrams] = []
        try:
            with ExitStack() as undo:
                sockets = [
                    undo.enter_context(
                        bound(family, kind, self._port, _options(gateway, family, kind))
                    )
                    for family in _families()
                    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
                ]
                for each in sockets:
                    if each.type == socket.SOCK_STREAM:
                        await answering.listen(each)
                    else:
                        datagrams.append(_Datagrams(each, answering))
                undo.pop_all()
        except OSError as error:
            await _Served(index, answering, datagrams).close()
            if error.errno == errno.EADDRINUSE:
                raise ConflictError(
                    f"port {self._port} of this host is taken, so names in access rules are not "
                    f"answered; end what listens there: ss -lnptu 'sport = {self._port}'"
                ) from error
            raise UnavailableError(f"answering names at {gateway}: {error}") from error
        return _Served(index, answering, datagrams)


class _Replies:
    """What the containers behind one gateway are answered."""

    def __init__(self, gateway: str, rules: NameRules, forwarder: Forwarder) -> None:
        self._gateway = gateway
        self._rules = rules
        self._forwarder = forwarder

    def serves(self, client: IPAddress) -> bool:
        return self._rules.serves(self._gateway, client)

    def known(self, client: IPAddress, query: messages.Query) -> bytes | None:
        if not self._rules.answered(self._gateway, client, query.name):
            return query.refusal()
        # they hint at addresses of other names; clients do without
        return query.answer(()) if query.hinting else None

    async def asked(self, client: IPAddress, query: messages.Query, *, tcp: bool) -> bytes:
        wire = await self._forwarder.ask(query.wire, tcp=tcp)
        reply = messages.read_reply(wire) if wire is not None else None
        if reply is None:
            return query.failure()
        records = reply.records()
        try:
            told = await self._rules.learn(self._gateway, client, query.name, records)
        except UnavailableError:
            return query.failure()
        if told is None:
            return reply.wire
        return reply.only(told, at_most_s=CEILING_S)


class _Datagrams:
    """A socket of UDP that knows where each datagram was sent to."""

    def __init__(self, sock: socket.socket, answering: Answering) -> None:
        self._sock = sock
        self._answering = answering
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, client = self._sock.recvmsg(_DATAGRAM, _ANCILLARY)
            except OSError:
                return  # nothing more, or news of a client that is gone
            back = [(level, kind, _back(kind, info)) for level, kind, info in ancillary]
            self._answering.heard(
                data, client[0].partition("%")[0], partial(self._send, client, back)
            )

    def _send(
        self, client: tuple[Any, ...], back: Sequence[tuple[int, int, bytes]], wire: bytes
    ) -> None:
        with suppress(OSError):  # closed meanwhile, or the client is gone
            self._sock.sendmsg([wire], back, 0, client)


def _back(kind: int, info: bytes) -> bytes:
    """Return what makes an answer leave from where a datagram was sent to."""
    if kind == _IP_PKTINFO:
        index, local, _ = _IN_PKTINFO.unpack(info)
        return _IN_PKTINFO.pack(index, local, bytes(4))
    return info


def _families() -> Sequence[socket.AddressFamily]:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        return (socket.AF_INET,)
    return (socket.AF_INET, socket.AF_INET6)


def _options(
    device: str, family: socket.AddressFamily, kind: socket.SocketKind
) -> Sequence[tuple[int, int, int | bytes]]:
    """Return those of a socket that hears one device alone."""
    found: list[tuple[int, int, int | bytes]] = [
        (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
    ]
    if kind == socket.SOCK_STREAM:
        found.append((socket.SOL_SOCKET, socket.SO_REUSEADDR, 1))
    if family == socket.AF_INET6:
        found.append((socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1))
    if kind == socket.SOCK_DGRAM and family == socket.AF_INET6:
        found.append((socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1))
    elif kind == socket.SOCK_DGRAM:
        found.append((socket.IPPROTO_IP, _IP_PKTINFO, 1))
    return found


def _index(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0
