"""``ovsnet`` and ``python -m ovsdriver``."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovsdriver.config import Settings
    from ovsdriver.service.forgotten.purge import Purged


def main() -> None:
    """Run the command line."""
    with _uncollected():
        from ovsdriver.cli import Programs, command
    command(obj=Programs(serve=_serve, purge=_purge, findings=_findings), prog_name="ovsnet")


@contextmanager
def _uncollected() -> Iterator[None]:
    """Load modules without looking for garbage, which there is none of: a tenth of a start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _serve(settings: "Settings", fault: str) -> int:
    with _uncollected():
        from ovsdriver import process  # only now: it loads every adapter, which takes a while
    return process.serve(settings, fault)


def _purge(settings: "Settings") -> "Purged":
    from ovsdriver import process

    return process.purge(settings)


async def _findings(settings: "Settings") -> Sequence[str]:
    from ovsdriver import process

    return await process.findings(settings)


if __name__ == "__main__":
    main()
