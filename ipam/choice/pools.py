"""Which subnets of a space are taken, and which one is next; pure, on integers.

Everything here is about one family of one space; IPv4 and IPv6 never meet.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

from netaddr import IPNetwork

from ipam.choice.runs import Block, Runs
from ipam.model import PoolId


@dataclass(frozen=True, slots=True)
class Source:
    """A default pool: where automatic pools come from."""

    first: int
    last: int
    prefix: int
    size: int
    """Prefix length of one pool where the request names none."""
    width: int
    """Bits of an address: 32 or 128."""

    @classmethod
    def of(cls, base: IPNetwork, size: int) -> "Source":
        """Return the source for pools of length ``size`` out of ``base``."""
        return cls(base.first, base.last, base.prefixlen, size, 32 if base.version == 4 else 128)


class Subnets:
    """The pools of one family in one space."""

    __slots__ = ("_blocks", "_runs")

    def __init__(self) -> None:
        self._blocks: list[tuple[int, int, PoolId]] = []
        self._runs = Runs()

    def __len__(self) -> int:
        return len(self._blocks)

    def overlapping(self, wanted: Block) -> PoolId | None:
        """Return a pool that shares addresses with the block; None if there is none."""
        first, last = wanted
        index = bisect_right(self._blocks, last, key=lambda each: each[0])
        if index and self._blocks[index - 1][1] >= first:
            return self._blocks[index - 1][2]
        return None

    def covers(self, inner: Block) -> bool:
        """Return whether one pool has all of the block's addresses."""
        first, last = inner
        index = bisect_right(self._blocks, first, key=lambda each: each[0])
        return bool(index) and self._blocks[index - 1][1] >= last

    def add(self, taken: Block, pool: PoolId) -> None:
        """Put a pool in, which overlaps none that is in."""
        insort(self._blocks, (*taken, pool))
        self._runs.add(*taken)

    def remove(self, taken: Block, pool: PoolId) -> None:
        """Take a pool out, if it is in."""
        index = bisect_left(self._blocks, (*taken, pool))
        if index < len(self._blocks) and self._blocks[index] == (*taken, pool):
            del self._blocks[index]
            self._runs.remove(*taken)

    def pick(
        self, sources: Sequence[Source], *, avoid: Runs, prefix: int | None = None
    ) -> tuple[int, int] | None:
        """Return first address and prefix length of the next free subnet; None if none is left.

        The sources are used in their order, and each from its lowest address.

        Args:
            sources: of this family.
            avoid: what must not be touched although it is no pool: routes, name servers.
            prefix: length of the subnet; None: each source's own.
        """
        for source in sources:
            length = source.size if prefix is None else prefix
            if length < source.prefix:
                continue
            step = 1 << (source.width - length)
            candidate = source.first
            while candidate <= source.last:
                end = self._runs.end_of_overlap(candidate, candidate + step - 1)
                if end is None:
                    end = avoid.end_of_overlap(candidate, candidate + step - 1)
                if end is None:
                    return candidate, length
                candidate = (end // step + 1) * step
        return None
