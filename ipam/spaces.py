"""Every space's pools, and the choice of a new one; pure."""

from collections.abc import Sequence

from netaddr import IPAddress, IPNetwork

from ipam import refusals
from ipam.model import DefaultPool, Occupied, Pool, PoolId, PoolRequest
from ipam.pools import Block, Runs, Source, Subnets, block


class Spaces:
    """Which subnets are taken in which space, of both families."""

    def __init__(self, *, defaults: Sequence[DefaultPool], exclude: Sequence[IPNetwork]) -> None:
        """Start without pools; see :meth:`ipam.Ipam.load` for the arguments."""
        self._defaults = tuple(defaults)
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

    def remove(self, pool: Pool) -> None:
        """Take out a pool."""
        del self._pools[pool.id]
        key = (pool.space, pool.family)
        self._subnets[key].remove(block(pool.subnet), pool.id)
        if not len(self._subnets[key]):
            del self._subnets[key]

    def overlapping(self, space: str, subnet: IPNetwork) -> Pool | None:
        """Return a pool of the space that shares addresses with a subnet."""
        subnets = self._subnets.get((space, int(subnet.version)))
        other = subnets.overlapping(block(subnet)) if subnets else None
        return None if other is None else self._pools[other]

    def choose(self, request: PoolRequest, occupied: Sequence[Occupied]) -> IPNetwork:
        """Return the next free subnet of the default pools; ExhaustedError if none is left.

        A route counts even where it covers a whole default pool, as a VPN's may; only a default
        route does not, which every host has.
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
        avoid = Runs(block(each.network) for each in avoided)
        picked = subnets.pick(sources, avoid=avoid, prefix=request.prefix)
        if picked is not None:
            return IPNetwork(f"{IPAddress(picked[0], family)}/{picked[1]}")
        avoided.sort(key=lambda each: int(each.network.prefixlen))
        raise refusals.no_subnet_left(
            self.bases(family),
            family=family,
            prefix=request.prefix,
            space=request.space,
            pools=len(subnets),
            blockers=[
                each
                for each in avoided
                if any(_meet(block(each.network), (one.first, one.last)) for one in sources)
            ],
        )


def _meet(one: Block, other: Block) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
