"""What rtnetlink says and is told about addresses and routes: the bodies of its messages.

Numbers are those of linux/if_addr.h and linux/rtnetlink.h.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NetlinkError,
    RouteSocket,
    attribute,
    attributes,
    read_u32,
    u32,
)
from ovsdriver.domain.observed import RouteKind

_RTM_NEWADDR = 20
_RTM_DELADDR = 21
_RTM_GETADDR = 22
_RTM_NEWROUTE = 24
_RTM_GETROUTE = 26

_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_FLAGS = 8
_IFA_F_NODAD = 0x02
_RT_SCOPE_UNIVERSE = 0

_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_MULTIPATH = 9
_RTA_TABLE = 15
_RTA_VIA = 18
_RTN_UNICAST = 1
_KINDS = {
    _RTN_UNICAST: RouteKind.UNICAST,
    2: RouteKind.LOCAL,
    6: RouteKind.BLACKHOLE,
    7: RouteKind.UNREACHABLE,
    8: RouteKind.PROHIBIT,
    9: RouteKind.THROW,
}
"""Not those of broadcast, anycast and multicast addresses: each comes with a unicast route."""
_RTPROT_BOOT = 3
_RT_SCOPE_LINK = 253
_RT_TABLE_MAIN = 254
_RTM_F_CLONED = 0x200
_RT_TABLE_LOCAL = 255

_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NEXT_HOP = struct.Struct("=HBBi")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address on a link."""

    index: int
    """Of the link."""
    address: IPNetwork
    scope_universe: bool
    """Not one of link-local scope, which the kernel makes by itself for IPv6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """One way that a route leads; a multipath route has several."""

    destination: IPNetwork
    kind: RouteKind
    table: int
    index: int
    """Of the link it leaves by; 0 for none."""
    gateway: IPAddress | None


def addresses(routes: RouteSocket, index: int = 0) -> list[Address]:
    """Return the addresses of both families, of one link or (index 0) of all."""
    messages = routes.dump(_RTM_GETADDR, _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, index))
    found = map(_read_address, messages)
    # kernels before 4.20 do not filter
    return [each for each in found if index in (0, each.index)]


def add_address(routes: RouteSocket, index: int, address: IPNetwork) -> None:
    """Put an address on a link, usable at once: no duplicate address detection."""
    family, packed = _FAMILIES[address.version], address.ip.packed
    body = _IFADDR.pack(family, address.prefixlen, 0, _RT_SCOPE_UNIVERSE, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if family == socket.AF_INET6:
        body += u32(_IFA_FLAGS, _IFA_F_NODAD)
    routes.change(_RTM_NEWADDR, body, flags=NLM_F_CREATE | NLM_F_REPLACE)


def remove_address(routes: RouteSocket, index: int, address: IPNetwork) -> None:
    """Take an address from a link."""
    packed = address.ip.packed
    body = _IFADDR.pack(_FAMILIES[address.version], address.prefixlen, 0, 0, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    routes.change(_RTM_DELADDR, body)


def all_routes(routes: RouteSocket) -> list[NextHop]:
    """Return the ways of every route, both families, all tables, of the kinds that are known."""
    return [hop for message in route_messages(routes) for hop in _read_route(message)]


def add_route(
    routes: RouteSocket, index: int, destination: IPNetwork, gateway: IPAddress | None = None
) -> bool:
    """Add a route to the main table; False if there is one to the same place."""
    family = _FAMILIES[destination.version]
    scope = _RT_SCOPE_LINK if gateway is None and family == socket.AF_INET else _RT_SCOPE_UNIVERSE
    length = destination.prefixlen
    body = _RTMSG.pack(family, length, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, scope, _RTN_UNICAST, 0)
    body += attribute(_RTA_DST, destination.network.packed) if length else b""
    body += u32(_RTA_OIF, index)
    body += attribute(_RTA_GATEWAY, gateway.packed) if gateway is not None else b""
    try:
        routes.change(_RTM_NEWROUTE, body, flags=NLM_F_CREATE | NLM_F_EXCL)
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise
        return False
    return True


def unicast_routes(routes: RouteSocket) -> list[NextHop]:
    """Return the ways of every unicast route, both families, all tables but local."""
    return [
        hop
        for message in route_messages(routes)
        if _leads_elsewhere(message)
        for hop in _read_route(message)
    ]


def route_messages(routes: RouteSocket) -> Iterator[bytes]:
    """Yield the bodies of the messages about every route, both families, all tables."""
    for family in _BITS:
        yield from routes.dump(_RTM_GETROUTE, _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))


def _leads_elsewhere(message: bytes) -> bool:
    """Whether a route is worth reading whole: of five that an address brings, one is."""
    _, _, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(message)
    return bool(kind == _RTN_UNICAST and table != _RT_TABLE_LOCAL)


def _read_address(message: bytes) -> Address:
    family, prefix_length, _, scope, index = _IFADDR.unpack_from(message)
    values = attributes(message, _IFADDR.size)
    # for IPv4 on a point-to-point link IFA_ADDRESS is the other side
    packed = values.get(_IFA_LOCAL) or values[_IFA_ADDRESS]
    return Address(
        index=index,
        address=_network(packed, prefix_length, family),
        scope_universe=scope == _RT_SCOPE_UNIVERSE,
    )


def _read_route(message: bytes) -> Iterator[NextHop]:
    family, prefix_length, _, _, table, _, _, kind, flags = _RTMSG.unpack_from(message)
    values = attributes(message, _RTMSG.size)
    if _RTA_TABLE in values:  # numbers over 255 are told only here
        table = read_u32(values[_RTA_TABLE])
    if kind not in _KINDS or flags & _RTM_F_CLONED:
        return
    packed = values.get(_RTA_DST, bytes(_BITS[family] // 8))
    destination = _network(packed, prefix_length, family)
    for hop in _hops(values):
        yield NextHop(
            destination=destination,
            kind=_KINDS[kind],
            table=table,
            index=read_u32(hop[_RTA_OIF]) if _RTA_OIF in hop else 0,
            gateway=_gateway(hop),
        )


def _hops(values: dict[int, bytes]) -> Iterator[dict[int, bytes]]:
    """Return the attributes of each way: the route's own, or those of struct rtnexthop."""
    data = values.get(_RTA_MULTIPATH)
    if data is None:
        yield values
        return
    offset = 0
    while offset + _NEXT_HOP.size <= len(data):
        length, _, _, index = _NEXT_HOP.unpack_from(data, offset)
        if length < _NEXT_HOP.size:
            return
        inner = attributes(data[offset : offset + length], _NEXT_HOP.size)
        yield {**inner, _RTA_OIF: struct.pack("=i", index)}
        offset += (length + 3) & ~3


def _gateway(hop: dict[int, bytes]) -> IPAddress | None:
    packed = hop.get(_RTA_GATEWAY)
    if packed is None and _RTA_VIA in hop:
        packed = hop[_RTA_VIA][2:]  # struct rtvia: a family, then an address of that family
    if packed is None:
        return None
    return IPAddress(int.from_bytes(packed, "big"), 4 if len(packed) == 4 else 6)


def _network(packed: bytes, prefix_length: int, family: int) -> IPNetwork:
    version = 4 if family == socket.AF_INET else 6
    return IPNetwork((int.from_bytes(packed, "big"), prefix_length), version=version)
