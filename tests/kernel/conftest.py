"""The beds of tests/e2e, for what only the kernel's own Open vSwitch and modules can show."""

import pytest

from tests.e2e.bed import DATAPATH
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


@pytest.fixture(scope="session", autouse=True)
def openvswitch_module() -> None:
    """Skip what makes no sense without it."""
    if DATAPATH != "system":
        pytest.skip("this kernel has no openvswitch module; tests/run kernel boots one that has")
