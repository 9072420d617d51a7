"""A host of a fleet, with all of its services."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.northbound import FakeCentral
from tests.fakes.switch import foreign_bridge
from tests.unit.service.conftest import Host


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Host]:
    host = await Host.start(tmp_path, central=FakeCentral())
    host.switch.system_id, host.switch.integration = "host1", "br-int"
    host.switch.put_bridge(foreign_bridge("br-int"))
    host.links.add_tap("br-int", tso=False)
    yield host
    await host.stop()
