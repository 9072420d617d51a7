"""When the reaper deletes; what it deletes is the kernel's part."""

import logging
import threading

import pytest

from ovsdriver.adapters.netlink import reaper as module
from ovsdriver.adapters.netlink.reaper import Reaper

PATIENCE_S = 30


class Deletion:
    """Counts, fails as often as told, and can be held up."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.done = 0
        self.closed = False
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def delete(self) -> None:
        self.begun.set()
        assert self.go_on.wait(PATIENCE_S)
        if self.failures:
            self.failures -= 1
            raise OSError(105, "No buffer space available")
        self.done += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def never_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GATHER_S", 3600.0)


def test_what_is_waited_for_is_deleted_at_once(never_by_time: None) -> None:
    deletion = Deletion()
    reaper = Reaper(deletion)
    reaper.add("a")

    reaper.gone("b").result(PATIENCE_S)

    assert deletion.done == 1
    assert reaper.close(PATIENCE_S)


def test_a_full_batch_does_not_wait_for_its_time(never_by_time: None) -> None:
    deletion = Deletion()
    reaper = Reaper(deletion)

    for number in range(63):
        reaper.add(f"link{number}")
    assert not deletion.begun.wait(0.2)
    reaper.add("link63")

    assert deletion.begun.wait(PATIENCE_S)
    assert reaper.close(PATIENCE_S)
    assert (deletion.done, reaper.flushes) == (1, 1)


def test_a_small_batch_is_deleted_after_a_moment() -> None:
    deletion = Deletion()
    reaper = Reaper(deletion)

    reaper.add("a")

    assert deletion.begun.wait(PATIENCE_S)
    assert reaper.close(PATIENCE_S)


def test_closing_deletes_what_is_left(never_by_time: None) -> None:
    deletion = Deletion()
    reaper = Reaper(deletion)
    reaper.add("a")

    assert reaper.close(PATIENCE_S)

    assert (deletion.done, deletion.closed) == (1, True)


def test_closing_without_anything_to_do_needs_no_thread() -> None:
    deletion = Deletion()

    assert Reaper(deletion).close(PATIENCE_S)

    assert deletion.done == 0


def test_what_comes_during_a_deletion_is_part_of_the_next(never_by_time: None) -> None:
    deletion = Deletion()
    deletion.go_on.clear()
    reaper = Reaper(deletion)
    first = reaper.gone("a")
    assert deletion.begun.wait(PATIENCE_S)

    second = reaper.gone("b")
    deletion.go_on.set()

    first.result(PATIENCE_S)
    second.result(PATIENCE_S)
    assert deletion.done == 2
    assert reaper.close(PATIENCE_S)


def test_a_failed_deletion_is_tried_again_and_logged(
    never_by_time: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.001)
    deletion = Deletion(failures=2)
    reaper = Reaper(deletion)

    with caplog.at_level(logging.WARNING):
        reaper.gone("a").result(PATIENCE_S)

    assert deletion.done == 1
    assert [each.message for each in caplog.records] == ["links.not-deleted"] * 2
    assert "No buffer space available" in vars(caplog.records[0])["why"]
    assert reaper.close(PATIENCE_S)


def test_a_deletion_that_fails_at_the_end_is_left_to_the_next_daemon(never_by_time: None) -> None:
    deletion = Deletion(failures=1)
    reaper = Reaper(deletion)
    reaper.add("a")

    assert reaper.close(PATIENCE_S)

    assert (deletion.done, deletion.closed) == (0, True)


def test_a_waiter_that_gave_up_does_not_disturb(never_by_time: None) -> None:
    deletion = Deletion()
    deletion.go_on.clear()
    reaper = Reaper(deletion)
    given_up = reaper.gone("a")
    assert given_up.cancel()
    deletion.go_on.set()

    reaper.gone("b").result(PATIENCE_S)

    assert reaper.close(PATIENCE_S)
