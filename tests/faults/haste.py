"""Beds whose process is hasty when it is asked to be."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.bed import Bed
from tests.e2e.world import Program
from tests.faults import hasty

STORE_DISK = "size=8m,mode=700"


def hasty_bed(**settings: Any) -> Bed:
    """Return a bed, not begun yet, whose process is hasty while ``hurried`` says so."""
    bed = Bed(**settings)
    command = (sys.executable, str(Path(hasty.__file__)), *bed.serve()[1:])
    bed.plugin = Program(bed, "plugin", "env", f"HASTY_WHILE={bed.home}/hasty", *command)
    return bed


@contextmanager
def hurried(bed: Bed) -> Iterator[None]:
    """Let the collector of such a bed be hasty; dockerd must have nothing on its way."""
    flag = bed.home / "hasty"
    flag.touch()
    try:
        yield
    finally:
        flag.unlink()


@contextmanager
def small_disk(bed: Bed) -> Iterator[Bed]:
    """Run a bed whose store has a small disk of its own."""
    with bed:
        bed.plugin.stop()
        bed.run("mount", "-t", "tmpfs", "-o", STORE_DISK, "tmpfs", str(bed.state_dir))
        bed.start_plugin()
        yield bed
