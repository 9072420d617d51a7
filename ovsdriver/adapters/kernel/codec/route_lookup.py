"""Asking the kernel where it would send one packet (RTM_GETROUTE without a dump).

It answers by the same code that a packet of that kind would run through: policy rules, the reverse
path filter and forwarding count. Of IPv6 the last two are not asked there.
"""

import errno
import socket
import struct
from dataclasses import dataclass

from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.kernel.codec.rtnetlink import (
    FAMILIES,
    NetlinkError,
    RouteSocket,
    attribute,
    attributes,
    read_address,
    read_network,
    read_u32,
    u32,
)

_RTM_GETROUTE = 26
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTM_F_FIB_MATCH = 0x2000
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_OIF, _RTA_GATEWAY = 1, 2, 3, 4, 5
_RTA_PREFSRC, _RTA_VIA = 7, 18
_RTN_LOCAL = 2
_REFUSALS = {2: errno.EHOSTUNREACH, 6: errno.EINVAL, 7: errno.EHOSTUNREACH, 8: errno.EACCES}
_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a packet would go."""

    index: int = 0
    """Of the link; 0: nowhere."""
    local: bool = False
    gateway: IPAddress | None = None
    source: IPAddress | None = None
    destination: IPNetwork | None = None
    """Of the route, if that was asked for."""
    number: int = 0
    """Why it goes nowhere: an errno; 0: it goes."""


def lookup(
    routes: RouteSocket,
    target: IPAddress,
    *,
    source: IPAddress | None = None,
    incoming: int = 0,
    whole: bool = False,
) -> Found:
    """Ask where a packet goes.

    Args:
        routes: a socket in the namespace that is asked about.
        target: whom it is for.
        source: whose it is; needed with ``incoming``.
        incoming: index of the link it came in by; 0: it is sent from here.
        whole: tell the route's destination, in place of the source address.
    """
    family = FAMILIES[target.version]
    bits = _BITS[family]
    flags = _RTM_F_FIB_MATCH if whole else 0
    body = _RTMSG.pack(family, bits, bits if source is not None else 0, 0, 0, 0, 0, 0, flags)
    body += attribute(_RTA_DST, target.packed)
    body += attribute(_RTA_SRC, source.packed) if source is not None else b""
    body += u32(_RTA_IIF, incoming) if incoming else b""
    try:
        message = routes.get(_RTM_GETROUTE, body)
    except NetlinkError as error:
        return Found(number=error.errno or errno.EINVAL)
    if message is None:
        return Found(number=errno.ENETUNREACH)
    return _read(message)


def _read(message: bytes) -> Found:
    _, length, _, _, _, _, _, kind, _ = _RTMSG.unpack_from(message)
    values = attributes(message, _RTMSG.size)
    packed = values.get(_RTA_GATEWAY)
    if packed is None and _RTA_VIA in values:
        packed = values[_RTA_VIA][2:]  # struct rtvia: a family, then an address of that family
    local = kind == _RTN_LOCAL
    bits = 4 if message[0] == socket.AF_INET else 16
    return Found(
        index=read_u32(values[_RTA_OIF]) if _RTA_OIF in values else 0,
        local=local,
        gateway=None if packed is None else read_address(packed),
        source=read_address(values[_RTA_PREFSRC]) if _RTA_PREFSRC in values else None,
        destination=read_network(values.get(_RTA_DST, bytes(bits)), length),
        number=0 if local else _REFUSALS.get(kind, 0),
    )
