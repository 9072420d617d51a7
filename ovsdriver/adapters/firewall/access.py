"""``ovsdriver.ports.AccessFirewall``: rules past gateways, in an nftables table of their own."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Protocol, TypeVar

from netaddr import IPAddress

from ovsdriver.adapters.firewall.access_table import AccessTable
from ovsdriver.adapters.firewall.nft import Nft
from ovsdriver.adapters.kernel.codec.conntrack import Conntrack
from ovsdriver.domain.access.policy import AccessPlan
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import AccessCount

T = TypeVar("T")

_LEISURE_S = 2.0
"""How long what no container needs is left: it is often the same one that is started next."""

_MOST = 100_000
"""Connections that are looked at."""


class Thread(Protocol):
    """Where the table is worked at."""

    def __call__(self, work: Callable[..., T], *arguments: object) -> Awaitable[T]:
        """Do ``work`` there; UnavailableError if it takes too long."""
        ...


class HostAccess:
    """The table of the host's namespace; made by the host's firewall, which hears of changes."""

    def __init__(
        self,
        *,
        instance: str,
        on_thread: Thread,
        nft: Callable[[], Nft],
        heard: Callable[[], bool],
        on_loss: Callable[[Callable[[], None]], None],
    ) -> None:
        """Build it; the kernel is not asked for anything yet.

        Args:
            instance: whose table it is.
            on_thread: does what blocks, one thing after the other.
            nft: gives libnftables, there.
            heard: whether changes by others are heard of.
            on_loss: takes whom to call when they were.
        """
        self.table = table_of(instance)
        self._on_thread = on_thread
        self._nft = nft
        self._heard = heard
        self._on_loss = on_loss
        self._standing: AccessTable | None = None
        self._lock = asyncio.Lock()
        self._plan = AccessPlan()
        self._outside: frozenset[str] = frozenset()
        self._asked = self._done = 0
        self._kept: tuple[AccessPlan, frozenset[str]] | None = None
        """What the table was made of last, by the last of several calls at once."""
        self._trusted = False
        self._leisure: asyncio.TimerHandle | None = None
        self._tidying: asyncio.Task[None] | None = None

    async def apply(self, plan: AccessPlan) -> bool:
        """Keep exactly ``plan``; False if it was so already.

        Calls that wait for each other share one change, as those of ``HostFirewall.ensure`` do.

        Raises:
            UnavailableError: nftables did not do it, or not in time.
        """
        self._plan = plan
        self._asked += 1
        mine = self._asked
        changed = False
        async with self._lock:
            if self._done < mine:
                covers, wanted = self._asked, (self._plan, self._outside)
                if not (self._trusted and self._heard() and wanted == self._kept):
                    self._kept = None
                    changed = await self._on_thread(self._ensure, *wanted)
                    self._kept = wanted
                self._done = covers
        if changed:
            self._tidy_later()
        return changed

    async def see(self, outside: frozenset[str]) -> None:
        """Take in which Linux bridges do not lead to other containers."""
        if outside != self._outside:
            self._outside = outside
            if self._plan.members:
                await self.apply(self._plan)

    async def differs(self, plan: AccessPlan) -> bool:
        async with self._lock:
            # What was seen has not been put right, so what was made is not relied on.
            self._trusted = False
            return not await self._on_thread(self._stands, plan, self._outside)

    async def learn(
        self, policy: str, names: Collection[str], addresses: Mapping[IPAddress, int]
    ) -> None:
        await self._on_thread(self._learn, policy, frozenset(names), dict(addresses))

    async def learnt(self) -> Mapping[str, Mapping[str, Mapping[IPAddress, int]]]:
        return await self._on_thread(self._learnt)

    async def answered(self) -> Collection[tuple[IPAddress, IPAddress]]:
        return await self._on_thread(_answered)

    async def counts(self) -> Sequence[AccessCount]:
        return await self._on_thread(self._counts)

    async def remove(self) -> None:
        self._plan = AccessPlan()
        async with self._lock:
            self._kept = None
            await self._on_thread(self._remove)

    def on_loss(self, callback: Callable[[], None]) -> None:
        self._on_loss(callback)

    def doubt(self) -> None:
        """Say that others may have changed the table."""
        self._trusted = False

    async def close(self) -> None:
        """Remove what nobody needs; the rest stays as it is."""
        if self._tidying is not None:
            await self._tidying
        if self._leisure is not None:
            self._leisure.cancel()
            await self._tidy()

    def _tidy_later(self) -> None:
        if self._leisure is None:
            loop = asyncio.get_running_loop()
            self._leisure = loop.call_later(_LEISURE_S, self._begin_to_tidy)

    def _begin_to_tidy(self) -> None:
        self._leisure = None
        self._tidying = asyncio.create_task(self._tidy())

    async def _tidy(self) -> None:
        async with self._lock:
            with suppress(UnavailableError):  # the next look will find it
                await self._on_thread(partial(self._ensure, self._plan, self._outside, spare=False))

    # On the thread from here on.

    def _open(self) -> AccessTable:
        if self._standing is None:
            self._standing = AccessTable(self._nft(), self.table)
        return self._standing

    def _ensure(self, plan: AccessPlan, outside: frozenset[str], *, spare: bool = True) -> bool:
        trusted = self._trusted and self._heard()
        # Before the look: what changes during it is heard of, and not trusted again.
        self._trusted = True
        try:
            return self._open().ensure(plan, outside=outside, trusted=trusted, spare=spare)
        except UnavailableError:
            self._trusted = False
            raise

    def _stands(self, plan: AccessPlan, outside: frozenset[str]) -> bool:
        return self._open().stands(plan, outside=outside)

    def _learn(
        self, policy: str, names: Collection[str], addresses: Mapping[IPAddress, int]
    ) -> None:
        try:
            self._open().learn(policy, names, addresses)
        except UnavailableError:
            self._trusted = False
            raise

    def _learnt(self) -> Mapping[str, Mapping[str, Mapping[IPAddress, int]]]:
        return self._open().learnt()

    def _counts(self) -> Sequence[AccessCount]:
        return self._open().counts()

    def _remove(self) -> None:
        self._open().remove()


def _answered() -> Collection[tuple[IPAddress, IPAddress]]:
    try:
        with closing(Conntrack()) as conntrack:
            known = conntrack.connections(_MOST)
    except OSError as error:
        raise UnavailableError(
            f"the kernel's connections cannot be read: {error.strerror}"
        ) from error
    return {(each.source, each.answering) for each in known if each.answered}


def table_of(instance: str) -> str:
    """Return the name of the table: none that an instance's other table can have."""
    return f"{instance}.rules"
