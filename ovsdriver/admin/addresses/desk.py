"""What a person may ask of pools and addresses."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from netaddr import IPAddress

from ipam.leasing import Leasing
from ipam.model import Lease, Pool, PoolId
from ovsdriver.admin import asks, views
from ovsdriver.admin.addresses import report as reports
from ovsdriver.admin.asks import Answers
from ovsdriver.admin.fleet.desk import SegmentDesk
from ovsdriver.admin.networks.desk import docker
from ovsdriver.domain.records.model import Endpoint, Network, NetworkId
from ovsdriver.domain.records.segments import segment_of
from ovsdriver.errors import ConflictError, InvalidRequestError, UnknownObjectError
from ovsdriver.ports import Engine, EngineSubnet, EngineView, State
from ovsdriver.service.forgotten.pool_claims import Claims

log = logging.getLogger(__name__)

VIEW_S = 10.0
"""How long Docker's answer is used again: who reads a large pool asks for many pages."""


class IpamDesk:
    """Answers page by page: a pool may have a million leases."""

    def __init__(
        self,
        *,
        state: State,
        ipam: Leasing,
        engine: Engine,
        segments: SegmentDesk | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``segments`` tells who has addresses of pools that several hosts have in common."""
        self._state = state
        self._ipam = ipam
        self._engine = engine
        self._segments = segments
        self._page_of: tuple[PoolId, Sequence[views.LeaseUse]] | None = None
        """The leases of the pool that was asked for last: further pages are of the same reading."""
        self._clock = clock
        self._seen: tuple[float, EngineView | None] | None = None

    def answers(self) -> Answers:
        """Return what is answered here."""
        return {
            asks.ListPools: self.pools,
            asks.ListLeases: self.leases,
            asks.Release: self.release,
            asks.ReleasePool: self.release_pool,
        }

    async def pools(self, ask: asks.ListPools) -> tuple[views.PoolUse, ...]:
        """Return the pools that are meant, all of them if nothing is said.

        Raises:
            UnknownObjectError, ConflictError: see :func:`ovsdriver.admin.addresses.report.either`.
        """
        pools, networks = await self._pools()
        return tuple(reports.either(pools, networks, ask.of))

    async def leases(self, ask: asks.ListLeases) -> views.LeasePage:
        """Return a page of the leases of one pool.

        Raises:
            UnknownObjectError: there is no pool with that id.
            StoreError: the store cannot be read.
        """
        if not 1 <= ask.limit <= asks.PAGE_MOST:
            raise InvalidRequestError(f"limit: {ask.limit} is not from 1 to {asks.PAGE_MOST}")
        state, pool = self._state, PoolId(ask.pool)
        known = self._ipam.pool(pool)
        if known is None:
            raise UnknownObjectError(
                f"ovsnet knows no pool {pool[:80]!r}, or it was released meanwhile; `ovsnet ipam "
                "pools` lists them"
            )
        if ask.after is not None and ask.after.version != known.subnet.version:
            raise InvalidRequestError(f"after: {ask.after} is not of the family of {known.subnet}")
        view = await self._view()
        if self._segments is not None and segment_of(pool) is not None:
            if ask.after is None or self._page_of is None or self._page_of[0] != pool:
                self._page_of = (pool, await self._segments.holders(known, view))
            return _page(self._page_of[1], ask)
        found = await self._ipam.leases(pool, after=ask.after, limit=ask.limit)
        bound = state.network_of_pool(pool)
        owners = _owners(state, bound)
        claim = _claim(state, bound, known, view)
        listed, kept = reports.holders(view, claim), reports.auxiliary(bound, claim, view)
        return views.LeasePage(
            leases=tuple(
                reports.lease_use(
                    each, owners.get(each.serial), view, listed.get(each.address), kept
                )
                for each in found
            ),
            next=found[-1].address if len(found) == ask.limit else None,
        )

    async def chosen(self, *, pool: str = "", network: str = "") -> Sequence[views.PoolUse]:
        """Return the pools that are meant, all of them if nothing is said.

        Raises:
            UnknownObjectError, ConflictError: see :func:`ovsdriver.admin.addresses.report.chosen`.
        """
        uses, networks = await self._pools()
        return reports.chosen(uses, networks, pool=pool, network=network)

    async def holders(
        self, pool: PoolId, addresses: Iterable[IPAddress]
    ) -> Mapping[IPAddress, views.LeaseUse]:
        """Return who holds some addresses of a pool; those that nobody holds are not in it.

        Raises:
            StoreError: the store cannot be read.
        """
        state, ipam = self._state, self._ipam
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

    async def release(self, ask: asks.Release) -> views.Released:
        """Release an address that has no holder any more, or any with ``force``.

        Raises:
            UnknownObjectError: nobody holds it, or there is no such pool or network.
            ConflictError: several pools have it, or it is still needed and ``force`` is not said.
            StoreError: it could not be written; the address is still held.
        """
        state, ipam, address = self._state, self._ipam, ask.address
        wanted = {each.pool.id for each in await self.chosen(pool=ask.pool, network=ask.network)}
        there = [each for each in ipam.pools() if each.id in wanted and address in each.subnet]
        held = [
            (each, lease)
            for each in there
            if (lease := await ipam.lease(each.id, address)) is not None
        ]
        if not held:
            await self._refuse_elsewhere(address, there)
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
        if refusal and not ask.force:
            raise ConflictError(refusal)
        if not await ipam.release_address(lease.pool, address, serial=lease.serial):
            raise UnknownObjectError(f"{address} was released meanwhile; nothing was changed")
        who = reports.holder(use)
        log.warning(
            "lease.released-by-hand",
            extra={"pool": lease.pool, "address": address, "holder": who, "forced": ask.force},
        )
        return views.Released(lease=lease, holder=who)

    async def _refuse_elsewhere(self, address: IPAddress, pools: Sequence[Pool]) -> None:
        """Refuse to release what another host has; ConflictError."""
        if self._segments is None:
            return
        view = await self._view()
        for pool in pools:
            for use in await self._segments.holders(pool, view):
                if use.lease.address == address:
                    raise ConflictError(reports.elsewhere(use))

    async def release_pool(self, ask: asks.ReleasePool) -> views.ReleasedPool:
        """Release a pool that no network has any more, or any with ``force``.

        Raises:
            UnknownObjectError: there is no pool with that id.
            ConflictError: a network has it or may have it, and ``force`` is not said.
            StoreError: it could not be written; the pool is as it was.
        """
        state, ipam, pool = self._state, self._ipam, ask.pool
        if not pool:
            raise InvalidRequestError("pool: missing; say which pool is to be released")
        view = await self._view(fresh=True)
        uses, _ = await self._pools()
        use = next((each for each in uses if each.pool.id == pool), None)
        if use is None:
            raise UnknownObjectError(
                f"ovsnet knows no pool {pool[:80]!r}; `ovsnet ipam pools` lists them"
            )
        known, held = use.pool, use.usage.held
        if segment_of(pool) is not None:
            held = len(await ipam.leases(known.id))  # those of other hosts stay theirs
        refusal = reports.pool_refusal(
            use,
            state.network_of_pool(known.id),
            None if view is None else Claims(view, state.networks()),
            view=view,
            age_s=self._clock() - known.created,
        )
        if refusal and not ask.force:
            raise ConflictError(refusal)
        if not await ipam.release_pool(known.id):
            raise UnknownObjectError(f"pool {pool} was released meanwhile; nothing was changed")
        log.warning(
            "pool.released-by-hand",
            extra={"pool": pool, "subnet": known.subnet, "held": held, "forced": ask.force},
        )
        return views.ReleasedPool(pool=known, addresses=held)

    async def _pools(self) -> tuple[Sequence[views.PoolUse], Mapping[str, str]]:
        state, ipam = self._state, self._ipam
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
        view = await docker(self._engine)
        self._seen = (now, view)
        return view


def _page(uses: Sequence[views.LeaseUse], ask: asks.ListLeases) -> views.LeasePage:
    """Return a page of leases that are in memory anyway."""
    after = ask.after
    rest = [each for each in uses if after is None or each.lease.address > after]
    found = rest[: ask.limit]
    more = len(rest) > len(found)
    return views.LeasePage(leases=tuple(found), next=found[-1].lease.address if more else None)


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
