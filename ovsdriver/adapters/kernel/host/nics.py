"""The port :class:`~ovsdriver.ports.Nics` on the kernel's netlink."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from ovsdriver.adapters.kernel.codec.link_messages import find_link
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.host import host_places
from ovsdriver.adapters.kernel.host.nic_switches import UplinkNics
from ovsdriver.adapters.kernel.netlink import Netlink
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.records.on_link import Held
from ovsdriver.domain.records.uplink_notes import NicState
from ovsdriver.errors import UnavailableError

_LOOK_S = 0.02
_LOOKS = 100
"""vswitchd lets go of a NIC within some 10 ms; one that is not there never does."""

T = TypeVar("T")


class KernelNics:
    """The NICs of the network namespace that the daemon runs in.

    All is among what may be long: a router's NIC has any number of routes.
    """

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._sysctls = Sysctls()
        self._nics = UplinkNics(self._sysctls)

    async def state(self, nic: str) -> NicState | None:
        return await self._ask(f"reading {nic}", lambda routes: self._nics.state(routes, nic))

    async def take(self, nic: str) -> None:
        if not await self._ask(f"setting up {nic}", lambda routes: self._nics.take(routes, nic)):
            raise UnavailableError(
                f"NIC {nic} is not there; `ip -brief link` lists those of this host"
            )

    async def let_go(self, nic: str) -> None:
        """Wait for the switch to let go of a NIC that has just left it, a moment at most.

        vswitchd's last act on a NIC of the userspace datapath is to write flags as it remembers
        them, "up" among them, without the promiscuous one: who sets the NIC down before is undone.
        """
        for _ in range(_LOOKS):
            if not await self._ask(
                f"reading {nic}", lambda routes: self._nics.promiscuous(routes, nic)
            ):
                return
            await asyncio.sleep(_LOOK_S)

    async def give_back(self, nic: str, before: NicState) -> bool:
        return await self._ask(
            f"putting {nic} back", lambda routes: self._nics.give_back(routes, nic, before)
        )

    async def held(self, link: str) -> Held:
        def read(routes: RouteSocket) -> Held:
            found = find_link(routes, link)
            return host_places.held(routes, found) if found is not None else Held()

        return await self._ask(f"reading addresses and routes of {link}", read)

    async def move(self, what: Held, *, source: str, target: str) -> Sequence[str]:
        def work(routes: RouteSocket) -> Sequence[str]:
            there = find_link(routes, target)
            if there is None:
                raise UnavailableError(f"link {target} is not there, so nothing can be put on it")
            old = find_link(routes, source)
            return host_places.move(routes, what, source=old, target=there)

        return await self._ask(f"moving addresses and routes from {source} to {target}", work)

    async def put_neighbours(self, link: str, before: NicState) -> None:
        await self._ask(
            f"writing neighbours of {link}",
            lambda routes: self._nics.put_neighbours(routes, link, before),
        )

    async def boot(self) -> str:
        return await self._ask("reading the boot's id", lambda _: self._sysctls.boot_id())

    async def _ask(self, what: str, work: Callable[[RouteSocket], T]) -> T:
        return await self._netlink.ask_long(what, work, within_s=self._netlink.timeout_s)
