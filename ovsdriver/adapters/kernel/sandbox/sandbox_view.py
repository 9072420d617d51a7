"""What a container has of a network, read from inside of its namespace. Blocks."""

import socket
from contextlib import closing
from pathlib import Path

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.kernel.codec.address_messages import addresses
from ovsdriver.adapters.kernel.codec.link_messages import all_links
from ovsdriver.adapters.kernel.codec.route_messages import unicast_routes
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.sandbox import entering
from ovsdriver.domain.tracing.containers import Inside
from ovsdriver.domain.tracing.hops import Question

_MAIN = 254
_LISTENING = "0A"
"""TCP_LISTEN in /proc/net/tcp (net/tcp_states.h)."""


def look(sandbox: str, mac: EUI, target: IPAddress | None, asked: Question) -> Inside | None:
    """Return what is inside; None if it cannot be entered or has no such link.

    Args:
        sandbox: path of the network namespace.
        mac: of the container's interface.
        target: whom it wants to reach.
        asked: whether somebody listens there, if it names a port.
    """
    try:
        return entering.visit(sandbox, lambda routes: _read(routes, mac, target, asked))
    except OSError:
        return None


def _read(
    routes: RouteSocket, mac: EUI, target: IPAddress | None, asked: Question
) -> Inside | None:
    link = next((each for each in all_links(routes) if each.mac == mac.packed), None)
    if link is None:
        return None
    near = [] if target is None else [IPNetwork(target)]
    ways = [hop for hop in unicast_routes(routes, near) if hop.table == _MAIN]
    way = max(ways, key=lambda hop: int(hop.destination.prefixlen), default=None)
    return Inside(
        up=link.up,
        addresses=tuple(each.address for each in addresses(routes, link.index)),
        way=way.destination if way is not None else None,
        through_this=way is not None and way.index == link.index,
        listens=None if asked.port is None else listens(asked.protocol, asked.port),
    )


def listens(protocol: str, port: int) -> bool:
    """Whether a socket of the thread's namespace waits on a port, of either family."""
    for suffix in ("", "6"):
        table = Path(f"/proc/thread-self/net/{protocol}{suffix}")
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            waits = state == _LISTENING if protocol == "tcp" else True
            if waits and int(local.rpartition(":")[2], 16) == port:
                return True
    return False


def is_local(address: IPAddress) -> bool:
    """Whether the host's namespace has an address."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as made:
        try:
            made.bind((str(address), 0))
        except OSError:
            return False
    return bool(int(address))


def link_mac(name: str) -> str:
    """Return the MAC of a link of this namespace; empty if it is not there."""
    try:
        socket.if_nametoindex(name)
        return Path(f"/sys/class/net/{name}/address").read_text().strip()
    except OSError:
        return ""
