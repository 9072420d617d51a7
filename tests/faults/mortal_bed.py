"""A bed whose process is killed at a chosen point of a chosen call; see ``mortal.py``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from tests.e2e.bed import Bed
from tests.e2e.world import Program
from tests.faults import mortal


class MortalBed(Bed):
    """A bed whose process dies where it is told to; and is hasty while ``hurried`` says so."""

    def __init__(self, *, docker: bool) -> None:
        super().__init__(docker=docker)
        self._deaths = 0
        said = ("env", f"HASTY_WHILE={self.home}/hasty", "HASTE=600", f"MORTAL={self.home}")
        command = (sys.executable, str(Path(mortal.__file__)), *self.serve()[1:])
        root = str(Path(__file__).parents[2])
        self.plugin = Program(self, "plugin", *said, f"PYTHONPATH={root}", *command)

    @property
    def deaths(self) -> int:
        """How often it was found dead."""
        return self._deaths

    def doom(self, call: str, point: int | str) -> None:
        """Have the process killed at a point of the next such call: its number, or its name."""
        (self.home / "doom").write_text(f"{call} {point}")

    def points(self) -> list[str]:
        """Return the points of the last doomed call that were reached."""
        return (self.home / "points").read_text().splitlines()

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Start the process again whenever it ends, until the block does."""
        ended = Event()

        def watch() -> None:
            while not ended.wait(0.1):
                if not self.plugin.running:
                    self.plugin.start()

        watcher = Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            self.wait_for_plugin()

    def come_back(self) -> None:
        """Wait for the end of the process, which must have been killed, and start it."""
        assert self.plugin.wait() == 128 + 9
        self._deaths += 1
        self.start_plugin()
