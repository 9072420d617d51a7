"""Send one Ethernet frame into a link and see which other links it comes out of.

Run as a program inside a network namespace: ``frames.py SENDER CONTROL [RECEIVER…]``. It sends
until CONTROL has the frame, looks at the others a little longer, and prints the names of those
that have it. Frames are of EtherType 0x88b5 (IEEE 802, local experiments), so nothing else
that travels is counted.
"""

import json
import select
import socket
import sys
import time
from pathlib import Path

ETHERTYPE = 0x88B5
_CONTROL_S = 10.0
_OTHERS_S = 0.3


def frame(tag: int | None = None) -> bytes:
    """Return a broadcast frame, with an 802.1Q tag if asked for."""
    addresses = b"\xff" * 6 + b"\x0a\x0f\x00\x00\x00\x01"
    tagged = b"" if tag is None else b"\x81\x00" + tag.to_bytes(2, "big")
    return addresses + tagged + ETHERTYPE.to_bytes(2, "big") + b"ovsnet" * 8


def listen(link: str) -> socket.socket:
    """Return a socket that gets what arrives at ``link``."""
    receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
    receiver.bind((link, ETHERTYPE))
    return receiver


def main(sender: str, control: str, receivers: list[str]) -> None:
    """Print a JSON list of the links that the frame came out of."""
    links = {listen(link).detach(): link for link in (control, *receivers)}
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((sender, 0))
    reached: set[str] = set()
    give_up = time.monotonic() + _CONTROL_S
    while control not in reached and time.monotonic() < give_up:
        out.send(frame())
        ready, _, _ = select.select(list(links), [], [], 0.2)
        reached |= {links[fd] for fd in ready}
    time.sleep(_OTHERS_S)
    ready, _, _ = select.select(list(links), [], [], 0)
    sys.stdout.write(json.dumps(sorted(reached | {links[fd] for fd in ready})))


PROGRAM = Path(__file__)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
