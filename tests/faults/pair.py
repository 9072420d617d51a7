"""Two containers on a nat network, and what they reach while all is well."""

from signal import SIGKILL, SIGTERM

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6
from tests.e2e.stage import Container, Network, Stage

ENDS = [pytest.param(SIGTERM, id="SIGTERM"), pytest.param(SIGKILL, id="SIGKILL")]


def pair(stage: Stage) -> tuple[Network, Container, Container]:
    """Run two containers on a nat network."""
    network = stage.network("one", "--ipv6", "--subnet", "fd00:77:1::/64", subnet="10.77.1.0/24")
    return network, stage.container("ann", network), stage.container("bob", network)


def all_is_well(network: Network, a: Container, b: Container) -> None:
    """Assert that two containers reach each other and the outside."""
    for family in (4, 6):
        a.reaches(b.address(network, family), who=b.name)
        b.reaches(a.address(network, family), who=a.name)
    a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    a.reaches(OUTSIDE6, who=WAN6, port=OUTSIDE_PORT)
