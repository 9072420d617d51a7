"""What is counted, as plain objects in a registry of their own.

Labels are the method and the outcome, never an id: a label value is a time series for good.
"""

import functools

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""From a call that needs nothing (0.1 ms) to the default deadline."""


class Metrics:
    """One process's counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "ovsnet_calls",
            "Calls of Docker's that were answered.",
            ["method", "outcome"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ovsnet_call_duration_seconds",
            "Time from a call's first byte to its answer.",
            ["method"],
            registry=self.registry,
            buckets=BUCKETS_S,
        )
        self.open = Gauge(
            "ovsnet_open_calls",
            "Calls that are being worked on.",
            registry=self.registry,
        )

        # Finding a child by its labels costs three times as much as counting on it.
        self._counted = functools.cache(self.calls.labels)
        self._timed = functools.cache(self.seconds.labels)

    def answered(self, method: str, outcome: str, seconds: float) -> None:
        """Count one answered call; ``method`` is one we have, or ``unknown``."""
        self._counted(method, outcome).inc()
        self._timed(method).observe(seconds)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, to be sent as ``CONTENT_TYPE``."""
        return generate_latest(self.registry)
