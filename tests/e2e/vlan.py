"""Program: VLAN interfaces on a link, for kernels that have none (8021q).

``vlan.py LINK VLAN`` makes ``LINK.VLAN`` and carries its frames until it is ended. A tap takes the
place of what ``ip link add link LINK name LINK.VLAN type vlan id VLAN`` makes, with the link's MAC
address.
"""

import fcntl
import os
import select
import socket
import struct
import sys
from contextlib import suppress

_TUNSETIFF, _SIOCGIFHWADDR, _SIOCSIFHWADDR = 0x400454CA, 0x8927, 0x8924
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_EVERY_PROTOCOL = 0x0003
_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_OUTGOING = 4
_VLAN_VALID = 0x10
_AUXDATA = struct.Struct("=IIIHHHH")


def main(link: str, vlan: int) -> None:
    """Carry frames between the link and the tap."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL)) as wire:
        wire.bind((link, _EVERY_PROTOCOL))
        wire.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        tap = _tap(f"{link}.{vlan}", link, wire)
        tag = struct.pack("!HH", 0x8100, vlan)
        while True:
            ready = select.select([wire.fileno(), tap], [], [])[0]
            if tap in ready:
                frame = os.read(tap, 65536)
                wire.send(frame[:12] + tag + frame[12:])
            if wire.fileno() in ready:
                frame, extra, _, sender = wire.recvmsg(65536, 256)
                if _tag(extra) == vlan and sender[2] != _OUTGOING:
                    with suppress(OSError):  # it is not up yet
                        os.write(tap, frame)


def _tap(name: str, link: str, wire: socket.socket) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    own = fcntl.ioctl(wire, _SIOCGIFHWADDR, struct.pack("16s24x", link.encode()))
    fcntl.ioctl(wire, _SIOCSIFHWADDR, struct.pack("16s24s", name.encode(), own[16:40]))
    return tap


def _tag(extra: list[tuple[int, int, bytes]]) -> int:
    """Return the VLAN id, which the kernel takes out of frames; 0 for none."""
    for level, kind, data in extra:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tag, _ = _AUXDATA.unpack_from(data)
            if status & _VLAN_VALID:
                return int(tag & 0xFFF)
    return 0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
