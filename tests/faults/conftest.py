"""The beds of tests/e2e: a shared one that each test leaves as it was, and a test's own."""

from tests.e2e.conftest import (
    bed,
    host,
    make_bed,
    outside,
    pytest_runtest_makereport,
    shared_bed,
    stage,
)

__all__ = [
    "bed",
    "host",
    "make_bed",
    "outside",
    "pytest_runtest_makereport",
    "shared_bed",
    "stage",
]
