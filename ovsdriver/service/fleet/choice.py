"""Which address of a segment is tried next; pure, on numbers.

Nothing here walks over addresses that are held or excluded.
"""

from collections.abc import Callable, Iterator, Sequence
from zlib import crc32

from netaddr import IPAddress

from ipam import Pool
from ipam.choice.bitmap import Bitmap
from ipam.choice.runs import Block, Runs, block
from ovsdriver.domain.records.segments import router_address

_APART = 1 << 16
"""How far from the first address hosts that meet begin, at most."""


def unusable(pool: Pool) -> Sequence[IPAddress]:
    """Return the addresses of a subnet that no container gets."""
    subnet = pool.subnet
    ends = [IPAddress(subnet.first, subnet.version), router_address(subnet)]
    return [*ends, IPAddress(subnet.last, 4)] if subnet.version == 4 else ends


def dynamic(pool: Pool) -> Sequence[Block]:
    """Return the numbers among which addresses are chosen, ascending."""
    found = Runs([block(pool.window or pool.subnet)])
    for each in unusable(pool):
        found.remove(int(each), int(each))
    for barred in pool.excluded:
        found.remove(int(barred.first), int(barred.last))
    return list(found)


class Candidates:
    """Free addresses of a pool, each tried once: ascending, until another host was first.

    Hosts that go on with the next one would go on meeting. Each then begins somewhere else.
    """

    def __init__(self, pool: Pool, held: Callable[[], Bitmap]) -> None:
        """``held`` gives the numbers of addresses, and is asked at each step."""
        self._family = pool.family
        self._blocks = dynamic(pool)
        self._held = held
        self._tried: set[int] = set()
        self._numbers = self._from(0)

    def __iter__(self) -> Iterator[IPAddress]:
        return self

    def __next__(self) -> IPAddress:
        number = next(self._numbers)
        self._tried.add(number)
        return IPAddress(number, self._family)

    def begin_elsewhere(self, host: str) -> None:
        """Go on from a place that is this host's, and from the lowest one behind the last."""
        first = self._blocks[0][0]
        span = min(self._blocks[-1][1] - first + 1, _APART)
        self._numbers = self._around(first + crc32(host.encode()) % span)

    def _around(self, start: int) -> Iterator[int]:
        yield from self._from(start)
        yield from self._from(0)

    def _from(self, start: int) -> Iterator[int]:
        for first, last in self._blocks:
            number = max(first, start)
            while (number := self._held().lowest_absent(number)) <= last:
                if number not in self._tried:
                    yield number
                number += 1
