"""What a person may ask of reserved addresses."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from netaddr import IPAddress

from ipam.errors import IpamError
from ipam.model import DEFAULT_SPACE, PoolId, Reservation
from ipam.service import Ipam
from ovsdriver.admin import asks, views
from ovsdriver.admin.addresses import reservation_report as reports
from ovsdriver.admin.addresses.desk import IpamDesk
from ovsdriver.admin.asks import Answers
from ovsdriver.admin.views import PoolUse
from ovsdriver.errors import InvalidRequestError, UnknownObjectError

log = logging.getLogger(__name__)


class ReservationDesk:
    """Lists, keeps and frees."""

    def __init__(
        self, *, addresses: IpamDesk, ipam: Ipam, clock: Callable[[], float] = time.time
    ) -> None:
        """``addresses`` tells pools and who holds what."""
        self._addresses = addresses
        self._ipam = ipam
        self._clock = clock

    def answers(self) -> Answers:
        """Return what is answered here."""
        return {
            asks.ListReservations: self.reservations,
            asks.Reserve: self.reserve,
            asks.Unreserve: self.remove,
            asks.ApplyReservations: self.apply,
        }

    async def reservations(self, ask: asks.ListReservations) -> tuple[views.Reserved, ...]:
        """Return the reservations in pools, of a network and in a space; all if nothing is said.

        Raises:
            UnknownObjectError, ConflictError: there is no such pool or network, or several.
            StoreError: the store cannot be read.
        """
        pools = await self._addresses.chosen(pool=ask.pool, network=ask.network)
        wanted = [each for each in self._ipam.reservations() if ask.space in ("", each.space)]
        # Thousands take long to put in order; the loop has other callers.
        found = await asyncio.to_thread(reports.located, wanted, pools)
        if ask.pool or ask.network:
            found = [(each, there) for each, there in found if there is not None]
        return await self._shown(found)

    async def reserve(self, ask: asks.Reserve) -> views.Made:
        """Keep an address, by itself or the lowest free one; an empty note leaves the earlier one.

        Without a pool, a network or a space an address is of the space whose pool has it, or of
        the default one. A name that has one of the free ones already keeps that.

        Raises:
            UnknownObjectError: there is no such pool or network, or it has no such address.
            ConflictError: several pools are meant, or pools of several spaces have the address.
            IpamError: see :meth:`ipam.Ipam.reserve`.
        """
        if ask.address is not None:
            of = await self._space_of(ask.address, ask)
            return await self._reserve(ask.address, of, ask)
        if not ask.name:
            raise InvalidRequestError(
                "address: missing; say which one, or a name for the next free"
            )
        pools = await self._addresses.chosen(pool=ask.pool, network=ask.network)
        fitting = reports.reservable([e for e in pools if ask.space in ("", e.pool.space)])
        pool = reports.pool_to_choose_from(fitting, network=ask.network)
        earlier = {(each.space, each.address) for each in self._ipam.reservations()}
        made = await self._ipam.reserve_any(pool.pool.id, name=ask.name, note=ask.note)
        if (made.space, made.address) not in earlier:
            _said("reservation.made", [made])
            return await self._made(made, "added")
        return await self._reserve(made.address, made.space, ask)

    async def _reserve(self, address: IPAddress, space: str, ask: asks.Reserve) -> views.Made:
        wanted = Reservation(space=space, address=address, name=ask.name, note=ask.note)
        before = self._there(space, address)
        if before is not None and before.name == ask.name and not ask.note:
            wanted = replace(wanted, note=before.note)
        changes = await self._change([wanted], prune=(), rename=ask.replace, dry_run=False)
        outcome = "added" if changes.added else "changed" if changes.changed else "same"
        return await self._made(self._there(space, address) or wanted, outcome)

    async def remove(self, ask: asks.Unreserve) -> Reservation:
        """Keep an address for nobody any more.

        Raises:
            UnknownObjectError: it is not reserved.
            ConflictError: it is reserved in several spaces.
            StoreError: it could not be written; it is as it was.
        """
        address = ask.address
        spaces = {each.space for each in self._ipam.reservations() if each.address == address}
        where = ""
        if ask.space or ask.pool or ask.network:
            of = await self._space_of(address, ask)
            spaces &= {of}
            where = f" in space {of}"
        if not spaces:
            raise UnknownObjectError(
                f"{address} is not reserved{where}; `ovsnet ipam reserve` lists all reservations"
            )
        of = reports.only_space(address, spaces, what="reserved")
        removed = await self._ipam.unreserve([(of, address)])
        if not removed:
            raise UnknownObjectError(f"{address} was freed meanwhile; nothing was changed")
        _said("reservation.removed", removed)
        return removed[0]

    async def apply(self, ask: asks.ApplyReservations) -> views.Changes:
        """Keep every address of a list, all or none.

        Raises:
            IpamError: see :meth:`ipam.Ipam.reserve`; the text says which of the list.
        """
        try:
            return await self._change(
                [each.reservation for each in ask.reservations],
                prune=None if ask.prune_all else ask.prune,
                rename=ask.replace,
                dry_run=ask.dry_run,
            )
        except IpamError as error:
            if error.index is None:
                raise
            raise type(error)(f"reservations[{error.index}]: {error}") from error

    async def _change(
        self,
        wanted: Sequence[Reservation],
        *,
        prune: Iterable[str] | None,
        rename: bool,
        dry_run: bool,
    ) -> views.Changes:
        plan = reports.plan(
            self._ipam.reservations(),
            wanted,
            prune=prune,
            rename=rename,
            dry_run=dry_run,
            now=self._clock(),
        )
        if not plan.put and not plan.drop:
            return plan.changes
        try:
            await self._ipam.reserve(plan.put, drop=plan.drop, dry=dry_run)
        except IpamError as error:
            if error.index is not None:
                error.index = plan.places[error.index]
            raise
        if not dry_run:
            _said("reservation.made", plan.changes.added)
            _said("reservation.changed", [each.after for each in plan.changes.changed])
            _said("reservation.removed", plan.changes.removed)
        return plan.changes

    async def _space_of(self, address: IPAddress, where: asks.Where) -> str:
        pool, network, space = where.pool, where.network, where.space
        if space and not pool and not network:
            return space
        pools = await self._addresses.chosen(pool=pool, network=network)
        having = reports.reservable(reports.PoolIndex(pools).having(address))
        spaces = {each.pool.space for each in having if space in ("", each.pool.space)}
        if spaces:
            return reports.only_space(address, spaces, what="an address of pools")
        if pool or network:
            subnets = ", ".join(str(each.pool.subnet) for each in pools)
            of = f"network {network}" if network else f"pool {pool}"
            within = f" in space {space}" if space else ""
            raise UnknownObjectError(
                f"{address} is no address of {of}{within}, which has {subnets}; "
                "choose one of these, or another --network"
            )
        return DEFAULT_SPACE

    async def _made(self, reservation: Reservation, outcome: str) -> views.Made:
        pools = await self._addresses.chosen()
        (shown,) = await self._shown(reports.located([reservation], pools))
        return views.Made(outcome=outcome, reservation=shown)

    async def _shown(
        self, found: Sequence[tuple[Reservation, PoolUse | None]]
    ) -> tuple[views.Reserved, ...]:
        addresses: dict[PoolId, list[IPAddress]] = {}
        for each, there in found:
            if there is not None:
                addresses.setdefault(there.pool.id, []).append(each.address)
        held = {
            pool: await self._addresses.holders(pool, of_pool)
            for pool, of_pool in addresses.items()
        }
        return tuple(
            reports.reserved(each, there, {} if there is None else held[there.pool.id])
            for each, there in found
        )

    def _there(self, space: str, address: IPAddress) -> Reservation | None:
        there = self._ipam.reservations()
        return next((e for e in there if (e.space, e.address) == (space, address)), None)


_LOGGED = 20
"""Of one kind and one change; a file may have thousands."""


def _said(event: str, reservations: Sequence[Reservation]) -> None:
    for each in reservations[:_LOGGED]:
        said = {"space": each.space, "address": each.address, "reserved_for": each.name or None}
        log.info(event, extra=said)
    if len(reservations) > _LOGGED:
        log.info(event, extra={"further": len(reservations) - _LOGGED})
