"""What a container has of a network, read from inside of its namespace. Blocks."""

from pathlib import Path

from netaddr import EUI, IPAddress

from ovsdriver.adapters.kernel.codec.address_messages import addresses
from ovsdriver.adapters.kernel.codec.link_messages import all_links
from ovsdriver.adapters.kernel.codec.route_lookup import Found, lookup
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.sandbox import entering
from ovsdriver.domain.tracing.containers import Inside
from ovsdriver.domain.tracing.hops import Question

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
    links = {each.index: each for each in all_links(routes)}
    link = next((each for each in links.values() if each.mac == mac.packed), None)
    if link is None:
        return None
    way = Found() if target is None else lookup(routes, target, whole=True)
    sent = Found() if target is None else lookup(routes, target)
    leaves = links.get(way.index)
    return Inside(
        up=link.up,
        addresses=tuple(each.address for each in addresses(routes, link.index)),
        way=None if way.number or leaves is None else way.destination,
        through_this=way.index == link.index,
        listens=None if asked.port is None else listens(asked.protocol, asked.port),
        mac=link.eui,
        leaves=None if leaves is None else leaves.eui,
        via=way.gateway,
        source=sent.source,
        mtu=0 if leaves is None else leaves.mtu,
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


def has_resolver(sandbox: str, address: IPAddress) -> bool | None:
    """Whether a UDP socket waits at an IPv4 address in a sandbox; None if it cannot be entered."""
    written = address.packed[::-1].hex().upper()

    def look(_: RouteSocket) -> bool:
        lines = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
        return any(line.split()[1].startswith(f"{written}:") for line in lines)

    try:
        return entering.visit(sandbox, look)
    except OSError:
        return None
