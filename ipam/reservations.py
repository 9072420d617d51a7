"""Addresses that are kept for someone, in every space: in the store, and in the pools there are."""

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from netaddr import IPAddress

from ipam import checks, refusals
from ipam.errors import one_of_several
from ipam.ledger import Ledger
from ipam.model import PoolId, Reservation
from ipam.spaces import Spaces
from ipam.store import LeaseStore

MOST = 10_000
"""Of a space: each is looked at when a pool of it is made."""


class Reservations:
    """One for each address of a space, whether the address has a pool or not.

    One change at a time, each all or nothing.
    """

    def __init__(
        self,
        reservations: Iterable[Reservation],
        *,
        store: LeaseStore,
        spaces: Spaces,
        pools: Mapping[PoolId, Ledger],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._spaces = spaces
        self._pools = pools
        self._clock = clock
        self._changing = asyncio.Lock()
        self._kept: dict[str, dict[IPAddress, Reservation]] = {}
        """By space."""
        for each in reservations:
            self._kept.setdefault(each.space, {})[each.address] = each

    def all(self) -> Sequence[Reservation]:
        """Return every reservation, by space and ascending address."""
        return tuple(
            of_space[address]
            for _, of_space in sorted(self._kept.items())
            for address in sorted(of_space)
        )

    def apply(self, ledger: Ledger) -> None:
        """Put a pool's reserved addresses aside in it."""
        of_space = self._kept.get(ledger.pool.space, {})
        for address in sorted(of_space):
            _put_aside(ledger, of_space[address])

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
            await self._put(wanted, drop=drop, replace=replace, dry=dry)

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
            await self._put([reservation])
            return reservation

    async def drop(self, keys: Sequence[tuple[str, IPAddress]]) -> Sequence[Reservation]:
        """Keep addresses for nobody any more; see :meth:`ipam.Ipam.unreserve`."""
        async with self._changing:
            there = [each for each in keys if self._of(*each) is not None]
            await self._store.reserve(put=(), drop=there)
            return [each for key in there if (each := self._forget(*key)) is not None]

    async def _put(
        self,
        wanted: Sequence[Reservation],
        *,
        drop: Sequence[tuple[str, IPAddress]] = (),
        replace: bool = False,
        dry: bool = False,
    ) -> None:
        # What is dropped is in nobody's way. It ends before that is written: whoever gets such an
        # address meanwhile keeps it, as any holder does.
        dropped = [each for key in drop if (each := self._forget(*key)) is not None]
        kept: list[Reservation] = []
        earlier: list[Reservation | None] = []
        try:
            self._check(wanted, replace=replace)
            self._check_pools_of(wanted)
            if not dry:
                now = self._clock()
                kept = [e if e.created else dataclasses.replace(e, created=now) for e in wanted]
                earlier = [self._of(each.space, each.address) for each in kept]
                # Before it is written: nobody gets the address meanwhile.
                for each in kept:
                    self._keep(each)
                gone = [(each.space, each.address) for each in dropped]
                await self._store.reserve(put=kept, drop=gone)
                dropped = []
        except BaseException:
            for each, before in zip(kept, earlier, strict=True):
                self._forget(each.space, each.address)
                if before is not None:
                    self._keep(before)
            raise
        finally:
            for each in dropped:
                self._keep(each)

    def _check(self, wanted: Sequence[Reservation], *, replace: bool) -> None:
        """Refuse what makes no sense by itself, or beside those that are there."""
        seen: dict[tuple[str, IPAddress], Reservation] = {}
        for index, each in enumerate(wanted):
            key = (each.space, each.address)
            with one_of_several(index):
                checks.reservation(each)
                earlier = seen.get(key) or self._of(*key)
                other = earlier is not None and earlier.name != each.name
                if earlier is not None and other and (key in seen or not replace):
                    raise refusals.reserved_already(each, earlier)
            seen[key] = each
        for space in {each.space for each in wanted}:
            there = set(self._kept.get(space, {}))
            there |= {each.address for each in wanted if each.space == space}
            if len(there) > MOST:
                raise refusals.too_many_reservations(space, MOST)

    def _check_pools_of(self, wanted: Sequence[Reservation]) -> None:
        """Refuse what the pools that are there could never give."""
        names: dict[tuple[PoolId, str], IPAddress] = {}
        for index, each in enumerate(wanted):
            ledger = self._ledger(each.space, each.address)
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

    def _of(self, space: str, address: IPAddress) -> Reservation | None:
        return self._kept.get(space, {}).get(address)

    def _ledger(self, space: str, address: IPAddress) -> Ledger | None:
        pool = self._spaces.covering(space, address)
        return self._pools.get(pool.id) if pool else None

    def _keep(self, reservation: Reservation) -> None:
        space, address = reservation.space, reservation.address
        self._kept.setdefault(space, {})[address] = reservation
        ledger = self._ledger(space, address)
        if ledger is not None:
            _put_aside(ledger, reservation)

    def _forget(self, space: str, address: IPAddress) -> Reservation | None:
        ledger = self._ledger(space, address)
        offset = ledger.offset(address) if ledger else None
        if ledger is not None and offset is not None:
            ledger.unreserve(offset)
        of_space = self._kept.get(space, {})
        forgotten = of_space.pop(address, None)
        if not of_space:
            self._kept.pop(space, None)
        return forgotten


def _put_aside(ledger: Ledger, reservation: Reservation) -> None:
    offset = ledger.offset(reservation.address)
    # One that was made before its pool may be that pool's network address.
    if offset is not None and ledger.addresses.usable(offset):
        ledger.reserve(offset, reservation)
