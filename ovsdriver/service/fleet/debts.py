"""What OVN's northbound database is still to hear of, kept until it has.

Docker is not held up for it: what it releases is noted here, durably, and answered.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from netaddr import IPAddress

from ipam import PoolId
from ipam.errors import IpamError
from ovsdriver import codec
from ovsdriver.errors import DriverError
from ovsdriver.ports import HostNotes, Northbound
from ovsdriver.service.fleet.noted import noted

log = logging.getLogger(__name__)

_LEASE = "segment-freed:"
"""Key of the note of an address that is to be released, before segment, address and serial."""
_POOL = "segment-left:"
"""Key of the note of a pool that is to be taken back, before its id."""
_AGAIN_S = 1.0
WAIT_S = 1.5
"""How long a call waits for the northbound database; it then says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreedLease:
    """An address that this host does not hold any more, or may hold without knowing."""

    segment: str
    address: IPAddress
    serial: int | None
    """None: whichever lease that pool has of it; the database could not be asked which."""
    pool: PoolId | None = None

    @property
    def key(self) -> str:
        """Key of its note."""
        return f"{_LEASE}{self.segment}/{self.address}/{self.serial or self.pool}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftPool:
    """A pool that this host does not have any more."""

    segment: str
    pool: PoolId

    @property
    def key(self) -> str:
        """Key of its note."""
        return f"{_POOL}{self.pool}"


Debt = FreedLease | LeftPool


class Debts:
    """Releases that wait; :meth:`run` must run for them to be carried out."""

    def __init__(self, *, notes: HostNotes, northbound: Northbound) -> None:
        self._notes = notes
        self._northbound = northbound
        self._news = asyncio.Event()
        northbound.on_change(lambda segments: self._news.set() if segments is None else None)

    def waiting(self) -> Sequence[Debt]:
        """Return what waits, pools last: with them go what leases they have left."""
        return [*noted(self._notes, _LEASE, FreedLease), *noted(self._notes, _POOL, LeftPool)]

    async def note(self, debt: Debt) -> None:
        """Keep it, durably, and go about it; StoreError."""
        await self._notes.put_note(debt.key, codec.encode(debt))
        self._news.set()

    async def settle(self, debt: Debt) -> None:
        """Carry one out now, if the database answers, and forget it then; UnavailableError."""
        if isinstance(debt, LeftPool):
            await self._northbound.let_go(debt.segment, debt.pool)
        else:
            await self._release(debt)
        await self._notes.forget_note(debt.key)

    async def _release(self, debt: FreedLease) -> None:
        serial = debt.serial
        if serial is None:
            await self._northbound.connected(WAIT_S)
            if debt.key not in self._notes.notes():
                return
            found = self._northbound.lease(debt.segment, debt.address)
            serial = found.serial if found is not None and found.pool == debt.pool else None
        if serial is not None:
            await self._northbound.release(debt.segment, debt.address, serial)

    async def void(self, segment: str, address: IPAddress, pool: PoolId) -> None:
        """Forget that whatever a pool has of an address is to end: it has nothing of it.

        Before the pool takes it anew, as the new lease is not meant.
        """
        debt = FreedLease(segment=segment, address=address, serial=None, pool=pool)
        if debt.key in self._notes.notes():
            await self._notes.forget_note(debt.key)

    def freed(self, segment: str, address: IPAddress, serial: int) -> bool:
        """Whether that lease is to be released."""
        debt = FreedLease(segment=segment, address=address, serial=serial)
        return debt.key in self._notes.notes()

    def left(self, pool: PoolId) -> bool:
        """Whether that pool is to be taken back."""
        return f"{_POOL}{pool}" in self._notes.notes()

    async def run(self) -> None:
        """Carry out what waits whenever the database answers, until cancelled."""
        while True:
            self._news.clear()
            if await self._all_settled():
                await self._news.wait()
            else:
                await asyncio.sleep(_AGAIN_S)

    async def _all_settled(self) -> bool:
        """Carry out what can be; what one debt meets keeps no other one waiting."""
        settled = True
        for debt in self.waiting():
            try:
                await self.settle(debt)
            except (DriverError, IpamError) as error:
                log.debug("segment.debt-deferred", extra={"why": str(error)})
                settled = False
                if not self._northbound.status().connected:
                    break
        return settled
