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

    def __init__(self, *, readings: int, patience_s: float = 0.0, apart_s: float = 0.0) -> None:
        """Doubt nothing yet.

        Args:
            readings: how many have to agree, at least.
            patience_s: from the first reading to the last, at least.
            apart_s: one that comes earlier after another is not counted.
        """
        self._readings = readings
        self._patience_s = patience_s
        self._apart_s = apart_s
        self._daemon = ""
        self._doubts: dict[T, _Doubt] = {}

    def look(self, doubtful: Iterable[T], *, now: float = 0.0, daemon: str = "") -> Sequence[T]:
        """Note a reading, which clears what is not in it; return what is certain by now.

        Args:
            doubtful: what the reading is about.
            now: seconds, on any clock that only goes forward.
            daemon: who was read; another one knows nothing of what the last one said.
        """
        if daemon != self._daemon:
            self._daemon = daemon
            self._doubts.clear()
        self._doubts = {each: self._noted(now, self._doubts.get(each)) for each in doubtful}
        return tuple(
            each
            for each, doubt in self._doubts.items()
            if doubt.readings >= self._readings and now - doubt.since >= self._patience_s
        )

    def doubted(self) -> Sequence[T]:
        """Return what the last reading was about."""
        return tuple(self._doubts)

    def _noted(self, now: float, earlier: _Doubt | None) -> _Doubt:
        if earlier is None:
            return _Doubt(since=now, last=now, readings=1)
        if now - earlier.last < self._apart_s:
            return earlier
        return _Doubt(since=earlier.since, last=now, readings=earlier.readings + 1)
