"""Telling a segment who has an address now: ARP (RFC 5227, 3) and ND (RFC 4861, 7.2.6).

Neighbours that gave up on it meanwhile, and switches that forgot its port, learn it at once.
"""

import socket
import struct
from collections.abc import Iterable
from contextlib import closing, suppress

from netaddr import IPNetwork

from ovsdriver.adapters.kernel.sandbox.neighbours import internet_checksum

_ETHERNET = struct.Struct("!6s6sH")
_BROADCAST = b"\xff" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ETH_P_ARP = 0x0806
_ARP_REQUEST = 1

_ETH_P_IPV6 = 0x86DD
_ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_IPV6 = struct.Struct("!IHBB16s16s")
_ICMPV6 = 58
_ADVERTISEMENT = struct.Struct("!BBHI16sBB6s")
_NEIGHBOUR_ADVERTISEMENT = 136
_OVERRIDE = 0x2000_0000
_TARGET_LINK_ADDRESS = 2


def announce(link: str, addresses: Iterable[IPNetwork]) -> None:
    """Say once on a link, in the thread's namespace, that its MAC has ``addresses``.

    Nothing is certain to hear it, so nothing is raised if it cannot be said: a link that is down.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with suppress(OSError), closing(socket.socket(socket.AF_PACKET, kind, 0)) as wire:
        wire.bind((link, 0))
        mac: bytes = wire.getsockname()[4]
        for each in addresses:
            frame = arp if each.version == 4 else advertisement
            wire.send(frame(mac, each.ip.packed))


def arp(mac: bytes, address: bytes) -> bytes:
    """Return an ARP announcement: a request for one's own address."""
    return _ETHERNET.pack(_BROADCAST, mac, _ETH_P_ARP) + _ARP.pack(
        1, 0x0800, 6, 4, _ARP_REQUEST, mac, address, bytes(6), address
    )


def advertisement(mac: bytes, address: bytes) -> bytes:
    """Return an unsolicited neighbour advertisement to all nodes, which overrides what they had."""
    said = (address, _TARGET_LINK_ADDRESS, 1, mac)
    body = _ADVERTISEMENT.pack(_NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE, *said)
    pseudo = address + _ALL_NODES + struct.pack("!II", len(body), _ICMPV6)
    checksum = internet_checksum(pseudo + body)
    body = _ADVERTISEMENT.pack(_NEIGHBOUR_ADVERTISEMENT, 0, checksum, _OVERRIDE, *said)
    header = _IPV6.pack(6 << 28, len(body), _ICMPV6, 255, address, _ALL_NODES)
    return _ETHERNET.pack(_ALL_NODES_MAC, mac, _ETH_P_IPV6) + header + body
