"""Asking a segment who has an address, without having one: ARP (RFC 5227) and ND (RFC 4862)."""

import ctypes
import socket
import struct
import time

from netaddr import IPAddress

_ETH_P_ARP = 0x0806
_ETH_P_IPV6 = 0x86DD
_BROADCAST = b"\xff" * 6
_ETHERNET = struct.Struct("!6s6sH")

_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_REQUEST = 1

_IPV6 = struct.Struct("!IHBB16s16s")
_ICMPV6 = 58
_NEIGHBOUR_SOLICITATION = 135
_NEIGHBOUR_ADVERTISEMENT = 136
_ND = struct.Struct("!BBHI16s")
_ND_OFFSET = _ETHERNET.size + _IPV6.size
_TARGET_LINK_ADDRESS = 2
_SOLICITED_NODE = IPAddress("ff02::1:ff00:0").packed[:13]
_ALL_NODES_MAC = bytes.fromhex("333300000001")

_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MR_MULTICAST = 0
_PACKET_OUTGOING = 4
_SO_ATTACH_FILTER = 26

_ASKS = 3
"""PROBE_NUM of RFC 5227."""
_FRAME_BYTES = 2048


def who_has(link: str, address: IPAddress, timeout_s: float) -> bytes | None:
    """Return the MAC of whoever has ``address`` on the segment of ``link``; None: nobody answered.

    Asks three times within ``timeout_s``. The question is a probe, with an unspecified sender, so
    nobody learns an address from it. Blocks. OSError: no such link (ENODEV), or it is down
    (ENETDOWN).
    """
    question = ArpQuestion() if address.version == 4 else NdQuestion()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as wire:
        question.prepare(wire, link)
        wire.bind((link, question.protocol))
        own = wire.getsockname()[4]
        frame = question.ask(own, address)
        start = time.monotonic()
        for turn in range(1, _ASKS + 1):
            wire.send(frame)
            until = start + timeout_s * turn / _ASKS
            found = _listen(wire, question, address, own, until)
            if found is not None:
                return found
    return None


def _listen(
    wire: socket.socket,
    question: "ArpQuestion | NdQuestion",
    address: IPAddress,
    own: bytes,
    until: float,
) -> bytes | None:
    while (left := until - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            frame, origin = wire.recvfrom(_FRAME_BYTES)
        except TimeoutError:
            return None
        if origin[2] == _PACKET_OUTGOING:
            continue
        found = question.answer(frame, address)
        if found is not None and found != own:
            return found
    return None


class ArpQuestion:
    """An ARP probe and what counts as an answer to it."""

    protocol = _ETH_P_ARP

    def prepare(self, wire: socket.socket, link: str) -> None:
        """Nothing: answers to a probe come to the asker, announcements to all."""

    def ask(self, own: bytes, address: IPAddress) -> bytes:
        """Return the frame to send from the MAC ``own``."""
        return _ETHERNET.pack(_BROADCAST, own, _ETH_P_ARP) + _ARP.pack(
            1, 0x0800, 6, 4, _ARP_REQUEST, own, bytes(4), bytes(6), address.packed
        )

    def answer(self, frame: bytes, address: IPAddress) -> bytes | None:
        """Any ARP packet with the address as its sender gives its owner away."""
        if len(frame) < _ETHERNET.size + _ARP.size:
            return None
        *_, sender_mac, sender, _, _ = _ARP.unpack_from(frame, _ETHERNET.size)
        return sender_mac if sender == address.packed else None


class NdQuestion:
    """A neighbour solicitation without a sender and what counts as an answer to it."""

    protocol = _ETH_P_IPV6

    def prepare(self, wire: socket.socket, link: str) -> None:
        """Receive what goes to all nodes: there the answer to an unspecified sender goes."""
        _attach_filter(wire)
        index = socket.if_nametoindex(link)
        membership = struct.pack("=iHH8s", index, _PACKET_MR_MULTICAST, 6, _ALL_NODES_MAC)
        wire.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)

    def ask(self, own: bytes, address: IPAddress) -> bytes:
        """Return the frame to send from the MAC ``own``."""
        target = address.packed
        group = _SOLICITED_NODE + target[13:]
        body = _ND.pack(_NEIGHBOUR_SOLICITATION, 0, 0, 0, target)
        pseudo = bytes(16) + group + struct.pack("!II", len(body), _ICMPV6)
        checksum = _internet_checksum(pseudo + body)
        body = _ND.pack(_NEIGHBOUR_SOLICITATION, 0, checksum, 0, target)
        # a hop limit of 255 proves that no router was passed (RFC 4861, 7.1.1)
        header = _IPV6.pack(6 << 28, len(body), _ICMPV6, 255, bytes(16), group)
        return _ETHERNET.pack(b"\x33\x33" + group[12:], own, _ETH_P_IPV6) + header + body

    def answer(self, frame: bytes, address: IPAddress) -> bytes | None:
        """An advertisement names its sender in an option; without one the frame's sender counts."""
        if len(frame) < _ND_OFFSET + _ND.size:
            return None
        _, _, next_header, hops, _, _ = _IPV6.unpack_from(frame, _ETHERNET.size)
        kind, _, _, _, target = _ND.unpack_from(frame, _ND_OFFSET)
        if (next_header, hops, kind) != (_ICMPV6, 255, _NEIGHBOUR_ADVERTISEMENT):
            return None
        if target != address.packed:
            return None
        offset = _ND_OFFSET + _ND.size
        while offset + 8 <= len(frame) and frame[offset + 1]:
            if frame[offset] == _TARGET_LINK_ADDRESS:
                return frame[offset + 2 : offset + 8]
            offset += frame[offset + 1] * 8
        return frame[6:12]


def _internet_checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _attach_filter(wire: socket.socket) -> None:
    """Let the kernel pass neighbour advertisements only: the link may carry much other IPv6."""
    load_byte, jump_if_equal, give_back = 0x30, 0x15, 0x06
    program = (
        (load_byte, 0, 0, _ETHERNET.size + 6),
        (jump_if_equal, 0, 3, _ICMPV6),
        (load_byte, 0, 0, _ND_OFFSET),
        (jump_if_equal, 0, 1, _NEIGHBOUR_ADVERTISEMENT),
        (give_back, 0, 0, 0xFFFF),
        (give_back, 0, 0, 0),
    )
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    wire.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("@HP", len(program), ctypes.addressof(buffer)),
    )
