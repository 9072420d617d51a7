"""Blocks of integers and sets of them; pure.

A block is a pair: the first and the last number, both included.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from netaddr import IPNetwork

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

    def __bool__(self) -> bool:
        return bool(self._firsts)

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
