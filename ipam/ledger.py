"""One pool in memory: who may have which address next, and what is on its way."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from netaddr import IPAddress

from ipam.addresses import Addresses
from ipam.memory import Memories, Note
from ipam.model import Lease, LeaseKind, Memory, Pool, Usage
from ipam.store import StoredPool


@dataclass(eq=False, slots=True)
class Ledger:
    """A pool. The address of a lease on its way into or out of the store is taken here."""

    pool: Pool
    addresses: Addresses
    memories: Memories
    first: int
    """The subnet's first address."""
    gateway: Lease | None = None
    pending: dict[int, Lease] = field(default_factory=dict)
    """By offset: on their way into the store."""
    leaving: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    """By offset: on their way out; done when it is decided."""
    closing: asyncio.Future[None] | None = None
    """The pool is being released, or was; done when it is decided."""

    @classmethod
    def of(cls, stored: StoredPool) -> "Ledger":
        """Return the ledger of a pool as the store remembers it."""
        pool = stored.pool
        first = int(pool.subnet.first)
        window = None
        if pool.window is not None:
            window = (pool.window.first - first, pool.window.last - first)
        addresses = Addresses(
            family=pool.family,
            prefix=pool.subnet.prefixlen,
            window=window,
            taken=stored.taken,
        )
        memories = Memories(capacity=addresses.capacity)
        return cls(pool, addresses, memories, first, gateway=stored.gateway)

    @property
    def usage(self) -> Usage:
        """How full it is."""
        return Usage(
            held=self.addresses.held, capacity=self.addresses.capacity, free=self.addresses.free
        )

    def offset(self, address: IPAddress) -> int | None:
        """Return an address's distance from the subnet's first; None if it lies outside."""
        if address.version != self.pool.subnet.version:
            return None
        offset = int(address) - self.first
        return offset if 0 <= offset < self.addresses.size else None

    def address(self, offset: int) -> IPAddress:
        """Return the address at a distance from the subnet's first."""
        return IPAddress(self.first + offset, self.pool.family)

    def holds(self, offset: int) -> bool:
        """Whether the address has a holder: one who knows it."""
        return self.addresses.holds(offset) and offset not in self.pending

    def choose(self, kind: LeaseKind, name: str) -> int | None:
        """Return a free address for who names none; None if there is none.

        It is the one that ``name`` had before; else the lowest that nobody had, or, if there is
        none, the lowest.
        """
        if kind is LeaseKind.GATEWAY:
            return self.addresses.pick_gateway()
        before = self.memories.of_name(name) if name else None
        if before is not None and self.addresses.may_choose(before):
            return before
        return self.addresses.pick()

    def begin(self, offset: int, lease: Lease) -> Note | None:
        """Take an address; return what was remembered of it."""
        self.addresses.take(offset)
        self.pending[offset] = lease
        return self._forget(offset)

    def fail(self, offset: int, note: Note | None) -> None:
        """Undo :meth:`begin`."""
        del self.pending[offset]
        self.addresses.put_back(offset)
        if note is not None:
            self._keep(offset, note)

    def succeed(self, offset: int, lease: Lease | None) -> None:
        """Note that a lease is in the store; None: somebody else's is."""
        del self.pending[offset]
        if lease is not None and lease.kind is LeaseKind.GATEWAY:
            self.gateway = lease

    def end(self, offset: int, lease: Lease, now: float) -> tuple[list[Memory], list[IPAddress]]:
        """Free an address; return what is to be remembered of it, and what forgotten."""
        self.addresses.put_back(offset)
        if lease.kind is LeaseKind.GATEWAY:
            self.gateway = None
        if not remembered(lease):
            return [], []
        memory = Memory(address=lease.address, name=lease.name, wanted=lease.wanted, since=now)
        return [memory], self._keep(offset, _note(memory))

    def recall(self, memories: Iterable[Memory]) -> list[IPAddress]:
        """Take over what the store remembers, the oldest first; return what is to be forgotten."""
        forgotten = []
        for memory in memories:
            offset = int(memory.address) - self.first
            # Somebody has the address by now; when it is released, that is remembered instead.
            if not self.addresses.holds(offset):
                forgotten += self._keep(offset, _note(memory))
        return forgotten

    def outdated(self, now: float) -> list[IPAddress]:
        """Forget the names that are too old; return their addresses."""
        return self._keep_no_more(self.memories.outdated(now))

    def _keep(self, offset: int, note: Note) -> list[IPAddress]:
        self.addresses.keep(offset)
        return self._keep_no_more(self.memories.note(offset, note))

    def _keep_no_more(self, offsets: list[int]) -> list[IPAddress]:
        for offset in offsets:
            self.addresses.keep_no_more(offset)
        return [self.address(offset) for offset in offsets]

    def _forget(self, offset: int) -> Note | None:
        note = self.memories.forget(offset)
        if note is not None:
            self.addresses.keep_no_more(offset)
        return note


def remembered(lease: Lease) -> bool:
    """Whether who had the address may want it again."""
    return lease.kind is LeaseKind.ENDPOINT and (lease.wanted or bool(lease.name))


def _note(memory: Memory) -> Note:
    return Note(memory.name, memory.wanted, memory.since)
