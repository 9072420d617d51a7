"""What a person may ask of reserved addresses, over the admin socket."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from netaddr import IPAddress

from ipam.errors import IpamError
from ipam.model import DEFAULT_SPACE, PoolId, Reservation
from ipam.service import Ipam
from ovsdriver.admin import reservation_report as reports
from ovsdriver.admin.desk_ipam import IpamConsole
from ovsdriver.admin.ipam_report import PoolUse
from ovsdriver.errors import UnavailableError, UnknownObjectError

log = logging.getLogger(__name__)


class ReservationConsole:
    """Answers once the store is open."""

    def __init__(self, *, addresses: IpamConsole, degraded: Callable[[], str]) -> None:
        """Build it.

        Args:
            addresses: tells pools and who holds what.
            degraded: says why only a part of the work is done.
        """
        self._addresses = addresses
        self._degraded = degraded
        self._ipam: Ipam | None = None

    def ready(self, *, ipam: Ipam) -> None:
        """Answer from now on."""
        self._ipam = ipam

    async def reservations(
        self, *, pool: str = "", network: str = "", space: str = ""
    ) -> Sequence[reports.Reserved]:
        """Return the reservations in pools, of a network and in a space; all if nothing is said.

        Raises:
            UnknownObjectError, ConflictError: there is no such pool or network, or several.
            UnavailableError: the store is not open.
            StoreError: the store cannot be read.
        """
        ipam = self._require()
        pools = await self._addresses.chosen(pool=pool, network=network)
        wanted = [each for each in ipam.reservations() if space in ("", each.space)]
        # Thousands take long to put in order; the loop has other callers.
        found = await asyncio.to_thread(reports.located, wanted, pools)
        if pool or network:
            found = [(each, there) for each, there in found if there is not None]
        return await self._shown(found)

    async def reserve(
        self,
        address: IPAddress,
        *,
        name: str = "",
        note: str = "",
        pool: str = "",
        network: str = "",
        space: str = "",
        rename: bool = False,
    ) -> reports.Made:
        """Keep an address; an empty ``note`` leaves the earlier one.

        Without a pool, a network or a space it is the space whose pool has the address, or the
        default one.

        Raises:
            UnknownObjectError: there is no such pool or network, or it has no such address.
            ConflictError: pools of several spaces have the address.
            IpamError: see :meth:`ipam.Ipam.reserve`.
            UnavailableError: the store is not open.
        """
        ipam = self._require()
        of = await self._space_of(address, pool=pool, network=network, space=space)
        wanted = Reservation(space=of, address=address, name=name, note=note)
        before = _there(ipam, of, address)
        if before is not None and before.name == name and not note:
            wanted = replace(wanted, note=before.note)
        changes = await self._change([wanted], prune=(), rename=rename, dry_run=False)
        outcome = "added" if changes.added else "changed" if changes.changed else "same"
        return await self._made(_there(ipam, of, address) or wanted, outcome)

    async def reserve_any(
        self, *, name: str, note: str = "", pool: str = "", network: str = "", space: str = ""
    ) -> reports.Made:
        """Keep the lowest free address of a network's or of the only pool that fits.

        A name that has one there already keeps that.

        Raises:
            UnknownObjectError, ConflictError: there is no such pool or network, or several.
            IpamError: see :meth:`ipam.Ipam.reserve_any`.
            UnavailableError: the store is not open.
        """
        ipam = self._require()
        pools = await self._addresses.chosen(pool=pool, network=network)
        fitting = [each for each in pools if space in ("", each.space)]
        of = reports.pool_to_choose_from(fitting, network=network)
        earlier = {(each.space, each.address) for each in ipam.reservations()}
        made = await ipam.reserve_any(PoolId(of.id), name=name, note=note)
        if (made.space, made.address) not in earlier:
            _said("reservation.made", [reports.Entry.of(made)])
            return await self._made(made, "added")
        return await self.reserve(made.address, name=name, note=note, space=made.space)

    async def remove(
        self, address: IPAddress, *, pool: str = "", network: str = "", space: str = ""
    ) -> reports.Entry:
        """Keep an address for nobody any more.

        Raises:
            UnknownObjectError: it is not reserved.
            ConflictError: it is reserved in several spaces.
            StoreError: it could not be written; it is as it was.
            UnavailableError: the store is not open.
        """
        ipam = self._require()
        spaces = {each.space for each in ipam.reservations() if each.address == address}
        where = ""
        if space or pool or network:
            of = await self._space_of(address, pool=pool, network=network, space=space)
            spaces &= {of}
            where = f" in space {of}"
        if not spaces:
            raise UnknownObjectError(
                f"{address} is not reserved{where}; `ovsnet ipam reserve` lists those that are"
            )
        of = reports.only_space(address, spaces, what="reserved")
        removed = await ipam.unreserve([(of, address)])
        if not removed:
            raise UnknownObjectError(f"{address} was freed meanwhile; nothing was changed")
        entry = reports.Entry.of(removed[0])
        _said("reservation.removed", [entry])
        return entry

    async def apply(
        self,
        wanted: Sequence[Reservation],
        *,
        prune: Iterable[str] | None = (),
        rename: bool = False,
        dry_run: bool = False,
    ) -> reports.Changes:
        """Keep every address of a list, all or none.

        Args:
            wanted: the list.
            prune: spaces whose further reservations end; None: of every space.
            rename: an address may be put aside for another name than it is.
            dry_run: change nothing, only say what would be changed, or refused.

        Raises:
            IpamError: see :meth:`ipam.Ipam.reserve`; ``index`` is the place in the list.
            UnavailableError: the store is not open.
        """
        return await self._change(wanted, prune=prune, rename=rename, dry_run=dry_run)

    def _require(self) -> Ipam:
        if self._ipam is None:
            raise UnavailableError(self._degraded() or "ovsnet is still starting; try again")
        return self._ipam

    async def _change(
        self,
        wanted: Sequence[Reservation],
        *,
        prune: Iterable[str] | None,
        rename: bool,
        dry_run: bool,
    ) -> reports.Changes:
        ipam = self._require()
        plan = reports.plan(
            ipam.reservations(), wanted, prune=prune, rename=rename, dry_run=dry_run
        )
        if not plan.put and not plan.drop:
            return plan.changes
        try:
            await ipam.reserve(plan.put, drop=plan.drop, dry=dry_run)
        except IpamError as error:
            if error.index is not None:
                error.index = plan.places[error.index]
            raise
        if not dry_run:
            _said("reservation.made", plan.changes.added)
            _said("reservation.changed", [each.after for each in plan.changes.changed])
            _said("reservation.removed", plan.changes.removed)
        return plan.changes

    async def _space_of(self, address: IPAddress, *, pool: str, network: str, space: str) -> str:
        if space and not pool and not network:
            return space
        pools = await self._addresses.chosen(pool=pool, network=network)
        having = reports.PoolIndex(pools).having(address)
        spaces = {each.space for each in having if space in ("", each.space)}
        if spaces:
            return reports.only_space(address, spaces, what="an address of pools")
        if pool or network:
            subnets = ", ".join(each.subnet for each in pools)
            of = f"network {network}" if network else f"pool {pool}"
            within = f" in space {space}" if space else ""
            raise UnknownObjectError(
                f"{address} is no address of {of}{within}, which has {subnets}; "
                "choose one of these, or another --network"
            )
        return DEFAULT_SPACE

    async def _made(self, reservation: Reservation, outcome: str) -> reports.Made:
        pools = await self._addresses.chosen()
        (shown,) = await self._shown(reports.located([reservation], pools))
        return reports.Made(outcome=outcome, reservation=shown)

    async def _shown(
        self, found: Sequence[tuple[Reservation, PoolUse | None]]
    ) -> Sequence[reports.Reserved]:
        addresses: dict[str, list[IPAddress]] = {}
        for each, pool in found:
            if pool is not None:
                addresses.setdefault(pool.id, []).append(each.address)
        held = {
            pool: await self._addresses.holders(PoolId(pool), of_pool)
            for pool, of_pool in addresses.items()
        }
        return [
            reports.reserved(each, pool, {} if pool is None else held[pool.id])
            for each, pool in found
        ]


def _there(ipam: Ipam, space: str, address: IPAddress) -> Reservation | None:
    fitting = (e for e in ipam.reservations() if (e.space, e.address) == (space, address))
    return next(fitting, None)


_LOGGED = 20
"""Of one kind and one change; a file may have thousands."""


def _said(event: str, entries: Sequence[reports.Entry]) -> None:
    for each in entries[:_LOGGED]:
        said = {"space": each.space, "address": each.address, "reserved_for": each.name or None}
        log.info(event, extra=said)
    if len(entries) > _LOGGED:
        log.info(event, extra={"further": len(entries) - _LOGGED})
