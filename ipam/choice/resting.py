"""Free addresses that nobody gets for a while; pure, on offsets."""


class Resting:
    """Offsets, each for the same time from when it began. The clock may be set back."""

    __slots__ = ("_began", "_for_s")

    def __init__(self, for_s: float) -> None:
        self._for_s = for_s
        self._began: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._began)

    def __contains__(self, offset: int) -> bool:
        return offset in self._began

    def since(self, offset: int) -> float | None:
        """Return when it began to rest; None if it does not."""
        return self._began.get(offset)

    def begin(self, offset: int, since: float) -> None:
        """Let an address rest, from ``since`` on, which is no earlier than all the others."""
        self._began.pop(offset, None)
        self._began[offset] = since

    def end(self, offset: int) -> bool:
        """Let it rest no more; False if it did not."""
        return self._began.pop(offset, None) is not None

    def over(self, since: float, now: float) -> bool:
        """Whether what began at ``since`` is over; a time to come is one of another clock."""
        return not 0 <= now - since < self._for_s

    def wake(self, now: float) -> list[int]:
        """Return the addresses that have rested, and forget them."""
        woken = []
        while self._began:
            offset, since = next(iter(self._began.items()))
            if not self.over(since, now):
                break
            woken.append(offset)
            del self._began[offset]
        return woken

    def shortest_s(self, now: float) -> float:
        """Return in how many seconds the first one has rested; 0 if none does."""
        if not self._began:
            return 0.0
        return max(0.0, next(iter(self._began.values())) + self._for_s - now)
