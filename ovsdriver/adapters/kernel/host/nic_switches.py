"""A NIC as an uplink: a plug for the switch and no place for the host to be.

As with the bridge's end of a veth pair (see ``veths.py``), the userspace datapath reads a copy of
what arrives, and the kernel hands it to its own stack as well: the host would answer ARP for all
its addresses there, and take router advertisements. Hence the same three measures, and for a NIC,
which is somebody else's, the way back.
"""

import logging

from ovsdriver.adapters.kernel.codec import neighbour_messages, qdiscs
from ovsdriver.adapters.kernel.codec.link_messages import (
    IFF_NOARP,
    IFF_PROMISC,
    IFF_UP,
    Link,
    LinkChange,
    change_link,
    find_link,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import NetlinkError, RouteSocket
from ovsdriver.adapters.kernel.host import ties
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.records.uplink_notes import NicState

log = logging.getLogger(__name__)

_MOST_NEIGHBOURS = 10_000
_FLAGS = IFF_UP | IFF_NOARP


class UplinkNics:
    """Takes NICs and gives them back; runs on the netlink thread."""

    def __init__(self, sysctls: Sysctls) -> None:
        self._sysctls = sysctls

    def state(self, routes: RouteSocket, name: str) -> NicState | None:
        """Return how a NIC is; None if there is no such link."""
        link = find_link(routes, name)
        if link is None:
            return None
        return NicState(
            up=bool(link.flags & IFF_UP),
            arp=not link.flags & IFF_NOARP,
            rp_filter=link.rp_filter,
            disable_ipv6=self._disable_ipv6(name),
            neighbours=tuple(
                each.hex()
                for each in (
                    *neighbour_messages.lasting(routes, link.index, most=_MOST_NEIGHBOURS),
                    *neighbour_messages.proxied(routes, link.index),
                )
            ),
            qdisc=ties.root_qdisc(routes, link.index),
        )

    def take(self, routes: RouteSocket, name: str) -> bool:
        """Silence a NIC and set it up; False if there is no such link."""
        link = find_link(routes, name)
        if link is None:
            return False
        # before it is up: nothing is answered in between
        if self._disable_ipv6(name) == 0:
            self._sysctls.write(_ipv6(name), 1)
        self._change(
            routes,
            link,
            LinkChange(set_flags=_FLAGS & ~link.flags, rp_filter=None if link.rp_filter else 1),
        )
        return True

    def promiscuous(self, routes: RouteSocket, name: str) -> bool:
        """Whether a program has set a NIC to take every frame, as vswitchd does in userspace."""
        link = find_link(routes, name)
        return link is not None and bool(link.flags & IFF_PROMISC)

    def give_back(self, routes: RouteSocket, name: str, before: NicState) -> bool:
        """Make a NIC as it was before; False if there is no such link (any more)."""
        link = find_link(routes, name)
        if link is None:
            return False
        was = (IFF_UP if before.up else 0) | (0 if before.arp else IFF_NOARP)
        self._change(
            routes,
            link,
            LinkChange(
                set_flags=was & ~link.flags,
                clear_flags=_FLAGS & link.flags & ~was,
                rp_filter=before.rp_filter if link.rp_filter != before.rp_filter else None,
            ),
        )
        if before.disable_ipv6 is not None and self._disable_ipv6(name) is not None:
            self._sysctls.settle({_ipv6(name): before.disable_ipv6})
        self.put_neighbours(routes, name, before)
        if before.qdisc and not ties.root_qdisc(routes, link.index):
            qdiscs.put_root(routes, link.index, bytes.fromhex(before.qdisc))
        return True

    def put_neighbours(self, routes: RouteSocket, name: str, before: NicState) -> None:
        """Write down on a link whom a NIC had for good; where it has no IPv6, those of IPv4."""
        link = find_link(routes, name)
        if link is None:
            return
        for message in before.neighbours:
            try:
                neighbour_messages.put(routes, link.index, bytes.fromhex(message))
            except NetlinkError as error:
                log.warning("uplink.neighbour-lost", extra={"link": name, "why": error.strerror})

    def _change(self, routes: RouteSocket, link: Link, change: LinkChange) -> None:
        if change:
            change_link(routes, link.index, change)

    def _disable_ipv6(self, name: str) -> int | None:
        value = self._sysctls.read(_ipv6(name))
        return None if value is None else int(value)


def _ipv6(link: str) -> str:
    return f"net/ipv6/conf/{link}/disable_ipv6"
