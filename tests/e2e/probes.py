"""Program: pings and asks many addresses at once, and prints the labels of those that answer.

Reads a line for each from its standard input: ``LABEL ping|tcp ADDRESS PORT``. What does not answer
at once is asked again until the patience is over.
"""

import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

_PATIENCE_S = 2.0
_AGAIN_S = 0.5


def pings(number: int, address: str) -> bool:
    """Whether an echo request is answered; ``number`` tells its answers from others'."""
    six = ":" in address
    family = socket.AF_INET6 if six else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    request = struct.pack("!BBHHH", 128 if six else 8, 0, 0, number, 1)
    if not six:  # of IPv6 the kernel writes it
        total = sum(struct.unpack("!4H", request))
        total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        request = request[:2] + struct.pack("!H", total) + request[4:]
    end = time.monotonic() + _PATIENCE_S
    with socket.socket(family, socket.SOCK_RAW, protocol) as made:
        while time.monotonic() < end:
            try:
                made.sendto(request, (address, 0))
            except OSError:
                return False
            if _echoed(made, number, address, six=six):
                return True
    return False


def _echoed(made: socket.socket, number: int, address: str, *, six: bool) -> bool:
    end = time.monotonic() + _AGAIN_S
    while (left := end - time.monotonic()) > 0:
        made.settimeout(left)
        try:
            packet, source = made.recvfrom(2000)
        except OSError:
            return False
        kind, _, _, found, _ = struct.unpack_from("!BBHHH", packet, 0 if six else 20)
        if (kind, found, source[0]) == (129 if six else 0, number, address):
            return True
    return False


def asks(address: str, port: int) -> bool:
    """Whether somebody answers an HTTP request."""
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE_S) as made:
            made.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(made.recv(100))
    except OSError:
        return False


def main() -> None:
    """Ask all that standard input names."""
    found: list[str] = []

    def ask(number: int, label: str, kind: str, address: str, port: str) -> None:
        if pings(number, address) if kind == "ping" else asks(address, int(port)):
            found.append(label)

    threads = [
        threading.Thread(target=ask, args=(number, *line.split()))
        for number, line in enumerate(sys.stdin, start=1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(sorted(found)))  # noqa: T201


if __name__ == "__main__":
    main()
else:
    from tests.e2e.traffic import Place

    Probe = tuple[str, str, int]
    """``ping`` or ``tcp``, an address, and a port."""

    def answered(place: Place, probes: Iterable[Probe]) -> set[Probe]:
        """Return those that are answered, all tried at once from one place."""
        labels = {str(number): probe for number, probe in enumerate(probes)}
        lines = (f"{label} {kind} {at} {port}\n" for label, (kind, at, port) in labels.items())
        program = (sys.executable, str(Path(__file__)))
        reached = place.world.run(*program, netns=place.netns, stdin="".join(lines))
        return {labels[each] for each in reached.split()}
