"""What of the address space this host uses already: its routes and its name servers."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from netaddr import AddrFormatError, IPAddress, IPNetwork

from ipam import Occupied
from ovsdriver.ports import Links

RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""The second one has the servers behind systemd-resolved's stub."""


class HostSurroundings:
    """For the choice of automatic pools."""

    def __init__(self, links: Links, *, resolvers: Sequence[Path] = RESOLVERS) -> None:
        self._links = links
        self._resolvers = resolvers

    async def occupied(self, family: int) -> Sequence[Occupied]:
        """Return every route but the default ones, and every name server, of ``family``.

        Raises:
            UnavailableError: the kernel did not answer.
        """
        routes = [
            Occupied(network=route.destination, why=f"route via {route.link or route.gateway}")
            for route in await self._links.routes()
            if route.destination.version == family and route.destination.prefixlen
        ]
        servers = await asyncio.to_thread(self._name_servers)
        return [
            *routes,
            *(
                Occupied(network=IPNetwork(server), why="name server")
                for server in servers
                if server.version == family
            ),
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
