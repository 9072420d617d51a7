"""Make the world as the records say: at start, when something changed, and by timer.

One path for repair and for first making: everything here calls the operations that the handlers
call. What the handlers do at the same time is safe from it: each repair takes the lock of its
network or endpoint and looks at the record again.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ovsdriver.causes import because
from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.metrics import Metrics
from ovsdriver.ports import Journal, SwitchView
from ovsdriver.service.aspects.aspect import Aspect, Seen
from ovsdriver.service.repair.wires import Wires

log = logging.getLogger(__name__)

INTERVAL_S = 30.0
"""Longest time between two looks at everything; iptables-legacy tells nobody of its changes."""

CONNECT_S = 2.0
"""How long a look waits for Open vSwitch before it goes without."""

LATELY = 50
"""How many repairs are remembered for people."""

SETTLE_S = 0.5
"""Changes come in bursts (our own among them): one look serves all of a burst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """Something that was put right."""

    at: float
    """Seconds since the epoch."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """What a look has found, and what came of it."""

    at: float = 0.0
    """Seconds since the epoch; 0: no look yet."""
    found: tuple[str, ...] = ()
    """What was not as recorded, and is ours to mend."""
    mended: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()


class Reconciler:
    """Watches and repairs."""

    def __init__(
        self,
        *,
        wires: Wires,
        aspects: Sequence[Aspect],
        switch: SwitchView,
        journal: Journal,
        clock: Callable[[], float] = time.time,
        interval_s: float = INTERVAL_S,
        settle_s: float = SETTLE_S,
        metrics: Metrics | None = None,
    ) -> None:
        self._wires = wires
        self._metrics = metrics or Metrics()
        first = [each for each in aspects if each.before_ports or each.mended_first]
        self._parts = (*first, wires, *(each for each in aspects if each not in first))
        self._switch = switch
        self._journal = journal
        self._clock = clock
        self._interval_s = interval_s
        self._settle_s = settle_s
        self._poked = asyncio.Event()
        self._wanted = False
        self._plugged: set[EndpointId] = set()
        self._doubted: set[str] = set()
        self._looking = asyncio.Lock()
        self._last = Repairs()
        self._lately: deque[Mended] = deque(maxlen=LATELY)

    @property
    def lost(self) -> Mapping[EndpointId, str]:
        """Endpoints whose containers the last look found cut off and could not help, and why."""
        return self._wires.lost

    @property
    def lately(self) -> Sequence[Mended]:
        """What was mended last, the newest first: a look that mends is soon followed by another."""
        return tuple(self._lately)

    @property
    def last(self) -> Repairs:
        """What the last look found and did."""
        return self._last

    def poke(self, plugged: Collection[EndpointId] | None = None) -> None:
        """Ask for a look soon; cheap, and may be called any number of times.

        Of ``plugged``, endpoints whose ports came, went or were taken by vswitchd, mostly a handler
        knows: there is a look only if one of them does not become as its record says.
        """
        if plugged is None:
            self._wanted = True
        else:
            self._plugged.update(plugged)
        self._poked.set()

    def doubt(self, gateway: str) -> None:
        """Ask for a look soon if a gateway's device is not as its network's record says.

        As cheap as :meth:`poke`: mostly it was a handler that changed it.
        """
        self._doubted.add(gateway)
        self._poked.set()

    async def run(self) -> None:
        """Look now, then when there is reason to and at least every ``interval_s``, for good."""
        while True:
            self._poked.clear()
            self._wanted = False
            self._plugged.clear()
            self._doubted.clear()
            try:
                await self.reconcile()
            except DriverError as error:
                log.warning("reconcile.failed", extra={"why": str(error)})
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._reason()

    async def _reason(self) -> None:
        """Wait until everything is to be looked at; for what handlers do, that is not.

        What is amiss is looked at again a little later, as it is in a look at everything: a
        handler may be at work.
        """
        suspects: set[EndpointId] = set()
        while not self._wanted:
            if not suspects:
                await self._poked.wait()
            self._poked.clear()
            await asyncio.sleep(self._settle_s)
            doubted, self._doubted = self._doubted, set()
            if await self._wires.gateways_amiss(doubted):
                return
            known, self._plugged = self._plugged | suspects, set()
            busy = {endpoint for endpoint in known if self._wires.busy(endpoint)}
            found = {endpoint for endpoint in known - busy if self._wires.amiss(endpoint)}
            if found & suspects:
                return
            suspects = found | busy

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Hold off every look: for who removes things faster than their records."""
        async with self._looking:
            yield

    async def reconcile(self) -> Repairs:
        """Look at everything once and mend what can be mended."""
        async with self._looking:
            with because("repair"):
                self._report(await self._walk(mend=True))
        return self._last

    async def look(self) -> Repairs:
        """Say what :meth:`reconcile` would mend now, and mend nothing."""
        async with self._looking:
            return await self._walk(mend=False)

    async def _walk(self, *, mend: bool) -> Repairs:
        """Look at one aspect after the other: what was mended of one is there for the next."""
        seen: list[Seen] = []
        away: bool | None = None
        for each in self._parts:
            if each.needs_switch and away is None:
                try:
                    await self._switch.connected(CONNECT_S)
                    away = False
                except UnavailableError as error:
                    away = True
                    seen.append(Seen(failed=[f"bridges and ports wait: {error}"]))
            if each.needs_switch and away:
                continue
            seen.append(await each.look(mend=mend))
            if mend and each.name:
                self._metrics.repaired(
                    each.name, mended=len(seen[-1].mended), failed=len(seen[-1].failed)
                )
        mended = tuple(text for each in seen for text in each.mended)
        failed = tuple(text for each in seen for text in each.failed)
        found = tuple(text for each in seen for text in each.found)
        return Repairs(
            at=self._clock(),
            found=(*mended, *failed) if mend else found,
            mended=mended,
            failed=failed,
            beyond=tuple(text for each in seen for text in each.beyond),
        )

    def _report(self, repairs: Repairs) -> None:
        for text in repairs.mended:
            self._journal.tell(Happening(EventType.REPAIR, "mended", attributes={"what": text}))
            self._lately.appendleft(Mended(at=repairs.at, what=text))
        for text in (*repairs.failed, *repairs.beyond):
            if text not in (*self._last.failed, *self._last.beyond):
                left = Happening(EventType.REPAIR, "left", attributes={"what": text})
                self._journal.tell(left, level=logging.WARNING)
        self._last = repairs
