"""The port :class:`~ovsdriver.ports.Nics` on the kernel's netlink."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ovsdriver.adapters.netlink.nics import UplinkNics
from ovsdriver.adapters.netlink.refusals import translated
from ovsdriver.adapters.netlink.sysctls import Sysctls
from ovsdriver.adapters.netlink.thread import NetlinkThread, on_own_thread
from ovsdriver.adapters.rtnetlink import RouteSocket
from ovsdriver.domain.uplink_notes import NicState
from ovsdriver.errors import UnavailableError

T = TypeVar("T")


class KernelNics:
    """The NICs of the network namespace that the daemon runs in, on a thread of their own."""

    def __init__(self, *, timeout_s: float = 5.0) -> None:
        """Take what a call may take at most."""
        self._timeout_s = timeout_s
        self._thread = NetlinkThread()
        self._nics = UplinkNics(Sysctls())

    async def close(self) -> None:
        """End the thread."""
        await on_own_thread(self._thread.close, name="nics-end")

    async def state(self, nic: str) -> NicState | None:
        """Return how a NIC is; None if there is no such link."""
        return await self._netlink(f"reading {nic}", lambda routes: self._nics.state(routes, nic))

    async def take(self, nic: str) -> None:
        """Set a NIC up, with the host silent on it; UnavailableError if there is none such."""
        if not await self._netlink(
            f"setting up {nic}", lambda routes: self._nics.take(routes, nic)
        ):
            raise UnavailableError(
                f"NIC {nic} is not there; `ip -brief link` lists those of this host"
            )

    async def give_back(self, nic: str, before: NicState) -> bool:
        """Make a NIC as it was; False if there is no such link any more."""
        return await self._netlink(
            f"putting {nic} back", lambda routes: self._nics.give_back(routes, nic, before)
        )

    async def _netlink(self, what: str, work: Callable[[RouteSocket], T]) -> T:
        with translated(what, self._timeout_s):
            async with asyncio.timeout(self._timeout_s):
                return await self._thread.call(work)
