"""What the commands start but do not import: the daemon's parts are slow to load."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ovsdriver.config import Settings
from ovsdriver.service.forgotten.purge import Purged


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Given by ``__main__``; tests give their own."""

    serve: Callable[[Settings, str], int]
    """Run the process until it is told to end; returns its exit code.

    With a sentence about what is wrong with the settings it refuses Docker's calls with that.
    """
    purge: Callable[[Settings], Purged]
    """Remove everything with our mark, while no process runs."""
    findings: Callable[[Settings], Awaitable[Sequence[str]]]
    """Return a sentence for each of other people's chains that drops what we forward."""
