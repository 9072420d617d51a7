"""Frames that no kernel would send by itself: forged ones, and ARP for whoever asks."""

import socket
import struct
import time

from netaddr import EUI, IPAddress

from ovsdriver.cli.doctor.trial.rooms import Room

_ALL = 0x0003
_IPV4, _ARP = 0x0800, 0x0806
_EVERYBODY = b"\xff" * 6
_REQUEST, _REPLY = 1, 2
_LONGEST = 65_536
STRANGER = EUI("0A-0F-0B-AD-CA-FE")
"""A MAC that nobody has."""
_PORT = 9


class Wire:
    """A link in a room, frame by frame."""

    def __init__(self, room: Room, link: str) -> None:
        """Listen; OSError if the link is not there."""
        self._socket = room.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
        try:
            self._socket.bind((link, _ALL))
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        self._socket.send(frame)

    def heard(self, *, until: float) -> bytes:
        """Return the next frame; empty if none comes until then, a time of ``time.monotonic``."""
        self._socket.settimeout(max(0.001, until - time.monotonic()))
        try:
            return self._socket.recv(_LONGEST)
        except TimeoutError:
            return b""


def datagram(
    *, source: EUI, to: EUI, sender: IPAddress, receiver: IPAddress, payload: bytes
) -> bytes:
    """Return a frame with a UDP datagram over IPv4."""
    udp = struct.pack("!HHHH", _PORT, _PORT, 8 + len(payload), 0) + payload
    length = 20 + len(udp)
    head = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, length, 0, 0, 64, socket.IPPROTO_UDP, 0),
        *(sender.packed, receiver.packed),
    )
    checked = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    ends = bytes(to.packed + source.packed)
    return ends + struct.pack("!H", _IPV4) + checked + udp


def arp_request(*, mac: EUI, sender: IPAddress, asked: IPAddress) -> bytes:
    """Return a question who has an address."""
    kind = struct.pack("!HHHBBH", _ARP, 1, _IPV4, 6, 4, _REQUEST)
    mine, other = bytes(mac.packed), bytes(asked.packed)
    return _EVERYBODY + mine + kind + mine + bytes(sender.packed) + bytes(6) + other


def arp_answer(frame: bytes, asked: IPAddress) -> EUI | None:
    """Return the MAC of who says in a frame to have an address; None: it does not say so."""
    if len(frame) < 42 or frame[12:14] != struct.pack("!H", _ARP):
        return None
    if frame[20:22] != struct.pack("!H", _REPLY) or frame[28:32] != asked.packed:
        return None
    return EUI(int.from_bytes(frame[22:28], "big"))


def arping(room: Room, link: str, *, mac: EUI, sender: IPAddress, asked: IPAddress) -> EUI | None:
    """Ask three times who has an address; None: nobody said so."""
    wire = Wire(room, link)
    try:
        for _ in range(3):
            wire.send(arp_request(mac=mac, sender=sender, asked=asked))
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                if (found := arp_answer(wire.heard(until=end), asked)) is not None:
                    return found
        return None
    finally:
        wire.close()


def checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071."""
    padded = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(total ^ 0xFFFF)
