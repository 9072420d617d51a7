"""What was measured of one case or yardstick, round by round."""

import sys
from collections import defaultdict
from statistics import median, quantiles
from typing import Any


def say(text: str) -> None:
    """Tell whoever waits how far a benchmark has come."""
    print(text, file=sys.stderr, flush=True)


class Measured:
    """Rates and latencies, by how many were asked for at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._rates: dict[int, list[float]] = defaultdict(list)
        self._releases: dict[int, list[float]] = defaultdict(list)
        self._latencies_ms: dict[int, list[float]] = defaultdict(list)
        self._extra: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))

    def note(
        self,
        at_once: int,
        *,
        took_s: float,
        release_s: float,
        latencies_ms: list[float],
        **extra: float,
    ) -> None:
        """Note one round of ``at_once``: as many allocations as latencies, and their releases."""
        self._rates[at_once].append(len(latencies_ms) / took_s)
        self._releases[at_once].append(len(latencies_ms) / release_s)
        self._latencies_ms[at_once] += latencies_ms
        for key, value in extra.items():
            self._extra[key][at_once].append(value)

    def against(self, other: "Measured", at_once: int) -> float:
        """Return how many times faster the other one was, as the median of the rounds.

        Round by round, because both were measured a second apart in each.
        """
        pairs = zip(other._rates[at_once], self._rates[at_once], strict=True)
        return median(theirs / ours for theirs, ours in pairs)

    def summary(self) -> dict[str, Any]:
        latencies = self._latencies_ms.items()
        return {
            "name": self.name,
            "rate": {str(key): median(values) for key, values in self._rates.items()},
            "release_rate": {str(key): median(values) for key, values in self._releases.items()},
            "p50_ms": {str(key): median(values) for key, values in latencies},
            "p99_ms": {str(key): quantiles(values, n=100)[98] for key, values in latencies},
            **{
                name: {str(key): median(values) for key, values in by.items()}
                for name, by in self._extra.items()
            },
        }
