"""``ovsdriver.ports.NameServers``: a nameless namespace for each segment, served from our loop.

It is held by a file that this process has open, and nothing else: a mount would outlive us, but
the system calls of mounting are kept from us. So it ends with the process, with the link to it, and
nothing can be left over; the next process makes another one behind the same port. From outside:
``nsenter --net=/proc/PID/fd/NUMBER``.
"""

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.kernel.netlink import on_own_thread, translated
from ovsdriver.adapters.kernel.sandbox import entering
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.adapters.names import messages
from ovsdriver.adapters.names.answering import Answering
from ovsdriver.adapters.names.forwarding import RESOLVERS, Forwarder
from ovsdriver.adapters.names.listening import bound
from ovsdriver.domain.records.on_link import Held, HeldAddress
from ovsdriver.domain.records.segments import NAME_SERVER
from ovsdriver.domain.wires.plumbing import NameServer
from ovsdriver.domain.wires.sandbox_link import SandboxLink
from ovsdriver.ports import Directory, Links, Sandboxes

PORT = 53
_NAMESPACE = "/proc/thread-self/ns/net"
_LINK = "eth0"
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class _Place:
    """A namespace, with sockets in it that nobody serves yet."""

    handle: int
    datagrams: socket.socket
    connections: socket.socket


@dataclass(frozen=True, slots=True)
class _Served:
    handle: int
    answering: Answering

    @property
    def path(self) -> str:
        """What the namespace is known by, as a container's is by its sandbox key."""
        return f"/proc/{os.getpid()}/fd/{self.handle}"


class SegmentNameServers:
    """Servers beside the network namespace of the thread that runs the loop."""

    def __init__(self, *, links: Links, sandboxes: Sandboxes, resolvers: Path = RESOLVERS) -> None:
        """``resolvers``: the file that says whom the host asks."""
        self._links = links
        self._sandboxes = sandboxes
        self._forwarder = Forwarder(never=[str(NAME_SERVER)], resolvers=resolvers)
        self._served: dict[str, _Served] = {}

    def running(self) -> Collection[str]:
        return self._served.keys()

    async def ensure(self, server: NameServer, directory: Directory) -> None:
        served = self._served.get(server.segment)
        if served is None:
            served = await self._start(server.segment, directory)
            self._served[server.segment] = served
        seen = await self._sandboxes.look(served.path, server.link)
        if seen is not None and seen.attached:
            await self._links.ensure_veth(server.link)
            return
        # an earlier process's, or half of one
        await self._links.remove_link(server.link.host)
        await self._links.ensure_veth(server.link)
        await self._sandboxes.restore(served.path, server.link, _inside(served, server))

    async def remove(self, segment: str, link: str) -> bool:
        served = self._served.pop(segment, None)
        if served is not None:
            await served.answering.close()
        removed = await self._links.remove_link(link)
        if served is not None:
            os.close(served.handle)
        return removed or served is not None

    async def close(self) -> None:
        """End all servers; their links go with their namespaces."""
        while self._served:
            _, served = self._served.popitem()
            await served.answering.close()
            os.close(served.handle)

    async def _start(self, segment: str, directory: Directory) -> _Served:
        what = f"making a namespace for the names of segment {segment}"
        with translated(what, _TIMEOUT_S):
            place = await on_own_thread(_make, name="names")
            answering = Answering(SegmentReplies(segment, directory, self._forwarder))
            try:
                await answering.start(place.datagrams, place.connections)
            except BaseException:
                await answering.close()
                os.close(place.handle)
                raise
        return _Served(place.handle, answering)


class SegmentReplies:
    """What the containers of a segment are answered."""

    def __init__(self, segment: str, directory: Directory, forwarder: Forwarder) -> None:
        self._segment = segment
        self._directory = directory
        self._forwarder = forwarder

    def serves(self, client: IPAddress) -> bool:
        return self._directory.serves(self._segment, client)

    def known(self, client: IPAddress, query: messages.Query) -> bytes | None:
        found = self._directory.addresses(self._segment, client, query.name)
        return None if found is None else query.answer(found)

    async def asked(
        self,
        client: IPAddress,  # noqa: ARG002 - all are told the same
        query: messages.Query,
        *,
        tcp: bool,
    ) -> bytes:
        return await self._forwarder.ask(query.wire, tcp=tcp) or query.failure()


def _inside(served: _Served, server: NameServer) -> SandboxLink:
    address = HeldAddress(address=IPNetwork(f"{NAME_SERVER}/32"), permanent=True, message="")
    return SandboxLink(
        sandbox=served.path,
        name=_LINK,
        mac=server.link.mac,
        mtu=server.link.mtu,
        held=Held(addresses=(address,)),
        on_link=server.clients,
    )


def _make() -> _Place:
    """Make a namespace and sockets in it; the thread must end with this."""
    entering.leave_for_new()
    sysctls = Sysctls()
    if sysctls.has_ipv6("default"):
        sysctls.write("net/ipv6/conf/default/disable_ipv6", 1)
    datagrams = bound(socket.AF_INET, socket.SOCK_DGRAM, PORT)
    try:
        connections = bound(socket.AF_INET, socket.SOCK_STREAM, PORT)
    except BaseException:
        datagrams.close()
        raise
    handle = os.open(_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    return _Place(handle, datagrams, connections)
