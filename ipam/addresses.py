"""Which addresses of one pool are taken, and which one is next; pure, on integers.

Addresses are offsets from the subnet's first one. Nothing here walks over them: choosing, taking
and freeing cost the same in a /8, a /31 and an IPv6 /48 (see :mod:`ipam.bitmap`).
"""

from collections.abc import Mapping

from ipam.bitmap import Bitmap


class Addresses:
    """The addresses of one pool."""

    __slots__ = (
        *("_avoided", "_kept", "_low", "_taken", "_top", "_window", "_window_held"),
        *("family", "size"),
    )

    def __init__(
        self,
        *,
        family: int,
        prefix: int,
        window: tuple[int, int] | None = None,
        taken: Mapping[int, int] | None = None,
    ) -> None:
        """Describe a subnet of length ``prefix``.

        Args:
            family: 4 or 6.
            prefix: 0 to 32 or 128.
            window: first and last offset for dynamic choice; None: all of the subnet.
            taken: offsets that are held, as :func:`ipam.bitmap.pack` writes them.
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
        self._window = (max(first, self._low), min(last, self._top))
        self._taken = Bitmap(taken)
        self._window_held = self._taken.count(*self._window) if taken else 0
        self._kept: set[int] = set()
        self._avoided: Bitmap | None = None

    @property
    def capacity(self) -> int:
        """How many addresses are usable in the subnet."""
        return self._top - self._low + 1

    @property
    def dynamic(self) -> int:
        """How many addresses there are for dynamic choice, held or not; 0: a window of none."""
        return max(0, self._window[1] - self._window[0] + 1)

    @property
    def free(self) -> int:
        """How many addresses are left for dynamic choice."""
        return self.dynamic - self._window_held

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

        One that is kept is returned only where there is no other one.
        """
        return self._lowest(*self._window)

    def pick_gateway(self) -> int | None:
        """Return the lowest free address of the subnet, window or not; None if it is full."""
        return self._lowest(self._low, self._top)

    def may_choose(self, offset: int) -> bool:
        """Whether the address is free and one for dynamic choice."""
        return self._window[0] <= offset <= self._window[1] and offset not in self._taken

    def take(self, offset: int) -> bool:
        """Take an address; False if it is taken."""
        if not self._taken.add(offset):
            return False
        if self._avoided is not None:
            self._avoided.add(offset)
        if self._window[0] <= offset <= self._window[1]:
            self._window_held += 1
        return True

    def put_back(self, offset: int) -> bool:
        """Free an address; False if it was free."""
        if not self._taken.discard(offset):
            return False
        if self._avoided is not None and offset not in self._kept:
            self._avoided.discard(offset)
        if self._window[0] <= offset <= self._window[1]:
            self._window_held -= 1
        return True

    def keep(self, offset: int) -> None:
        """Choose an address last of all from now on, if it is free."""
        if self._avoided is None:
            self._avoided = self._taken.copy()
        self._kept.add(offset)
        self._avoided.add(offset)

    def keep_no_more(self, offset: int) -> None:
        """Choose an address as any other again."""
        self._kept.discard(offset)
        if self._avoided is not None and offset not in self._taken:
            self._avoided.discard(offset)

    def _lowest(self, first: int, last: int) -> int | None:
        if self._avoided is not None:
            offset = self._avoided.lowest_absent(first)
            if offset <= last:
                return offset
        offset = self._taken.lowest_absent(first)
        return offset if offset <= last else None
