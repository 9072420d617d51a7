"""When the reaper deletes; what it deletes is the kernel's part."""

import logging
import threading

import pytest

from ovsdriver.adapters.kernel import reaper as module
from ovsdriver.adapters.kernel.reaper import Reaper

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


def test_what_is_marked_is_deleted() -> None:
    deletion = Deletion()
    reaper = Reaper(lambda: deletion)

    reaper.gone("a").result(PATIENCE_S)

    assert (deletion.done, reaper.flushes) == (1, 1)
    assert reaper.close(PATIENCE_S)


def test_what_nobody_waits_for_is_deleted_as_well() -> None:
    deletion = Deletion()
    reaper = Reaper(lambda: deletion)

    reaper.add("a")

    assert deletion.begun.wait(PATIENCE_S)
    assert reaper.close(PATIENCE_S)


def test_closing_deletes_what_is_left() -> None:
    deletion = Deletion()
    reaper = Reaper(lambda: deletion)
    reaper.add("a")

    assert reaper.close(PATIENCE_S)

    assert (deletion.done, deletion.closed) == (1, True)


def test_closing_without_anything_to_do_needs_no_thread() -> None:
    deletion = Deletion()

    assert Reaper(lambda: deletion).close(PATIENCE_S)

    assert deletion.done == 0


def test_what_comes_during_a_deletion_does_not_wait_for_its_end() -> None:
    first, second = Deletion(), Deletion()
    first.go_on.clear()
    each = iter((first, second))
    reaper = Reaper(lambda: next(each))
    slow = reaper.gone("a")
    assert first.begun.wait(PATIENCE_S)

    reaper.gone("b").result(PATIENCE_S)

    assert not slow.done()
    first.go_on.set()
    slow.result(PATIENCE_S)
    assert reaper.close(PATIENCE_S)
    assert (first.closed, second.closed) == (True, True)


def test_what_comes_while_all_threads_are_busy_is_one_batch() -> None:
    deletions = [Deletion() for _ in range(3)]
    for deletion in deletions:
        deletion.go_on.clear()
    each = iter(deletions)
    reaper = Reaper(lambda: next(each))
    for name, deletion in zip("abc", deletions, strict=True):
        reaper.add(name)
        assert deletion.begun.wait(PATIENCE_S)

    more = [reaper.gone(f"link{number}") for number in range(20)]
    for deletion in deletions:
        deletion.go_on.set()
    for done in more:
        done.result(PATIENCE_S)

    assert reaper.close(PATIENCE_S)
    assert reaper.flushes == 4


def test_a_failed_deletion_is_tried_again_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.001)
    deletion = Deletion(failures=2)
    reaper = Reaper(lambda: deletion)

    with caplog.at_level(logging.WARNING):
        reaper.gone("a").result(PATIENCE_S)

    assert deletion.done == 1
    assert [each.message for each in caplog.records] == ["links.not-deleted"] * 2
    assert "No buffer space available" in vars(caplog.records[0])["why"]
    assert reaper.close(PATIENCE_S)


def test_a_deletion_that_fails_at_the_end_is_left_to_the_next_daemon() -> None:
    deletion = Deletion(failures=2)  # the first may come before the end
    reaper = Reaper(lambda: deletion)
    reaper.add("a")

    assert reaper.close(PATIENCE_S)

    assert (deletion.done, deletion.closed) == (0, True)


def test_a_waiter_that_gave_up_does_not_disturb() -> None:
    deletion = Deletion()
    deletion.go_on.clear()
    reaper = Reaper(lambda: deletion)
    given_up = reaper.gone("a")
    assert given_up.cancel()
    deletion.go_on.set()

    reaper.gone("b").result(PATIENCE_S)

    assert reaper.close(PATIENCE_S)
