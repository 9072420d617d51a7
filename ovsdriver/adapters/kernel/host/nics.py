"""The port :class:`~ovsdriver.ports.Nics`: a NIC as an uplink, and the host's network on links.

An uplink is a plug for the switch and no place for the host to be. As with the bridge's end of a
veth pair (see ``veths.py``), the userspace datapath reads a copy of what arrives, and the kernel
hands it to its own stack as well: the host would answer ARP for all its addresses there, and take
router advertisements. Hence the same three measures, and for a NIC, which is somebody else's, the
way back.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from ovsdriver.adapters.kernel.codec import disciplines, neighbour_messages
from ovsdriver.adapters.kernel.codec.link_messages import (
    IFF_NOARP,
    IFF_PROMISC,
    IFF_UP,
    Link,
    LinkChange,
    change_link,
    differing,
    find_link,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import NetlinkError, RouteSocket
from ovsdriver.adapters.kernel.host import host_places, ties
from ovsdriver.adapters.kernel.netlink import Netlink
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.records.on_link import Held
from ovsdriver.domain.records.uplink_notes import NicState
from ovsdriver.errors import UnavailableError

log = logging.getLogger(__name__)

_FLAGS = IFF_UP | IFF_NOARP
_MOST_NEIGHBOURS = 10_000
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

    async def state(self, nic: str) -> NicState | None:
        def read(routes: RouteSocket, link: Link) -> NicState:
            neighbours = (
                *neighbour_messages.lasting(routes, link.index, most=_MOST_NEIGHBOURS),
                *neighbour_messages.proxied(routes, link.index),
            )
            return NicState(
                up=link.up,
                arp=not link.flags & IFF_NOARP,
                rp_filter=link.rp_filter,
                disable_ipv6=self._disable_ipv6(nic),
                neighbours=tuple(each.hex() for each in neighbours),
                qdisc=ties.root_qdisc(routes, link.index),
            )

        return await self._at(nic, f"reading {nic}", read)

    async def take(self, nic: str, *, up: bool = True) -> None:
        wanted = _FLAGS if up else _FLAGS & ~IFF_UP

        def take(routes: RouteSocket, link: Link) -> bool:
            # before it is up: nothing is answered in between
            if self._disable_ipv6(nic) == 0:
                self._sysctls.write(_ipv6(nic), 1)
            _change(
                routes,
                link,
                LinkChange(
                    set_flags=wanted & ~link.flags,
                    clear_flags=_FLAGS & link.flags & ~wanted,
                    rp_filter=None if link.rp_filter else 1,
                ),
            )
            return True

        if not await self._at(nic, f"setting up {nic}", take):
            raise UnavailableError(f"this host has no NIC {nic}; `ip -brief link` lists its links")

    async def let_go(self, nic: str) -> None:
        """Wait for the switch to let go of a NIC that has just left it, a moment at most.

        vswitchd's last act on a NIC of the userspace datapath is to write flags as it remembers
        them, "up" among them, without the promiscuous one: who sets the NIC down before is undone.
        """

        def is_held(_: RouteSocket, link: Link) -> bool:
            return bool(link.flags & IFF_PROMISC)

        for _ in range(_LOOKS):
            if not await self._at(nic, f"reading {nic}", is_held):
                return
            await asyncio.sleep(_LOOK_S)

    async def give_back(self, nic: str, before: NicState) -> bool:
        was = (IFF_UP if before.up else 0) | (0 if before.arp else IFF_NOARP)

        def give(routes: RouteSocket, link: Link) -> bool:
            change = LinkChange(
                set_flags=was & ~link.flags,
                clear_flags=_FLAGS & link.flags & ~was,
                rp_filter=differing(before.rp_filter, link.rp_filter),
            )
            _change(routes, link, change)
            if before.disable_ipv6 is not None and self._disable_ipv6(nic) is not None:
                self._sysctls.settle({_ipv6(nic): before.disable_ipv6})
            _put_neighbours(routes, link, before)
            if before.qdisc and not ties.root_qdisc(routes, link.index):
                disciplines.put_root(routes, link.index, bytes.fromhex(before.qdisc))
            return True

        return bool(await self._at(nic, f"putting {nic} back", give))

    async def held(self, link: str) -> Held:
        what = f"reading addresses and routes of {link}"
        return await self._at(link, what, host_places.held) or Held()

    async def move(self, what: Held, *, source: str, target: str) -> Sequence[str]:
        def work(routes: RouteSocket) -> Sequence[str]:
            there = find_link(routes, target)
            if there is None:
                raise UnavailableError(f"link {target} is not there, so nothing can be put on it")
            old = find_link(routes, source)
            return host_places.move(routes, what, source=old, target=there)

        return await self._ask(f"moving addresses and routes from {source} to {target}", work)

    async def put_neighbours(self, link: str, before: NicState) -> None:
        await self._at(
            link,
            f"writing neighbours of {link}",
            lambda routes, found: _put_neighbours(routes, found, before),
        )

    async def boot(self) -> str:
        return await self._ask("reading the boot's id", lambda _: self._sysctls.boot_id())

    def _disable_ipv6(self, name: str) -> int | None:
        value = self._sysctls.read(_ipv6(name))
        return None if value is None else int(value)

    async def _at(self, name: str, what: str, work: Callable[[RouteSocket, Link], T]) -> T | None:
        """Do ``work`` with a link; None if it is not there."""

        def found(routes: RouteSocket) -> T | None:
            link = find_link(routes, name)
            return None if link is None else work(routes, link)

        return await self._ask(what, found)

    async def _ask(self, what: str, work: Callable[[RouteSocket], T]) -> T:
        return await self._netlink.ask_long(what, work, within_s=self._netlink.timeout_s)


def _change(routes: RouteSocket, link: Link, change: LinkChange) -> None:
    if change:
        change_link(routes, link.index, change)


def _put_neighbours(routes: RouteSocket, link: Link, before: NicState) -> None:
    """Write down whom a NIC had for good; where there is no IPv6, those of IPv4."""
    for message in before.neighbours:
        try:
            neighbour_messages.put(routes, link.index, bytes.fromhex(message))
        except NetlinkError as error:
            log.warning("uplink.neighbour-lost", extra={"link": link.name, "why": error.strerror})


def _ipv6(link: str) -> str:
    return f"net/ipv6/conf/{link}/disable_ipv6"
