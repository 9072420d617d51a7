"""One call between its request and its answer: answered once, and in time."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from ovsdriver.http.connection import Answer


class TooLate(Protocol):
    """Finds the words for a call that was cut."""

    def __call__(self, *, undone: bool) -> Answer:
        """Return the answer; ``undone``: nothing of what the call began is left."""
        ...


class Exchange:
    """Takes the answer of a call's work, or makes one when its time is up."""

    __slots__ = ("_answered", "_began", "_give", "_note", "_timer", "_too_late")

    def __init__(
        self,
        give: Callable[[Answer], None],
        *,
        note: Callable[[Answer, float], None],
        too_late: TooLate,
    ) -> None:
        """Begin to measure.

        Args:
            give: sends the answer.
            note: told the answer and the seconds that it took.
            too_late: the answer when the work did not end in time.
        """
        self._began = time.perf_counter()
        self._give = give
        self._note = note
        self._too_late = too_late
        self._answered = False
        self._timer: asyncio.TimerHandle | None = None

    def answer(self, answer: Answer) -> None:
        """Give the answer; what comes after the first one is for nobody."""
        if self._answered:
            return
        self._answered = True
        if self._timer is not None:
            self._timer.cancel()
        took = time.perf_counter() - self._began
        self._give(answer)
        # After the answer is on its way: Docker does not wait for our log.
        asyncio.get_running_loop().call_soon(self._note, answer, took)

    def bound(self, work: asyncio.Task[None], deadline_s: float, undo_s: float) -> None:
        """Cut ``work`` after ``deadline_s``, and wait for its undoing for ``undo_s`` at most.

        What it answers after it was cut counts: it finished in that moment, or could not be undone.
        """
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(deadline_s, self._cut, work, undo_s)
        work.add_done_callback(self._ended)

    def _cut(self, work: asyncio.Task[None], undo_s: float) -> None:
        work.cancel()
        self._timer = asyncio.get_running_loop().call_later(undo_s, self.give_up)

    def give_up(self) -> None:
        """Wait no longer for the undoing of what was cut."""
        self.answer(self._too_late(undone=False))

    def _ended(self, work: asyncio.Task[None]) -> None:
        if work.cancelled():
            self.answer(self._too_late(undone=True))
