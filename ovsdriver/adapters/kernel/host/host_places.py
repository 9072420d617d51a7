"""What the host has on a link, addresses and routes, taken from there and put on another one.

Each is kept as the message in which the kernel describes it, and said to it again with another
link in it: so everything about it goes along, known here or not (lifetimes, metrics, tables,
preferred sources), but for what is a statement about the old link.
"""

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice

from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.kernel.codec.address_messages import add_address
from ovsdriver.adapters.kernel.codec.link_messages import IFF_UP, Link, LinkChange, change_link
from ovsdriver.adapters.kernel.codec.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    NetlinkError,
    RouteSocket,
    attribute,
    attributes,
    bodies,
    each_attribute,
    read_text,
    read_u32,
    text,
    u32,
)
from ovsdriver.domain.records.on_link import Held, HeldAddress, HeldRoute

# linux/rtnetlink.h, linux/if_addr.h
_NLM_F_APPEND = 0x800
_RTM_NEWADDR = 20
_RTM_DELADDR = 21
_RTM_GETADDR = 22
_RTM_NEWROUTE = 24
_RTM_DELROUTE = 25
_RTM_GETROUTE = 26

_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_LABEL = 3
_IFA_CACHEINFO = 6
_IFA_FLAGS = 8
_IFA_F_NODAD = 0x02
_IFA_F_PERMANENT = 0x80
_IFA_F_ASKED_FOR = 0x100 | 0x200 | 0x400
"""MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN; the others are the kernel's findings."""
_RT_SCOPE_LINK = 253

_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_MULTIPATH = 9
_RTA_CACHEINFO = 12
_RTA_TABLE = 15
_RTA_VIA = 18
_RTA_EXPIRES = 23
_RTA_NH_ID = 30
_RTN_UNICAST = 1
_RTPROT_KERNEL = 2
_RT_TABLE_LOCAL = 255
_RTM_F_CLONED = 0x200
_RTNH_F_ONLINK = 4
_TICKS_A_SECOND = 100
"""USER_HZ, in which struct rta_cacheinfo counts; RTA_EXPIRES is in seconds."""

_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NEXT_HOP = struct.Struct("=HBBi")
_U32 = struct.Struct("=I")
_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}
_COUNTED = 100_000
"""Of what is not kept, so many are counted at most."""
_NOT_THERE = (errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENOENT)


def held(routes: RouteSocket, link: Link, *, most: int | None = None) -> Held:
    """Return what the host has on a link; without link-local addresses of IPv6, which all have.

    With ``most``, as many addresses, and routes of each family, at most, and how many more there
    are, up to some; they may be any number. The kernel gives default routes first.
    """
    asked = _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, link.index)
    with closing(routes.stream(_RTM_GETADDR, asked)) as blocks:
        counted = (each for block in blocks for each in bodies(block) if _counts(each, link.index))
        addresses, more_addresses = _first(counted, most)
    found = [_first(_routes_by(routes, family, link.index), most) for family in _BITS]
    return Held(
        addresses=tuple(map(_read_address, addresses)),
        routes=tuple(
            route
            for messages, _ in found
            for message in messages
            if (route := _read_route(message, link.index)) is not None
        ),
        more_addresses=more_addresses,
        more_routes=sum(more for _, more in found),
    )


def _routes_by(routes: RouteSocket, family: int, index: int) -> Iterator[bytes]:
    asked = _RTMSG.pack(family, *[0] * 8) + u32(_RTA_OIF, index)
    with closing(routes.stream(_RTM_GETROUTE, asked)) as blocks:
        for block in blocks:
            yield from filter(_is_held, bodies(block))


def _first(messages: Iterator[bytes], most: int | None) -> tuple[list[bytes], int]:
    """Return the first ones, and how many more there are, as far as that is counted."""
    if most is None:
        return list(messages), 0
    return list(islice(messages, most)), sum(1 for _ in islice(messages, _COUNTED))


def move(routes: RouteSocket, what: Held, *, source: Link | None, target: Link) -> tuple[str, ...]:
    """Take what is there from ``source`` and put it on ``target``, which is set up.

    Repeatable, also where an earlier call was cut short: what is gone or there already is passed
    over. Returns the routes that the kernel did not take, each with its reason.
    """
    if not target.flags & IFF_UP:
        change_link(routes, target.index, LinkChange(set_flags=IFF_UP))
    # first: with the host's last trace of an address the kernel drops the routes of other links
    # that have it as their source (net/ipv4/fib_frontend.c, fib_del_ifaddr)
    put_addresses(routes, what, target)
    if source is not None:
        for route in what.routes:
            _unless_gone(routes, _RTM_DELROUTE, _route_on(route, source.index, target.index))
        for address in what.addresses:
            _unless_gone(routes, _RTM_DELADDR, _address_off(address, source.index))
    return put_routes(routes, what, target, elsewhere=source.index if source else None)


def put_addresses(routes: RouteSocket, what: Held, target: Link) -> None:
    """Put addresses on a link; what is there already is no matter."""
    for address in oldest_first(what):
        if address.message:
            body = _address_on(address, target)
            routes.change(_RTM_NEWADDR, body, flags=NLM_F_CREATE | NLM_F_REPLACE)
        else:
            add_address(routes, target.index, address.address)


def oldest_first(what: Held) -> tuple[HeldAddress, ...]:
    """Return addresses in an order that gives the kernel's own again.

    It puts a new IPv6 address before the others (net/ipv6/addrconf.c, ipv6_link_dev_addr), and
    where no rule prefers one as a source it takes the first.
    """
    ipv4 = (each for each in what.addresses if each.address.version == 4)
    ipv6 = (each for each in reversed(what.addresses) if each.address.version == 6)
    return (*ipv4, *ipv6)


def put_routes(
    routes: RouteSocket, what: Held, target: Link, *, elsewhere: int | None
) -> tuple[str, ...]:
    """Put routes on a link that is up, and return those that the kernel did not take.

    ``elsewhere`` is the index of the link that they were on.
    """
    refused = []
    # a gateway must be on a link by the time that somebody names it
    for route in sorted(what.routes, key=lambda each: each.gateway is not None):
        try:
            # appended: a route of others to the same place is neither replaced nor in the way
            routes.change(
                _RTM_NEWROUTE,
                _route_on(route, target.index, elsewhere),
                flags=NLM_F_CREATE | _NLM_F_APPEND,
            )
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                refused.append(f"{route.text}: {error.strerror}")
    return tuple(refused)


def steady(what: Held, link: Link) -> Held:
    """Return what is on ``link`` without what changes by itself, such as times of last use."""
    return Held(
        addresses=tuple(
            replace(each, message=_address_on(each, link, timeless=each.permanent).hex())
            for each in what.addresses
        ),
        routes=tuple(
            replace(each, message=_route_on(each, link.index, None).hex()) for each in what.routes
        ),
        more_addresses=what.more_addresses,
        more_routes=what.more_routes,
    )


def _counts(message: bytes, index: int) -> bool:
    family, _, _, scope, of_link = _IFADDR.unpack_from(message)
    return of_link == index and not (family == socket.AF_INET6 and scope == _RT_SCOPE_LINK)


def _read_address(message: bytes) -> HeldAddress:
    family, length, flags, _, _ = _IFADDR.unpack_from(message)
    found = attributes(message, _IFADDR.size)
    packed = found.get(_IFA_LOCAL) or found[_IFA_ADDRESS]
    if _IFA_FLAGS in found:
        flags = read_u32(found[_IFA_FLAGS])
    version = 4 if family == socket.AF_INET else 6
    return HeldAddress(
        address=IPNetwork((int.from_bytes(packed, "big"), length), version=version),
        permanent=bool(flags & _IFA_F_PERMANENT),
        message=message.hex(),
    )


def _address_off(address: HeldAddress, index: int) -> bytes:
    message = bytes.fromhex(address.message)
    family, length, _, scope, _ = _IFADDR.unpack_from(message)
    found = attributes(message, _IFADDR.size)
    body = _IFADDR.pack(family, length, 0, scope, index)
    for kind in (_IFA_LOCAL, _IFA_ADDRESS):
        if kind in found:
            body += attribute(kind, found[kind])
    return body


def _address_on(address: HeldAddress, link: Link, *, timeless: bool = False) -> bytes:
    """Return an address for ``link``; ``timeless``: without when it was made, and lifetimes."""
    message = bytes.fromhex(address.message)
    family, length, _, scope, _ = _IFADDR.unpack_from(message)
    body = _IFADDR.pack(family, length, 0, scope, link.index)
    flags = 0
    for kind, value in each_attribute(message, _IFADDR.size):
        if kind == _IFA_LABEL:
            # "eth0:web" is an alias of the old link's name
            _, colon, alias = read_text(value).partition(":")
            body += text(_IFA_LABEL, f"{link.name}{colon}{alias}"[:15]) if colon else b""
        elif kind == _IFA_FLAGS:
            flags = read_u32(value) & _IFA_F_ASKED_FOR
        elif not (timeless and kind == _IFA_CACHEINFO):
            body += attribute(kind, value)
    # nobody else has it: the same host had it a moment before
    flags |= _IFA_F_NODAD if family == socket.AF_INET6 else 0
    return body + u32(_IFA_FLAGS, flags)


def _is_held(message: bytes) -> bool:
    """Whether a route is somebody's and not one that comes and goes with an address."""
    _, _, _, _, table, protocol, _, kind, flags = _RTMSG.unpack_from(message)
    return (
        kind == _RTN_UNICAST
        and protocol != _RTPROT_KERNEL
        and table != _RT_TABLE_LOCAL
        and not flags & _RTM_F_CLONED
    )


def _read_route(message: bytes, index: int) -> HeldRoute | None:
    family, length, _, _, table, *_ = _RTMSG.unpack_from(message)
    found = attributes(message, _RTMSG.size)
    if _RTA_TABLE in found:
        table = read_u32(found[_RTA_TABLE])
    hops = dict(_hops(found))
    if index not in hops:
        return None
    packed = found.get(_RTA_DST, bytes(_BITS[family] // 8))
    version = 4 if family == socket.AF_INET else 6
    destination = IPNetwork((int.from_bytes(packed, "big"), length), version=version)
    if version == 6 and destination.ip.is_link_local():
        return None
    metric = read_u32(found[_RTA_PRIORITY]) if _RTA_PRIORITY in found else 0
    gateway = hops[index]
    return HeldRoute(
        text=f"{destination if length else 'default'} via {gateway or 'the link'} "
        f"(IPv{version}, table {table}, metric {metric})",
        gateway=gateway,
        message=message.hex(),
    )


def _hops(found: dict[int, bytes]) -> Iterator[tuple[int, IPAddress | None]]:
    """Return link and gateway of each way."""
    if _RTA_MULTIPATH not in found:
        yield (read_u32(found[_RTA_OIF]) if _RTA_OIF in found else 0), _gateway(found)
        return
    for index, inner in _ways(found[_RTA_MULTIPATH]):
        yield index, _gateway(attributes(inner, _NEXT_HOP.size))


def _ways(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _NEXT_HOP.size <= len(data):
        length, _, _, index = _NEXT_HOP.unpack_from(data, offset)
        if length < _NEXT_HOP.size:
            return
        yield index, data[offset : offset + length]
        offset += (length + 3) & ~3


def _gateway(found: dict[int, bytes]) -> IPAddress | None:
    packed = found.get(_RTA_GATEWAY)
    if packed is None and _RTA_VIA in found:
        packed = found[_RTA_VIA][2:]  # struct rtvia: a family, then an address of that family
    if packed is None:
        return None
    return IPAddress(int.from_bytes(packed, "big"), 4 if len(packed) == 4 else 6)


def _route_on(route: HeldRoute, index: int, elsewhere: int | None) -> bytes:
    """Return a route through the link ``index``; of several ways, the one that is not others'.

    ``elsewhere`` is the other link of the move: what the message says of either is this one's.
    """
    message = bytes.fromhex(route.message)
    *head, flags = _RTMSG.unpack_from(message)
    body = _RTMSG.pack(*head, flags & _RTNH_F_ONLINK)
    for kind, value in each_attribute(message, _RTMSG.size):
        if kind == _RTA_OIF:
            body += u32(_RTA_OIF, index)
        elif kind == _RTA_MULTIPATH:
            body += attribute(kind, b"".join(_renamed(value, index, elsewhere)))
        elif kind == _RTA_CACHEINFO:
            # struct rta_cacheinfo: the third number is how long it is still valid
            ticks = read_u32(value, 8) if len(value) >= 12 else 0
            if 0 < ticks < 1 << 31:
                body += u32(_RTA_EXPIRES, ticks // _TICKS_A_SECOND)
        elif kind != _RTA_NH_ID:  # an object of its own, which names the old link
            body += attribute(kind, value)
    return body


def _renamed(data: bytes, index: int, elsewhere: int | None) -> Iterable[bytes]:
    for of_link, way in _ways(data):
        length, flags, hops, _ = _NEXT_HOP.unpack_from(way)
        mine = index if of_link in (index, elsewhere) else of_link
        head = _NEXT_HOP.pack(length, flags & _RTNH_F_ONLINK, hops, mine)
        yield head + way[_NEXT_HOP.size :] + bytes(-length % 4)


def _unless_gone(routes: RouteSocket, kind: int, body: bytes) -> None:
    try:
        routes.change(kind, body)
    except NetlinkError as error:
        if error.errno not in _NOT_THERE:
            raise
