"""Frames that a container should not be able to send, made byte by byte."""

import struct
from dataclasses import dataclass
from ipaddress import ip_address

EVERYBODY = b"\xff" * 6
ALL_NODES = b"\x33\x33\x00\x00\x00\x01"
_MORE = 0x2000
STRANGER = bytes.fromhex("0a0f0badcafe")


@dataclass(frozen=True)
class Sender:
    """Who sends, as Docker set it up."""

    mac: bytes
    ipv4: str
    ipv6: str
    link_local: str


def forged(me: Sender, other4: str, other6: str) -> dict[str, bytes]:
    """Return frames that pretend something, by a label for each.

    Args:
        me: the sender, whose MAC and addresses are its own.
        other4: an address of its subnet that is another's.
        other6: the same of IPv6.
    """
    return {
        "mac": _ipv4(STRANGER, me.ipv4, _udp(9, 9)),
        "ipv4": _ipv4(me.mac, other4, _udp(9, 9)),
        "ipv6": _ipv6(me.mac, other6, 17, _udp(9, 9)),
        "arp": _arp(me.mac, me.mac, other4),
        "arp-mac": _arp(me.mac, STRANGER, me.ipv4),
        "dhcp": _ipv4(me.mac, me.ipv4, _udp(67, 68)),
        "dhcpv6": _ipv6(me.mac, me.link_local, 17, _udp(547, 546)),
        "ra": _ipv6(me.mac, me.link_local, 58, _icmpv6(134, bytes(12))),
        "na": _ipv6(me.mac, me.ipv6, 58, _advertisement(other6, me.mac)),
        "na-mac": _ipv6(me.mac, me.ipv6, 58, _advertisement(me.ipv6, STRANGER)),
        "dhcp-port": _ipv4(me.mac, me.ipv4, _udp(9, 68)),
        "dhcpv6-port": _ipv6(me.mac, me.link_local, 17, _udp(9, 546)),
        "dhcp-first": _ipv4(me.mac, me.ipv4, _udp(67, 68), fragment=_MORE),
        "dhcp-later": _ipv4(me.mac, me.ipv4, bytes(16), fragment=2),
        "icmp-first": _ipv4(me.mac, me.ipv4, _icmp(5, bytes(8)), protocol=1, fragment=_MORE),
        "dhcpv6-first": _fragment6(me, 17, _udp(547, 546), more=True),
        "dhcpv6-later": _fragment6(me, 17, bytes(16), offset=2),
        "ra-first": _fragment6(me, 58, _icmpv6(134, bytes(12)), more=True),
        "ra-later": _fragment6(me, 58, bytes(16), offset=2),
        "ra-tiny": _fragment6(me, 60, bytes((58, 1)) + bytes(6), more=True),
        "ra-options": _ipv6(
            me.mac, me.link_local, 60, bytes((58, 0, 1, 4)) + bytes(4) + _icmpv6(134, bytes(12))
        ),
        "ra-cut": _ipv6(me.mac, me.link_local, 60, bytes((58, 9, 1, 4)) + bytes(4)),
        "mld-query": _ipv6(me.mac, me.link_local, 58, _icmpv6(130, bytes(20))),
        "igmp-query": _ipv4(me.mac, me.ipv4, _icmp(0x11, bytes(4)), protocol=2),
        "arp-nobody": _arp(me.mac, me.mac, "0.0.0.0"),
        "arp-probe": _arp(me.mac, me.mac, "0.0.0.0", kind=1, target=other4),
        "redirect": _ipv4(me.mac, me.ipv4, _icmp(5, bytes(32)), protocol=1),
        "irdp": _ipv4(me.mac, me.ipv4, _icmp(9, bytes(12)), protocol=1),
        "ipip": _ipv4(me.mac, me.ipv4, ipv4_packet(other4, me.ipv4)[2:], protocol=4),
        "6in4": _ipv4(me.mac, me.ipv4, bytes(48), protocol=41),
        "gre": _ipv4(me.mac, me.ipv4, bytes(32), protocol=47),
        "ip6ip6": _ipv6(me.mac, me.ipv6, 41, bytes(48)),
        "ns-twice": _ipv6(me.mac, me.ipv6, 58, _solicitation(other6, STRANGER, STRANGER)),
        "lldp": EVERYBODY + me.mac + struct.pack("!H", 0x88CC) + bytes(46),
    }


def honest(me: Sender) -> dict[str, bytes]:
    """Return frames of the same kinds that say the truth."""
    return {
        "own-ipv4": _ipv4(me.mac, me.ipv4, _udp(9, 9)),
        "own-ipv6": _ipv6(me.mac, me.ipv6, 17, _udp(9, 9)),
        "own-arp": _arp(me.mac, me.mac, me.ipv4),
        "own-na": _ipv6(me.mac, me.ipv6, 58, _advertisement(me.ipv6, me.mac)),
        "asks-dhcp": _ipv4(me.mac, "0.0.0.0", _udp(68, 67)),
        "own-probe": _arp(me.mac, me.mac, "0.0.0.0", kind=1, target=me.ipv4),
        "own-ns": _ipv6(me.mac, me.ipv6, 58, _solicitation("fd00:77:1::98", me.mac)),
        "own-mld": _ipv6(me.mac, me.link_local, 58, _icmpv6(143, bytes(4))),
        "own-options": _ipv6(me.mac, me.ipv6, 60, bytes((17, 0, 1, 4)) + bytes(4) + _udp(9, 9)),
        "tcp-later": _ipv4(me.mac, me.ipv4, bytes(16), protocol=6, fragment=2),
    }


def bpdu(mac: bytes, *, rapid: bool) -> bytes:
    """Return what the root of a spanning tree says: of the best priority there is, 0.

    STP's (IEEE 802.1D-1998, section 9) or RSTP's (802.1D-2004, section 9), on a designated port.
    """
    root = struct.pack("!H", 0) + mac
    times = struct.pack("!4H", 0, 20 << 8, 2 << 8, 15 << 8)
    kind, flags, end = (0x0202, 0x3C, b"\0") if rapid else (0, 0, b"")
    said = b"\0\0" + struct.pack("!HB", kind, flags) + root + bytes(4) + root + b"\x80\x01"
    body = b"\x42\x42\x03" + said + times + end
    frame = bytes.fromhex("0180c2000000") + mac + struct.pack("!H", len(body)) + body
    return frame.ljust(60, b"\0")


def ipv4_packet(
    source: str,
    destination: str,
    payload: bytes | None = None,
    *,
    protocol: int = 17,
    fragment: int = 0,
) -> bytes:
    """Return a packet, of UDP if not told otherwise, behind its EtherType.

    ``fragment`` is its offset in units of 8 bytes, and 0x2000 if there are more.
    """
    payload = _udp(9, 9) if payload is None else payload
    length = 20 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, length, 1, fragment, 64, protocol, 0)
    head += ip_address(source).packed + ip_address(destination).packed
    total = sum(struct.unpack("!10H", head))
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return struct.pack("!H", 0x0800) + head[:10] + struct.pack("!H", total) + head[12:] + payload


def ipv4_frame(mac: bytes, source: str) -> bytes:
    """Return a UDP packet to everybody."""
    return _ipv4(mac, source, _udp(9, 9))


def _ipv4(
    mac: bytes, source: str, payload: bytes, *, protocol: int = 17, fragment: int = 0
) -> bytes:
    packet = ipv4_packet(source, "255.255.255.255", payload, protocol=protocol, fragment=fragment)
    return (EVERYBODY + mac + packet).ljust(60, b"\0")


def _ipv6(mac: bytes, source: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255)
    head += ip_address(source).packed + ip_address("ff02::1").packed
    return ALL_NODES + mac + struct.pack("!H", 0x86DD) + head + payload


def _fragment6(
    me: Sender, protocol: int, payload: bytes, *, offset: int = 0, more: bool = False
) -> bytes:
    head = struct.pack("!BBHI", protocol, 0, offset << 3 | more, 77)
    return _ipv6(me.mac, me.link_local, 44, head + payload)


def _arp(
    mac: bytes, said: bytes, address: str, *, kind: int = 2, target: str | None = None
) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, kind) + said + ip_address(address).packed
    body += said + ip_address(target or address).packed
    return (EVERYBODY + mac + struct.pack("!H", 0x0806) + body).ljust(60, b"\0")


def _udp(source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 16, 0) + bytes(8)


def _icmp(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", kind, 0, 0) + body


def _icmpv6(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", kind, 0, 0) + body


def _solicitation(target: str, *macs: bytes) -> bytes:
    body = bytes(4) + ip_address(target).packed
    return _icmpv6(135, body + b"".join(b"\x01\x01" + mac for mac in macs))


def _advertisement(target: str, mac: bytes) -> bytes:
    body = struct.pack("!I", 0x20000000) + ip_address(target).packed
    return _icmpv6(136, body + b"\x02\x01" + mac)
