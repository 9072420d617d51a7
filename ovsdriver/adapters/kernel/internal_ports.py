"""Devices of Open vSwitch's internal ports: gateways, probing ports, and containers' own.

vswitchd makes the device, a moment after its port, and keeps it. What the host's stack does on it
is settled here, before it is up.
"""

import errno
from collections.abc import Iterable, Mapping

from netaddr import EUI, IPNetwork

from ovsdriver.adapters.kernel.codec.address_messages import add_address, addresses, remove_address
from ovsdriver.adapters.kernel.codec.link_messages import (
    IFF_NOARP,
    IFF_UP,
    Link,
    LinkChange,
    change_link,
    find_link,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket, passed_over
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.records import names
from ovsdriver.domain.wires.plumbing import Gateway, Probe, Tap
from ovsdriver.errors import ConflictError, UnsupportedError

_KINDS = ("tun", "openvswitch")
"""What an internal port's device is: a tap on netdev bridges, a vport in the kernel datapath."""


class InternalPorts:
    """Settles devices, on the netlink thread, and changes only what differs.

    Each answers False if vswitchd has not made the device yet, and raises ConflictError if a link
    of that name is something else.
    """

    def __init__(self, sysctls: Sysctls, *, owner: str) -> None:
        self._sysctls = sysctls
        self._owner = owner

    def ensure_gateway(self, routes: RouteSocket, gateway: Gateway) -> bool:
        """Settle the host's own place on a network."""
        link = _device(routes, gateway.port.name)
        if link is None:
            return False
        _settle_mtu(routes, link, gateway.mtu)
        self._sysctls.settle(_ipv4(link.name))
        wants_ipv6 = any(address.version == 6 for address in gateway.addresses)
        if self._sysctls.has_ipv6(link.name):
            self._sysctls.settle(_ipv6(link.name) if wants_ipv6 else _no_ipv6(link.name))
        elif wants_ipv6:
            raise UnsupportedError(
                f"gateway {link.name} cannot have an IPv6 address: the MTU is {gateway.mtu} (IPv6 "
                "needs 1280), or the kernel runs with ipv6.disable=1; create the network with a "
                "larger MTU or without IPv6"
            )
        alias = names.network_alias(self._owner, gateway.network)
        _settle(routes, link, mac=gateway.port.mac, alias=alias, flags=IFF_UP)
        _settle_addresses(routes, link.index, gateway.addresses)
        return True

    def ensure_probe(self, routes: RouteSocket, probe: Probe) -> bool:
        """Settle a device that a segment is asked from, on which the host is not to be met.

        As on the bridge's end of a veth pair (see ``veths.py``): without ARP, without IPv6, and
        with a strict look at sources, which drops every IPv4 packet on a link without addresses,
        forwarding switched on or not. The questions and their answers pass by all of that, through
        packet sockets.
        """
        link = _device(routes, probe.port.name)
        if link is None:
            return False
        _settle_mtu(routes, link, probe.mtu)
        # before it is up: nothing is answered in between
        self._sysctls.settle({f"net/ipv4/conf/{link.name}/rp_filter": 1})
        if self._sysctls.has_ipv6(link.name):
            self._sysctls.settle(_no_ipv6(link.name))
        alias = names.network_alias(self._owner, probe.network)
        _settle(routes, link, mac=probe.port.mac, alias=alias, flags=IFF_UP | IFF_NOARP)
        # those of every scope: some programs configure each link they see
        found = addresses(routes, link.index)
        _remove_addresses(routes, link.index, [each.address for each in found])
        return True

    def ensure_tap(self, routes: RouteSocket, tap: Tap) -> bool:
        """Settle a device that goes into a container, while it is still in the host.

        It stays down: Docker sets it up inside. The mark tells later that a device of this name is
        the one that was settled, and not one that vswitchd made anew because the first is in a
        container.
        """
        link = _device(routes, tap.name)
        if link is None:
            return False
        if link.alias not in ("", tap.alias):
            raise ConflictError(
                f"link {tap.name} exists, but its alias is {link.alias!r} and not this endpoint's "
                f"{tap.alias!r}; see `ip -d link show {tap.name}`, and delete or rename it"
            )
        _settle(routes, link, mac=tap.mac, alias=tap.alias, mtu=tap.mtu)
        return True


def _device(routes: RouteSocket, name: str) -> Link | None:
    link = find_link(routes, name)
    if link is not None and link.kind not in _KINDS:
        raise ConflictError(
            f"link {link.name} exists and is {link.kind or 'a plain device'!r}, not an internal "
            f"port of Open vSwitch; see `ip -d link show {link.name}`, and delete or rename it"
        )
    return link


def _settle_mtu(routes: RouteSocket, link: Link, mtu: int) -> None:
    """Do this first of all: with an MTU of 1280 IPv6 appears on a link that did not know it."""
    if link.mtu != mtu:
        change_link(routes, link.index, LinkChange(mtu=mtu))


def _settle(
    routes: RouteSocket,
    link: Link,
    *,
    mac: EUI | None,
    alias: str,
    mtu: int | None = None,
    flags: int = 0,
) -> None:
    change = LinkChange(
        set_flags=flags & ~link.flags,
        mac=mac.packed if mac is not None and mac.packed != link.mac else None,
        mtu=None if mtu == link.mtu else mtu,
        alias=None if link.alias == alias else alias,
    )
    if change:
        change_link(routes, link.index, change)


def _ipv4(link: str) -> Mapping[str, int]:
    """Return what the host's IPv4 does on a gateway.

    The kernel joins most of these with ``conf.all``, which belongs to the administrator.
    """
    conf = f"net/ipv4/conf/{link}"
    return {
        # answer ARP for the gateway's own address only: by default the host answers on every
        # link for all its addresses, and a container would learn which there are
        f"{conf}/arp_ignore": 1,
        # ask with the gateway's address only, for the same reason
        f"{conf}/arp_announce": 2,
        # a source address that does not live on this segment is forged
        f"{conf}/rp_filter": 1,
        # a container must not change the host's routes by an ICMP redirect
        f"{conf}/accept_redirects": 0,
        # a container that reaches its neighbour by way of the host (a published port) must go on
        # doing so: the way back is rewritten here. In force only if conf.all says so too
        f"{conf}/send_redirects": 0,
    }


def _ipv6(link: str) -> Mapping[str, int]:
    """Return what the host's IPv6 does on a gateway that has an IPv6 address.

    In this order: the address is switched on when nothing else can happen on it.
    """
    conf = f"net/ipv6/conf/{link}"
    return {
        # a container must not give the host addresses and routes by router advertisements, and
        # with forwarding on accept_ra alone would decide (2 overrides it, 1 does not)
        f"{conf}/accept_ra": 0,
        f"{conf}/autoconf": 0,
        f"{conf}/accept_redirects": 0,
        # the gateway's link-local address is used at once; nobody else has this MAC
        f"{conf}/accept_dad": 0,
        # IPv6 addresses would go when somebody sets the link down and up again
        f"{conf}/keep_addr_on_down": 1,
        f"{conf}/disable_ipv6": 0,
    }


def _no_ipv6(link: str) -> Mapping[str, int]:
    """Without an IPv6 subnet the host has no link-local address here, and no listening service."""
    return {f"net/ipv6/conf/{link}/disable_ipv6": 1}


def _settle_addresses(routes: RouteSocket, index: int, wanted: tuple[IPNetwork, ...]) -> None:
    """Give a link exactly these addresses; the kernel's own link-local ones are not looked at."""
    found = _global(routes, index)
    wanted_keys = {_key(each): each for each in wanted}
    surplus = [each for key, each in found.items() if key not in wanted_keys]
    _remove_addresses(routes, index, surplus)
    if surplus:
        # an IPv4 address takes those of the same subnet with it that came after it
        found = _global(routes, index)
    for key, each in wanted_keys.items():
        if key not in found:
            add_address(routes, index, each)


def _remove_addresses(routes: RouteSocket, index: int, surplus: Iterable[IPNetwork]) -> None:
    for each in surplus:
        with passed_over(errno.EADDRNOTAVAIL):  # it went with the one before it
            remove_address(routes, index, each)


def _global(routes: RouteSocket, index: int) -> dict[tuple[int, int, int], IPNetwork]:
    return {
        _key(each.address): each.address for each in addresses(routes, index) if each.scope_universe
    }


def _key(address: IPNetwork) -> tuple[int, int, int]:
    """Compare address and length: netaddr's own comparison is that of the subnets."""
    return address.version, int(address.ip), address.prefixlen
