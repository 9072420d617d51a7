"""``ovsnet`` and ``python -m ovsdriver``."""

from collections.abc import Sequence

from ovsdriver.cli import Programs, command
from ovsdriver.config import Settings
from ovsdriver.service.purge import Purged


def main() -> None:
    """Run the command line."""
    command(obj=Programs(serve=_serve, purge=_purge, findings=_findings), prog_name="ovsnet")


def _serve(settings: Settings, fault: str) -> int:
    from ovsdriver import bootstrap  # only now: it loads every adapter, which takes a while

    return bootstrap.serve(settings, fault)


def _purge(settings: Settings) -> Purged:
    from ovsdriver import bootstrap

    return bootstrap.purge(settings)


async def _findings(settings: Settings) -> Sequence[str]:
    from ovsdriver import bootstrap

    async with bootstrap.firewall(settings) as firewall:
        return await firewall.findings()


if __name__ == "__main__":
    main()
