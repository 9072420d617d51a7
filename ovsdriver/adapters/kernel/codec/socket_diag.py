"""Which ports of this host are in use, as ``ss`` asks the kernel for them (sock_diag(7))."""

import errno
import struct
from collections.abc import Iterator
from contextlib import closing

from netaddr import IPAddress

from ovsdriver.adapters.kernel.codec.rtnetlink import (
    FAMILIES,
    NetlinkError,
    NetlinkSocket,
    attributes,
    read_address,
)
from ovsdriver.domain.records.model import HostPort, Transport

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST = struct.Struct("=BBBxI48x")
"""Family, protocol, extensions, states, and a socket that is left open."""
_MESSAGE = struct.Struct(">BBxxHH16s16s")
_SIZE = 72
_ONLY_IPV6 = 11
"""INET_DIAG_SKV6ONLY."""
_WAITING = {Transport.TCP: 1 << 10, Transport.UDP: 1 << 7, Transport.SCTP: 1 << 10}
"""States of who waits for anybody: TCP_LISTEN; a UDP socket that is not connected is "closed"."""


def waiting(protocol: Transport) -> Iterator[HostPort]:
    """Give the ports on which a program of this network namespace waits for anybody.

    One of ``::`` that takes IPv4 as well is given twice.

    Raises:
        OSError: the kernel does not answer.
    """
    with closing(NetlinkSocket(_NETLINK_SOCK_DIAG)) as kernel:
        for version, family in FAMILIES.items():
            question = _REQUEST.pack(family, protocol.number, 0, _WAITING[protocol])
            try:
                found = kernel.dump(_BY_FAMILY, question)
            except NetlinkError as error:
                if error.errno != errno.ENOENT:  # this kernel has no such protocol
                    raise
                continue
            for message in found:
                yield from _ports(protocol, version, message)


def _ports(protocol: Transport, version: int, message: bytes) -> Iterator[HostPort]:
    _, _, port, _, source, _ = _MESSAGE.unpack_from(message)
    packed = source[:4] if version == 4 else source
    address = read_address(packed)
    yield HostPort(protocol=protocol, address=address, port=port)
    both = version == 6 and not int(address) and attributes(message, _SIZE).get(_ONLY_IPV6) == b"\0"
    if both:
        yield HostPort(protocol=protocol, address=IPAddress(0, 4), port=port)
