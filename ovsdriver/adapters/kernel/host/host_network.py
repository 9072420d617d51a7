"""What the firewall and forwarding need to know of the host: links, and where routes lead.

Everything here blocks and belongs on a worker thread.
"""

from ovsdriver.adapters.kernel.codec import rtnetlink
from ovsdriver.adapters.kernel.codec.link_messages import Link, link_messages
from ovsdriver.adapters.kernel.host.host_ways import HostWays
from ovsdriver.domain.traffic.firewall import HostLink, HostNetwork, LinkRoute
from ovsdriver.errors import UnavailableError


def read_host(
    netlink: rtnetlink.RouteSocket, memory: rtnetlink.Remembered[HostLink], ways: HostWays
) -> HostNetwork:
    """Return links as the kernel has them, and which of them routes lead through.

    Args:
        netlink: a socket in the host's namespace.
        memory: of earlier looks, by :func:`read_link`.
        ways: what is known of routes.

    Raises:
        UnavailableError: the kernel did not answer.
    """
    try:
        links = tuple(memory.all(link_messages(netlink)))
        names = {link.index: link.name for link in links}
        up = frozenset(link.index for link in links if link.up)
        routes = {
            LinkRoute(link=names[way.link], family=way.family, default=way.default)
            for way in ways.current(netlink, up)
            if way.link in names
        }
    except OSError as error:
        raise UnavailableError(f"the kernel did not list links and routes: {error}") from error
    return HostNetwork(
        links=links, routes=tuple(sorted(routes, key=lambda r: (r.family, r.link, r.default)))
    )


def read_link(message: bytes) -> HostLink:
    """Read the payload of an RTM_NEWLINK message."""
    link = Link.read(message)
    return HostLink(
        name=link.name,
        index=link.index,
        kind=link.kind,
        master=link.master_index or 0,
        up=link.up,
    )
