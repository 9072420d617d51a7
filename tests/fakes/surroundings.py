"""A host that uses nothing for itself, on segments where nobody answers."""

from collections.abc import Mapping, Sequence

from netaddr import IPAddress, IPNetwork

from ipam import Occupied, PoolId


class Alone:
    """Fulfils ``ipam.service.Surroundings`` and ``ipam.probing.Prober``."""

    async def occupied(self, within: Sequence[IPNetwork]) -> Sequence[Occupied]:
        return ()

    async def claimed(
        self, pool: PoolId, addresses: Sequence[IPAddress], *, within_s: float
    ) -> Mapping[IPAddress, str]:
        return {}
