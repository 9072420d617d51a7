"""Network namespaces in which containers are played.

Each has a name below ``/run/netns``, as ``ip netns`` gives them, because the process opens it by
that name as it opens Docker's. The name begins with a mark: a trial that was killed leaves them,
and the next one removes them.
"""

import ctypes
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.kernel.codec.address_messages import add_address
from ovsdriver.adapters.kernel.codec.link_messages import (
    IFF_UP,
    LinkChange,
    change_link,
    find_link,
    move_link,
)
from ovsdriver.adapters.kernel.codec.route_messages import add_route
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.netlink import started
from ovsdriver.adapters.kernel.sandbox import entering

FOLDER = Path("/run/netns")
PREFIX = "ovsnet-test-"

_MS_BIND = 4096
_MNT_DETACH = 2
_OWN = "/proc/thread-self/ns/net"
_LOOPBACK = "lo"
_EVERYTHING = {4: IPNetwork("0.0.0.0/0"), 6: IPNetwork("::/0")}

T = TypeVar("T")


class Room:
    """A namespace, this host's own or a container's, that sockets can be opened in."""

    def __init__(self, path: str | None) -> None:
        """``path``: its handle; None: this host's."""
        self.path = path

    def inside(self, work: Callable[[], T]) -> T:
        """Do ``work`` there. A socket that it opens stays there, whoever uses it later."""
        if self.path is None:
            return work()
        path = self.path
        return started(lambda: entering.call_inside(path, work), name="test").result()

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Open a socket there."""
        return self.inside(lambda: socket.socket(family, kind, protocol))


HOST = Room(None)


def make(name: str) -> str:
    """Make a namespace with that name behind the mark, and return its path; OSError if refused."""
    FOLDER.mkdir(mode=0o755, exist_ok=True)
    path = FOLDER / f"{PREFIX}{name}"
    path.touch(mode=0o444)

    def inside() -> None:
        entering.leave_for_new()
        _mount(_OWN, str(path))
        routes = RouteSocket()
        try:
            change_link(routes, _LOOPBACK, LinkChange(set_flags=IFF_UP))
        finally:
            routes.close()

    try:
        started(inside, name="test").result()
    except OSError:
        remove(path)
        raise
    return str(path)


def remove(path: Path) -> None:
    """Remove a namespace; its links go with it."""
    _libc().umount2(os.fsencode(path), _MNT_DETACH)
    with suppress(FileNotFoundError):
        path.unlink()


def left() -> Iterator[Path]:
    """Give the namespaces that have the mark."""
    yield from FOLDER.glob(f"{PREFIX}*")


def move_in(
    path: str,
    source: str,
    *,
    name: str,
    mac: EUI | None,
    addresses: Sequence[IPNetwork],
    gateways: Sequence[IPAddress],
) -> None:
    """Move this host's link ``source`` in, as dockerd does with what Join names.

    Args:
        path: of the namespace.
        source: the link.
        name: what it is called there.
        mac: its own; None leaves the one that it has.
        addresses: with prefix lengths.
        gateways: of default routes.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    host = RouteSocket()
    try:
        link = find_link(host, source)
        if link is None:
            raise FileNotFoundError(2, "Join names a link that is not there", source)
        move_link(host, link.index, handle)
    finally:
        host.close()
        os.close(handle)

    def inside(routes: RouteSocket) -> None:
        moved = find_link(routes, source)
        if moved is None:
            raise FileNotFoundError(2, "the link has vanished while it was moved", source)
        packed = None if mac is None else mac.packed
        change_link(routes, moved.index, LinkChange(name=name, mac=packed))
        for address in addresses:
            add_address(routes, moved.index, address)
        change_link(routes, moved.index, LinkChange(set_flags=IFF_UP))
        for gateway in gateways:
            add_route(routes, moved.index, _EVERYTHING[gateway.version], gateway)

    entering.visit(path, inside)


def _mount(source: str, target: str) -> None:
    libc = _libc()
    if libc.mount(source.encode(), target.encode(), b"none", _MS_BIND, None):
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}", target)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
