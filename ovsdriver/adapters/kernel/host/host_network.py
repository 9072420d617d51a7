"""What the firewall and forwarding need to know of the host: links, routes, switches.

Everything here blocks and belongs on a worker thread. ``/proc/sys/net`` and netlink show the
network namespace of the thread that asks.
"""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from ovsdriver.adapters.kernel.codec import rtnetlink
from ovsdriver.adapters.kernel.codec.link_messages import IFF_UP, link_messages
from ovsdriver.adapters.kernel.host.host_ways import HostWays
from ovsdriver.domain.traffic.firewall import HostLink, HostNetwork, LinkRoute
from ovsdriver.errors import UnavailableError

# linux/if_link.h
_IFLA_IFNAME = 3
_IFLA_MASTER = 10
_IFLA_LINKINFO = 18
_IFLA_INFO_KIND = 1

_LINK = struct.Struct("=BxHiII")

_PROC = Path("/proc/sys")
_BOOT_ID = "kernel/random/boot_id"


def read_host(
    netlink: rtnetlink.RouteSocket, memory: rtnetlink.Remembered[HostLink], ways: HostWays
) -> HostNetwork:
    """Return links as the kernel has them, and which of them routes lead through.

    Args:
        netlink: a socket in the host's namespace.
        memory: of earlier looks, by :func:`read_link`.
        ways: what is known of routes.

    Raises:
        UnavailableError: the kernel did not answer.
    """
    try:
        links = tuple(memory.all(link_messages(netlink)))
        names = {link.index: link.name for link in links}
        up = frozenset(link.index for link in links if link.up)
        routes = {
            LinkRoute(link=names[way.link], family=way.family, default=way.default)
            for way in ways.current(netlink, up)
            if way.link in names
        }
    except OSError as error:
        raise UnavailableError(f"the kernel did not list links and routes: {error}") from error
    return HostNetwork(
        links=links, routes=tuple(sorted(routes, key=lambda r: (r.family, r.link, r.default)))
    )


def read_link(message: bytes) -> HostLink:
    """Read the payload of an RTM_NEWLINK message."""
    _, _, index, flags, _ = _LINK.unpack_from(message)
    found = rtnetlink.attributes(message, _LINK.size)
    info = rtnetlink.attributes(found.get(_IFLA_LINKINFO, b""))
    master = found.get(_IFLA_MASTER)
    return HostLink(
        name=rtnetlink.read_text(found.get(_IFLA_IFNAME, b"")),
        index=index,
        kind=rtnetlink.read_text(info.get(_IFLA_INFO_KIND, b"")),
        master=rtnetlink.read_u32(master) if master else 0,
        up=bool(flags & IFF_UP),
    )


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
