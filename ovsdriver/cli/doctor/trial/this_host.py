"""What this host has that a trial can use: a way out, name servers, addresses, ports."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from netaddr import AddrFormatError, IPAddress, IPNetwork

from ovsdriver.adapters.kernel.codec.route_messages import unicast_routes
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket

RESOLVERS = Path("/etc/resolv.conf")

_DISABLED = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
_MAIN_TABLE = 254
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_FAR = {4: "198.51.100.1", 6: "2001:db8::1"}
"""Addresses for documents: the way to them is the default route."""


def next_hop(family: int) -> IPAddress | None:
    """Return the next hop of the default route, which all that leaves passes; None: there is none.

    Without a next hop, the route leads to a link.
    """
    routes = RouteSocket()
    try:
        found = [
            (each.metric, each.gateway)
            for each in unicast_routes(routes, [IPNetwork(_FAR[family])])
            if not each.destination.prefixlen and each.table == _MAIN_TABLE and each.gateway
        ]
    finally:
        routes.close()
    return min(found)[1] if found else None


def address(family: int) -> IPAddress | None:
    """Return this host's address on the way to the outside; None if there is no way."""
    with socket.socket(_FAMILIES[family], socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((_FAR[family], 9))
        except OSError:
            return None
        return IPAddress(asking.getsockname()[0])


def free_port() -> int:
    """Return a TCP port of this host that nobody has."""
    with socket.socket(socket.AF_INET6 if ipv6_is_on() else socket.AF_INET) as asking:
        asking.bind(("", 0))
        port: int = asking.getsockname()[1]
        return port


def name_servers() -> Sequence[IPAddress]:
    """Return whom this host asks for names."""
    found = []
    with suppress(OSError):
        for line in RESOLVERS.read_text().splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                with suppress(ValueError, AddrFormatError):
                    found.append(IPAddress(words[1].partition("%")[0]))
    return found


def ipv6_is_on() -> bool:
    """Whether links of this host have IPv6."""
    with suppress(OSError):
        return _DISABLED.read_text().strip() == "0"
    return False
