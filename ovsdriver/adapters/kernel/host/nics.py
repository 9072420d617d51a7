"""The port :class:`~ovsdriver.ports.Nics` on the kernel's netlink."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ovsdriver.adapters.kernel.codec.link_messages import find_link
from ovsdriver.adapters.kernel.codec.refusals import translated
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.codec.thread import NetlinkThread, on_own_thread
from ovsdriver.adapters.kernel.host import host_places
from ovsdriver.adapters.kernel.host.nic_switches import UplinkNics
from ovsdriver.adapters.kernel.host.sysctls import Sysctls
from ovsdriver.domain.records.on_link import Held
from ovsdriver.domain.records.uplink_notes import NicState
from ovsdriver.errors import UnavailableError

_BOOT = Path("/proc/sys/kernel/random/boot_id")

_LOOK_S = 0.02
_LOOKS = 100
"""vswitchd lets go of a NIC within some 10 ms; one that is not there never does."""

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
        return await self._netlink(f"reading {nic}", lambda routes: self._nics.state(routes, nic))

    async def take(self, nic: str) -> None:
        if not await self._netlink(
            f"setting up {nic}", lambda routes: self._nics.take(routes, nic)
        ):
            raise UnavailableError(
                f"NIC {nic} is not there; `ip -brief link` lists those of this host"
            )

    async def let_go(self, nic: str) -> None:
        """Wait for the switch to let go of a NIC that has just left it, a moment at most.

        vswitchd's last act on a NIC of the userspace datapath is to write flags as it remembers
        them, "up" among them, without the promiscuous one: who sets the NIC down before is undone.
        """
        for _ in range(_LOOKS):
            if not await self._netlink(
                f"reading {nic}", lambda routes: self._nics.promiscuous(routes, nic)
            ):
                return
            await asyncio.sleep(_LOOK_S)

    async def give_back(self, nic: str, before: NicState) -> bool:
        return await self._netlink(
            f"putting {nic} back", lambda routes: self._nics.give_back(routes, nic, before)
        )

    async def held(self, link: str) -> Held:
        def read(routes: RouteSocket) -> Held:
            found = find_link(routes, link)
            return host_places.held(routes, found) if found is not None else Held()

        return await self._netlink(f"reading addresses and routes of {link}", read)

    async def move(self, what: Held, *, source: str, target: str) -> Sequence[str]:
        def work(routes: RouteSocket) -> Sequence[str]:
            there = find_link(routes, target)
            if there is None:
                raise UnavailableError(f"link {target} is not there, so nothing can be put on it")
            old = find_link(routes, source)
            return host_places.move(routes, what, source=old, target=there)

        return await self._netlink(f"moving addresses and routes from {source} to {target}", work)

    async def put_neighbours(self, link: str, before: NicState) -> None:
        await self._netlink(
            f"writing neighbours of {link}",
            lambda routes: self._nics.put_neighbours(routes, link, before),
        )

    async def boot(self) -> str:
        return await self._netlink("reading the boot's id", lambda _: _BOOT.read_text().strip())

    async def _netlink(self, what: str, work: Callable[[RouteSocket], T]) -> T:
        with translated(what, self._timeout_s):
            async with asyncio.timeout(self._timeout_s):
                return await self._thread.call(work)
