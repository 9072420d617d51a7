"""One bed for all tests of the kernel's own Open vSwitch and modules, as in tests/e2e."""

from collections.abc import Iterator

import pytest

from tests.e2e.bed import DATAPATH, Bed
from tests.e2e.conftest import bed, host, outside, pytest_runtest_makereport, stage

__all__ = ["bed", "host", "outside", "pytest_runtest_makereport", "stage"]

# An emulated machine takes longer for a call than Docker's users would wait.
_SETTINGS = "deadline_s = 100\n"


@pytest.fixture(scope="session")
def shared_bed() -> Iterator[Bed]:
    if DATAPATH != "system":
        pytest.skip("this kernel has no openvswitch module; tests/run kernel boots one that has")
    with Bed(settings=_SETTINGS) as made:
        # Docker switches IPv6 forwarding on with its first IPv6 network, and never off again
        made.docker("network", "create", "--ipv6", "--subnet", "fd00:77:ff::/64", "first")
        made.docker("network", "rm", "first")
        yield made
