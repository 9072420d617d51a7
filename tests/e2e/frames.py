"""Program: send and hear labelled Ethernet frames on a link, with any stack of VLAN tags.

``frames.py hear LINK`` prints ``ready``, then ``LABEL TAG`` for each labelled frame that comes
in, TAG being the outermost VLAN id or ``-``; it runs until it is ended.

``frames.py stacks LINK`` prints all tags instead, as ``send`` reads them.

``frames.py send LINK`` reads lines of ``LABEL TPID:VID,TPID:VID…`` (hexadecimal protocol id,
decimal VLAN id, the outermost first; ``-`` for none) and sends one broadcast frame for each.

``frames.py forge LINK`` reads lines of ``LABEL SOURCE DESTINATION MAC PORT`` and sends one UDP
packet for each in a frame to that MAC, from the source address that it is told.

``frames.py raw LINK`` reads lines of ``LABEL HEX`` and sends each frame as it is, labelled behind
its end, where switches take it for padding.

``frames.py receive PORT`` prints ``ready``, then ``LABEL -`` for each labelled UDP packet that the
kernel delivers here; it runs until it is ended.
"""

import socket
import struct
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address

ETHERTYPE = 0x88B5
"""For local experiments (IEEE 802)."""

_MARK = b"ovsnet-test:"
_EVERY_PROTOCOL = 0x0003
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_AUXDATA = 263, 1, 8
_PROMISCUOUS = 1
_OUTGOING = 4
_SO_RCVBUFFORCE = 33
_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
"""Those of IEEE 802.1Q, and those that switches had before."""
_VLAN_VALID = 0x10
_TPID_VALID = 0x40
_AUXDATA = struct.Struct("=IIIHHHH")


def hear(link: str) -> None:
    """Print what comes in with its outer tag, until this process is ended."""
    _listen(link, _outer_tag)


def stacks(link: str) -> None:
    """Print what comes in with all of its tags, until this process is ended."""
    _listen(link, _stack)


def _listen(link: str, described: Callable[[bytes, list[tuple[int, int, bytes]]], str]) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL)) as wire:
        wire.bind((link, _EVERY_PROTOCOL))
        wire.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        wire.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 23)
        membership = struct.pack("iHH8s", socket.if_nametoindex(link), _PROMISCUOUS, 0, b"")
        wire.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        print("ready", flush=True)  # noqa: T201
        while True:
            frame, extra, _, sender = wire.recvmsg(2048, 256)
            start = frame.find(_MARK)
            if start < 0 or sender[2] == _OUTGOING:
                continue
            label = frame[start + len(_MARK) :].partition(b"\0")[0].decode()
            print(label, described(frame, extra), flush=True)  # noqa: T201


def _outer_tag(frame: bytes, extra: list[tuple[int, int, bytes]]) -> str:
    """Return the VLAN id, which the kernel may have taken out of the frame."""
    for level, kind, data in extra:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tag, _ = _AUXDATA.unpack_from(data)
            if status & _VLAN_VALID:
                return str(tag & 0xFFF)
    protocol, tag = struct.unpack_from("!HH", frame, 12)
    return str(tag & 0xFFF) if protocol in (0x8100, 0x88A8) else "-"


def _stack(frame: bytes, extra: list[tuple[int, int, bytes]]) -> str:
    """Return every tag, the outermost first; the kernel takes that out of the frame."""
    found = []
    for level, kind, data in extra:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tag, protocol = _AUXDATA.unpack_from(data)
            if status & _VLAN_VALID:
                found.append((protocol if status & _TPID_VALID else 0x8100, tag & 0xFFF))
    offset = 12
    while struct.unpack_from("!H", frame, offset)[0] in _TAGS:
        protocol, tag = struct.unpack_from("!HH", frame, offset)
        found.append((protocol, tag & 0xFFF))
        offset += 4
    return ",".join(f"{protocol:04x}:{tag}" for protocol, tag in found) or "-"


def send(link: str) -> None:
    """Send a frame for each line of standard input."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((link, 0))
        source: bytes = wire.getsockname()[4]
        for line in sys.stdin:
            label, stack = line.split()
            tags = b"".join(_tag(each) for each in stack.split(",") if each != "-")
            payload = (_MARK + label.encode() + b"\0").ljust(46, b"\0")
            wire.send(b"\xff" * 6 + source + tags + struct.pack("!H", ETHERTYPE) + payload)
            time.sleep(0.001)  # sockets on the way hold few frames


def forge(link: str) -> None:
    """Send a UDP packet for each line of standard input."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((link, 0))
        sender: bytes = wire.getsockname()[4]
        for line in sys.stdin:
            label, source, destination, mac, port = line.split()
            header = bytes.fromhex(mac.replace(":", "")) + sender
            wire.send(header + _packet(label, source, destination, int(port)))


def raw(link: str) -> None:
    """Send the frame of each line of standard input."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((link, 0))
        for line in sys.stdin:
            label, frame = line.split()
            wire.send(bytes.fromhex(frame) + _MARK + label.encode() + b"\0")
            time.sleep(0.001)  # sockets on the way hold few frames


def _packet(label: str, source: str, destination: str, port: int) -> bytes:
    """Return an IP packet behind its EtherType."""
    ends = ip_address(source).packed, ip_address(destination).packed
    payload = _MARK + label.encode() + b"\0"
    length = 8 + len(payload)
    datagram = struct.pack("!HHHH", port, port, length, 0) + payload
    pseudo = b"".join(ends) + struct.pack("!II", length, socket.IPPROTO_UDP)
    sum_ = struct.pack("!H", _checksum(pseudo + datagram) or 0xFFFF)
    datagram = datagram[:6] + sum_ + datagram[8:]
    if len(ends[0]) == 16:
        fixed = struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_UDP, 64)
        return struct.pack("!H", 0x86DD) + fixed + b"".join(ends) + datagram
    fixed = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, socket.IPPROTO_UDP, 0)
    sum_ = struct.pack("!H", _checksum(fixed + b"".join(ends)))
    return struct.pack("!H", 0x0800) + fixed[:10] + sum_ + b"".join(ends) + datagram


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def receive(port: str) -> None:
    """Print what arrives at a UDP port of both families, until this process is ended."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", int(port)))
        print("ready", flush=True)  # noqa: T201
        while True:
            said = server.recv(2048)
            if said.startswith(_MARK):
                print(said[len(_MARK) :].partition(b"\0")[0].decode(), "-", flush=True)  # noqa: T201


def _tag(text: str) -> bytes:
    protocol, _, vlan = text.partition(":")
    return struct.pack("!HH", int(protocol, 16), int(vlan))


if __name__ == "__main__":
    {
        "hear": hear,
        "stacks": stacks,
        "send": send,
        "forge": forge,
        "raw": raw,
        "receive": receive,
    }[sys.argv[1]](sys.argv[2])
