"""Blocks of a dump in which one message is like the other, read by columns.

A router's routes differ in destination, length and router, and hardly in anything else. Reading
a million of them one by one takes seconds of a processor, and by columns a tenth of that.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovsdriver.adapters.kernel.codec.rtnetlink import ATTRIBUTE, HEADER, read_u32


@dataclass(frozen=True, slots=True)
class Columns:
    """Messages with the same attributes in the same places."""

    block: bytes
    size: int
    """Of one message."""
    places: Mapping[int, int]
    """Where the value of an attribute begins."""

    @property
    def first(self) -> bytes:
        """The first message without its header."""
        return self.block[HEADER.size : self.size]

    def column(self, at: int) -> bytes:
        """Return the byte at a place of each message."""
        return self.block[at :: self.size]

    def values(self, at: int, width: int) -> Counter[bytes]:
        """Return what stands at a place, each with how often."""
        found = Counter(zip(*(self.column(at + step) for step in range(width)), strict=True))
        return Counter({bytes(value): many for value, many in found.items()})


def columns(
    block: bytes, *, body: int, free: Sequence[int], fixed: Sequence[int]
) -> Columns | None:
    """Return a block as columns; None if its messages are not alike.

    Args:
        block: as :meth:`NetlinkSocket.stream` yields it.
        body: bytes of the structure before the attributes.
        free: bytes of that structure which may differ.
        fixed: attributes whose values may not.
    """
    if len(block) < HEADER.size:
        return None
    size = read_u32(block)
    many, rest = divmod(len(block), size)
    if rest or many < 2:
        return None
    # length and kind of the message must be the same; not its flags, number and port
    mask = bytearray(b"\xff" * 6 + bytes(HEADER.size - 6) + b"\xff" * body)
    for at in free:
        mask[HEADER.size + at] = 0
    places = {}
    offset = len(mask)
    while offset + ATTRIBUTE.size <= size:
        length, key = ATTRIBUTE.unpack_from(block, offset)
        if length < ATTRIBUTE.size:
            return None
        padded = (length + 3) & ~3
        places[key] = offset + ATTRIBUTE.size
        mask += b"\xff" * ATTRIBUTE.size
        mask += (b"\xff" if key in fixed else b"\0") * (padded - ATTRIBUTE.size)
        offset += padded
    if len(mask) != size:
        return None
    differ = int.from_bytes(block, "big") ^ int.from_bytes(block[:size] * many, "big")
    if differ & int.from_bytes(mask * many, "big"):
        return None
    return Columns(block, size, places)
