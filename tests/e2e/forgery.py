"""Frames that a container should not be able to send, made byte by byte."""

import struct
from dataclasses import dataclass
from ipaddress import ip_address

EVERYBODY = b"\xff" * 6
ALL_NODES = b"\x33\x33\x00\x00\x00\x01"
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
    }


def ipv4_packet(source: str, destination: str, payload: bytes | None = None) -> bytes:
    """Return a UDP packet behind its EtherType."""
    payload = _udp(9, 9) if payload is None else payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, 17, 0)
    head += ip_address(source).packed + ip_address(destination).packed
    total = sum(struct.unpack("!10H", head))
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return struct.pack("!H", 0x0800) + head[:10] + struct.pack("!H", total) + head[12:] + payload


def _ipv4(mac: bytes, source: str, payload: bytes) -> bytes:
    return (EVERYBODY + mac + ipv4_packet(source, "255.255.255.255", payload)).ljust(60, b"\0")


def _ipv6(mac: bytes, source: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255)
    head += ip_address(source).packed + ip_address("ff02::1").packed
    return ALL_NODES + mac + struct.pack("!H", 0x86DD) + head + payload


def _arp(mac: bytes, said: bytes, address: str) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + said + ip_address(address).packed
    body += said + ip_address(address).packed
    return (EVERYBODY + mac + struct.pack("!H", 0x0806) + body).ljust(60, b"\0")


def _udp(source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 16, 0) + bytes(8)


def _icmpv6(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", kind, 0, 0) + body


def _advertisement(target: str, mac: bytes) -> bytes:
    body = struct.pack("!I", 0x20000000) + ip_address(target).packed
    return _icmpv6(136, body + b"\x02\x01" + mac)
