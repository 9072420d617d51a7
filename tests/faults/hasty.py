"""Our process, impatient: the collector's minutes are seconds, and a store that could not be opened
is tried again at once; arguments as those of ``ovsnet``.

With ``HASTY_WHILE`` in the environment, the path of a file, only as long as that is there: while
dockerd tries a call again for up to 15 s, a lease without an endpoint must be left in peace.
"""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ipam.errors import IpamError
from ovsdriver import assembly, process
from ovsdriver.__main__ import main
from ovsdriver.admin.addresses import desk as desk_ipam
from ovsdriver.admin.addresses import report as ipam_report
from ovsdriver.admin.networks import report
from ovsdriver.errors import DriverError
from ovsdriver.service.aspects.flows import flow_rules
from ovsdriver.service.forgotten import collector
from ovsdriver.service.forgotten.foreign_pools import ForeignPools
from ovsdriver.service.forgotten.lost_networks import LostNetworks

HASTE = float(os.environ.get("HASTE", "60"))

_LOOK_S = 0.2
_WHILE = os.environ.get("HASTY_WHILE", "")


def hasty() -> bool:
    """Whether to be so now."""
    return not _WHILE or Path(_WHILE).exists()


class Clock:
    """Seconds that pass faster while there is haste."""

    def __init__(self) -> None:
        self._now = self._looked = time.monotonic()

    def __call__(self) -> float:
        real = time.monotonic()
        self._now += (real - self._looked) * (HASTE if hasty() else 1.0)
        self._looked = real
        return self._now


class Collector(collector.Collector):
    """The product's, by such a clock."""

    def __init__(self, **parts: Any) -> None:
        self._clock = Clock()
        kept = {name: parts[name] for name in ("state", "ipam", "links")}
        super().__init__(
            **parts,
            foreign_pools=ForeignPools(**kept, clock=self._clock),
            lost_networks=LostNetworks(
                state=parts["state"],
                networks=parts["networks"],
                clock=self._clock,
            ),
        )

    async def run(self) -> None:
        while True:
            with suppress(DriverError, IpamError):
                await self.collect()
            due = self._clock() + self._interval_s
            while self._clock() < due:  # noqa: ASYNC110 - a file is looked for
                await asyncio.sleep(_LOOK_S)


def be_hasty() -> None:
    """Run it."""
    for module in (ipam_report, report):
        module.SETTLING_S = 1.0
    desk_ipam.VIEW_S = 0.0
    flow_rules.LEISURE_S = 0.0
    process.RETRY_S = 0.2
    assembly.Collector = Collector
    main()


if __name__ == "__main__":
    be_hasty()
