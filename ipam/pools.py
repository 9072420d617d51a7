"""Which subnets of a space are taken, and which one is next; pure, on integers.

A block is a pair of integers: the first and the last address, both included. Everything here is
about one family of one space; IPv4 and IPv6 never meet.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from netaddr import IPNetwork

from ipam.model import PoolId

Block = tuple[int, int]


def block(network: IPNetwork) -> Block:
    """Return the first and the last address of ``network``."""
    return (network.first, network.last)


class Runs:
    """A set of integers, kept as maximal runs without a gap.

    A thousand pools side by side are one run, so whoever looks for a gap makes one step.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        """Start with ``blocks``, which may overlap."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(blocks):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def __iter__(self) -> Iterator[Block]:
        return zip(self._firsts, self._lasts, strict=True)

    def add(self, first: int, last: int) -> None:
        """Put a block in."""
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def remove(self, first: int, last: int) -> None:
        """Take a block out, whether all of it was in or not."""
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        if low >= high:
            return
        before, after = self._firsts[low], self._lasts[high - 1]
        rest = [(before, first - 1)] if before < first else []
        rest += [(last + 1, after)] if last < after else []
        self._firsts[low:high] = [each[0] for each in rest]
        self._lasts[low:high] = [each[1] for each in rest]

    def end_of_overlap(self, first: int, last: int) -> int | None:
        """Return the last number of the first run that meets the block; None if none does."""
        index = bisect_left(self._lasts, first)
        if index < len(self._firsts) and self._firsts[index] <= last:
            return self._lasts[index]
        return None


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
