"""What rtnetlink says and is told about addresses: the bodies of its messages.

Numbers are those of linux/if_addr.h.
"""

import socket
import struct
from dataclasses import dataclass

from netaddr import IPNetwork

from ovsdriver.adapters.kernel.codec.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RouteSocket,
    attribute,
    attributes,
    u32,
)

_RTM_NEWADDR = 20
_RTM_DELADDR = 21
_RTM_GETADDR = 22

_IFA_ADDRESS = 1
_IFA_LOCAL = 2
_IFA_FLAGS = 8
_IFA_F_NODAD = 0x02
_RT_SCOPE_UNIVERSE = 0

_IFADDR = struct.Struct("=BBBBI")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address on a link."""

    index: int
    """Of the link."""
    address: IPNetwork
    scope_universe: bool
    """Not one of link-local scope, which the kernel makes by itself for IPv6."""


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


def _network(packed: bytes, prefix_length: int, family: int) -> IPNetwork:
    version = 4 if family == socket.AF_INET else 6
    return IPNetwork((int.from_bytes(packed, "big"), prefix_length), version=version)
