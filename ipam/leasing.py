"""What an IPAM does, wherever it keeps what it gives: on this host alone, or with others."""

from collections.abc import Sequence
from typing import Protocol

from netaddr import IPAddress, IPNetwork

from ipam.model import AddressRequest, Lease, Pool, PoolId, PoolRequest, Usage


class Leasing(Protocol):
    """Pools and leases; every call as :class:`ipam.service.Ipam` describes it.

    What is given is durable, and what is refused is an :class:`~ipam.errors.IpamError`.
    """

    def pools(self) -> Sequence[Pool]:
        """Return every pool of this host."""
        ...

    def pool(self, pool: PoolId) -> Pool | None:
        """Return one pool."""
        ...

    def overlapping(self, request: PoolRequest) -> Pool | None:
        """Return a pool of this host that is in the way of the one that is asked for."""
        ...

    def gateway(self, pool: PoolId) -> Lease | None:
        """Return the lease of a pool's gateway."""
        ...

    def usage(self, pool: PoolId) -> Usage:
        """Return how full a pool is."""
        ...

    def holds(self, lease: Lease) -> bool:
        """Whether the address of a lease is still held by that lease."""
        ...

    def readable(self, pool: PoolId) -> bool:
        """Whether it is known now what is held of a pool; not if that is kept elsewhere, away."""
        ...

    async def lease(self, pool: PoolId, address: IPAddress) -> Lease | None:
        """Return who holds an address by this pool."""
        ...

    async def leases(
        self, pool: PoolId, *, after: IPAddress | None = None, limit: int | None = None
    ) -> Sequence[Lease]:
        """Return a pool's leases by ascending address."""
        ...

    async def request_pool(self, request: PoolRequest) -> Pool:
        """Give a subnet."""
        ...

    async def would_give(self, request: PoolRequest) -> IPNetwork:
        """Return the subnet that :meth:`request_pool` would give now, and take none."""
        ...

    async def release_pool(self, pool: PoolId) -> bool:
        """Release a pool and all of its addresses; False if it is not there."""
        ...

    async def request_address(self, request: AddressRequest) -> Lease:
        """Give an address."""
        ...

    async def release_address(
        self, pool: PoolId, address: IPAddress, *, serial: int | None = None
    ) -> bool:
        """Release an address; False if nobody held it."""
        ...
