"""What dockerd does with links, by netlink: move, name, address; numbers of linux/rtnetlink.h."""

import socket
import struct

from netaddr import IPNetwork

from ovsdriver.adapters.kernel.codec.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    RouteSocket,
    attribute,
    text,
    u32,
)

_RTM_NEWLINK, _RTM_DELLINK, _RTM_NEWADDR = 16, 17, 20
_IFLA_IFNAME, _IFLA_NET_NS_FD = 3, 28
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFF_UP = 1


def _link(name: str, flags: int = 0, change: int = 0) -> bytes:
    index = 0
    return struct.pack("=BxHiII", 0, 0, index, flags, change) + text(_IFLA_IFNAME, name)


def delete(routes: RouteSocket, name: str) -> None:
    """Delete a link, and a veth's other end with it."""
    routes.change(_RTM_DELLINK, _link(name))


def set_up(routes: RouteSocket, name: str, *, up: bool) -> None:
    """Set a link up or down."""
    routes.change(_RTM_NEWLINK, _link(name, _IFF_UP if up else 0, _IFF_UP))


def move(routes: RouteSocket, name: str, netns: int, new: str) -> None:
    """Move a link into the namespace behind a file descriptor, where it has another name."""
    index = socket_index(routes, name)
    body = struct.pack("=BxHiII", 0, 0, index, 0, 0) + u32(_IFLA_NET_NS_FD, netns)
    routes.change(_RTM_NEWLINK, body + text(_IFLA_IFNAME, new))


def add_address(routes: RouteSocket, name: str, address: IPNetwork) -> None:
    """Give a link an IPv4 address."""
    head = struct.pack(
        "=BBBBI", socket.AF_INET, address.prefixlen, 0, 0, socket_index(routes, name)
    )
    packed = address.ip.packed
    body = head + attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    routes.change(_RTM_NEWADDR, body, flags=NLM_F_CREATE | NLM_F_EXCL)


def socket_index(routes: RouteSocket, name: str) -> int:
    """Return a link's index in the namespace of the socket."""
    message = routes.get(18, _link(name))
    if message is None:
        raise LookupError(f"no link {name}")
    index: int = struct.unpack_from("=BxHi", message)[2]
    return index
