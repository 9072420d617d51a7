"""Keeping addresses for someone: in the store, and in the pools that are there."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence

from netaddr import IPAddress

from ipam import refusals
from ipam.errors import one_of_several
from ipam.ledger import Ledger
from ipam.model import PoolId, Reservation
from ipam.reservations import Reservations
from ipam.spaces import Spaces
from ipam.store import LeaseStore


class Reserving:
    """Every reservation. One change at a time, each all or nothing."""

    def __init__(
        self,
        reservations: Sequence[Reservation],
        *,
        store: LeaseStore,
        spaces: Spaces,
        pools: Mapping[PoolId, Ledger],
        clock: Callable[[], float],
    ) -> None:
        self._reservations = Reservations(reservations)
        self._store = store
        self._spaces = spaces
        self._pools = pools
        self._clock = clock
        self._changing = asyncio.Lock()

    def all(self) -> Sequence[Reservation]:
        """Return every reservation, by space and ascending address."""
        return tuple(self._reservations)

    def apply(self, ledger: Ledger) -> None:
        """Put a pool's reserved addresses aside in it."""
        for reservation in self._reservations.inside(ledger.pool):
            _keep(ledger, reservation)

    async def put(
        self,
        wanted: Sequence[Reservation],
        *,
        drop: Sequence[tuple[str, IPAddress]],
        replace: bool,
        dry: bool,
    ) -> None:
        """Keep addresses; see :meth:`ipam.Ipam.reserve`."""
        async with self._changing:
            await self._put_aside(wanted, drop=drop, replace=replace, dry=dry)

    async def put_any(self, ledger: Ledger, *, name: str, note: str) -> Reservation | None:
        """Keep the lowest free address of a pool; None if it is full."""
        async with self._changing:
            before = ledger.reserved_for(name) if name else None
            if before is not None:
                return ledger.reserved[before]
            offset = ledger.addresses.pick()
            if offset is None:
                return None
            reservation = Reservation(
                space=ledger.pool.space,
                address=ledger.address(offset),
                name=name,
                note=note,
                created=self._clock(),
            )
            await self._put_aside([reservation])
            return reservation

    async def _put_aside(
        self,
        wanted: Sequence[Reservation],
        *,
        drop: Sequence[tuple[str, IPAddress]] = (),
        replace: bool = False,
        dry: bool = False,
    ) -> None:
        # What is dropped is in nobody's way. It ends before that is written: whoever gets such an
        # address meanwhile keeps it, as any holder does.
        dropped = [each for key in drop if (each := self._drop_reservation(*key)) is not None]
        kept: list[Reservation] = []
        earlier: list[Reservation | None] = []
        try:
            self._reservations.check(wanted, replace=replace)
            self._check_pools_of(wanted)
            if not dry:
                now = self._clock()
                kept = [e if e.created else dataclasses.replace(e, created=now) for e in wanted]
                earlier = [self._reservations.get(each.space, each.address) for each in kept]
                # Before it is written: nobody gets the address meanwhile.
                for each in kept:
                    self._put_reservation(each)
                gone = [(each.space, each.address) for each in dropped]
                await self._store.reserve(put=kept, drop=gone)
                dropped = []
        except BaseException:
            for each, before in zip(kept, earlier, strict=True):
                self._drop_reservation(each.space, each.address)
                if before is not None:
                    self._put_reservation(before)
            raise
        finally:
            for each in dropped:
                self._put_reservation(each)

    async def drop(self, keys: Sequence[tuple[str, IPAddress]]) -> Sequence[Reservation]:
        """Keep addresses for nobody any more; see :meth:`ipam.Ipam.unreserve`."""
        async with self._changing:
            there = [each for each in keys if self._reservations.get(*each) is not None]
            await self._store.reserve(put=(), drop=there)
            return [each for key in there if (each := self._drop_reservation(*key)) is not None]

    def _check_pools_of(self, wanted: Sequence[Reservation]) -> None:
        """Refuse what the pools that are there could never give."""
        names: dict[tuple[PoolId, str], IPAddress] = {}
        for index, each in enumerate(wanted):
            pool = self._spaces.covering(each.space, each.address)
            ledger = self._pools.get(pool.id) if pool else None
            if ledger is not None:
                with one_of_several(index):
                    self._check_pool(ledger, each, names)

    def _check_pool(
        self, ledger: Ledger, wanted: Reservation, names: dict[tuple[PoolId, str], IPAddress]
    ) -> None:
        offset = ledger.offset(wanted.address)
        if offset is None:
            return
        if not ledger.addresses.usable(offset):
            raise refusals.unusable(wanted.address, ledger.pool)
        if ledger.gateway is not None and ledger.gateway.address == wanted.address:
            raise refusals.reserved_gateway(wanted, ledger.pool)
        if wanted.name:
            there = ledger.reserved_for(wanted.name)
            before = names.setdefault(
                (ledger.pool.id, wanted.name),
                wanted.address if there is None else ledger.address(there),
            )
            if before != wanted.address:
                raise refusals.named_already(wanted, ledger.pool, before)

    def _put_reservation(self, reservation: Reservation) -> None:
        self._reservations.put(reservation)
        pool = self._spaces.covering(reservation.space, reservation.address)
        ledger = self._pools.get(pool.id) if pool else None
        if ledger is not None:
            _keep(ledger, reservation)

    def _drop_reservation(self, space: str, address: IPAddress) -> Reservation | None:
        pool = self._spaces.covering(space, address)
        ledger = self._pools.get(pool.id) if pool else None
        offset = ledger.offset(address) if ledger else None
        if ledger is not None and offset is not None:
            ledger.unreserve(offset)
        return self._reservations.drop(space, address)


def _keep(ledger: Ledger, reservation: Reservation) -> None:
    offset = ledger.offset(reservation.address)
    # One that was made before its pool may be that pool's network address.
    if offset is not None and ledger.addresses.usable(offset):
        ledger.reserve(offset, reservation)
