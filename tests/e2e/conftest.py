"""A bed for all tests that leave it as it was, which is checked after each of them."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest

from tests.e2e import snapshot
from tests.e2e.bed import Bed
from tests.e2e.modern import ModernEngine
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

SETTINGS = 'spaces = ["blue", "team2"]\nmetrics_listen = "127.0.0.1:7821"\n'


@pytest.fixture(scope="session")
def shared_bed() -> Iterator[Bed]:
    with Bed(settings=SETTINGS) as bed:
        bed.warm_docker_up()
        yield bed


@pytest.fixture
def bed(shared_bed: Bed, request: pytest.FixtureRequest) -> Iterator[Bed]:
    """The shared bed; what a test changes on it must be as before when it ends."""
    shared_bed.revive()
    until(lambda: snapshot.settled(shared_bed), "what an earlier test left is deleted")
    before = snapshot.take(shared_bed)
    yield shared_bed
    snapshot.wait_for(shared_bed, before, request.node.name)


@pytest.fixture
def stage(bed: Bed) -> Iterator[Stage]:
    """Docker's networks and containers, removed afterwards."""
    stage = Stage(bed)
    yield stage
    stage.clear()


@pytest.fixture
def engine(bed: Bed) -> Iterator[ModernEngine]:
    """An engine of version 29 in the place of the bed's own, as far as a plugin sees it."""
    engine = ModernEngine(bed)
    yield engine
    engine.clear()


@pytest.fixture
def host(bed: Bed) -> Place:
    return Place(bed, "the host")


@pytest.fixture
def outside(bed: Bed) -> Place:
    return Place(bed, "the outside", bed.outside)


@pytest.fixture
def make_bed() -> Iterator[Callable[..., Bed]]:
    """Beds of a test's own, for faults that the shared one should not see."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Bed(**settings))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of the beds, or of a fleet, to the report of a test that failed."""
    report = yield
    if report.failed:
        given = [getattr(each, "bed", each) for each in getattr(item, "funcargs", {}).values()]
        logged = [each for each in given if callable(getattr(each, "logs", None))]
        report.sections.extend(("logs of the bed", each.logs()) for each in logged)
    return report
