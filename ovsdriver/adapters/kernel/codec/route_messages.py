"""What rtnetlink says and is told about routes: the bodies of its messages.

A router's table has a million of them, so none is kept that nobody asked for, and where the kernel
can leave some out it is asked to. It cannot by their destination: each look walks the whole table.

Numbers are those of linux/rtnetlink.h.
"""

import errno
import socket
import struct
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.kernel.codec.alike import Columns, columns
from ovsdriver.adapters.kernel.codec.rtnetlink import (
    ATTRIBUTE,
    HEADER,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NetlinkError,
    RouteSocket,
    attribute,
    attributes,
    bodies,
    read_u32,
    u32,
)
from ovsdriver.domain.wires.observed import RouteKind

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
_RTM_GETROUTE = 26

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
_RT_SCOPE_UNIVERSE = 0
_RT_SCOPE_LINK = 253
_RT_TABLE_MAIN = 254
_RTM_F_CLONED = 0x200
_RT_TABLE_LOCAL = 255

_RTMSG = struct.Struct("=BBBBBBBBI")
_LENGTH = HEADER.size + 1
"""Where a message has the length of its route's destination."""
_MAY_DIFFER = (1, 3, 5, 6)
"""Bytes of struct rtmsg: length of the destination, tos, protocol and scope."""
_NEXT_HOP = struct.Struct("=HBBi")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """One way that a route leads; a multipath route has several."""

    destination: IPNetwork
    kind: RouteKind
    table: int
    index: int
    """Of the link it leaves by; 0 for none."""
    gateway: IPAddress | None


class Way(NamedTuple):
    """That there is a route which forwarded packets of a family follow through a link."""

    link: int
    """Its index."""
    family: int
    """4 or 6."""
    default: bool


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
        routes.change(RTM_NEWROUTE, body, flags=NLM_F_CREATE | NLM_F_EXCL)
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise
        return False
    return True


def unicast_routes(routes: RouteSocket, near: Iterable[IPNetwork]) -> Iterator[NextHop]:
    """Yield the ways of unicast routes that share an address with one of ``near``.

    Of all tables but local, default routes included.
    """
    for message in _near(routes, near, kind=_RTN_UNICAST):
        if _leads_elsewhere(message):
            yield from _read_route(message)


def known_routes(routes: RouteSocket, near: Iterable[IPNetwork]) -> Iterator[NextHop]:
    """Yield the ways of routes of every table and every kind that is known; near as above."""
    for message in _near(routes, near):
        yield from _read_route(message)


def routes_by(routes: RouteSocket, index: int, *, most: int) -> list[NextHop]:
    """Return ways of unicast routes through a link, in all tables but local: the first ones."""
    messages = (
        message
        for family in _BITS
        for message in _stream(routes, family, kind=_RTN_UNICAST, index=index)
        if _leads_elsewhere(message)
    )
    hops = (hop for message in messages for hop in _read_route(message) if hop.index == index)
    return list(islice(hops, most))


def count_ways(routes: RouteSocket) -> Counter[Way]:
    """Return all ways of forwarded packets, each with how many routes lead there."""
    found: Counter[Way] = Counter()
    for family in _BITS:
        with closing(_blocks(routes, family, kind=_RTN_UNICAST)) as blocks:
            for block in blocks:
                found.update(_ways_by_columns(block) or _ways_one_by_one(block))
    return found


def ways(message: bytes) -> Sequence[Way]:
    """Return the ways of a route, one for each next hop.

    None for a route that no forwarded packet follows: to the host itself, to nowhere, to a group,
    or to link-local addresses.
    """
    family, length, _, _, table, _, _, kind, flags = _RTMSG.unpack_from(message)
    if kind != _RTN_UNICAST or flags & _RTM_F_CLONED or family not in _BITS:
        return ()
    destination, indexes = b"", []
    # by hand, for a million of them: each_attribute() takes three times as long
    offset, end = _RTMSG.size, len(message) - ATTRIBUTE.size
    while offset <= end:
        size, key = ATTRIBUTE.unpack_from(message, offset)
        if size < ATTRIBUTE.size:
            break
        if key == _RTA_OIF:
            indexes.append(read_u32(message, offset + ATTRIBUTE.size))
        elif key == _RTA_DST:
            destination = message[offset + ATTRIBUTE.size : offset + size]
        elif key == _RTA_TABLE:  # numbers over 255 are told only here
            table = read_u32(message, offset + ATTRIBUTE.size)
        elif key == _RTA_MULTIPATH:
            hops = {key: message[offset + ATTRIBUTE.size : offset + size]}
            indexes.extend(read_u32(hop[_RTA_OIF]) for hop in _hops(hops))
        offset += (size + 3) & ~3
    if table == _RT_TABLE_LOCAL or (family == socket.AF_INET6 and _link_local(destination)):
        return ()
    version = 4 if family == socket.AF_INET else 6
    return [Way(index, version, length == 0) for index in indexes]


def _ways_one_by_one(block: bytes) -> Counter[Way]:
    return Counter(way for message in bodies(block) for way in ways(message))


def _ways_by_columns(block: bytes) -> Counter[Way] | None:
    """Return the ways of a block of routes that are alike; None if they are not."""
    alike = _columns(block)
    if alike is None or _RTA_MULTIPATH in alike.places or _RTA_OIF not in alike.places:
        return None
    like = ways(alike.first)
    if not like or like[0].default or 0 in alike.column(_LENGTH):
        return None
    if like[0].family == 6 and 0xFE in alike.column(alike.places[_RTA_DST]):  # some are link-local
        return None
    return Counter(
        {
            like[0]._replace(link=read_u32(index)): many
            for index, many in alike.values(alike.places[_RTA_OIF], 4).items()
        }
    )


def _columns(block: bytes) -> Columns | None:
    return columns(block, body=_RTMSG.size, free=_MAY_DIFFER, fixed=(_RTA_TABLE,))


def _near(routes: RouteSocket, near: Iterable[IPNetwork], *, kind: int = 0) -> Iterator[bytes]:
    subnets = tuple(near)
    for version, family in _FAMILIES.items():
        wanted = [each for each in subnets if each.version == version]
        if not wanted:
            continue
        is_near = _nearness(wanted, _BITS[family])
        starts = {each.network.packed[0] for each in wanted}
        if any(each.prefixlen < 8 for each in wanted):
            starts = set(range(256))
        with closing(_blocks(routes, family, kind=kind)) as blocks:
            for block in blocks:
                if not _all_far(block, starts):
                    yield from filter(is_near, bodies(block))


def _all_far(block: bytes, starts: Set[int]) -> bool:
    """Whether the routes of a block are alike and none is near what starts with these bytes."""
    alike = _columns(block)
    if alike is None or min(alike.column(_LENGTH)) < 8 or _RTA_DST not in alike.places:
        return False
    return starts.isdisjoint(alike.column(alike.places[_RTA_DST]))


def _nearness(subnets: Iterable[IPNetwork], bits: int) -> Callable[[bytes], bool]:
    """Return what tells of a message whether its destination shares an address with a subnet."""
    blocks = [(int(each.first), int(each.prefixlen)) for each in subnets]

    def is_near(message: bytes) -> bool:
        length, end, offset = message[1], len(message), _RTMSG.size
        if not length:
            return True
        while offset < end:
            size, key = ATTRIBUTE.unpack_from(message, offset)
            if key == _RTA_DST:
                value = int.from_bytes(message[offset + ATTRIBUTE.size : offset + size], "big")
                return any(
                    (value ^ first) >> (bits - min(length, prefix)) == 0 for first, prefix in blocks
                )
            offset += (size + 3) & ~3
        return False

    return is_near


def _stream(routes: RouteSocket, family: int, *, kind: int = 0, index: int = 0) -> Iterator[bytes]:
    """Yield the bodies of the messages about the routes of a family, as :func:`_blocks`."""
    with closing(_blocks(routes, family, kind=kind, index=index)) as blocks:
        for block in blocks:
            yield from bodies(block)


def _blocks(
    routes: RouteSocket, family: int, *, kind: int = 0, index: int = 0
) -> Generator[bytes, None, None]:
    """Yield messages about the routes of a family, all tables.

    Of one kind, or through one link, where the kernel filters: those before 4.20 do not.
    """
    asked = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, kind, 0)
    return routes.stream(_RTM_GETROUTE, asked + (u32(_RTA_OIF, index) if index else b""))


def _leads_elsewhere(message: bytes) -> bool:
    """Whether a route is worth reading whole: of five that an address brings, one is."""
    _, _, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(message)
    return bool(kind == _RTN_UNICAST and table != _RT_TABLE_LOCAL)


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


def _link_local(destination: bytes) -> bool:
    return len(destination) == 16 and destination[0] == 0xFE and destination[1] & 0xC0 == 0x80


def _network(packed: bytes, prefix_length: int, family: int) -> IPNetwork:
    version = 4 if family == socket.AF_INET else 6
    return IPNetwork((int.from_bytes(packed, "big"), prefix_length), version=version)
