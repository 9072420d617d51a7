"""What a person may ask of pools and addresses, over the admin socket."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from netaddr import IPAddress

from ipam.model import Lease, Pool, PoolId
from ipam.service import Ipam
from ovsdriver.admin import ipam_report as reports
from ovsdriver.domain.records.model import Endpoint, Network, NetworkId
from ovsdriver.errors import ConflictError, UnavailableError, UnknownObjectError
from ovsdriver.ports import Engine, EngineSubnet, EngineView, State
from ovsdriver.service.forgotten.pool_claims import Claims

log = logging.getLogger(__name__)

VIEW_S = 10.0
"""How long Docker's answer is used again: who reads a large pool asks for many pages."""


class IpamConsole:
    """Answers once the store is open, and page by page: a pool may have a million leases."""

    def __init__(
        self,
        *,
        engine: Engine,
        degraded: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._degraded = degraded
        self._clock = clock
        self._works: tuple[State, Ipam] | None = None
        self._seen: tuple[float, EngineView | None] | None = None

    def ready(self, *, state: State, ipam: Ipam) -> None:
        """Answer from now on."""
        self._works = (state, ipam)

    async def pools(self, text: str = "") -> Sequence[reports.PoolUse]:
        """Return the pools that ``text`` means, a pool or a network; all of them if it is empty.

        Raises:
            UnknownObjectError, ConflictError: see :func:`ovsdriver.admin.ipam_report.either`.
            UnavailableError: the store is not open.
        """
        pools, networks = await self._pools()
        return reports.either(pools, networks, text)

    async def leases(self, pool: str, *, after: IPAddress | None, limit: int) -> reports.LeasePage:
        """Return the leases of one pool above ``after``, at most ``limit``.

        Raises:
            UnknownObjectError: there is no pool with that id.
            UnavailableError: the store is not open.
            StoreError: the store cannot be read.
        """
        state, ipam = self._require()
        known = ipam.pool(PoolId(pool))
        if known is None:
            raise UnknownObjectError(
                f"pool {pool[:80]!r} is not known here, or was released meanwhile; "
                "`ovsnet ipam pools` lists those that are"
            )
        view = await self._view()
        found = await ipam.leases(PoolId(pool), after=after, limit=limit)
        bound = state.network_of_pool(PoolId(pool))
        owners = _owners(state, bound)
        claim = _claim(state, bound, known, view)
        listed, kept = reports.holders(view, claim), reports.auxiliary(bound, claim, view)
        return reports.LeasePage(
            leases=tuple(
                reports.lease_use(
                    each, owners.get(each.serial), view, listed.get(each.address), kept
                )
                for each in found
            ),
            next=str(found[-1].address) if len(found) == limit else None,
        )

    async def chosen(self, *, pool: str = "", network: str = "") -> Sequence[reports.PoolUse]:
        """Return the pools that are meant, all of them if nothing is said.

        Raises:
            UnknownObjectError, ConflictError: see :func:`ovsdriver.admin.ipam_report.chosen`.
            UnavailableError: the store is not open.
        """
        uses, networks = await self._pools()
        return reports.chosen(uses, networks, pool=pool, network=network)

    async def holders(
        self, pool: PoolId, addresses: Iterable[IPAddress]
    ) -> Mapping[IPAddress, reports.LeaseUse]:
        """Return who holds some addresses of a pool; those that nobody holds are not in it.

        Raises:
            UnavailableError: the store is not open.
            StoreError: the store cannot be read.
        """
        state, ipam = self._require()
        view = await self._view()
        bound = state.network_of_pool(pool)
        owners = _owners(state, bound)
        claim = _claim(state, bound, ipam.pool(pool), view)
        listed, kept = reports.holders(view, claim), reports.auxiliary(bound, claim, view)
        found = {}
        for address in addresses:
            lease = await ipam.lease(pool, address)
            if lease is not None:
                found[address] = reports.lease_use(
                    lease, owners.get(lease.serial), view, listed.get(address), kept
                )
        return found

    async def release(
        self, address: IPAddress, *, pool: str = "", network: str = "", force: bool = False
    ) -> reports.Released:
        """Release an address that has no holder any more, or any with ``force``.

        Raises:
            UnknownObjectError: nobody holds it, or there is no such pool or network.
            ConflictError: several pools have it, or it is still needed and ``force`` is not said.
            UnavailableError: the store is not open.
            StoreError: it could not be written; the address is still held.
        """
        state, ipam = self._require()
        uses, networks = await self._pools()
        wanted = {each.id for each in reports.chosen(uses, networks, pool=pool, network=network)}
        there = [each for each in ipam.pools() if each.id in wanted and address in each.subnet]
        held = [
            (each, lease)
            for each in there
            if (lease := await ipam.lease(each.id, address)) is not None
        ]
        lease = reports.only(held, address, [str(each.subnet) for each in there])
        view = await self._view(fresh=True)
        bound = state.network_of_pool(lease.pool)
        endpoint = _owner(state, bound, lease)
        claim = _claim(state, bound, ipam.pool(lease.pool), view)
        listed = reports.holders(view, claim).get(address)
        kept = reports.auxiliary(bound, claim, view)
        use = reports.lease_use(lease, endpoint, view, listed, kept)
        age_s = self._clock() - lease.created
        refusal = reports.refusal(use, bound, endpoint, age_s=age_s, claim=claim)
        if refusal and not force:
            raise ConflictError(refusal)
        if not await ipam.release_address(lease.pool, address, serial=lease.serial):
            raise UnknownObjectError(f"{address} was released meanwhile; nothing was changed")
        who = reports.holder(use)
        log.warning(
            "lease.released-by-hand",
            extra={"pool": lease.pool, "address": address, "holder": who, "forced": force},
        )
        return reports.Released(address=str(address), pool=lease.pool, holder=who)

    async def release_pool(self, pool: str, *, force: bool = False) -> reports.ReleasedPool:
        """Release a pool that no network has any more, or any with ``force``.

        Raises:
            UnknownObjectError: there is no pool with that id.
            ConflictError: a network has it or may have it, and ``force`` is not said.
            UnavailableError: the store is not open.
            StoreError: it could not be written; the pool is as it was.
        """
        state, ipam = self._require()
        view = await self._view(fresh=True)
        uses, _ = await self._pools()
        use = next((each for each in uses if each.id == pool), None)
        known = ipam.pool(PoolId(pool))
        if use is None or known is None:
            raise UnknownObjectError(
                f"pool {pool[:80]!r} is not known here; `ovsnet ipam pools` lists those that are"
            )
        refusal = reports.pool_refusal(
            use,
            state.network_of_pool(known.id),
            None if view is None else Claims(view, state.networks()),
            known,
            view=view,
            age_s=self._clock() - known.created,
        )
        if refusal and not force:
            raise ConflictError(refusal)
        if not await ipam.release_pool(known.id):
            raise UnknownObjectError(f"pool {pool} was released meanwhile; nothing was changed")
        log.warning(
            "pool.released-by-hand",
            extra={"pool": pool, "subnet": use.subnet, "held": use.held, "forced": force},
        )
        return reports.ReleasedPool(
            pool=pool, space=use.space, subnet=use.subnet, addresses=use.held
        )

    def _require(self) -> tuple[State, Ipam]:
        if self._works is None:
            raise UnavailableError(self._degraded() or "ovsnet is still starting; try again")
        return self._works

    async def _pools(self) -> tuple[Sequence[reports.PoolUse], Mapping[str, str]]:
        state, ipam = self._require()
        # A network may be asked for by name the moment after it was made.
        view = await self._view(fresh=True)
        names = {} if view is None else view.networks
        claims = None if view is None else Claims(view, state.networks())
        now = self._clock()
        # Nothing is awaited from here on, so that no pool goes meanwhile.
        pools = [
            reports.pool_use(
                each,
                usage=ipam.usage(each.id),
                gateway=ipam.gateway(each.id),
                network=state.network_of_pool(each.id),
                view=view,
                claims=claims,
                age_s=now - each.created,
            )
            for each in ipam.pools()
        ]
        known = {each.id for each in state.networks()}
        known |= {NetworkId(each.network) for each in pools if each.network is not None}
        return pools, {each: names.get(each, "") for each in known}

    async def _view(self, *, fresh: bool = False) -> EngineView | None:
        """Return what Docker says, not older than ``VIEW_S``; None if it does not answer.

        Who is about to change something asks for a ``fresh`` answer.
        """
        now = self._clock()
        if not fresh and self._seen is not None and 0 <= now - self._seen[0] < VIEW_S:
            return self._seen[1]
        try:
            view = await self._engine.read()
        except UnavailableError:
            view = None
        self._seen = (now, view)
        return view


def _owners(state: State, network: Network | None) -> Mapping[int, Endpoint]:
    """Return the endpoints of a network by the serials of their leases."""
    if network is None:
        return {}
    return {serial: each for each in state.endpoints(network.id) for serial in each.leases}


def _claim(
    state: State, bound: Network | None, pool: Pool | None, view: EngineView | None
) -> EngineSubnet | None:
    """Return the subnet in Docker that has ``pool``, where no network of ours has it."""
    if bound is not None or pool is None or view is None:
        return None
    return Claims(view, state.networks()).certain(pool)


def _owner(state: State, network: Network | None, lease: Lease) -> Endpoint | None:
    if network is None:
        return None
    return _owners(state, network).get(lease.serial) or state.endpoint_at(network.id, lease.address)
