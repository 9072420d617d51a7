"""Fixtures: a private Open vSwitch, and an ``OvsSwitch`` that runs on it.

``ovs`` is a fresh one for each test, to be broken at will. ``shared_ovs`` is one for the whole
module; who uses it leaves it as it was.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from ovsdriver.adapters.ovs.rows import OvsSwitch
from tests.integration.ovs import PrivateOvs, private_ovs, running_switch

PATIENCE_S = 30.0
"""For calls that should succeed, on a machine that does other things, too."""


@pytest.fixture
def ovs() -> Iterator[PrivateOvs]:
    """A fresh Open vSwitch."""
    with private_ovs() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def shared_ovs() -> Iterator[PrivateOvs]:
    """One Open vSwitch for the tests of a module."""
    with private_ovs() as shared:
        yield shared


@pytest.fixture
async def ovs_switch(ovs: PrivateOvs) -> AsyncIterator[OvsSwitch]:
    """A connected adapter on ``ovs``, with our usual mark and much patience."""
    async with running_switch(ovs, timeout_s=PATIENCE_S) as switch:
        yield switch
