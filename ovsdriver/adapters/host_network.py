"""What the firewall and forwarding need to know of the host: links, routes, switches.

Everything here blocks and belongs on a worker thread. ``/proc/sys/net`` and netlink show the
network namespace of the thread that asks.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ovsdriver.adapters import rtnetlink
from ovsdriver.adapters.netlink.address_messages import route_messages
from ovsdriver.adapters.netlink.link_messages import link_messages
from ovsdriver.domain.firewall import HostLink, HostNetwork, LinkRoute
from ovsdriver.errors import UnavailableError

# linux/rtnetlink.h, linux/if_link.h
_IFLA_IFNAME = 3
_IFLA_MASTER = 10
_IFLA_LINKINFO = 18
_IFLA_INFO_KIND = 1
_RTA_DST = 1
_RTA_OIF = 4
_RTA_MULTIPATH = 9
_RTA_TABLE = 15
_RTN_UNICAST = 1
_RT_TABLE_LOCAL = 255
_RTM_F_CLONED = 0x200

_LINK = struct.Struct("=BxHiII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_HOP = struct.Struct("=HBBi")

_PROC = Path("/proc/sys")
_BOOT_ID = "kernel/random/boot_id"


def read_host(
    netlink: rtnetlink.RouteSocket, memory: rtnetlink.Remembered[HostLink]
) -> HostNetwork:
    """Return links and routes as the kernel has them.

    Args:
        netlink: a socket in the host's namespace.
        memory: of earlier looks, by :func:`read_link`.

    Raises:
        UnavailableError: the kernel did not answer.
    """
    try:
        links = tuple(memory.all(link_messages(netlink)))
        names = {link.index: link.name for link in links}
        routes = {
            LinkRoute(link=names[index], family=family, default=default)
            for message in route_messages(netlink)
            for index, family, default in read_route(message)
            if index in names
        }
    except OSError as error:
        raise UnavailableError(f"the kernel did not list links and routes: {error}") from error
    return HostNetwork(
        links=links, routes=tuple(sorted(routes, key=lambda r: (r.family, r.link, r.default)))
    )


def read_link(message: bytes) -> HostLink:
    """Read the payload of an RTM_NEWLINK message."""
    index = _LINK.unpack_from(message)[2]
    found = rtnetlink.attributes(message, _LINK.size)
    info = rtnetlink.attributes(found.get(_IFLA_LINKINFO, b""))
    master = found.get(_IFLA_MASTER)
    return HostLink(
        name=rtnetlink.read_text(found.get(_IFLA_IFNAME, b"")),
        index=index,
        kind=rtnetlink.read_text(info.get(_IFLA_INFO_KIND, b"")),
        master=rtnetlink.read_u32(master) if master else 0,
    )


def read_route(message: bytes) -> Iterator[tuple[int, int, bool]]:
    """Read link index, family (4 or 6) and "is a default route" from an RTM_NEWROUTE payload.

    One for each next hop; none for a route that no forwarded packet follows: to the host itself,
    to nowhere, to a group, or to link-local addresses.
    """
    family, length, _, _, table, _, _, kind, flags = _ROUTE.unpack_from(message)
    if kind != _RTN_UNICAST or flags & _RTM_F_CLONED:
        return
    found = rtnetlink.attributes(message, _ROUTE.size)
    if _RTA_TABLE in found:
        table = rtnetlink.read_u32(found[_RTA_TABLE])
    destination = found.get(_RTA_DST, b"")
    local = family == socket.AF_INET6 and _link_local(destination)
    if table == _RT_TABLE_LOCAL or local:
        return
    hops = [rtnetlink.read_u32(found[_RTA_OIF])] if _RTA_OIF in found else []
    hops.extend(_hops(found.get(_RTA_MULTIPATH, b"")))
    for index in hops:
        yield index, 4 if family == socket.AF_INET else 6, length == 0


def _hops(data: bytes) -> Iterator[int]:
    offset = 0
    while offset + _HOP.size <= len(data):
        length, _, _, index = _HOP.unpack_from(data, offset)
        if length < _HOP.size:
            return
        yield index
        offset += (length + 3) & ~3


def _link_local(destination: bytes) -> bool:
    return len(destination) == 16 and destination[0] == 0xFE and destination[1] & 0xC0 == 0x80


class Sysctls:
    """The kernel's switches, by their path below ``/proc/sys``."""

    def __init__(self, root: Path = _PROC) -> None:
        """Look below ``root``; tests put a tree of their own there."""
        self._root = root

    def boot_id(self) -> str:
        """Return the identity of this boot."""
        return self.read((_BOOT_ID,)).get(_BOOT_ID, "")

    def read(self, paths: Iterable[str]) -> Mapping[str, str]:
        """Return the values of those that exist."""
        values = {}
        for path in paths:
            try:
                values[path] = (self._root / path).read_text().strip()
            except OSError:
                # gone with its link, or a kernel without it (or without IPv6)
                continue
        return values

    def read_every(self, pattern: str) -> Mapping[str, str]:
        """Return the values of all whose path matches a glob pattern."""
        found = (str(path.relative_to(self._root)) for path in self._root.glob(pattern))
        return self.read(found)

    def write(self, path: str, value: str) -> bool:
        """Set one; False if it is not there (any more).

        Raises:
            UnavailableError: it may not be written.
        """
        # Not Path.write_text: that would create and truncate.
        try:
            with (self._root / path).open("r+") as file:
                file.write(value)
        except FileNotFoundError:
            return False
        except OSError as error:
            name = path.replace("/", ".")
            raise UnavailableError(
                f"cannot set {name}={value}: {error.strerror}; containers of nat networks need it "
                f"to reach the outside: run as root with /proc/sys writable, or type: "
                f"sysctl -w {path}={value}"
            ) from error
        return True
