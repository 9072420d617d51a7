"""What of the address space this host uses already: routes, own addresses, name servers."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from netaddr import AddrFormatError, IPAddress, IPNetwork

from ipam import Occupied
from ipam.choice.runs import Runs, block
from ovsdriver.domain.wires.observed import RouteKind
from ovsdriver.ports import Links, Route

RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""The second one has the servers behind systemd-resolved's stub."""


class HostSurroundings:
    """For the choice of automatic pools."""

    def __init__(self, links: Links, *, resolvers: Sequence[Path] = RESOLVERS) -> None:
        self._links = links
        self._resolvers = resolvers

    async def occupied(self, within: Sequence[IPNetwork]) -> Sequence[Occupied]:
        """Return the routes that meet subnets, but for default ones, and every name server.

        A route that leads nowhere is no use of its destination by itself: many hosts throw away all
        of 10.0.0.0/8 but what they know better. An own address in a subnet that the host is
        connected to is left out, being there already.

        Raises:
            UnavailableError: the kernel did not answer.
        """
        routes = await self._links.taken(within)
        connected = Runs(
            block(route.destination) for route in routes if route.kind is RouteKind.UNICAST
        )
        servers = await asyncio.to_thread(self._name_servers)
        return [
            *(
                Occupied(
                    network=route.destination,
                    why=_why(route),
                    firm=route.kind in (RouteKind.UNICAST, RouteKind.LOCAL),
                )
                for route in routes
                if route.kind is not RouteKind.LOCAL
                or connected.end_of_overlap(*block(route.destination)) is None
            ),
            *(Occupied(network=IPNetwork(server), why="name server") for server in servers),
        ]

    def _name_servers(self) -> Sequence[IPAddress]:
        found: dict[IPAddress, None] = {}
        for path in self._resolvers:
            try:
                lines = path.read_text(errors="replace").splitlines()
            except OSError:
                continue  # a host without that file has no servers there
            for line in lines:
                words = line.split()
                if len(words) > 1 and words[0] == "nameserver":
                    try:
                        found[IPAddress(words[1].partition("%")[0])] = None
                    except AddrFormatError:
                        continue  # the resolver ignores such a line too
        return tuple(found)


def _why(route: Route) -> str:
    if route.kind is RouteKind.UNICAST:
        return f"route via {route.link or route.gateway}"
    if route.kind is RouteKind.LOCAL:
        return f"address of {route.link or 'this host'}"
    return f"{route.kind.value} route"
