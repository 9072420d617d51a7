"""What is counted while the process works, as plain objects in a registry of their own.

Labels are few words that are known beforehand. What there is of networks and containers is no
counter here: ``admin/measures/`` tells it when it is asked, so that its series end with them.
"""

import functools

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
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

        self.transactions = Histogram(
            "ovsnet_ovsdb_transaction_seconds",
            "Time from a transaction's sending to the answer of Open vSwitch's database.",
            registry=self.registry,
            buckets=BUCKETS_S,
        )
        self.commits = Histogram(
            "ovsnet_store_commit_seconds",
            "Time of a commit of the records, until it is on the disk.",
            registry=self.registry,
            buckets=BUCKETS_S,
        )
        self._repairs = Counter(
            "ovsnet_repairs",
            "What was not as recorded and was put right, by what it was of.",
            ["kind"],
            registry=self.registry,
        )
        self._failures = Counter(
            "ovsnet_repair_failures",
            "What could not be put right, counted at each look.",
            ["kind"],
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

        # Finding a child by its labels costs three times as much as counting on it.
        self._counted = functools.cache(self.calls.labels)
        self._timed = functools.cache(self.seconds.labels)

    def answered(self, method: str, outcome: str, seconds: float) -> None:
        """Count one answered call; ``method`` is one we have, or ``unknown``."""
        self._counted(method, outcome).inc()
        self._timed(method).observe(seconds)

    def repaired(self, kind: str, *, mended: int, failed: int) -> None:
        """Count what a look at one kind of thing has come to; zeros, too, so that it is there."""
        self._repairs.labels(kind).inc(mended)
        self._failures.labels(kind).inc(failed)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, to be sent as ``CONTENT_TYPE``."""
        return generate_latest(self.registry)
