"""A daemon that says again, at its start, what it holds of an IPAM driver.

dockerd does so for drivers that ask for it (``RequiresRequestReplay``), which we do not, since
our store forgets nothing. But who says it again must hear the same, and nothing may be counted
twice. By its words a replay cannot be told from a second network with the same subnet, nor from a
second container with the same ``--ip``. By its time it can: right after the activation of the
driver, before the daemon's API answers, nobody can have typed anything (recorded with 26 and 29).
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from netaddr import IPAddress

from ipam import AddressRequest, Lease, LeaseKind, Pool, PoolId, PoolRequest

LASTS_S = 60.0
"""Where Docker's API is never seen to answer: longer than a replay of thousands takes."""


class Held(Protocol):
    """What of the IPAM is needed here."""

    def same(self, request: PoolRequest, /) -> Pool | None:
        """Return the pool that is held with that subnet and range."""
        ...

    def lease(self, pool: PoolId, address: IPAddress, /) -> Awaitable[Lease | None]:
        """Return who holds an address."""
        ...


class Replay:
    """What one driver's daemon said again since it activated the driver."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        """Begin closed: a process that starts under a daemon that runs hears no replay."""
        self._clock = clock
        self._ends = float("-inf")
        self._pools: set[PoolId] = set()
        self._serials: set[int] = set()

    def begin(self) -> None:
        """A daemon activated the driver."""
        self._ends = self._clock() + LASTS_S
        self._pools.clear()
        self._serials.clear()

    def end(self) -> None:
        """It does something else by now."""
        self._ends = float("-inf")

    def pool(self, held: Held, request: PoolRequest, *, daemon_answers: bool) -> Pool | None:
        """Return the pool that is asked for again; None if it is a new request."""
        pool = held.same(request) if self._may_be(daemon_answers) else None
        if pool is None or pool.id in self._pools:
            self.end()
            return None
        self._pools.add(pool.id)
        return pool

    async def lease(
        self, held: Held, request: AddressRequest, *, daemon_answers: bool
    ) -> Lease | None:
        """Return the lease that is asked for again; None if it is a new request."""
        if not self._may_be(daemon_answers) or request.pool not in self._pools:
            return None
        lease = await held.lease(request.pool, request.address) if request.address else None
        gateway = request.kind is LeaseKind.GATEWAY
        if lease is None or gateway != (lease.kind is LeaseKind.GATEWAY):
            return None
        if lease.serial in self._serials:
            return None
        self._serials.add(lease.serial)
        return lease

    def _may_be(self, daemon_answers: bool) -> bool:
        return not daemon_answers and self._clock() < self._ends
