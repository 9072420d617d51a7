"""A device that a segment is asked from: an internal port on which the host is not to be met.

As on the bridge's end of a veth pair (see ``veths.py``): without ARP, without IPv6, and with a
strict look at sources, which drops every IPv4 packet on a link without addresses, forwarding
switched on or not. The questions and their answers pass by all of that, through packet sockets.
"""

from ovsdriver.adapters.kernel.codec.address_messages import addresses
from ovsdriver.adapters.kernel.codec.link_messages import IFF_NOARP, IFF_UP, LinkChange, change_link
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.gateways import internal_device, no_ipv6, remove_addresses
from ovsdriver.adapters.kernel.host.sysctls import Sysctls
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Probe

_FLAGS = IFF_UP | IFF_NOARP


class Probes:
    """Settles probing ports; runs on the netlink thread."""

    def __init__(self, sysctls: Sysctls, *, owner: str) -> None:
        self._sysctls = sysctls
        self._owner = owner

    def ensure(self, routes: RouteSocket, probe: Probe) -> bool:
        """Settle the device; False if vswitchd has not made it yet.

        Changes only what differs. Raises ConflictError if a link of that name is something else.
        """
        link = internal_device(routes, probe.port.name)
        if link is None:
            return False
        if link.mtu != probe.mtu:
            # first of all: with an MTU of 1280 IPv6 appears on a link that did not know it
            change_link(routes, link.index, LinkChange(mtu=probe.mtu))
        # before it is up: nothing is answered in between
        self._sysctls.settle({f"ipv4/conf/{link.name}/rp_filter": 1})
        if self._sysctls.has_ipv6(link.name):
            self._sysctls.settle(no_ipv6(link.name))
        mac = probe.port.mac
        alias = names.network_alias(self._owner, probe.network)
        change = LinkChange(
            set_flags=_FLAGS & ~link.flags,
            mac=mac.packed if mac is not None and mac.packed != link.mac else None,
            alias=None if link.alias == alias else alias,
        )
        if change:
            change_link(routes, link.index, change)
        # those of every scope: some programs configure each link they see
        remove_addresses(
            routes, link.index, [each.address for each in addresses(routes, link.index)]
        )
        return True
