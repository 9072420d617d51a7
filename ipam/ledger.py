"""One pool in memory: who may have which address next, and what is on its way."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from netaddr import IPAddress

from ipam.choice.addresses import Addresses
from ipam.choice.last_given import Memories, Note
from ipam.choice.resting import Resting
from ipam.choice.runs import Block
from ipam.model import Lease, LeaseKind, Memory, Pool, Reservation, Usage
from ipam.store import StoredPool


class Changes(NamedTuple):
    """What the store is to remember of a pool's free addresses from now on."""

    remember: list[Memory]
    forget: list[IPAddress]


NOTHING = Changes([], [])

CONTESTED_S = 60.0
"""How long an address that someone on the segment answers for is not chosen."""


@dataclass(eq=False, slots=True)
class Ledger:
    """A pool. The address of a lease on its way into or out of the store is taken here."""

    pool: Pool
    addresses: Addresses
    memories: Memories
    first: int
    """The subnet's first address."""
    keeps_first: bool = False
    gateway: Lease | None = None
    auxiliary: int = 0
    """How many leases are of the kind AUX."""
    pending: dict[int, Lease] = field(default_factory=dict)
    """By offset: on their way into the store."""
    leaving: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    """By offset: on their way out; done when it is decided."""
    closing: asyncio.Future[None] | None = None
    """The pool is being released, or was; done when it is decided."""
    trying: set[int] = field(default_factory=set)
    """Offsets that are taken while the segment is asked for them."""
    reserved: dict[int, Reservation] = field(default_factory=dict)
    resting: Resting = field(default_factory=lambda: Resting(0))
    """In quarantine."""
    on_request: frozenset[int] = frozenset()
    """Offsets that are given only to who asks for them, as its network wants it now."""
    contested: Resting = field(default_factory=lambda: Resting(CONTESTED_S))
    """Somebody on the segment answers for them."""
    quiet: bool = True
    """:meth:`wake` would find nothing, as in most pools: nothing rests, no name is remembered."""
    _unsaid: Changes = field(default_factory=lambda: Changes([], []))
    _reserved_names: dict[str, set[int]] = field(default_factory=dict)
    """Several only if they were reserved before the pool was there."""

    @classmethod
    def of(cls, stored: StoredPool, *, keeps_first: bool = False) -> "Ledger":
        """Return the ledger of a pool as the store remembers it.

        ``keeps_first``: its first address is chosen for nobody while it has no gateway.
        """
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
            excluded=_offsets(pool),
        )
        addresses.first_kept = keeps_first and stored.gateway is None
        memories = Memories(capacity=addresses.capacity)
        resting = Resting(pool.quarantine_s)
        return cls(
            pool,
            addresses,
            memories,
            first,
            gateway=stored.gateway,
            auxiliary=stored.auxiliary,
            resting=resting,
            keeps_first=keeps_first,
        )

    @property
    def usage(self) -> Usage:
        """How full it is."""
        free = self.addresses.free
        if self.pool.limit is not None:
            free = min(free, max(0, self.pool.limit - self.held))
        return Usage(
            held=self.held,
            capacity=self.addresses.capacity,
            free=free,
            reserved=len(self.reserved),
            resting=len(self.resting) + len(self.contested),
        )

    @property
    def held(self) -> int:
        """How many addresses have a holder, or are on their way to one."""
        return self.addresses.held - len(self.trying)

    def counts(self) -> Mapping[LeaseKind, int]:
        """How many addresses of each kind are held, or are on their way to a holder."""
        coming = [lease.kind for lease in self.pending.values()]
        gateways = int(self.gateway is not None) + coming.count(LeaseKind.GATEWAY)
        auxiliary = self.auxiliary + coming.count(LeaseKind.AUX)
        return {
            LeaseKind.ENDPOINT: self.held - gateways - auxiliary,
            LeaseKind.GATEWAY: gateways,
            LeaseKind.AUX: auxiliary,
        }

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
        return (
            self.addresses.holds(offset)
            and offset not in self.pending
            and offset not in self.trying
        )

    def choose(self, kind: LeaseKind, name: str) -> int | None:
        """Return a free address for who names none; None if there is none.

        It is the one that is reserved for ``name``, or that it had before; else the lowest that
        nobody had, or, if there is none, the lowest.
        """
        if kind is LeaseKind.GATEWAY:
            return self.addresses.pick_gateway()
        if name:
            kept = self.reserved_for(name)
            if kept is not None and not self.addresses.holds(kept) and kept not in self.contested:
                return kept
            before = self.memories.of_name(name)
            # In quarantine or not: it is the one who had it that comes back.
            if before is not None and self.addresses.may_choose(before) and self._open(before):
                return before
        return self.addresses.pick()

    def _open(self, offset: int) -> bool:
        return (
            offset not in self.reserved
            and offset not in self.contested
            and offset not in self.on_request
        )

    def try_next(self, offset: int) -> None:
        """Take an address while the segment is asked for it."""
        self.addresses.take(offset)
        self.trying.add(offset)

    def tried(self, offsets: Iterable[int]) -> None:
        """Undo :meth:`try_next`."""
        for offset in offsets:
            self.trying.discard(offset)
            self.addresses.put_back(offset)

    def contest(self, offset: int, now: float) -> None:
        """Note that somebody on the segment answers for an address."""
        self.quiet = False
        self.contested.begin(offset, now)
        self.addresses.bar(offset)

    def reserve(self, offset: int, reservation: Reservation) -> None:
        """Keep an address for someone, in place of whom it was kept for."""
        self.unreserve(offset)
        self.reserved[offset] = reservation
        if reservation.name:
            self._reserved_names.setdefault(reservation.name, set()).add(offset)
        self.addresses.bar(offset)

    def unreserve(self, offset: int) -> None:
        """Keep an address for nobody any more."""
        reservation = self.reserved.pop(offset, None)
        if reservation is None:
            return
        of_name = self._reserved_names.get(reservation.name, set())
        of_name.discard(offset)
        if not of_name:
            self._reserved_names.pop(reservation.name, None)
        self._unbar(offset)

    def give_on_request(self, offsets: frozenset[int]) -> None:
        """Give these addresses, and no others any more, only to who asks for them."""
        before, self.on_request = self.on_request, offsets
        for offset in offsets - before:
            self.addresses.bar(offset)
        for offset in before - offsets:
            self._unbar(offset)

    def reserved_for(self, name: str) -> int | None:
        """Return the address that is reserved for a name, the lowest one."""
        return min(self._reserved_names.get(name, ()), default=None)

    def wake(self, now: float) -> None:
        """End what is over: quarantines, and memories of names that are too old."""
        rested = self.resting.wake(now)
        for offset in (*rested, *self.contested.wake(now)):
            self._unbar(offset)
        changes = self._keep_no_more(self.memories.outdated(now))
        blank = [self.address(offset) for offset in rested if offset not in self.memories]
        self._unsaid.remember.extend(changes.remember)
        self._unsaid.forget.extend(changes.forget + blank)
        timed = self.resting or self.contested or self.memories.named
        self.quiet = not (timed or self._unsaid.remember or self._unsaid.forget)

    def unsaid(self) -> Changes:
        """Return, once, what the store has to hear of :meth:`wake`."""
        if not self._unsaid.remember and not self._unsaid.forget:
            return NOTHING
        said, self._unsaid = self._unsaid, Changes([], [])
        return said

    def rests_s(self, now: float) -> float:
        """Return in how many seconds the first address comes back by itself; 0 if none does."""
        resting = [each.shortest_s(now) for each in (self.resting, self.contested) if each]
        return min(resting, default=0.0)

    def _unbar(self, offset: int) -> None:
        if self._open(offset) and offset not in self.resting:
            self.addresses.bar_no_more(offset)

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
        if self.resting.end(offset):
            self._unbar(offset)
        if lease is not None and lease.kind is LeaseKind.GATEWAY:
            self.gateway = lease
            self.addresses.first_kept = False
        self.auxiliary += lease is not None and lease.kind is LeaseKind.AUX

    def end(self, offset: int, lease: Lease, now: float) -> Changes:
        """Free an address.

        In a pool with quarantine the store remembers an endpoint's address by itself.
        """
        self.addresses.put_back(offset)
        if lease.kind is LeaseKind.GATEWAY:
            self.gateway = None
            self.addresses.first_kept = self.keeps_first
        self.auxiliary -= lease.kind is LeaseKind.AUX
        rests = lease.kind is LeaseKind.ENDPOINT and self.pool.quarantine_s > 0
        if rests:
            self._rest(offset, now)
        if not remembered(lease):
            return NOTHING
        memory = Memory(address=lease.address, name=lease.name, wanted=lease.wanted, since=now)
        changes = self._keep(offset, _note(memory))
        return changes if rests else Changes([memory, *changes.remember], changes.forget)

    def _rest(self, offset: int, since: float) -> None:
        self.quiet = False
        self.resting.begin(offset, since)
        self.addresses.bar(offset)

    def recall(self, memories: Iterable[Memory], now: float) -> Changes:
        """Take over what the store remembers, the oldest first."""
        changes = Changes([], [])
        for memory in memories:
            offset = int(memory.address) - self.first
            # Somebody has the address by now; when it is released, that is remembered instead.
            if self.addresses.holds(offset):
                continue
            if not self.resting.over(memory.since, now):
                self._rest(offset, memory.since)
            if memory.wanted or memory.name:
                more = self._keep(offset, _note(memory))
                changes.remember.extend(more.remember)
                changes.forget.extend(more.forget)
            elif offset not in self.resting:
                changes.forget.append(memory.address)
        return changes

    def _keep(self, offset: int, note: Note) -> Changes:
        self.quiet = False
        self.addresses.keep(offset)
        return self._keep_no_more(self.memories.note(offset, note))

    def _keep_no_more(self, offsets: list[int]) -> Changes:
        if not offsets:
            return NOTHING
        changes = Changes([], [])
        for offset in offsets:
            self.addresses.keep_no_more(offset)
            address, since = self.address(offset), self.resting.since(offset)
            if since is None:
                changes.forget.append(address)
            else:
                changes.remember.append(Memory(address=address, since=since))
        return changes

    def _forget(self, offset: int) -> Note | None:
        note = self.memories.forget(offset)
        if note is not None:
            self.addresses.keep_no_more(offset)
        return note


def remembered(lease: Lease) -> bool:
    """Whether who had the address may want it again."""
    return lease.kind is LeaseKind.ENDPOINT and (lease.wanted or bool(lease.name))


def _offsets(pool: Pool) -> Iterator[Block]:
    for each in pool.excluded:
        first, last = max(each.first, pool.subnet.first), min(each.last, pool.subnet.last)
        if each.version == pool.family and first <= last:
            yield first - pool.subnet.first, last - pool.subnet.first


def _note(memory: Memory) -> Note:
    return Note(memory.name, memory.wanted, memory.since)
