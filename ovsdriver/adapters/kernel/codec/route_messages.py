"""What rtnetlink says and is told about routes: the bodies of its messages.

A router's table has a million of them, so none is kept that nobody asked for, and where the kernel
can leave some out it is asked to. It cannot by their destination: each look walks the whole table.

Numbers are those of linux/rtnetlink.h.
"""

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
    FAMILIES,
    HEADER,
    NLM_F_APPEND,
    NLM_F_CREATE,
    RouteSocket,
    attribute,
    attributes,
    bodies,
    each_attribute,
    read_address,
    read_network,
    read_u32,
    u32,
)
from ovsdriver.domain.wires.observed import RouteKind

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
_RTM_GETROUTE = 26

_RTA_DST = 1
RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_MULTIPATH = 9
_RTA_CACHEINFO = 12
_RTA_TABLE = 15
_RTA_VIA = 18
_RTA_EXPIRES = 23
_RTA_NH_ID = 30
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
_RTPROT_KERNEL = 2
_RTPROT_BOOT = 3
_RT_SCOPE_UNIVERSE = 0
_RT_SCOPE_LINK = 253
_RT_TABLE_MAIN = 254
_RTM_F_CLONED = 0x200
_RTNH_F_ONLINK = 4
_RT_TABLE_LOCAL = 255
_TICKS_A_SECOND = 100
"""USER_HZ, in which struct rta_cacheinfo counts; RTA_EXPIRES is in seconds."""
_VALID_AT = 8
"""Where struct rta_cacheinfo says for how many ticks a route is still valid; 0: for good."""

_RTMSG = struct.Struct("=BBBBBBBBI")
_LENGTH = HEADER.size + 1
"""Where a message has the length of its route's destination."""
_MAY_DIFFER = (1, 3, 5, 6)
"""Bytes of struct rtmsg: length of the destination, tos, protocol and scope."""
_NEXT_HOP = struct.Struct("=HBBi")
_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """One way that a route leads; a multipath route has several."""

    destination: IPNetwork
    kind: RouteKind
    table: int
    metric: int
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
    routes: RouteSocket,
    index: int,
    destination: IPNetwork,
    gateway: IPAddress | None = None,
    *,
    protocol: int = _RTPROT_BOOT,
    metric: int = 0,
) -> bool:
    """Add a route to the main table; False if there is one to the same place, of that metric.

    ``protocol`` says who has added it; a ``metric`` of 0 is what the kernel takes by itself.
    """
    family = FAMILIES[destination.version]
    scope = _RT_SCOPE_LINK if gateway is None and family == socket.AF_INET else _RT_SCOPE_UNIVERSE
    length = destination.prefixlen
    body = _RTMSG.pack(family, length, 0, 0, _RT_TABLE_MAIN, protocol, scope, _RTN_UNICAST, 0)
    body += attribute(_RTA_DST, destination.network.packed) if length else b""
    body += u32(RTA_OIF, index)
    body += attribute(_RTA_GATEWAY, gateway.packed) if gateway is not None else b""
    body += u32(_RTA_PRIORITY, metric) if metric else b""
    return routes.create(RTM_NEWROUTE, body)


def unicast_routes(routes: RouteSocket, near: Iterable[IPNetwork]) -> Iterator[NextHop]:
    """Yield the ways of unicast routes that share an address with one of ``near``.

    Of all tables but local, default routes included.
    """
    for message in _near(routes, near, kind=_RTN_UNICAST):
        if _leads_elsewhere(message):
            yield from read_route(message)


def known_routes(routes: RouteSocket, near: Iterable[IPNetwork]) -> Iterator[NextHop]:
    """Yield the ways of routes of every table and every kind that is known; near as above."""
    for message in _near(routes, near):
        yield from read_route(message)


def routes_by(routes: RouteSocket, index: int, *, most: int) -> list[NextHop]:
    """Return ways of unicast routes through a link, in all tables but local: the first ones."""
    messages = (
        message
        for family in _BITS
        for message in route_messages(routes, family, index)
        if _leads_elsewhere(message)
    )
    hops = (hop for message in messages for hop in read_route(message) if hop.index == index)
    return list(islice(hops, most))


def route_messages(routes: RouteSocket, family: int, index: int) -> Iterator[bytes]:
    """Yield the bodies of the messages about unicast routes of a family through a link.

    As they come: there may be a million. The kernel gives default routes first.
    """
    with closing(_blocks(routes, family, kind=_RTN_UNICAST, index=index)) as blocks:
        for block in blocks:
            yield from bodies(block)


def is_given(message: bytes) -> bool:
    """Whether a route is somebody's, and not one that comes and goes with an address."""
    _, _, _, _, table, protocol, _, kind, flags = _RTMSG.unpack_from(message)
    return (
        kind == _RTN_UNICAST
        and protocol != _RTPROT_KERNEL
        and table != _RT_TABLE_LOCAL
        and not flags & _RTM_F_CLONED
    )


def added_by(message: bytes) -> int:
    """Return the protocol of a route: who has added it."""
    _, _, _, _, _, protocol, *_ = _RTMSG.unpack_from(message)
    return int(protocol)


def put_route(routes: RouteSocket, message: bytes, index: int, elsewhere: int | None) -> None:
    """Put the route of a message on another link, as :func:`route_on`.

    It is appended: a route of others to the same place is neither replaced nor in the way. One
    that is there already: NetlinkError, EEXIST.
    """
    body = route_on(message, index, elsewhere)
    routes.change(RTM_NEWROUTE, body, flags=NLM_F_CREATE | NLM_F_APPEND)


def take_route(routes: RouteSocket, message: bytes, index: int, elsewhere: int | None) -> None:
    """Take the route of a message from a link, as :func:`route_on`."""
    routes.change(RTM_DELROUTE, route_on(message, index, elsewhere))


def route_on(message: bytes, index: int, elsewhere: int | None) -> bytes:
    """Return the message about a route as it is through the link ``index``.

    Of several ways, the one that is not others': ``elsewhere`` is the other link of a move, and
    what the message says of either is this one's.
    """
    *head, flags = _RTMSG.unpack_from(message)
    body = _RTMSG.pack(*head, flags & _RTNH_F_ONLINK)
    for kind, value in each_attribute(message, _RTMSG.size):
        if kind == RTA_OIF:
            body += u32(RTA_OIF, index)
        elif kind == _RTA_MULTIPATH:
            body += attribute(kind, b"".join(_renamed(value, index, elsewhere)))
        elif kind == _RTA_CACHEINFO:
            ticks = read_u32(value, _VALID_AT) if len(value) >= _VALID_AT + 4 else 0
            if 0 < ticks < 1 << 31:
                body += u32(_RTA_EXPIRES, ticks // _TICKS_A_SECOND)
        elif kind != _RTA_NH_ID:  # an object of its own, which names the old link
            body += attribute(kind, value)
    return body


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
        if key == RTA_OIF:
            indexes.append(read_u32(message, offset + ATTRIBUTE.size))
        elif key == _RTA_DST:
            destination = message[offset + ATTRIBUTE.size : offset + size]
        elif key == _RTA_TABLE:  # numbers over 255 are told only here
            table = read_u32(message, offset + ATTRIBUTE.size)
        elif key == _RTA_MULTIPATH:
            hops = {key: message[offset + ATTRIBUTE.size : offset + size]}
            indexes.extend(read_u32(hop[RTA_OIF]) for hop in _hops(hops))
        offset += (size + 3) & ~3
    if table == _RT_TABLE_LOCAL or (family == socket.AF_INET6 and _link_local(destination)):
        return ()
    version = 4 if family == socket.AF_INET else 6
    return [Way(index, version, length == 0) for index in indexes]


def read_route(message: bytes) -> Iterator[NextHop]:
    """Read the body of an RTM_NEWROUTE message; nothing of a kind that is not known."""
    family, prefix_length, _, _, table, _, _, kind, flags = _RTMSG.unpack_from(message)
    values = attributes(message, _RTMSG.size)
    if _RTA_TABLE in values:  # numbers over 255 are told only here
        table = read_u32(values[_RTA_TABLE])
    if kind not in _KINDS or flags & _RTM_F_CLONED:
        return
    packed = values.get(_RTA_DST, bytes(_BITS[family] // 8))
    destination = read_network(packed, prefix_length)
    for hop in _hops(values):
        yield NextHop(
            destination=destination,
            kind=_KINDS[kind],
            table=table,
            metric=read_u32(values[_RTA_PRIORITY]) if _RTA_PRIORITY in values else 0,
            index=read_u32(hop[RTA_OIF]) if RTA_OIF in hop else 0,
            gateway=_gateway(hop),
        )


def _ways_one_by_one(block: bytes) -> Counter[Way]:
    return Counter(way for message in bodies(block) for way in ways(message))


def _ways_by_columns(block: bytes) -> Counter[Way] | None:
    """Return the ways of a block of routes that are alike; None if they are not."""
    alike = _columns(block)
    if alike is None or _RTA_MULTIPATH in alike.places or RTA_OIF not in alike.places:
        return None
    like = ways(alike.first)
    if not like or like[0].default or 0 in alike.column(_LENGTH):
        return None
    if like[0].family == 6 and 0xFE in alike.column(alike.places[_RTA_DST]):  # some are link-local
        return None
    return Counter(
        {
            like[0]._replace(link=read_u32(index)): many
            for index, many in alike.values(alike.places[RTA_OIF], 4).items()
        }
    )


def _columns(block: bytes) -> Columns | None:
    return columns(block, body=_RTMSG.size, free=_MAY_DIFFER, fixed=(_RTA_TABLE,))


def _near(routes: RouteSocket, near: Iterable[IPNetwork], *, kind: int = 0) -> Iterator[bytes]:
    subnets = tuple(near)
    for version, family in FAMILIES.items():
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


def _blocks(
    routes: RouteSocket, family: int, *, kind: int = 0, index: int = 0
) -> Generator[bytes, None, None]:
    """Yield messages about the routes of a family, all tables.

    Of one kind, or through one link, where the kernel filters: those before 4.20 do not.
    """
    asked = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, kind, 0)
    return routes.stream(_RTM_GETROUTE, asked + (u32(RTA_OIF, index) if index else b""))


def _leads_elsewhere(message: bytes) -> bool:
    """Whether a route is worth reading whole: of five that an address brings, one is."""
    _, _, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(message)
    return bool(kind == _RTN_UNICAST and table != _RT_TABLE_LOCAL)


def _hops(values: dict[int, bytes]) -> Iterator[dict[int, bytes]]:
    """Return the attributes of each way: the route's own, or those of struct rtnexthop."""
    if _RTA_MULTIPATH not in values:
        yield values
        return
    for index, hop in _next_hops(values[_RTA_MULTIPATH]):
        yield {**attributes(hop, _NEXT_HOP.size), RTA_OIF: struct.pack("=i", index)}


def _next_hops(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return each struct rtnexthop with its attributes, by its link."""
    offset = 0
    while offset + _NEXT_HOP.size <= len(data):
        length, _, _, index = _NEXT_HOP.unpack_from(data, offset)
        if length < _NEXT_HOP.size:
            return
        yield index, data[offset : offset + length]
        offset += (length + 3) & ~3


def _renamed(data: bytes, index: int, elsewhere: int | None) -> Iterator[bytes]:
    for of_link, hop in _next_hops(data):
        length, flags, hops, _ = _NEXT_HOP.unpack_from(hop)
        mine = index if of_link in (index, elsewhere) else of_link
        head = _NEXT_HOP.pack(length, flags & _RTNH_F_ONLINK, hops, mine)
        yield head + hop[_NEXT_HOP.size :] + bytes(-length % 4)


def _gateway(hop: dict[int, bytes]) -> IPAddress | None:
    packed = hop.get(_RTA_GATEWAY)
    if packed is None and _RTA_VIA in hop:
        packed = hop[_RTA_VIA][2:]  # struct rtvia: a family, then an address of that family
    return None if packed is None else read_address(packed)


def _link_local(destination: bytes) -> bool:
    return len(destination) == 16 and destination[0] == 0xFE and destination[1] & 0xC0 == 0x80
