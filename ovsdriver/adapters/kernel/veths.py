"""Veth pairs: making them, putting them right, marking them for deletion.

Who a pair belongs to is said by the host end's alias, which cannot be set at creation. So a pair
is born in the group :data:`NEWBORN` and leaves it in the message that sets the alias: one found in
that group is ours, from a call that was cut short.

The host end is a plug for the switch and no place for the host to be. In the userspace datapath
the kernel delivers each frame from the container to its own stack as well (the switch reads a copy
through a packet socket), so the host would answer ARP for all its addresses there, take router
advertisements, and let the container reach its services past the switch. Hence on the host end:

- NOARP: no ARP is answered or sent;
- IPv6 is off (no neighbour discovery, no router advertisements, no multicast reports);
- ``rp_filter=1``: a link without addresses has no way back to anybody, so every IPv4 packet is
  dropped (fib_validate_source, net/ipv4/fib_frontend.c; ``conf.all`` can only make it 2, which
  drops the same here).
"""

import errno
from collections.abc import Callable
from contextlib import suppress

from ovsdriver.adapters.kernel.codec import ethtool
from ovsdriver.adapters.kernel.codec.link_messages import (
    IFF_NOARP,
    IFF_UP,
    Link,
    LinkChange,
    change_link,
    differing,
    find_link,
    find_link_by_index,
    new_veth,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import NetlinkError, RouteSocket, passed_over
from ovsdriver.adapters.kernel.reaper import DYING
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.records import names
from ovsdriver.domain.wires.plumbing import Veth
from ovsdriver.errors import ConflictError, UnavailableError

NEWBORN = 0x6F76_7E0B
"""``IFLA_GROUP`` of a host end whose alias is not set yet."""

_DELETED = ("veth", "tun")
_TRIES = 3


class VethPairs:
    """Pairs whose host ends carry our mark. Runs on the netlink thread."""

    def __init__(self, sysctls: Sysctls) -> None:
        self._sysctls = sysctls
        self.offload_changes = 0
        """How many times an offload was switched, for tests that count."""

    def ensure(
        self, routes: RouteSocket, veth: Veth, *, tx_offload: bool, born: Callable[[], None]
    ) -> bool:
        """Make the pair or put it right; False if one of that name is still to be deleted.

        Args:
            routes: where to ask.
            veth: the pair.
            tx_offload: that of the container's end, for all that ``veth`` says of it.
            born: called when a new pair is there and not finished.

        Raises ConflictError if either name is taken by a link that is not ours.
        """
        for _ in range(_TRIES):
            made = new_veth(
                routes,
                veth.host,
                veth.container,
                mtu=veth.mtu,
                peer_mac=veth.mac.packed,
                group=NEWBORN,
                flags=_host_flags(veth),
            )
            if made:
                born()
                self._finish(routes, veth, tx_offload=tx_offload)
                return True
            host = find_link(routes, veth.host)
            if host is not None:
                if host.group == DYING:
                    return False
                _check_ours(host, veth)
                self._settle_container(routes, veth, host, tx_offload=tx_offload)
                self._settle_host(routes, veth, host)
                return True
            if find_link(routes, veth.container) is not None:
                raise ConflictError(
                    f"link {veth.container} exists, but not as the other end of {veth.host}; "
                    f"ovsnet leaves it alone: see `ip -d link show {veth.container}`, and delete "
                    "or rename it"
                )
        raise UnavailableError(
            f"another program deletes link {veth.host} while ovsnet makes it; find out which one "
            "(`ip monitor link`), and try again"
        )

    def begin_mtu(self, routes: RouteSocket, veth: Veth) -> Link | None:
        """Return the bridge's end of a pair; its container's end, if that is here, is put right.

        None if there is no such pair of ours.
        """
        host = find_link(routes, veth.host)
        if host is None or host.group == DYING or host.alias != veth.alias:
            return None
        if host.mtu != veth.mtu and host.lower_index is not None and not host.lower_elsewhere:
            with passed_over(errno.ENODEV):  # moved in this moment
                change_link(routes, host.lower_index, LinkChange(mtu=veth.mtu))
        return host

    def end_mtu(self, routes: RouteSocket, veth: Veth) -> None:
        """Put the bridge's end right."""
        host = find_link(routes, veth.host)
        if host is not None and host.alias == veth.alias:
            self._settle_host(routes, veth, host)

    def _finish(self, routes: RouteSocket, veth: Veth, *, tx_offload: bool) -> None:
        """Set what a pair is not born with; no look at it, since it is known how it was made."""
        if not tx_offload:
            self._set_offload(veth, on=False)
        self._silence_ipv6(veth.host)
        change = LinkChange(alias=veth.alias, group=0, rp_filter=1)
        change_link(routes, veth.host, change)

    def _settle_container(
        self, routes: RouteSocket, veth: Veth, host: Link, *, tx_offload: bool
    ) -> None:
        """Put the container's end right as long as it is in our namespace."""
        if host.lower_index is None or host.lower_elsewhere:
            return
        container = find_link_by_index(routes, host.lower_index)
        if container is None:
            return
        change = LinkChange(
            name=differing(veth.container, container.name),
            mac=differing(veth.mac.packed, container.mac),
            mtu=differing(veth.mtu, container.mtu),
        )
        if change:
            change_link(routes, container.index, change)
        if ethtool.tx_checksum(veth.container) != tx_offload:
            self._set_offload(veth, on=tx_offload)

    def _settle_host(self, routes: RouteSocket, veth: Veth, host: Link) -> None:
        """Put the host's end right; its mark comes last and says that all is done."""
        if host.mtu != veth.mtu:
            # first of all: with an MTU of 1280 IPv6 appears on a link that did not know it
            change_link(routes, host.index, LinkChange(mtu=veth.mtu))
            host = find_link_by_index(routes, host.index) or host
        if host.ipv6:
            self._silence_ipv6(host.name)
        change = LinkChange(
            set_flags=_host_flags(veth) & ~host.flags,
            clear_flags=0 if veth.up else host.flags & IFF_UP,
            alias=differing(veth.alias, host.alias),
            group=0 if host.group == NEWBORN else None,
            rp_filter=None if host.rp_filter else 1,
        )
        if change:
            change_link(routes, host.index, change)

    def _set_offload(self, veth: Veth, *, on: bool) -> None:
        ethtool.set_tx_checksum(veth.container, on=on)
        self.offload_changes += 1

    def _silence_ipv6(self, link: str) -> None:
        # without IPv6 in the kernel, and with an MTU below 1280, there is nothing to silence
        with suppress(FileNotFoundError):
            self._sysctls.write(f"net/ipv6/conf/{link}/disable_ipv6", 1)


def _host_flags(veth: Veth) -> int:
    return IFF_NOARP | (IFF_UP if veth.up else 0)


def mark_dying(routes: RouteSocket, name: str, *, owner: str) -> bool | None:
    """Put a link of ours into the dying group; None if it is there already, False if gone.

    A link of that name that is not ours counts as gone, and so does an internal port of the
    kernel's datapath: it goes with its port, the kernel refuses to delete it alone, and would not
    delete the rest of the group either (rtnl_group_dellink, net/core/rtnetlink.c).
    """
    link = find_link(routes, name)
    if link is None or link.kind not in _DELETED:
        return False
    if link.group == DYING:
        return None
    ours = names.owned_alias(owner, link.alias) or link.alias == names.bridge_alias(owner, name)
    if link.group != NEWBORN and not ours:
        return False
    try:
        change_link(routes, link.index, LinkChange(group=DYING))
    except NetlinkError as error:
        if error.errno != errno.ENODEV:  # vswitchd has deleted it in this moment
            raise
        return False
    return True


def _check_ours(host: Link, veth: Veth) -> None:
    if host.group == NEWBORN and host.kind == "veth" and not host.alias:
        return
    if host.alias != veth.alias:
        whose = f"its alias is {host.alias!r}" if host.alias else "it has no alias"
        raise ConflictError(
            f"link {veth.host} exists, but ovsnet did not make it ({whose}, ovsnet sets "
            f"{veth.alias!r}); see `ip -d link show {veth.host}`, and delete or rename it"
        )
