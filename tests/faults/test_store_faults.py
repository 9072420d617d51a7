"""What Docker's users read while the store cannot be used, and that it goes on afterwards."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.wire import Wire, leases, pools
from tests.e2e.world import Program, until
from tests.faults import hasty

pytestmark = pytest.mark.docker

LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(600)
"""

GARBAGE = b"this is no database" * 1000


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Bed]:
    """A bed whose store has a disk of its own."""
    bed = Bed()
    serve = bed.serve()[1:]
    bed.plugin = Program(bed, "plugin", sys.executable, str(Path(hasty.__file__)), *serve)
    with bed:
        bed.plugin.stop()
        size = ("-o", "size=2m,mode=700")
        bed.run("mount", "-t", "tmpfs", *size, "tmpfs", str(bed.state_dir))
        bed.start_plugin()
        yield bed


@pytest.fixture
def bed(small_disk: Bed) -> Iterator[Bed]:
    small_disk.revive()
    yield small_disk
    assert pools(small_disk) == []


@pytest.fixture
def stage(bed: Bed) -> Iterator[Stage]:
    stage = Stage(bed)
    yield stage
    stage.clear()


@pytest.fixture
def lab(stage: Stage) -> tuple[Network, Container]:
    """A network with a container, of before the fault."""
    network = stage.network("lab", subnet="10.77.1.0/24")
    return network, stage.container("ann", network)


def refusals(bed: Bed, stage: Stage, lab: Network) -> list[str]:
    """Return what users read who create a network of Docker's own driver or start a container."""
    create = ("network", "create", "--driver", "bridge", "--ipam-driver", "ovsipam", "refused")
    texts = [bed.docker_refuses(*create), bed.docker_refuses(*stage.run_command("refused", lab))]
    bed.docker("rm", "--force", "refused")
    assert all(str(bed.state_dir) in text for text in texts), texts
    assert not any("Traceback" in text for text in texts)
    return texts


def all_is_as_before(stage: Stage, network: Network, ann: Container) -> None:
    """Assert that the container has its address still, and that others get others."""
    until(lambda: stage.bed.try_ovsnet("ipam", "pools").code == 0, "the store is open")
    bob = stage.container("bob", network)
    assert (ann.address(network), bob.address(network)) == ("10.77.1.2", "10.77.1.3")
    bob.reaches("10.77.1.2", who="ann")
    (pool,) = pools(stage.bed)
    found = [each["lease"]["address"] for each in leases(stage.bed, pool["pool"]["id"])]
    assert found == ["10.77.1.1", "10.77.1.2", "10.77.1.3"]
    assert stage.network("more", driver="bridge").subnet()


@contextmanager
def locked(bed: Bed) -> Iterator[None]:
    """Somebody else has the store's write lock."""
    thief = Program(bed, "thief", sys.executable, "-c", LOCK, f"{bed.state_dir}/state.db")
    thief.start()
    until(lambda: "locked" in thief.said() or not thief.running, "the store is locked")
    assert thief.running, thief.said()
    try:
        yield
    finally:
        thief.stop()
        thief.log.unlink()


def test_while_the_store_is_locked_calls_are_refused_and_then_work_again(
    bed: Bed, stage: Stage, lab: tuple[Network, Container]
) -> None:
    with locked(bed):
        for text in refusals(bed, stage, lab[0]):
            assert "is locked by another process; nothing was changed. Find it with `fuser " in text
        assert lab[1].pings("10.77.1.1")
    all_is_as_before(stage, *lab)


def test_on_a_full_disk_calls_are_refused_and_then_work_again(
    bed: Bed, stage: Stage, lab: tuple[Network, Container]
) -> None:
    wire, (pool,) = Wire(bed), pools(bed)

    def nothing_fits() -> bool:
        # the journal may have room of its own for a while
        return all(
            "Error" in each
            for each in (wire.request_address(pool["pool"]["id"]), wire.request_pool())
        )

    fill = f"{bed.state_dir}/fill"
    bed.attempt("sh", "-c", f"cat /dev/zero >{fill}")
    try:
        until(nothing_fits, "the disk is full")
        for text in refusals(bed, stage, lab[0]):
            assert "cannot be written, the disk is full; free some space on " in text
    finally:
        bed.run("rm", fill)
    for each in leases(bed, pool["pool"]["id"]):
        if each["lease"]["address"] not in ("10.77.1.1", "10.77.1.2"):
            wire.release_address(pool["pool"]["id"], each["lease"]["address"])
    for other in pools(bed):
        if other["pool"]["id"] != pool["pool"]["id"]:
            wire.release_pool(other["pool"]["id"])
    all_is_as_before(stage, *lab)


@contextmanager
def read_only(bed: Bed) -> Iterator[None]:
    """The store's disk takes nothing."""
    bed.run("mount", "-o", "remount,ro", str(bed.state_dir))
    try:
        yield
    finally:
        bed.run("mount", "-o", "remount,rw", str(bed.state_dir))


@contextmanager
def corrupt(bed: Bed) -> Iterator[None]:
    """The store's file has something else in it."""
    store = f"{bed.state_dir}/state.db"
    bed.run("cp", "-a", store, f"{store}.good")
    bed.run("sh", "-c", f"cat >{store}", stdin=GARBAGE)
    try:
        yield
        assert bed.run("cat", store).encode() == GARBAGE.strip(), "it was kept as it is"
    finally:
        bed.run("mv", f"{store}.good", store)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(locked, "is locked by another process; nothing was changed", id="locked"),
        pytest.param(read_only, "cannot be used: Read-only file system; make it", id="read-only"),
        pytest.param(corrupt, "; it was kept. Restore it from a backup", id="corrupt"),
    ],
)
def test_a_process_that_starts_without_its_store_says_so_and_works_when_it_is_back(
    bed: Bed,
    stage: Stage,
    lab: tuple[Network, Container],
    fault: Callable[[Bed], AbstractContextManager[None]],
    said: str,
) -> None:
    bed.plugin.stop()
    with fault(bed):
        bed.start_plugin()
        for text in refusals(bed, stage, lab[0]):
            assert said in text
        assert said in bed.try_ovsnet("status").out
    all_is_as_before(stage, *lab)
