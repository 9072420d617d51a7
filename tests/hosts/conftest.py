"""A fleet for all tests that leave it as it was, which is checked after each of them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ovsdriver.domain.records.segments import NAME_SERVER
from tests.e2e.conftest import pytest_runtest_makereport
from tests.e2e.snapshot import Snapshot
from tests.e2e.stage import Stage
from tests.e2e.world import until
from tests.hosts import left
from tests.hosts.fleet import Fleet, at_once
from tests.hosts.host import Host

__all__ = ["pytest_runtest_makereport"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as long what is not of the core, before tests are chosen by their markers."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("core"):
            item.add_marker("long")


@pytest.fixture(scope="session")
def shared_fleet() -> Iterator[Fleet]:
    with Fleet(secure=True, docker_settings={"dns": [str(NAME_SERVER)]}) as made:
        at_once(Host.warm_docker_up, made.hosts)
        yield made


@pytest.fixture(scope="session")
def as_it_was() -> list[Snapshot]:
    """How the last test left the fleet; nothing, if nobody knows."""
    return []


@pytest.fixture
def fleet(
    shared_fleet: Fleet, as_it_was: list[Snapshot], request: pytest.FixtureRequest
) -> Iterator[Fleet]:
    """The shared fleet; what a test changes on it must be as before when it ends."""
    shared_fleet.revive()
    if not as_it_was:
        until(lambda: left.settled(shared_fleet), "what an earlier test left is deleted")
        as_it_was.append(left.take(shared_fleet))
    before = as_it_was.pop()
    yield shared_fleet
    left.wait_for(shared_fleet, before, request.node.name)
    as_it_was.append(before)


@pytest.fixture
def stages(fleet: Fleet) -> Iterator[list[Stage]]:
    """Docker's networks and containers of each host, removed afterwards."""
    stages = [Stage(host) for host in fleet.hosts]
    yield stages
    with ThreadPoolExecutor(len(stages)) as pool:
        list(pool.map(Stage.clear, stages))


@pytest.fixture
def make_fleet() -> Iterator[Callable[..., Fleet]]:
    """Fleets of a test's own, for what the shared one should not see."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Fleet(**settings))
