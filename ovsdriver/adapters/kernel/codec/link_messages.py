"""What rtnetlink says and is told about links: the bodies of its messages.

Numbers are those of linux/if_link.h and linux/rtnetlink.h.
"""

import errno
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

from netaddr import EUI, mac_unix_expanded

from ovsdriver.adapters.kernel.codec.rtnetlink import (
    ATTRIBUTE,
    RouteSocket,
    attribute,
    attributes,
    each_attribute,
    nest,
    passed_over,
    read_text,
    read_u32,
    text,
    u32,
)
from ovsdriver.domain.wires.observed import Measured, Traffic

IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
"""Something is at the other end, and up."""
IFF_NOARP = 0x80
IFF_PROMISC = 0x100

RTM_NEWLINK = 16
RTM_DELLINK = 17
_RTM_GETLINK = 18
_RTM_SETLINK = 19
_RTM_GETSTATS = 94

_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_MASTER = 10
_IFLA_LINKINFO = 18
_IFLA_IFALIAS = 20
_IFLA_STATS64 = 23
_IFLA_AF_SPEC = 26
_IFLA_GROUP = 27
_IFLA_NET_NS_FD = 28
_IFLA_EXT_MASK = 29
_IFLA_CARRIER = 33
_IFLA_LINK_NETNSID = 37
_IFLA_NEW_IFINDEX = 49
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_VETH_INFO_PEER = 1
_IFLA_INET_CONF = 1
_IPV4_DEVCONF_RP_FILTER = 8
_IFLA_INET6_CONF = 2
_DEVCONF_DISABLE_IPV6 = 26
_RTEXT_FILTER_SKIP_STATS = 8
"""Statistics are half of a link's message, and mostly nobody wants them."""

_STATS = struct.Struct("=4Q16x2Q")
"""Of struct rtnl_link_stats64 packets, bytes and, past errors, dropped; of each received first."""

_IFINFO = struct.Struct("=BxHiII")
_IFSTATS = struct.Struct("=B3xII")
"""struct if_stats_msg: family, index, which statistics."""
_STATS_LINK_64 = 1
_PASSES = IFF_UP | _IFF_LOWER_UP
_MAC_BYTES = 6

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as the kernel describes it."""

    name: str
    index: int
    kind: str
    """``veth``, ``tun``, ``openvswitch``, …; empty for hardware and loopback."""
    flags: int
    mtu: int
    mac: bytes
    alias: str
    group: int
    carrier: bool
    """For a tap: a process holds it. Known for links that are down as well."""
    lower_index: int | None
    """For a veth: index of the other end, in the namespace where that is."""
    lower_elsewhere: bool
    """The other end is in another namespace, where ``lower_index`` counts."""
    master_index: int | None
    """Of the bridge, bond or datapath that it is a port of."""
    families: bytes
    """Settings of the address families, read on demand."""
    data: bytes = b""
    """What belongs to the kind."""

    @property
    def up(self) -> bool:
        """Whether it is set up."""
        return bool(self.flags & IFF_UP)

    @property
    def eui(self) -> EUI | None:
        """Its MAC; None for a tunnel, which has another kind of address, or none."""
        if len(self.mac) != _MAC_BYTES:
            return None
        return EUI(int.from_bytes(self.mac, "big"), version=48, dialect=mac_unix_expanded)

    @property
    def rp_filter(self) -> int:
        """``net.ipv4.conf.LINK.rp_filter``."""
        values = attributes(attributes(self.families).get(socket.AF_INET, b""))
        return read_u32(values[_IFLA_INET_CONF], (_IPV4_DEVCONF_RP_FILTER - 1) * 4)

    @property
    def ipv6(self) -> bool:
        """Whether IPv6 is on; not with ``disable_ipv6``, an MTU below 1280, ``ipv6.disable=1``."""
        values = attributes(attributes(self.families).get(socket.AF_INET6, b""))
        if _IFLA_INET6_CONF not in values:
            return False
        return read_u32(values[_IFLA_INET6_CONF], _DEVCONF_DISABLE_IPV6 * 4) == 0

    @classmethod
    def read(cls, message: bytes) -> Self:
        """Read the body of an RTM_NEWLINK message."""
        _, _, index, flags, _ = _IFINFO.unpack_from(message)
        kind, data = "", b""
        values: dict[int, bytes] = {}
        for key, value in each_attribute(message, _IFINFO.size):
            if key == _IFLA_LINKINFO:
                info = attributes(value)
                kind = read_text(info.get(_IFLA_INFO_KIND, b""))
                data = info.get(_IFLA_INFO_DATA, b"")
            else:
                values[key] = value
        return cls(
            name=read_text(values.get(_IFLA_IFNAME, b"")),
            index=index,
            kind=kind,
            flags=flags,
            mtu=read_u32(values[_IFLA_MTU]) if _IFLA_MTU in values else 0,
            mac=values.get(_IFLA_ADDRESS, b""),
            alias=read_text(values.get(_IFLA_IFALIAS, b"")),
            group=read_u32(values[_IFLA_GROUP]) if _IFLA_GROUP in values else 0,
            carrier=values.get(_IFLA_CARRIER, b"\0") != b"\0",
            lower_index=read_u32(values[_IFLA_LINK]) if _IFLA_LINK in values else None,
            lower_elsewhere=_IFLA_LINK_NETNSID in values,
            master_index=read_u32(values[_IFLA_MASTER]) if _IFLA_MASTER in values else None,
            families=values.get(_IFLA_AF_SPEC, b""),
            data=data,
        )


def all_links(routes: RouteSocket, *, most: int | None = None) -> list[Link]:
    """Return every link of the namespace, or the first ones."""
    return [Link.read(message) for message in link_messages(routes, most=most)]


def link_messages(routes: RouteSocket, *, most: int | None = None) -> list[bytes]:
    """Return the bodies of the messages about every link, or about the first ones."""
    asked = _ifinfo() + u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    return routes.dump(_RTM_GETLINK, asked, most=most)


def link_counts(routes: RouteSocket) -> Mapping[str, Measured]:
    """Return what every link of the namespace has counted, by name.

    By two questions: of a thousand links, names without statistics and statistics without all else
    take 14 ms of a processor, and both together 22 (measured with 6.18).
    """
    counted = {}
    for message in routes.dump(_RTM_GETSTATS, _IFSTATS.pack(0, 0, _STATS_LINK_64)):
        counted[_IFSTATS.unpack_from(message)[1]] = message
    found = {}
    for message in link_messages(routes):
        index, name, passes = heard_of(message)
        values = counted.get(index)
        if values is not None:  # else it has come just now
            traffic = _traffic(values, _IFSTATS.size + ATTRIBUTE.size)
            found[name] = Measured(traffic, passes)
    return found


def marked_count(routes: RouteSocket, alias: str, *, most: int) -> Measured | None:
    """Return what the link with a mark has counted; looks at so many of the namespace's."""
    for message in routes.dump(_RTM_GETLINK, _ifinfo(), most=most):
        values = attributes(message, _IFINFO.size)
        if read_text(values.get(_IFLA_IFALIAS, b"")) == alias and _IFLA_STATS64 in values:
            flags = _IFINFO.unpack_from(message)[3]
            return Measured(_traffic(values[_IFLA_STATS64]), flags & _PASSES == _PASSES)
    return None


def _traffic(values: bytes, offset: int = 0) -> Traffic:
    received, sent, received_bytes, sent_bytes, received_dropped, sent_dropped = _STATS.unpack_from(
        values, offset
    )
    return Traffic(received_bytes, received, received_dropped, sent_bytes, sent, sent_dropped)


def heard_of(message: bytes) -> tuple[int, str, bool]:
    """Return a link's index and name, and whether it has a carrier: of a message about it.

    Without reading the rest, for there are many of these.
    """
    _, _, index, flags, _ = _IFINFO.unpack_from(message)
    named = (v for kind, v in each_attribute(message, _IFINFO.size) if kind == _IFLA_IFNAME)
    return index, read_text(next(named, b"")), flags & _PASSES == _PASSES


def link_name(index: int) -> str:
    """Return a link's name, empty if it is gone by now: cheaper than reading all links."""
    try:
        return socket.if_indextoname(index)
    except (OSError, OverflowError):
        return ""


def find_link(routes: RouteSocket, name: str) -> Link | None:
    """Return one link by its name; None if there is none."""
    return _found(routes, _ifinfo() + text(_IFLA_IFNAME, name))


def find_link_by_index(routes: RouteSocket, index: int) -> Link | None:
    """Return one link by its index; None if there is none."""
    return _found(routes, _ifinfo(index))


def find_veths(routes: RouteSocket, mac: bytes) -> list[Link]:
    """Return every veth with a MAC: two networks may give a container the same one.

    A bond or a bridge on top may have it too, which is not ours to change.
    """
    return [each for each in all_links(routes) if each.kind == "veth" and each.mac == mac]


def new_veth(
    routes: RouteSocket, name: str, peer: str, *, mtu: int, peer_mac: bytes, group: int, flags: int
) -> bool:
    """Make a veth pair, ``name`` in ``group`` with ``flags``; False if a name is taken.

    The kernel takes no alias at creation (rtnl_create_link, net/core/rtnetlink.c), but a group.
    """
    other_end = _ifinfo() + text(_IFLA_IFNAME, peer) + u32(_IFLA_MTU, mtu) + _address(peer_mac)
    body = (
        _ifinfo(set_flags=flags)
        + text(_IFLA_IFNAME, name)
        + u32(_IFLA_MTU, mtu)
        + u32(_IFLA_GROUP, group)
        + nest(
            _IFLA_LINKINFO,
            attribute(_IFLA_INFO_KIND, b"veth"),
            nest(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, other_end)),
        )
    )
    return routes.create(RTM_NEWLINK, body)


def new_upper(
    routes: RouteSocket, name: str, lower: int, *, kind: str, data: bytes, mac: bytes, index: int
) -> bool:
    """Make a link on top of another, down, with ``index`` if that is free; False if name is taken.

    ``data`` is what belongs to the kind.
    """
    free = index and find_link_by_index(routes, index) is None
    body = _ifinfo(index if free else 0) + text(_IFLA_IFNAME, name) + u32(_IFLA_LINK, lower)
    info = attribute(_IFLA_INFO_KIND, kind.encode()) + nest(_IFLA_INFO_DATA, data)
    body += _address(mac) + nest(_IFLA_LINKINFO, info)
    return routes.create(RTM_NEWLINK, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChange:
    """What to change of a link; None and 0 leave a property as it is."""

    set_flags: int = 0
    clear_flags: int = 0
    mtu: int | None = None
    mac: bytes | None = None
    name: str | None = None
    alias: str | None = None
    group: int | None = None
    rp_filter: int | None = None
    master_index: int | None = None

    def __bool__(self) -> bool:
        return self != NO_CHANGE


NO_CHANGE = LinkChange()


def differing(wanted: T | None, found: T | None) -> T | None:
    """Return what is wanted, for a :class:`LinkChange`; None if it is there."""
    return None if wanted == found else wanted


def change_link(routes: RouteSocket, link: int | str, change: LinkChange) -> None:
    """Change a link, given by index or name, in one message. A gone one: NetlinkError, ENODEV.

    The kernel applies one after the other: a refused one leaves earlier ones done. To rename a
    link, it must be given by its index.
    """
    if isinstance(link, str):
        body = _ifinfo(0, change.set_flags, change.clear_flags) + text(_IFLA_IFNAME, link)
    else:
        body = _ifinfo(link, change.set_flags, change.clear_flags)
    if change.name is not None:
        body += text(_IFLA_IFNAME, change.name)
    if change.mac is not None:
        body += _address(change.mac)
    if change.mtu is not None:
        body += u32(_IFLA_MTU, change.mtu)
    if change.alias is not None:
        body += text(_IFLA_IFALIAS, change.alias)
    if change.group is not None:
        body += u32(_IFLA_GROUP, change.group)
    if change.master_index is not None:
        body += u32(_IFLA_MASTER, change.master_index)
    if change.rp_filter is not None:
        setting = u32(_IPV4_DEVCONF_RP_FILTER, change.rp_filter)
        body += nest(_IFLA_AF_SPEC, nest(socket.AF_INET, nest(_IFLA_INET_CONF, setting)))
    routes.change(_RTM_SETLINK, body)


def move_link(routes: RouteSocket, index: int, namespace: int, *, wanted_index: int = 0) -> None:
    """Move a link into another namespace, given by a handle of it; it is down afterwards.

    It gets ``wanted_index`` there, unless that is 0 or taken, or the kernel is older than 5.13.
    """
    body = _ifinfo(index) + u32(_IFLA_NET_NS_FD, namespace)
    if wanted_index:
        with passed_over(errno.EBUSY):
            routes.change(_RTM_SETLINK, body + u32(_IFLA_NEW_IFINDEX, wanted_index))
            return
    routes.change(_RTM_SETLINK, body)


def delete_link(routes: RouteSocket, index: int) -> None:
    """Delete a link; one that is gone already is no matter."""
    with passed_over(errno.ENODEV):
        routes.change(RTM_DELLINK, _ifinfo(index))


def delete_group(routes: RouteSocket, group: int) -> None:
    """Delete every link of a group in one request; ENODEV in a NetlinkError if it has none."""
    routes.change(RTM_DELLINK, _ifinfo() + u32(_IFLA_GROUP, group))


def _found(routes: RouteSocket, body: bytes) -> Link | None:
    message = routes.get(_RTM_GETLINK, body + u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS))
    return None if message is None else Link.read(message)


def _ifinfo(index: int = 0, set_flags: int = 0, clear_flags: int = 0) -> bytes:
    """Render struct ifinfomsg; flags that are neither set nor cleared stay as they are."""
    return _IFINFO.pack(0, 0, index, set_flags, set_flags | clear_flags)


def _address(mac: bytes) -> bytes:
    return attribute(_IFLA_ADDRESS, mac)
