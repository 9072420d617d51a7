"""What containers say to each other: pings, connections, floods, by sockets of this process."""

import secrets
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
from netaddr import IPAddress

from ovsdriver.cli.doctor.trial.frames import checksum
from ovsdriver.cli.doctor.trial.rooms import Room

PORT = 7
"""Of the servers in containers, TCP."""

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_IPV6_MTU_DISCOVER = 23
_IP_MTU_DISCOVER = 10
_PMTUDISC_PROBE = 3
"""linux/in.h: never in fragments, and whatever was heard of the way."""
_ECHO = {4: (8, 0), 6: (128, 129)}
"""Types of ICMP: the question and the answer."""
_ICMP = struct.Struct("!BBHHH")
_CHUNK = 65_536
_DATAGRAM = 1400
_SO_RCVBUFFORCE = 33
_LOOK_S = 0.1


class Echo:
    """Servers in rooms: each says back what it hears, over TCP."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="test-echo", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # sockets, all of them
        self._stack.close()

    def serve(self, room: Room, family: int, address: str = "") -> None:
        """Listen in a room, on all addresses of a family or on one."""
        made = room.socket(_FAMILIES[family], socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, PORT))
        made.listen()
        self._selector.register(made, selectors.EVENT_READ, self._accept)

    def _run(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(_LOOK_S):
                with suppress(OSError):
                    key.data(key.fileobj)

    def _accept(self, listening: socket.socket) -> None:
        connected, _ = listening.accept()
        connected.settimeout(1)
        self._selector.register(connected, selectors.EVENT_READ, self._answer)

    def _answer(self, connected: socket.socket) -> None:
        try:
            said = connected.recv(_CHUNK)
            if said:
                connected.sendall(said)
                return
        except OSError:
            pass
        self._selector.unregister(connected)
        connected.close()


def ping(room: Room, to: IPAddress, *, size: int = 56, tries: int = 3, wait_s: float = 1.0) -> bool:
    """Whether an address answers from a room, to ``size`` bytes in one piece."""
    question, answer = _ECHO[to.version]
    protocol = socket.IPPROTO_ICMP if to.version == 4 else socket.IPPROTO_ICMPV6
    number = secrets.randbelow(0xFFFF) + 1
    with room.socket(_FAMILIES[to.version], socket.SOCK_RAW, protocol) as asking:
        _in_one_piece(asking, to.version)
        for turn in range(tries):
            payload = bytes(each % 251 for each in range(size))
            head = _ICMP.pack(question, 0, 0, number, turn)
            if to.version == 4:  # the kernel does it for IPv6
                head = _ICMP.pack(question, 0, checksum(head + payload), number, turn)
            end = time.monotonic() + wait_s
            try:
                asking.sendto(head + payload, (str(to), 0))
            except OSError:
                time.sleep(_LOOK_S)
                continue
            while (left_s := end - time.monotonic()) > 0:
                asking.settimeout(left_s)
                try:
                    heard, sender = asking.recvfrom(_CHUNK)
                except OSError:
                    break
                said = heard[(heard[0] & 0xF) * 4 :] if to.version == 4 else heard
                if (
                    IPAddress(sender[0].partition("%")[0]) == to
                    and said[:1] == bytes((answer,))
                    and said[4:8] == struct.pack("!HH", number, turn)
                    and said[8:] == payload
                ):
                    return True
    return False


def connects(room: Room, to: IPAddress, port: int, *, wait_s: float = 2.0) -> str:
    """Return why a TCP server does not say back what it is told; empty: it does."""
    return carries(room, to, port, secrets.token_bytes(64), wait_s=wait_s)


def carries(room: Room, to: IPAddress, port: int, said: bytes, *, wait_s: float = 5.0) -> str:
    """Return why a TCP connection does not bring ``said`` there and back; empty: it does."""
    with room.socket(_FAMILIES[to.version], socket.SOCK_STREAM) as speaking:
        speaking.settimeout(wait_s)
        try:
            speaking.connect((str(to), port))
            sender = threading.Thread(target=_send, args=(speaking, said), daemon=True)
            sender.start()
            heard = b""
            while len(heard) < len(said):
                part = speaking.recv(_CHUNK)
                if not part:
                    break
                heard += part
            sender.join()
        except TimeoutError:
            return "no answer"
        except OSError as error:
            return error.strerror or str(error)
    return "" if heard == said else "another answer than what was said"


def asks(room: Room, server: IPAddress, *, name: str = ".", wait_s: float = 1.0) -> bool:
    """Whether a name server answers from a room, whatever it says."""
    question = dns.message.make_query(name, "A" if name != "." else "NS")
    with room.socket(_FAMILIES[server.version], socket.SOCK_DGRAM) as asking:
        asking.settimeout(wait_s)
        for _ in range(2):
            try:
                asking.sendto(question.to_wire(), (str(server), 53))
                heard, _ = asking.recvfrom(_CHUNK)
                if dns.message.from_wire(heard).id == question.id:
                    return True
            except (OSError, dns.exception.DNSException):
                continue
    return False


def flood(
    sender: Room, receiver: Room, to: IPAddress, *, bits: float, settle_s: float, count_s: float
) -> tuple[float, float]:
    """Send UDP to a container as fast as said; return bits a second that were sent and arrived.

    Counted for ``count_s`` after ``settle_s``: what a queue or a bucket lets through at first is
    not its rate. Headers are counted, as who limits rates counts them.
    """
    with (
        receiver.socket(_FAMILIES[to.version], socket.SOCK_DGRAM) as hearing,
        sender.socket(_FAMILIES[to.version], socket.SOCK_DGRAM) as speaking,
    ):
        hearing.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 22)
        hearing.bind((str(to), 0))
        speaking.connect(hearing.getsockname()[:2])
        counted = {"sent": 0, "got": 0}
        begin = time.monotonic() + settle_s
        end = begin + count_s

        def send() -> None:
            datagram = bytes(_DATAGRAM)
            first, sent = time.monotonic(), 0
            while (now := time.monotonic()) < end:
                due = int((now - first) * bits / 8 / _size(_DATAGRAM))
                if due <= sent:
                    time.sleep(0.002)
                while sent < due:
                    with suppress(OSError):
                        speaking.send(datagram)
                    sent += 1
                    counted["sent"] += now >= begin

        speaks = threading.Thread(target=send, name="test-flood", daemon=True)
        speaks.start()
        hearing.settimeout(_LOOK_S)
        while (now := time.monotonic()) < end:
            with suppress(TimeoutError):
                hearing.recv(_CHUNK)
                counted["got"] += now >= begin
        speaks.join()
    each_bits = _size(_DATAGRAM) * 8 / count_s
    return counted["sent"] * each_bits, counted["got"] * each_bits


def together(*work: Callable[[], object]) -> Sequence[object]:
    """Do several things at once, each of which waits, and return what they return."""
    found: list[object] = [None] * len(work)

    def run(index: int) -> None:
        found[index] = work[index]()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(work))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return found


def _in_one_piece(asking: socket.socket, version: int) -> None:
    if version == 4:
        asking.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    else:
        asking.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)


def _send(speaking: socket.socket, said: bytes) -> None:
    with suppress(OSError):
        speaking.sendall(said)


def _size(payload: int) -> int:
    """Return the bytes of a frame that carries a UDP datagram over IPv4."""
    return payload + 8 + 20 + 14
