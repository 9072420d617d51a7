"""Keeping addresses for someone: in the store, and in the pools that are there."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence

from netaddr import IPAddress

from ipam import refusals
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

    async def put(self, wanted: Sequence[Reservation], *, replace: bool) -> None:
        """Keep addresses; see :meth:`ipam.Ipam.reserve`."""
        async with self._changing:
            await self._put_aside(wanted, replace=replace)

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
            await self._put_aside([reservation], replace=False)
            return reservation

    async def _put_aside(self, wanted: Sequence[Reservation], *, replace: bool) -> None:
        self._reservations.check(wanted, replace=replace)
        now = self._clock()
        wanted = [
            each if each.created else dataclasses.replace(each, created=now) for each in wanted
        ]
        self._check_pools_of(wanted)
        earlier = [self._reservations.get(each.space, each.address) for each in wanted]
        # Before it is written: nobody gets the address meanwhile.
        for each in wanted:
            self._put_reservation(each)
        try:
            await self._store.reserve(put=wanted)
        except BaseException:
            for each, before in zip(wanted, earlier, strict=True):
                self._drop_reservation(each.space, each.address)
                if before is not None:
                    self._put_reservation(before)
            raise

    async def drop(self, keys: Sequence[tuple[str, IPAddress]]) -> Sequence[Reservation]:
        """Keep addresses for nobody any more; see :meth:`ipam.Ipam.unreserve`."""
        async with self._changing:
            there = [each for each in keys if self._reservations.get(*each) is not None]
            await self._store.reserve(put=(), drop=there)
            return [each for key in there if (each := self._drop_reservation(*key)) is not None]

    def _check_pools_of(self, wanted: Sequence[Reservation]) -> None:
        """Refuse what the pools that are there could never give."""
        names: dict[tuple[PoolId, str], IPAddress] = {}
        for each in wanted:
            pool = self._spaces.covering(each.space, each.address)
            ledger = self._pools.get(pool.id) if pool else None
            offset = ledger.offset(each.address) if ledger else None
            if ledger is None or offset is None:
                continue
            if not ledger.addresses.usable(offset):
                raise refusals.unusable(each.address, ledger.pool)
            if ledger.gateway is not None and ledger.gateway.address == each.address:
                raise refusals.reserved_gateway(each, ledger.pool)
            if each.name:
                there = ledger.reserved_for(each.name)
                before = names.setdefault(
                    (ledger.pool.id, each.name),
                    each.address if there is None else ledger.address(there),
                )
                if before != each.address:
                    raise refusals.named_already(each, ledger.pool, before)

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
