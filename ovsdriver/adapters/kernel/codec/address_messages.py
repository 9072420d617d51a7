"""What rtnetlink says and is told about addresses: the bodies of its messages.

Numbers are those of linux/if_addr.h.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from netaddr import IPNetwork

from ovsdriver.adapters.kernel.codec.rtnetlink import (
    FAMILIES,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RouteSocket,
    attribute,
    attributes,
    bodies,
    each_attribute,
    read_network,
    read_text,
    read_u32,
    text,
    u32,
)

RTM_NEWADDR = 20
RTM_DELADDR = 21
_RTM_GETADDR = 22

_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_LABEL = 3
_IFA_CACHEINFO = 6
_IFA_FLAGS = 8
_IFA_F_NODAD = 0x02
_IFA_F_PERMANENT = 0x80
_IFA_F_ASKED_FOR = 0x100 | 0x200 | 0x400
"""MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN; the others are the kernel's findings."""
_RT_SCOPE_UNIVERSE = 0
_RT_SCOPE_LINK = 253
_LABEL_BYTES = 15

_IFADDR = struct.Struct("=BBBBI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address on a link."""

    index: int
    """Of the link."""
    address: IPNetwork
    scope_universe: bool
    """Not one of link-local scope, which the kernel makes by itself for IPv6."""
    permanent: bool
    """It has no lifetime."""

    @classmethod
    def read(cls, message: bytes) -> "Address":
        """Read the body of an RTM_NEWADDR message."""
        _, prefix_length, flags, scope, index = _IFADDR.unpack_from(message)
        values = attributes(message, _IFADDR.size)
        # for IPv4 on a point-to-point link IFA_ADDRESS is the other side
        packed = values.get(_IFA_LOCAL) or values[_IFA_ADDRESS]
        return cls(
            index=index,
            address=read_network(packed, prefix_length),
            scope_universe=scope == _RT_SCOPE_UNIVERSE,
            permanent=bool(flags & _IFA_F_PERMANENT),
        )


def addresses(routes: RouteSocket, index: int = 0) -> list[Address]:
    """Return the addresses of both families, of one link or (index 0) of all."""
    found = map(Address.read, routes.dump(_RTM_GETADDR, _asked(index)))
    # kernels before 4.20 do not filter
    return [each for each in found if index in (0, each.index)]


def address_messages(routes: RouteSocket, index: int) -> Iterator[bytes]:
    """Yield the bodies of the messages about a link's addresses, but for link-local ones of IPv6.

    As they come: there may be any number.
    """
    with closing(routes.stream(_RTM_GETADDR, _asked(index))) as blocks:
        for block in blocks:
            for message in bodies(block):
                family, _, _, scope, of_link = _IFADDR.unpack_from(message)
                local = family == socket.AF_INET6 and scope == _RT_SCOPE_LINK
                if of_link == index and not local:
                    yield message


def link_of(message: bytes) -> int:
    """Return the index of the link that a message about an address is about."""
    index: int = _IFADDR.unpack_from(message)[4]
    return index


def add_address(routes: RouteSocket, index: int, address: IPNetwork) -> None:
    """Put an address on a link, usable at once: no duplicate address detection."""
    flags = u32(_IFA_FLAGS, _IFA_F_NODAD) if address.version == 6 else b""
    _put(routes, _body(index, address) + flags)


def remove_address(routes: RouteSocket, index: int, address: IPNetwork) -> None:
    """Take an address from a link."""
    routes.change(RTM_DELADDR, _body(index, address))


def put_address(routes: RouteSocket, message: bytes, index: int, name: str) -> None:
    """Put the address of a message on another link; what is there already is no matter."""
    _put(routes, address_on(message, index, name))


def take_address(routes: RouteSocket, message: bytes, index: int) -> None:
    """Take the address of a message from a link."""
    family, length, _, scope, _ = _IFADDR.unpack_from(message)
    found = attributes(message, _IFADDR.size)
    kinds = [kind for kind in (_IFA_LOCAL, _IFA_ADDRESS) if kind in found]
    routes.change(
        RTM_DELADDR,
        _IFADDR.pack(family, length, 0, scope, index)
        + b"".join(attribute(kind, found[kind]) for kind in kinds),
    )


def address_on(message: bytes, index: int, name: str, *, timeless: bool = False) -> bytes:
    """Return the message about an address as it is for another link.

    With ``timeless`` without when it was made, and lifetimes.
    """
    family, length, _, scope, _ = _IFADDR.unpack_from(message)
    body = _IFADDR.pack(family, length, 0, scope, index)
    flags = 0
    for kind, value in each_attribute(message, _IFADDR.size):
        if kind == _IFA_LABEL:
            # "eth0:web" is an alias of the old link's name
            _, colon, alias = read_text(value).partition(":")
            body += text(_IFA_LABEL, f"{name}{colon}{alias}"[:_LABEL_BYTES]) if colon else b""
        elif kind == _IFA_FLAGS:
            flags = read_u32(value) & _IFA_F_ASKED_FOR
        elif not (timeless and kind == _IFA_CACHEINFO):
            body += attribute(kind, value)
    # nobody else has it: the same host had it a moment before
    flags |= _IFA_F_NODAD if family == socket.AF_INET6 else 0
    return body + u32(_IFA_FLAGS, flags)


def _asked(index: int) -> bytes:
    return _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, index)


def _body(index: int, address: IPNetwork) -> bytes:
    packed = address.ip.packed
    body = _IFADDR.pack(FAMILIES[address.version], address.prefixlen, 0, _RT_SCOPE_UNIVERSE, index)
    return body + attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)


def _put(routes: RouteSocket, body: bytes) -> None:
    routes.change(RTM_NEWADDR, body, flags=NLM_F_CREATE | NLM_F_REPLACE)
