"""The port: where pools and leases are kept.

An adapter of it may be a file on this host or a service that several hosts share. It decides
nothing but one thing: an address has at most one holder, whoever asks first. Everything that is
chosen is chosen above.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from netaddr import IPAddress

from ipam.model import Lease, Memory, Pool, PoolId, Reservation


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPool:
    """A pool and as much of its leases as is needed to give out further ones."""

    pool: Pool
    taken: Mapping[int, int] = field(default_factory=dict)
    """Offsets of the held addresses from the subnet's first, packed by :func:`ipam.bitmap.pack`."""
    gateway: Lease | None = None
    auxiliary: int = 0
    """How many leases are of the kind :attr:`~ipam.model.LeaseKind.AUX`."""
    memories: Sequence[Memory] = ()
    """Of addresses that were free when they were noted, the oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """All that the store holds, without who holds each address."""

    epoch: int
    """A number that no earlier or other reader got, 1 or more: serials and ids begin with it."""
    pools: Sequence[StoredPool] = ()
    reservations: Sequence[Reservation] = ()


Told = Callable[[bool, BaseException | None], None]
"""Hears what came of a call; with an exception the rest means nothing. It does not raise."""


class LeaseStore(Protocol):
    """Pools and leases, durable.

    A call that writes returns when what it wrote survives a power cut. It raises
    :class:`~ipam.errors.StoreError` if nothing was written, and only then. Writes take effect in
    the order in which they were called; a caller that is cancelled does not take its write back.
    """

    async def load(self) -> Contents:
        """Return everything, under a new epoch, which is durable before.

        StoreError also if a row has no meaning for us. Then nothing can be given out safely: that
        row may hold an address.
        """
        ...

    async def add_pool(self, pool: Pool) -> bool:
        """Keep a new pool; False if the space has that subnet."""
        ...

    async def remove_pool(self, pool: PoolId) -> bool:
        """Drop a pool and all its leases; False if it is not there."""
        ...

    def add_lease(self, lease: Lease, told: Told) -> None:
        """Keep a new lease; False if the address has a holder. StoreError without its pool.

        ``told`` is called once, later, on the loop, in the order of the calls. It is not awaited,
        because of thousands a second a task and a future would cost more than all the rest.
        """
        ...

    async def remove_lease(
        self,
        pool: PoolId,
        address: IPAddress,
        *,
        serial: int | None = None,
        since: float | None = None,
    ) -> Lease | None:
        """Drop a lease and return it; None if it is not there, or has another serial.

        With ``since`` an endpoint's lease leaves a memory of that time in the same write.
        """
        ...

    async def remember(
        self, pool: PoolId, *, memories: Sequence[Memory], forget: Sequence[IPAddress]
    ) -> None:
        """Note who had addresses, in place of what was noted of them, and forget other ones.

        Nothing depends on it but the choice among free addresses. Without the pool: no effect.
        """
        ...

    async def reserve(
        self, *, put: Sequence[Reservation], drop: Sequence[tuple[str, IPAddress]] = ()
    ) -> None:
        """Keep reservations, in place of those of the same space and address, and drop others."""
        ...

    async def lease(self, pool: PoolId, address: IPAddress) -> Lease | None:
        """Return who holds an address."""
        ...

    async def leases(
        self, pool: PoolId, *, after: IPAddress | None = None, limit: int | None = None
    ) -> Sequence[Lease]:
        """Return leases by ascending address: those above ``after``, at most ``limit``."""
        ...

    async def names(self, pool: PoolId, *, most: int) -> Sequence[str]:
        """Return a few names that a pool's leases have, the lowest addresses first.

        It looks at a bounded number of leases only: it may return fewer than there are.
        """
        ...
