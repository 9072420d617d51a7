"""What several readings agree on: the proof that collecting needs. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Doubt:
    since: float
    last: float
    readings: int


class Doubts(Generic[T]):
    """What several readings agree on, and since when."""

    def __init__(self, *, patience_s: float, readings: int, apart_s: float) -> None:
        """Doubt nothing yet.

        Args:
            patience_s: from the first reading to the last, at least.
            readings: how many have to agree, at least.
            apart_s: one that comes earlier after another is not counted.
        """
        self._patience_s = patience_s
        self._readings = readings
        self._apart_s = apart_s
        self._doubts: dict[T, _Doubt] = {}

    def look(self, now: float, doubtful: Iterable[T]) -> Sequence[T]:
        """Note a reading, which clears what is not in it; return what is certain by now."""
        self._doubts = {each: self._noted(now, self._doubts.get(each)) for each in doubtful}
        return tuple(
            each
            for each, doubt in self._doubts.items()
            if doubt.readings >= self._readings and now - doubt.since >= self._patience_s
        )

    def doubted(self) -> Sequence[T]:
        """Return what the last reading was about."""
        return tuple(self._doubts)

    def clear(self) -> None:
        """Begin anew."""
        self._doubts.clear()

    def _noted(self, now: float, earlier: _Doubt | None) -> _Doubt:
        if earlier is None:
            return _Doubt(since=now, last=now, readings=1)
        if now - earlier.last < self._apart_s:
            return earlier
        return _Doubt(since=earlier.since, last=now, readings=earlier.readings + 1)
