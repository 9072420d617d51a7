"""When to look into which sandbox.

Docker moves a link into its container after all calls to us, and changes routes with other
networks' calls: the default route of one network moves when another is connected. So sandboxes are
looked at a moment after each such call, and from time to time, for what people change in there.
"""

import asyncio
import logging
import math
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nsmallest
from operator import itemgetter

from ovsdriver.domain.records.model import Endpoint, EndpointId
from ovsdriver.errors import DriverError
from ovsdriver.ports import State
from ovsdriver.service.attach.replugs import Replugs

log = logging.getLogger(__name__)

AFTER_S = (1.0, 10.0)
"""After a call that changes a sandbox: the first serves what is quick, the last all the rest. While
many containers come and go all but the last wait: those calls have more need of the processor."""

AGAIN_S = 300.0
"""For what nobody tells us of. A look costs 3 ms of a processor."""

APART_S = 0.5
"""So many thousands of endpoints cost half a percent of a processor, and wait longer."""

_AT_ONCE = 8
"""Looks, each of which has a thread for as long as it takes."""

GATHER_S = 0.2
"""Calls come in bursts: a turn serves all of a burst."""


class SandboxWatch:
    """Looks at sandboxes when it is time, one after the other, in the background."""

    def __init__(
        self,
        *,
        state: State,
        replugs: Replugs,
        clock: Callable[[], float] = time.monotonic,
        after_s: Sequence[float] = AFTER_S,
        again_s: float = AGAIN_S,
        apart_s: float = APART_S,
        gather_s: float = GATHER_S,
    ) -> None:
        """Build it.

        Args:
            state: our endpoints.
            replugs: looks, and notes what it sees.
            clock: seconds, of any origin.
            after_s: between a call and the looks for its sake.
            again_s: between two looks at the same endpoint at most, but for a tenth of it and for
                how long they take, and how many there are.
            apart_s: from one such look to the next, on average.
            gather_s: looks that come due one after the other within it are made together.
        """
        self._state = state
        self._replugs = replugs
        self._callbacks: list[Callable[[], None]] = []
        self._clock = clock
        self._after_s = after_s
        self._again_s = again_s
        self._apart_s = apart_s
        self._gather_s = gather_s
        self._due: list[tuple[float, str, bool]] = []
        """When which sandbox is due, and whether it waits while others change."""
        self._changed = self._walked = -math.inf
        self._looked: dict[EndpointId, float] = {}
        self._missing: set[EndpointId] = set()
        self._woken = asyncio.Event()
        self._looking = asyncio.Lock()

    def on_missing(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when something is missing that was there."""
        self._callbacks.append(callback)

    @property
    def missing(self) -> frozenset[EndpointId]:
        """Endpoints whose link the last look into their sandbox did not find, or found dead."""
        return frozenset(self._missing)

    def interfaces(self) -> Mapping[EndpointId, str]:
        """Return the names of the interfaces in the containers, where they were seen."""
        found = {each.id: self._replugs.interface(each) for each in self._state.endpoints()}
        return {each: name for each, name in found.items() if name}

    def excesses(self) -> Mapping[EndpointId, str]:
        """Return what of interfaces would not be put back if they were lost, in words."""
        found = {each.id: self._replugs.excess(each) for each in self._state.endpoints()}
        return {each: what for each, what in found.items() if what}

    def restored(self, endpoint: EndpointId) -> None:
        """Take back that something is missing: it was put there."""
        self._missing.discard(endpoint)

    def soon(self, sandbox: str) -> None:
        """Look at all that is in a sandbox, in a moment and again later."""
        self._changed = now = self._clock()
        last = max(self._after_s)
        self._due += [(now + pause, sandbox, pause < last) for pause in self._after_s]
        self._woken.set()

    async def run(self) -> None:
        """Look whenever it is time, until cancelled; at first calls have more need of the loop."""
        await asyncio.sleep(min(self._after_s))
        while True:
            self._woken.clear()
            await self.turn()
            try:
                async with asyncio.timeout(self._pause()):
                    await self._woken.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(self._gather_s)

    async def turn(self) -> None:
        """Look at what is due."""
        if due := self._due_now():
            await self.look(due)

    async def look(self, endpoints: Iterable[Endpoint] | None = None) -> None:
        """Look at some endpoints, or at all of them, and note what is seen."""
        async with self._looking:
            every = tuple(self._state.endpoints() if endpoints is None else endpoints)
            for first in range(0, len(every), _AT_ONCE):
                # what they note shares a commit
                await asyncio.gather(*map(self._look, every[first : first + _AT_ONCE]))
            self._missing = {each for each in self._missing if self._stands(each)}

    async def _look(self, endpoint: Endpoint) -> None:
        self._looked[endpoint.id] = self._clock()
        try:
            there = await self._replugs.note(endpoint.id)
        except DriverError as error:
            log.debug("sandbox.no-look", extra={"endpoint": endpoint.id, "why": str(error)})
            return
        if there is not False:
            self._missing.discard(endpoint.id)
        elif endpoint.id not in self._missing:
            self._missing.add(endpoint.id)
            for callback in self._callbacks:
                callback()

    def _due_now(self) -> Sequence[Endpoint]:
        now = self._clock()
        calm = now - self._changed >= min(self._after_s)
        due = {sandbox for at, sandbox, waits in self._due if at <= now and (calm or not waits)}
        self._due = [each for each in self._due if each[0] > now or (each[2] and not calm)]
        soon = {sandbox for _, sandbox, _ in self._due}
        found = [each for sandbox in due for each in self._state.endpoints_in(sandbox)]
        # Who nobody spoke of is asked for seldom: with thousands that takes longer than all else.
        if now - self._walked >= self._again_s / 10:
            self._walked = now
            self._forget()
            others = due | soon
            waiting = [
                (last, each)
                for each in self._state.endpoints()
                if each.sandbox is not None
                and each.sandbox not in others
                and now - (last := self._last(each, now)) >= self._again_s
            ]
            most = max(_AT_ONCE, int(self._again_s / 10 / self._apart_s))
            found += [each for _, each in nsmallest(most, waiting, key=itemgetter(0))]
        return found

    def _last(self, endpoint: Endpoint, now: float) -> float:
        """Return when an endpoint was looked at.

        For the looks of an earlier process some time is made up, another one for each.
        """
        if endpoint.id not in self._looked:
            spread = zlib.crc32(endpoint.id.encode()) / 2**32
            ago = spread * self._again_s if self._replugs.interface(endpoint) else self._again_s
            self._looked[endpoint.id] = now - ago
        return self._looked[endpoint.id]

    def _pause(self) -> float:
        now = self._clock()
        calm = self._changed + min(self._after_s)
        due = (max(at, calm) if waits else at for at, _, waits in self._due)
        return max(0.0, min([self._again_s / 10, *(at - now for at in due)]))

    def _forget(self) -> None:
        self._looked = {each: at for each, at in self._looked.items() if self._stands(each)}

    def _stands(self, endpoint_id: EndpointId) -> bool:
        endpoint = self._state.endpoint(endpoint_id)
        return endpoint is not None and endpoint.sandbox is not None
