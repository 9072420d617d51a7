"""``ovsdriver.ports.HostPorts``: ports of the host, each held by a socket that is bound to it.

The sockets do nothing but be there. A packet for a published port gets another destination in
our nftables table before the kernel asks which socket it is for (the hook ``prerouting`` is
passed before a packet is routed, ``output`` by what the host itself sends), so a bound UDP socket
swallows nothing while the rules stand, and a TCP socket that does not listen refuses when they do
not. Without ``SO_REUSEADDR``, so that nobody's ``bind`` succeeds beside ours.

Addresses of the host are those of the thread's network namespace, which is the process's own.
"""

import asyncio
import errno
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from netaddr import IPAddress

from ovsdriver.adapters.descriptors import out_of_the_way
from ovsdriver.adapters.host_ports.relay import Relay, Target, TcpRelay, UdpRelay
from ovsdriver.adapters.kernel.codec.socket_diag import waiting
from ovsdriver.domain.records.model import HostPort, Transport
from ovsdriver.domain.traffic.publishing import MOST_HELD, Places
from ovsdriver.errors import UnavailableError, UnsupportedError

LOOPBACK6 = IPAddress("::1")

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_KINDS = {
    Transport.TCP: socket.SOCK_STREAM,
    Transport.UDP: socket.SOCK_DGRAM,
    Transport.SCTP: socket.SOCK_STREAM,
}
_CHOICES = 64
"""How often the kernel is asked for another port if its choice is taken in the other family."""
_BREATH = 64
"""Ports that are tried before the loop gets its turn."""
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_BACKLOG = 128
_DATAGRAM_BUFFER = 1 << 20
_UNKNOWN = (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)


@dataclass(slots=True)
class _Held:
    """A port, its socket, and who serves it on ``::1``."""

    sock: socket.socket | None
    """None: the kernel does not know the protocol, so nobody else can have the port either."""
    relay: Relay | None = None

    async def close(self) -> None:
        """End the relay with its connections, and close the socket."""
        if self.relay is not None:
            await self.relay.close()
        if self.sock is not None:
            self.sock.close()


class KernelHostPorts:
    """Ports of the network namespace of the thread that runs the loop."""

    def __init__(self) -> None:
        self._held: dict[HostPort, Sequence[_Held]] = {}
        """With what each has, port by port; nothing for a range that is too long."""
        self._places = Places()

    def held(self) -> Collection[HostPort]:
        return self._held.keys()

    async def hold(
        self,
        protocol: Transport,
        addresses: Sequence[IPAddress],
        ports: Sequence[int],
        *,
        count: int = 1,
    ) -> int | None:
        """Bind until it succeeds; each try is one step, so two callers never mix."""
        if count > 1:
            for port in ports:
                if await self._take_range(protocol, addresses, port, count):
                    return port
            return None
        choices = iter(ports) if ports else self._choices(protocol, addresses[0])
        with ExitStack() as tried:
            for number, port in enumerate(choices, 1):
                found = self._take(protocol, addresses, port, tried)
                if found is not None:
                    return found
                if number % _BREATH == 0:
                    await asyncio.sleep(0)
        return None

    async def release(self, port: HostPort) -> bool:
        held = self._held.pop(port, None)
        if held is None:
            return False
        self._places.remove(port)
        for number, each in enumerate(held, 1):
            await each.close()
            if number % _BREATH == 0:
                await asyncio.sleep(0)
        return True

    async def relay(self, port: HostPort, address: IPAddress, target: int) -> None:
        if port.protocol is Transport.SCTP:
            return
        if address.version != 6 or not (port.everywhere or port.address == LOOPBACK6):
            return
        for number, held in enumerate(self._held.get(port, ())):
            one = replace(port, port=port.port + number, count=1)
            await _serve(held, one, (str(address), target + number))

    async def close(self) -> None:
        """Let go of everything."""
        for port in list(self._held):
            await self.release(port)

    def _take(
        self, protocol: Transport, addresses: Sequence[IPAddress], port: int, tried: ExitStack
    ) -> int | None:
        """Hold one port on all addresses or on none; 0: the one that the kernel chooses.

        What the kernel chose in vain stays bound until the search ends, or it would be chosen
        again.
        """
        made: dict[HostPort, _Held] = {}
        for address in addresses:
            wanted = HostPort(protocol=protocol, address=address, port=port)
            held = None if self._places.overlap(wanted) else _bind(wanted)
            if held is None:
                for other in made.values():
                    if other.sock is not None:
                        tried.callback(other.sock.close)
                return None
            if held.sock is not None:
                port = held.sock.getsockname()[1]
            made[HostPort(protocol=protocol, address=address, port=port)] = held
        for each, held in made.items():
            self._held[each] = (held,)
            self._places.add(each)
        return port

    async def _take_range(
        self, protocol: Transport, addresses: Sequence[IPAddress], first: int, count: int
    ) -> bool:
        """Hold a range on all addresses, or nothing; what is being taken is nobody else's."""
        wanted = [
            HostPort(protocol=protocol, address=each, port=first, count=count) for each in addresses
        ]
        if any(map(self._places.overlap, wanted)):
            return False
        made: dict[HostPort, list[_Held]] = {each: [] for each in wanted}
        self._held.update(made)
        for each in wanted:
            self._places.add(each)
        free = False
        try:
            if count > MOST_HELD:
                free = _nobody_waits(wanted)
            else:
                free = await _bind_all(made)
        finally:
            if not free:
                for each in wanted:
                    await self.release(each)
        return free

    def _choices(self, protocol: Transport, address: IPAddress) -> Iterator[int]:
        """Return what to try where no port is said: the kernel's choices, as far as it has any."""
        probe = _open(protocol, address)
        if probe is not None:
            probe.close()
            return iter([0] * _CHOICES)
        return iter(_ephemeral())


async def _bind_all(made: Mapping[HostPort, list[_Held]]) -> bool:
    """Bind every port of ranges; False if somebody has one of them."""
    for wanted, held in made.items():
        for port in range(wanted.port, wanted.last + 1):
            one = _bind(replace(wanted, port=port, count=1))
            if one is None:
                return False
            held.append(one)
            if port % _BREATH == 0:
                await asyncio.sleep(0)
    return True


def _nobody_waits(wanted: Sequence[HostPort]) -> bool:
    """Whether no program waits on any port of ranges.

    Raises:
        As ``_bind``.
    """
    for each in wanted:
        tried = _bind(replace(each, count=1))
        if tried is None:
            return False
        if tried.sock is not None:
            tried.sock.close()
    try:
        return not any(
            each.overlaps(used) for used in waiting(wanted[0].protocol) for each in wanted
        )
    except OSError as error:
        raise UnavailableError(
            f"the kernel does not tell which host ports are in use: {error.strerror}"
        ) from error


async def _serve(held: _Held, port: HostPort, to: Target) -> None:
    if held.sock is None:
        return
    if held.relay is not None:
        if held.relay.target == to:
            return
        await held.relay.close()
        held.relay = None
    made = TcpRelay(to) if port.protocol is Transport.TCP else UdpRelay(to)
    try:
        await made.start(_on_loopback(held.sock, port))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return  # this host has no ::1, so nobody asks there
        raise UnavailableError(
            f"host port {port.port}/{port.protocol} of ::1 cannot be served: {error.strerror}"
        ) from error
    held.relay = made


def _ephemeral() -> range:
    """Return the ports that the kernel chooses from."""
    first, last = map(int, _RANGE.read_text().split())
    return range(first, last + 1)


def _open(protocol: Transport, address: IPAddress) -> socket.socket | None:
    """Return an unbound socket; None if this kernel does not have the protocol.

    Raises:
        UnavailableError: there are no sockets to be had.
    """
    try:
        made = socket.socket(
            _FAMILIES[address.version], _KINDS[protocol] | socket.SOCK_CLOEXEC, protocol.number
        )
    except OSError as error:
        if error.errno in _UNKNOWN:
            return None
        raise UnavailableError(
            f"cannot open a socket to reserve a host port: {error.strerror}; raise ovsnet's limit "
            "of open files, or publish fewer ports"
        ) from error
    made = out_of_the_way(made)
    made.setblocking(False)
    if address.version == 6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if protocol is Transport.UDP:
        # Should packets arrive (someone flushed the rules), few of them wait here in vain.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    return made


def _bind(wanted: HostPort) -> _Held | None:
    """Return the port with a socket that is bound to it; None if somebody else has it.

    Raises:
        UnsupportedError: it cannot be had on this host, now or later.
        UnavailableError: the kernel refuses for another reason.
    """
    sock = _open(wanted.protocol, wanted.address)
    if sock is None:
        return _Held(sock=None)
    try:
        sock.bind((str(wanted.address), wanted.port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            remains = wanted.protocol is Transport.TCP and wanted.port
            return _bind_over_remains(wanted) if remains else None
        raise _refusal(wanted, error) from error
    return _Held(sock=sock)


def _bind_over_remains(wanted: HostPort) -> _Held | None:
    """Bind where nobody listens, but connections of an ended program are still fading out.

    They keep the port for a minute (TIME_WAIT), from everyone but who says SO_REUSEADDR, as nearly
    all servers do; our own relay leaves such connections as well. With that option ``bind`` proves
    little and ``listen`` proves that nobody else listens, so we listen for a moment.
    """
    sock = _open(wanted.protocol, wanted.address)
    if sock is None:
        return None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(wanted.address), wanted.port))
        sock.listen(1)
        sock.shutdown(socket.SHUT_RDWR)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise _refusal(wanted, error) from error
    return _Held(sock=sock)


def _refusal(wanted: HostPort, error: OSError) -> UnsupportedError | UnavailableError:
    if error.errno == errno.EADDRNOTAVAIL:
        return UnsupportedError(
            f"{wanted.address} is no address of this host; `ip address` lists its addresses"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return UnsupportedError(
            f"host port {wanted.port} is privileged and ovsnet may not bind it; give its service "
            "CAP_NET_BIND_SERVICE, or choose a port above 1023"
        )
    return UnavailableError(
        f"host port {wanted.port}/{wanted.protocol} of {wanted.address} cannot be reserved: "
        f"{error.strerror}"
    )


def _on_loopback(holder: socket.socket, port: HostPort) -> socket.socket:
    """Return a socket for ``::1`` of a port that ``holder`` has; a TCP one listens.

    If it holds all addresses, both say SO_REUSEADDR until both are bound: then the kernel allows
    it, gives what is for ``::1`` to the more exact one, and afterwards nobody can be third. A
    listening socket keeps the option, so that its connections do not hold the port once it is
    closed; nobody can bind beside one that listens.
    """
    if not port.everywhere:
        made = out_of_the_way(holder.dup())
        if port.protocol is Transport.TCP:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.listen(_BACKLOG)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAM_BUFFER)
        return made
    opened = _open(port.protocol, LOOPBACK6)
    if opened is None:
        raise OSError(errno.EPROTONOSUPPORT, "no such protocol")
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((str(LOOPBACK6), port.port))
        if port.protocol is Transport.TCP:
            opened.listen(_BACKLOG)
        else:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAM_BUFFER)
    except OSError:
        opened.close()
        raise
    finally:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return opened
