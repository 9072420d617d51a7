"""Which addresses of one pool are taken, and which one is next; pure, on integers.

Addresses are offsets from the subnet's first one. Nothing here walks over them: choosing, taking
and freeing cost the same in a /8, a /31 and an IPv6 /48 (see :mod:`ipam.bitmap`). What is excluded
is kept as runs, and each run costs the choice one more step.
"""

from collections.abc import Iterable, Mapping

from ipam.choice.bitmap import Bitmap
from ipam.choice.runs import Block, Runs


class _Layer:
    """Offsets that a choice passes over, and those that are taken; made when the first comes.

    Most pools have none of a kind, and then the set of the taken ones serves.
    """

    __slots__ = ("both", "own")

    def __init__(self) -> None:
        self.own: set[int] = set()
        self.both: Bitmap | None = None

    def add(self, offset: int, below: Bitmap) -> None:
        if self.both is None:
            self.both = below.copy()
        self.own.add(offset)
        self.both.add(offset)

    def discard(self, offset: int, *, taken: bool) -> None:
        self.own.discard(offset)
        if self.both is not None and not taken:
            self.both.discard(offset)

    def take(self, offset: int) -> None:
        if self.both is not None:
            self.both.add(offset)

    def put_back(self, offset: int) -> None:
        if self.both is not None and offset not in self.own:
            self.both.discard(offset)


class Addresses:
    """The addresses of one pool."""

    __slots__ = (
        *("_barred", "_excluded", "_kept", "_low", "_taken", "_top", "_window"),
        *("_first", "_whole", "_window_barred", "_window_held", "dynamic", "family"),
        *("first_kept", "size"),
    )

    def __init__(
        self,
        *,
        family: int,
        prefix: int,
        window: Block | None = None,
        taken: Mapping[int, int] | None = None,
        excluded: Iterable[Block] = (),
    ) -> None:
        """Describe a subnet of length ``prefix``.

        Args:
            family: 4 or 6.
            prefix: 0 to 32 or 128.
            window: first and last offset for dynamic choice; None: all of the subnet.
            taken: offsets that are held, as :func:`ipam.bitmap.pack` writes them.
            excluded: offsets that are never chosen, only given to who asks for them.
        """
        self.family = family
        self.size = 1 << ((32 if family == 4 else 128) - prefix)
        # IPv4: the first and the last address name the network and everybody in it, except in a
        # /31 (RFC 3021) and a /32. IPv6: the first one is every router's (RFC 4291, 2.6.1), except
        # in a /127 (RFC 6164) and a /128; it is usable for who asks for it, and there is no
        # broadcast.
        ends = self.size > 2
        self._low = 1 if ends else 0
        self._top = self.size - (2 if ends and family == 4 else 1)
        first, last = window or (0, self.size - 1)
        first, last = self._window = (max(first, self._low), min(last, self._top))
        # Inside of the window, so that what is counted is what a choice passes over.
        self._excluded = Runs(excluded)
        self._whole = not self._excluded
        holes = [
            (max(low, first), min(high, last))
            for low, high in self._excluded
            if low <= last and high >= first
        ]
        self.dynamic = max(0, last - first + 1) - sum(high - low + 1 for low, high in holes)
        """How many addresses there are for dynamic choice, held or not."""
        self._taken = Bitmap(taken)
        self._window_held = 0
        if taken:
            self._window_held = self._taken.count(first, last)
            self._window_held -= sum(self._taken.count(low, high) for low, high in holes)
        self._barred = _Layer()
        self._kept = _Layer()
        self._window_barred = 0
        # A /31 and a /127 are two ends of one line, without a router.
        self._first = self._low if self.size > 2 and self._dynamic(self._low) else None
        self.first_kept = False
        """Do not choose the subnet's first address, which people give to routers."""

    @property
    def capacity(self) -> int:
        """How many addresses are usable in the subnet."""
        return self._top - self._low + 1

    @property
    def free(self) -> int:
        """How many addresses are left for dynamic choice."""
        free = self.dynamic - self._window_held - self._window_barred
        return free - (self.first_left() is not None)

    @property
    def held(self) -> int:
        """How many addresses are taken, inside and outside of the window."""
        return len(self._taken)

    def usable(self, offset: int) -> bool:
        """Whether the address may be asked for: not IPv4's network or broadcast address."""
        low = self._low if self.family == 4 else 0
        return low <= offset <= self._top

    def holds(self, offset: int) -> bool:
        """Whether the address is taken."""
        return offset in self._taken

    def pick(self) -> int | None:
        """Return the lowest free address of the window; None if it is full.

        One that is kept is returned only where there is no other one; one that is barred never.
        """
        first, last = self._window
        if self.first_kept and first == self._first:
            first += 1
        return self._lowest(first, last)

    def first_left(self) -> int | None:
        """Return the first address if it is free and nothing but ``first_kept`` bars it."""
        first = self._first
        if not self.first_kept or first is None or first in self._closed:
            return None
        return first

    def pick_gateway(self) -> int | None:
        """Return the lowest free address of the subnet, window or not; None if it is full."""
        return self._lowest(self._low, self._top)

    def may_choose(self, offset: int) -> bool:
        """Whether the address is free and one for dynamic choice, barred or not."""
        return self._dynamic(offset) and offset not in self._taken

    def take(self, offset: int) -> bool:
        """Take an address; False if it is taken."""
        if not self._taken.add(offset):
            return False
        self._barred.take(offset)
        self._kept.take(offset)
        if self._dynamic(offset):
            self._window_held += 1
            self._window_barred -= offset in self._barred.own
        return True

    def put_back(self, offset: int) -> bool:
        """Free an address; False if it was free."""
        if not self._taken.discard(offset):
            return False
        self._barred.put_back(offset)
        if offset not in self._barred.own:
            self._kept.put_back(offset)
        if self._dynamic(offset):
            self._window_held -= 1
            self._window_barred += offset in self._barred.own
        return True

    def keep(self, offset: int) -> None:
        """Choose an address last of all from now on, if it is free."""
        self._kept.add(offset, self._closed)

    def keep_no_more(self, offset: int) -> None:
        """Choose an address as any other again."""
        self._kept.discard(offset, taken=offset in self._taken or offset in self._barred.own)

    def bar(self, offset: int) -> None:
        """Do not choose an address from now on."""
        if offset in self._barred.own:
            return
        self._barred.add(offset, self._taken)
        self._kept.take(offset)
        self._window_barred += self.may_choose(offset)

    def bar_no_more(self, offset: int) -> None:
        """Choose an address as any other again."""
        if offset not in self._barred.own:
            return
        taken = offset in self._taken
        self._barred.discard(offset, taken=taken)
        if not taken:
            self._kept.put_back(offset)
        self._window_barred -= self.may_choose(offset)

    @property
    def _closed(self) -> Bitmap:
        return self._taken if self._barred.both is None else self._barred.both

    def _dynamic(self, offset: int) -> bool:
        first, last = self._window
        if not first <= offset <= last:
            return False
        return self._whole or self._excluded.end_of_overlap(offset, offset) is None

    def _lowest(self, first: int, last: int) -> int | None:
        if self._kept.both is not None:
            offset = self._absent(self._kept.both, first, last)
            if offset is not None:
                return offset
        return self._absent(self._closed, first, last)

    def _absent(self, members: Bitmap, first: int, last: int) -> int | None:
        offset = members.lowest_absent(first)
        while offset <= last:
            if self._whole:
                return offset
            end = self._excluded.end_of_overlap(offset, offset)
            if end is None:
                return offset
            offset = members.lowest_absent(end + 1)
        return None
