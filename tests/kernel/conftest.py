"""One bed for all tests of the kernel's own Open vSwitch and modules, as in tests/e2e."""

from collections.abc import Iterator

import pytest

from tests.e2e import snapshot
from tests.e2e.bed import DATAPATH, Bed
from tests.e2e.conftest import host, outside, pytest_runtest_makereport, stage
from tests.e2e.world import until

__all__ = ["host", "outside", "pytest_runtest_makereport", "stage"]

# An emulated machine takes longer for a call than Docker's users would wait.
_SETTINGS = "deadline_s = 100\n"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell each result at once, for the machine may not live to the end."""
    if report.failed:
        print(f"\n{report.nodeid} {report.when}: {report.longreprtext}")  # noqa: T201
    elif report.when == "call":
        print(f"\n{report.nodeid} {report.outcome}")  # noqa: T201


@pytest.fixture(scope="session")
def shared_bed() -> Iterator[Bed]:
    if DATAPATH != "system":
        pytest.skip("this kernel has no openvswitch module; tests/run kernel boots one that has")
    with Bed(settings=_SETTINGS) as made:
        made.warm_docker_up()
        yield made


@pytest.fixture(scope="session")
def as_before(shared_bed: Bed) -> Iterator[None]:
    """Compare once what is left in the end; after each test that takes too long here."""
    before = snapshot.take(shared_bed)
    yield
    last: list[str] = []

    def is_as_before() -> bool:
        last[:] = [snapshot.difference(before, snapshot.take(shared_bed))]
        return not last[0]

    until(is_as_before, lambda: f"all is as before the first test\n{last[0]}")


@pytest.fixture
def bed(shared_bed: Bed, as_before: None) -> Bed:
    shared_bed.revive()
    return shared_bed
