"""Random things and random faults for half an hour; then nothing is leaked and nothing lost.

    tests/run soak                                  TESTS_SOAK_MINUTES=30
    TESTS_SOAK_SEED=12345 tests/run soak            the same choices again

What is chosen depends on the seed alone. When things happen depends on the machine as well, so the
same seed does not give the very same run.
"""

import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import pytest

from tests.e2e.bed import Bed
from tests.e2e.world import until
from tests.faults import inflicted
from tests.faults.haste import hasty_bed, small_disk
from tests.faults.inflicted import Fault
from tests.faults.lab import NETWORKS, Lab, standing
from tests.faults.load import Load

pytestmark = pytest.mark.docker

MINUTES = float(os.environ.get("TESTS_SOAK_MINUTES", "30"))
SEED = int(os.environ.get("TESTS_SOAK_SEED", "") or secrets.randbelow(1_000_000))

EVERY = (
    *(*inflicted.PLUGIN, *inflicted.SWITCH, *inflicted.BY_HAND),
    *(*inflicted.STORE, *inflicted.DOCKER),
)
UNCALLED = (
    *("plugin-restarted", "plugin-killed", "plugin-after-dockerd", "switch-later"),
    *("two-at-once", "host-rebooted"),
)
"""What ends our process: not in the second part, in which its memory is looked at."""

SECOND_PART = 0.5
"""Where that begins, of the whole time."""
WARM = 0.2
"""How much of it is for warming up."""

MORE_MEMORY_KB = 12_000
MORE_FILES = 8
"""That much more at the end than when it was warm is still called flat: caches fill, and pages that
were freed stay with the process."""


@dataclass(frozen=True, slots=True)
class Size:
    """What our process takes while nothing happens."""

    pid: int
    memory_kb: int
    files: int
    threads: int

    @classmethod
    def of(cls, bed: Bed) -> "Size":
        pid = bed.plugin.pid
        status = dict(
            line.split(":", 1) for line in bed.run("cat", f"/proc/{pid}/status").splitlines()
        )
        files = len(bed.run("ls", f"/proc/{pid}/fd").split())
        return cls(pid, int(status["VmRSS"].split()[0]), files, int(status["Threads"]))


def test_nothing_is_leaked_and_nothing_lost(capsys: pytest.CaptureFixture[str]) -> None:
    def say(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)  # noqa: T201 - who waits for half an hour wants to see it

    say(f"\nsoak of {MINUTES:g} minutes, TESTS_SOAK_SEED={SEED}")
    with small_disk(hasty_bed()) as bed, standing(bed) as lab:
        try:
            # the same again for the same seed
            Soak(lab, Random(SEED), say).run(MINUTES * 60)  # noqa: S311
        except BaseException:
            say("\n".join(bed.plugin.said().splitlines()[-200:]))
            raise


class Soak:
    """The whole of it."""

    def __init__(self, lab: Lab, choose: Random, say: Callable[[str], None]) -> None:
        self._lab = lab
        self._choose = choose
        self._say = say
        self._done = 0
        self._faults = 0
        self._began = time.monotonic()

    def run(self, seconds: float) -> None:
        first, warm = seconds * SECOND_PART, seconds * (SECOND_PART + (1 - SECOND_PART) * WARM)
        self._until(first, EVERY)
        lasting = [each for each in EVERY if each.name not in UNCALLED]
        self._lab.bed.restart_plugin()
        self._until(warm, lasting)
        size = self._size()
        self._until(seconds, lasting)
        last = self._size()
        self._say(f"{self._done} commands, {self._faults} faults")
        assert last.pid == size.pid, "it ended by itself"
        assert last.memory_kb - size.memory_kb <= MORE_MEMORY_KB
        assert last.files - size.files <= MORE_FILES

    def _until(self, seconds: float, faults: Sequence[Fault]) -> None:
        while time.monotonic() - self._began < seconds:
            self._episode(faults)

    def _episode(self, faults: Sequence[Fault]) -> None:
        """Let users work, let faults happen among them, and see whether all agree."""
        lab = self._lab
        chosen = self._choose.sample(faults, self._choose.randint(1, 3))
        names = ", ".join(each.name for each in chosen)
        heard = len(lab.bed.plugin.said())
        seed = self._choose.randrange(1_000_000)
        with Load(lab.bed, NETWORKS, seed=seed, name=f"u{self._faults}x") as load:
            for fault in chosen:
                time.sleep(self._choose.uniform(1, 6))
                fault.do(lab.bed, Random(self._choose.random()))  # noqa: S311 - see above
            done = load.done
            until(lambda: load.done >= done + 3, "users get something done", timeout_s=300)
        self._done += load.done
        self._faults += len(chosen)
        permitted = "|".join(filter(None, (each.permitted for each in chosen)))
        refused = load.refused(permitted)
        assert not refused, f"after {names}: {refused}"
        lab.start_again()
        lab.agrees()
        lab.talks()
        assert lab.crashed(heard) == [], names
        minutes = (time.monotonic() - self._began) / 60
        self._say(f"{minutes:5.1f} min  {load.done:3} commands  {names}")
        if self._choose.random() < 0.7:
            lab.clear()

    def _size(self) -> Size:
        self._lab.clear()
        self._lab.agrees()
        time.sleep(5)
        size = Size.of(self._lab.bed)
        self._say(f"        {size}")
        return size
