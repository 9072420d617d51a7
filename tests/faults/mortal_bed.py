"""A bed whose process is killed at a chosen point of a chosen call; see ``mortal.py``."""

import sys
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from tests.e2e.bed import Bed
from tests.e2e.world import Program
from tests.faults import mortal


class Mortality:
    """Makes a bed's process die where it is told to, and hasty while ``hurried`` says so."""

    home: Path
    plugin: Program
    _deaths = 0

    def be_mortal(self, bed: Bed) -> None:
        """Have the bed's process be such a one from its next start on."""
        said = ("env", f"HASTY_WHILE={self.home}/hasty", "HASTE=600", f"MORTAL={self.home}")
        command = (sys.executable, str(Path(mortal.__file__)), *bed.serve()[1:])
        root = str(Path(__file__).parents[2])
        self.plugin = Program(bed, "plugin", *said, f"PYTHONPATH={root}", *command)

    @property
    def deaths(self) -> int:
        """How often it was found dead."""
        return self._deaths

    @abstractmethod
    def start_plugin(self) -> None:
        """Start the process and wait until it answers."""

    @abstractmethod
    def wait_for_plugin(self) -> None:
        """Wait until it answers."""

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


class MortalBed(Bed, Mortality):
    """A bed with it."""

    def __init__(self, *, docker: bool) -> None:
        super().__init__(docker=docker)
        self.be_mortal(self)
