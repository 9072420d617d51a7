"""Frames of links, as packet sockets show them, into a file that tcpdump and Wireshark read.

Nothing is set up on the switch or a link: a packet socket ends with its process, however that ends.
"""

import ctypes
import ctypes.util
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from typing import IO

from netaddr import EUI

from ovsdriver.adapters.kernel.codec.link_messages import all_links
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.sandbox import entering
from ovsdriver.errors import InvalidRequestError, UnavailableError

# linux/if_packet.h, asm/socket.h
_ALL = 0x0003
_OUTGOING = 4
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP, _PACKET_STATISTICS, _PACKET_AUXDATA = 1, 6, 8
_PROMISCUOUS = 1
_SO_TIMESTAMPNS = 35
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_AUXDATA = struct.Struct("=IIIHHHH")
_VLAN_VALID = 0x10
_TIME = struct.Struct("=qq")
_LONGEST = 0xFFFF + 64
_BUFFER = 1 << 24

_FILE = struct.Struct("=IHHiIII")
_RECORD = struct.Struct("=IIII")
_NANOSECONDS = 0xA1B23C4D
"""Magic of a pcap file whose times have nanoseconds."""
_ETHERNET = 1
_INSTRUCTION_BYTES = 8


class Way(Enum):
    """Which frames of a link are wanted."""

    BOTH = "both"
    IN = "in"
    """Those that arrive at it."""
    OUT = "out"
    """Those that the host sends by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A link to listen on."""

    link: str = ""
    way: Way = Way.BOTH
    sandbox: str | None = None
    """The link is in this network namespace, and known by its MAC."""
    mac: EUI | None = None
    vlan: int | None = None
    """Of a trunk: frames of this VLAN alone, without their tag; 0: those that have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What became of a capture."""

    frames: int
    lost: int
    """The kernel had no room for them."""


class Capture:
    """Listens on links from its making on."""

    def __init__(self, sources: Sequence[Source], *, only: str = "") -> None:
        """Open a socket on each link.

        Args:
            sources: where to listen.
            only: which frames are wanted, as tcpdump reads it (``pcap-filter(7)``); empty: all.

        Raises:
            UnavailableError: a link is not there, it takes more rights, or there is no libpcap.
            InvalidRequestError: libpcap does not understand ``only``.
        """
        self._stack = ExitStack()
        self._sockets: dict[socket.socket, Source] = {}
        chosen = _compiled(only) if only else b""
        try:
            for source in sources:
                self._sockets[self._stack.enter_context(_opened(source, chosen))] = source
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """Stop listening."""
        self._stack.close()

    def run(self, file: IO[bytes], *, most: int | None, until: Callable[[], bool]) -> Counted:
        """Write frames to ``file`` until there are ``most``, or ``until`` says so."""
        file.write(_FILE.pack(_NANOSECONDS, 2, 4, 0, 0, _LONGEST, _ETHERNET))
        file.flush()
        frames = 0
        with selectors.DefaultSelector() as selector:
            for each in self._sockets:
                selector.register(each, selectors.EVENT_READ, each)
            while not until() and (most is None or frames < most):
                ready = [key.data for key, _ in selector.select(timeout=0.2)]
                batch = sorted(
                    each for of in ready for each in _frames(of, self._sockets[of])
                )  # by time: each link has its own socket
                for when_ns, frame in batch[: None if most is None else most - frames]:
                    seconds, rest = divmod(when_ns, 1_000_000_000)
                    file.write(_RECORD.pack(seconds, rest, len(frame), len(frame)) + frame)
                    frames += 1
                file.flush()
        return Counted(frames=frames, lost=sum(map(_lost, self._sockets)))


class _Program(ctypes.Structure):
    """``struct bpf_program`` of pcap/bpf.h."""

    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


def _compiled(only: str) -> bytes:
    """Return the instructions that let frames through which ``only`` means, 8 bytes each."""
    name = ctypes.util.find_library("pcap") or "libpcap.so.0.8"
    try:
        pcap = ctypes.CDLL(name)
    except OSError as error:
        raise UnavailableError(
            "a filter needs libpcap, which is not installed: `apt install tcpdump` brings it"
        ) from error
    pcap.pcap_open_dead.restype = ctypes.c_void_p
    pcap.pcap_geterr.restype = ctypes.c_char_p
    handle = ctypes.c_void_p(pcap.pcap_open_dead(_ETHERNET, _LONGEST))
    program = _Program()
    try:
        # Optimized; broadcasts of IPv4 are told without the netmask of any one network.
        if pcap.pcap_compile(handle, ctypes.byref(program), only.encode(), 1, 0xFFFFFFFF):
            why = pcap.pcap_geterr(handle).decode(errors="replace")
            raise InvalidRequestError(
                f"the filter {only!r} is not understood: {why}; write it as for tcpdump: "
                "`port 80 and host 10.1.0.2`"
            )
        found = ctypes.string_at(program.instructions, program.length * _INSTRUCTION_BYTES)
        pcap.pcap_freecode(ctypes.byref(program))
        return found
    finally:
        pcap.pcap_close(handle)


def _attach(to: socket.socket, chosen: bytes) -> None:
    """Let through only what the instructions choose (``struct sock_fprog`` of linux/filter.h)."""
    held = ctypes.create_string_buffer(chosen, len(chosen))
    count = len(chosen) // _INSTRUCTION_BYTES
    to.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", count, ctypes.addressof(held))
    )


def _opened(source: Source, chosen: bytes) -> socket.socket:
    try:
        if source.sandbox is None:
            return _listening(source.link, chosen)
        return entering.visit(
            source.sandbox, lambda routes: _listening(_link_with(routes, source.mac), chosen)
        )
    except OSError as error:
        where = source.link or f"a container's link in {source.sandbox}"
        raise UnavailableError(
            f"cannot listen on {where}: {error.strerror or error}; run it as root on this host"
        ) from error


def _link_with(routes: RouteSocket, mac: EUI | None) -> str:
    names = [link.name for link in all_links(routes) if mac and link.mac == mac.packed]
    if not names:
        raise FileNotFoundError(2, "there is no such link")
    return names[0]


def _listening(link: str, chosen: bytes) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        made.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        if chosen:
            _attach(made, chosen)
        made.bind((link, _ALL))
        index = socket.if_nametoindex(link)
        membership = struct.pack("iHH8s", index, _PROMISCUOUS, 0, b"")
        made.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
    except OSError:
        made.close()
        raise
    return made


def _frames(of: socket.socket, source: Source) -> Iterator[tuple[int, bytes]]:
    while True:
        try:
            frame, extra, _, sender = of.recvmsg(_LONGEST, 256)
        except BlockingIOError:
            return
        outgoing = sender[2] == _OUTGOING
        if source.way is not Way.BOTH and outgoing is not (source.way is Way.OUT):
            continue
        tag, when_ns = 0, time.time_ns()
        for level, kind, data in extra:
            if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
                status, _, _, _, _, tci, _ = _AUXDATA.unpack_from(data)
                tag = tci & 0xFFF if status & _VLAN_VALID else 0
            elif (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, rest = _TIME.unpack_from(data)
                when_ns = seconds * 1_000_000_000 + rest
        if source.vlan is None and tag:
            frame = frame[:12] + struct.pack("!HH", 0x8100, tag) + frame[12:]
        if source.vlan in (None, tag):
            yield when_ns, frame


def _lost(of: socket.socket) -> int:
    _, lost = struct.unpack("=II", of.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return int(lost)
