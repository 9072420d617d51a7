"""Every space's pools, how much it may hold, and the choice of a new pool; pure."""

from collections import Counter
from collections.abc import Sequence

from netaddr import IPAddress, IPNetwork

from ipam import refusals
from ipam.choice.pools import Source, Subnets
from ipam.choice.runs import Block, Runs, block
from ipam.model import DefaultPool, Occupied, Pool, PoolId, PoolRequest, SpaceLimit


class Spaces:
    """Which subnets are taken in which space, of both families."""

    def __init__(
        self,
        *,
        defaults: Sequence[DefaultPool],
        exclude: Sequence[IPNetwork],
        limits: Sequence[SpaceLimit],
    ) -> None:
        """Start without pools; see :meth:`ipam.Ipam.load` for the arguments."""
        self._defaults = tuple(defaults)
        self._limits = {each.space: each for each in limits}
        self._counts: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._excluded = [
            Occupied(network=network, why="excluded by the configuration") for network in exclude
        ]
        self._pools: dict[PoolId, Pool] = {}
        self._subnets: dict[tuple[str, int], Subnets] = {}

    def bases(self, family: int) -> list[IPNetwork]:
        """Return what the default pools of a family are cut from."""
        return [each.base for each in self._defaults if each.base.version == family]

    def add(self, pool: Pool) -> None:
        """Put in a pool that overlaps none of its space."""
        self._pools[pool.id] = pool
        subnets = self._subnets.setdefault((pool.space, pool.family), Subnets())
        subnets.add(block(pool.subnet), pool.id)
        self._counts[pool.space] += 1

    def remove(self, pool: Pool) -> None:
        """Take out a pool."""
        del self._pools[pool.id]
        key = (pool.space, pool.family)
        self._subnets[key].remove(block(pool.subnet), pool.id)
        self._counts[pool.space] -= 1
        if not len(self._subnets[key]):
            del self._subnets[key]

    def hold(self, space: str, addresses: int) -> None:
        """Count addresses of a space that are held from now on, or no more if negative."""
        self._held[space] += addresses

    def check_pools(self, space: str) -> None:
        """Refuse a further pool of a space that has as many as it may."""
        limit = self._limits.get(space)
        if limit is not None and limit.pools is not None and self._counts[space] >= limit.pools:
            raise refusals.space_full(space, limit.pools, "pool", "pools")

    def check_addresses(self, space: str) -> None:
        """Refuse a further address of a space that holds as many as it may."""
        limit = self._limits.get(space)
        if limit is None or limit.addresses is None or self._held[space] < limit.addresses:
            return
        raise refusals.space_full(space, limit.addresses, "address", "addresses")

    def covering(self, space: str, address: IPAddress) -> Pool | None:
        """Return the pool of a space that has an address."""
        return self.overlapping(space, IPNetwork(address))

    def overlapping(self, space: str, subnet: IPNetwork) -> Pool | None:
        """Return a pool of the space that shares addresses with a subnet."""
        subnets = self._subnets.get((space, int(subnet.version)))
        other = subnets.overlapping(block(subnet)) if subnets else None
        return None if other is None else self._pools[other]

    def choose(self, request: PoolRequest, occupied: Sequence[Occupied]) -> IPNetwork:
        """Return the next free subnet of the default pools; ExhaustedError if none is left.

        A route counts even where it covers a whole default pool, as a VPN's may; only a default
        route does not, which every host has. What is not ``firm`` counts while there is a choice.
        """
        family = request.family
        sources = [
            Source.of(each.base, each.size)
            for each in self._defaults
            if each.base.version == family
        ]
        avoided = [
            each
            for each in (*occupied, *self._excluded)
            if each.network.version == family and each.network.prefixlen > 0
        ]
        subnets = self._subnets.get((request.space, family)) or Subnets()
        firm = [each for each in avoided if each.firm]
        for among in (avoided, firm):
            avoid = Runs(block(each.network) for each in among)
            picked = subnets.pick(sources, avoid=avoid, prefix=request.prefix)
            if picked is not None:
                return IPNetwork(f"{IPAddress(picked[0], family)}/{picked[1]}")
        firm.sort(key=lambda each: int(each.network.prefixlen))
        raise refusals.no_subnet_left(
            self.bases(family),
            family=family,
            prefix=request.prefix,
            space=request.space,
            pools=len(subnets),
            blockers=[
                each
                for each in firm
                if any(_meet(block(each.network), (one.first, one.last)) for one in sources)
                # a pool's own network makes a route of it, and the pools are counted already
                and not subnets.covers(block(each.network))
            ],
        )


def _meet(one: Block, other: Block) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
