"""Asking a segment who has an address, and telling it who has, by ARP and ND.

Who asks has none (RFC 5227, RFC 4862). Who is told of a new one (RFC 5227, 3; RFC 4861, 7.2.6)
learns it at once: neighbours that gave up on it meanwhile, and switches that forgot its port.
"""

import select
import socket
import struct
import time
from collections.abc import Container, Iterable
from contextlib import ExitStack, closing, suppress

from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.kernel.codec import socket_filter

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
_ADVERTISED = struct.Struct("!BBHI16sBB6s")
_OVERRIDE = 0x2000_0000
_CHECKSUM = slice(2, 4)
_ND_OFFSET = _ETHERNET.size + _IPV6.size
_TARGET_LINK_ADDRESS = 2
_SOLICITED_NODE = IPAddress("ff02::1:ff00:0").packed[:13]
_ALL_NODES = IPAddress("ff02::1").packed
_ALL_NODES_MAC = bytes.fromhex("333300000001")

_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MR_MULTICAST = 0
_PACKET_OUTGOING = 4

_ASKS = 3
"""PROBE_NUM of RFC 5227."""
_FRAME_BYTES = 2048
_FRAMES_AT_ONCE = 64
"""A segment with much traffic does not keep us from looking at the time."""


class Inquiry:
    """One question to a segment: who has which of these addresses.

    What is known so far stands in :attr:`found`, also for who does not wait for the end.
    """

    def __init__(self, link: str, addresses: Iterable[IPAddress]) -> None:
        """Prepare it for the segment of ``link``, which must be up and needs no address."""
        self._link = link
        self._addresses = tuple(addresses)
        self.found: dict[IPAddress, bytes] = {}
        """MACs of those that answered."""
        self.asked = False
        """Every address was asked for at least once."""

    def run(self, until: float) -> None:
        """Ask three times, until everybody answered or it is ``until`` (``time.monotonic``).

        The questions are probes, with an unspecified sender, so nobody learns an address from
        them. Blocks. OSError: no such link (ENODEV), or it is down (ENETDOWN).
        """
        with ExitStack() as stack:
            wires = {}
            poll = select.poll()
            for question in (ArpQuestion(), NdQuestion()):
                those = [each for each in self._addresses if each.version == question.version]
                if those:
                    wire = stack.enter_context(_Wire(self._link, question, those))
                    wires[wire.fileno()] = wire
                    poll.register(wire, select.POLLIN)
            start = time.monotonic()
            for turn in range(1, _ASKS + 1):
                for wire in wires.values():
                    wire.ask(self.found)
                self.asked = True
                turn_ends = start + (until - start) * turn / _ASKS
                while (left := turn_ends - time.monotonic()) > 0:
                    for handle, _ in poll.poll(left * 1000):
                        self.found.update(wires[handle].hear())
                    if len(self.found) == len(set(self._addresses)):
                        return


class _Wire:
    """A packet socket for the questions of one family, and the answers to them."""

    def __init__(
        self, link: str, question: "ArpQuestion | NdQuestion", addresses: Iterable[IPAddress]
    ) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._question = question
        self._asked = {each.packed: each for each in addresses}
        self._socket = socket.socket(socket.AF_PACKET, kind, 0)
        try:
            question.prepare(self._socket, link)
            self._socket.bind((link, question.protocol))
        except BaseException:
            self._socket.close()
            raise
        self._own: bytes = self._socket.getsockname()[4]

    def __enter__(self) -> "_Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Return what ``poll`` knows it by."""
        return self._socket.fileno()

    def ask(self, known: Container[IPAddress]) -> None:
        """Send the questions whose answers are not known."""
        for address in self._asked.values():
            if address not in known:
                # a full queue loses this question; it is asked again
                with suppress(BlockingIOError):
                    self._socket.send(self._question.ask(self._own, address))

    def hear(self) -> dict[IPAddress, bytes]:
        """Return the answers that are there, of a bounded number of frames."""
        found = {}
        for _ in range(_FRAMES_AT_ONCE):
            try:
                frame, origin = self._socket.recvfrom(_FRAME_BYTES)
            except BlockingIOError:
                break
            claim = None if origin[2] == _PACKET_OUTGOING else self._question.claim(frame)
            if claim is not None and claim[0] in self._asked and claim[1] != self._own:
                found[self._asked[claim[0]]] = claim[1]
        return found


class ArpQuestion:
    """An ARP probe and what counts as an answer to it."""

    version = 4
    protocol = _ETH_P_ARP

    def prepare(self, wire: socket.socket, link: str) -> None:
        """Nothing: answers to a probe come to the asker, announcements to all."""

    def ask(self, own: bytes, address: IPAddress) -> bytes:
        """Return the frame to send from the MAC ``own``."""
        return _arp_request(own, bytes(4), address.packed)

    def claim(self, frame: bytes) -> tuple[bytes, bytes] | None:
        """Return address and MAC: any ARP packet gives its sender away."""
        if len(frame) < _ETHERNET.size + _ARP.size:
            return None
        *_, sender_mac, sender, _, _ = _ARP.unpack_from(frame, _ETHERNET.size)
        return sender, sender_mac


class NdQuestion:
    """A neighbour solicitation without a sender and what counts as an answer to it."""

    version = 6
    protocol = _ETH_P_IPV6

    def prepare(self, wire: socket.socket, link: str) -> None:
        """Receive what goes to all nodes: there the answer to an unspecified sender goes."""
        socket_filter.attach(wire, _ADVERTISEMENTS)
        index = socket.if_nametoindex(link)
        membership = struct.pack("=iHH8s", index, _PACKET_MR_MULTICAST, 6, _ALL_NODES_MAC)
        wire.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)

    def ask(self, own: bytes, address: IPAddress) -> bytes:
        """Return the frame to send from the MAC ``own``."""
        target = address.packed
        group = _SOLICITED_NODE + target[13:]
        body = _ND.pack(_NEIGHBOUR_SOLICITATION, 0, 0, 0, target)
        return _nd_frame(own, bytes(16), b"\x33\x33" + group[12:], group, body)

    def claim(self, frame: bytes) -> tuple[bytes, bytes] | None:
        """Return address and MAC of an advertisement's sender.

        It names its MAC in an option; without one that of the frame counts.
        """
        if len(frame) < _ND_OFFSET + _ND.size:
            return None
        _, _, next_header, hops, _, _ = _IPV6.unpack_from(frame, _ETHERNET.size)
        kind, _, _, _, target = _ND.unpack_from(frame, _ND_OFFSET)
        if (next_header, hops, kind) != (_ICMPV6, 255, _NEIGHBOUR_ADVERTISEMENT):
            return None
        offset = _ND_OFFSET + _ND.size
        while offset + 8 <= len(frame) and frame[offset + 1]:
            if frame[offset] == _TARGET_LINK_ADDRESS:
                return target, frame[offset + 2 : offset + 8]
            offset += frame[offset + 1] * 8
        return target, frame[6:12]


def announce(link: str, addresses: Iterable[IPNetwork]) -> None:
    """Say once on a link, in the thread's namespace, that its MAC has ``addresses``.

    Nothing is certain to hear it, so nothing is raised if it cannot be said: a link that is down.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with suppress(OSError), closing(socket.socket(socket.AF_PACKET, kind, 0)) as wire:
        wire.bind((link, 0))
        mac: bytes = wire.getsockname()[4]
        for each in addresses:
            wire.send(announcement(mac, each.ip))


def announcement(mac: bytes, address: IPAddress) -> bytes:
    """Return the frame that tells all of an address; it overrides what they had."""
    packed = address.packed
    if address.version == 4:
        return _arp_request(mac, packed, packed)
    said = (_OVERRIDE, packed, _TARGET_LINK_ADDRESS, 1, mac)
    body = _ADVERTISED.pack(_NEIGHBOUR_ADVERTISEMENT, 0, 0, *said)
    return _nd_frame(mac, packed, _ALL_NODES_MAC, _ALL_NODES, body)


def _arp_request(own: bytes, sender: bytes, target: bytes) -> bytes:
    return _ETHERNET.pack(_BROADCAST, own, _ETH_P_ARP) + _ARP.pack(
        1, 0x0800, 6, 4, _ARP_REQUEST, own, sender, bytes(6), target
    )


def _nd_frame(own: bytes, source: bytes, mac: bytes, destination: bytes, body: bytes) -> bytes:
    """Return the frame with an ICMPv6 message, whose checksum is 0 so far."""
    pseudo = source + destination + struct.pack("!II", len(body), _ICMPV6)
    summed = bytearray(body)
    summed[_CHECKSUM] = struct.pack("!H", _internet_checksum(pseudo + body))
    # a hop limit of 255 proves that no router was passed (RFC 4861, 7.1.1)
    header = _IPV6.pack(6 << 28, len(body), _ICMPV6, 255, source, destination)
    return _ETHERNET.pack(mac, own, _ETH_P_IPV6) + header + summed


def _internet_checksum(data: bytes) -> int:
    """Return the checksum of ICMPv6 (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


_ADVERTISEMENTS = (
    (socket_filter.LOAD_BYTE, 0, 0, _ETHERNET.size + 6),
    (socket_filter.JUMP_IF_EQUAL, 0, 3, _ICMPV6),
    (socket_filter.LOAD_BYTE, 0, 0, _ND_OFFSET),
    (socket_filter.JUMP_IF_EQUAL, 0, 1, _NEIGHBOUR_ADVERTISEMENT),
    (socket_filter.GIVE_BACK, 0, 0, socket_filter.ALL),
    (socket_filter.GIVE_BACK, 0, 0, 0),
)
"""Neighbour advertisements only: the link may carry much other IPv6."""
