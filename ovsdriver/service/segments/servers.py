"""The name server that each host is to its own containers on a segment.

OVN answers what its rows say before a packet gets there, also while this process is away. Here
comes the rest: that a container has no address of a family, which some C libraries must hear to
take the other one; names of the outside; and names of a container's other segments.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from netaddr import IPAddress

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.plumbing import NameServer
from ovsdriver.errors import DriverError
from ovsdriver.ports import Links, NameServers, Northbound, State, Switch
from ovsdriver.service.aspects.aspect import Aspect, Finding

log = logging.getLogger(__name__)


class SegmentServers(Aspect):
    """One for each segment that a network of this host is on; it is their directory as well."""

    name = "name servers of segments"

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        northbound: Northbound,
        switch: Switch,
        links: Links,
        servers: NameServers,
        tso_of: Callable[[Network], str],
    ) -> None:
        """``tso_of``: the tap that tells whether a network's links may leave checksums undone."""
        self._owner = owner
        self._state = state
        self._northbound = northbound
        self._switch = switch
        self._links = links
        self._servers = servers
        self._tso_of = tso_of
        self._changing = asyncio.Lock()

    # The directory

    def serves(self, segment: str, client: IPAddress) -> bool:
        """Whether a container of this host has that address on a segment."""
        return self._container(segment, client) is not None

    def addresses(self, segment: str, client: IPAddress, name: str) -> Collection[IPAddress] | None:
        """Return who is called so on any segment that a container is on; None: nobody is."""
        found = [
            each
            for place in self._segments_of(self._container(segment, client))
            for each in self._northbound.called(place, name)
        ]
        return [address for each in found for address in each.addresses] if found else None

    def _container(self, segment: str, address: IPAddress) -> Endpoint | None:
        network = self._standing(segment)
        return None if network is None else self._state.endpoint_at(network.id, address)

    def _segments_of(self, endpoint: Endpoint | None) -> Iterable[str]:
        if endpoint is None:
            return
        sandbox = endpoint.sandbox
        for each in self._state.endpoints_in(sandbox) if sandbox is not None else [endpoint]:
            network = self._state.network(each.network)
            if network is not None and isinstance(network.segment, OvnSegment):
                yield network.segment.segment

    # The servers

    async def ensure_network(self, network: Network) -> None:
        """Make the server of a network's segment; what cannot be now is found by the next look."""
        if isinstance(network.segment, OvnSegment):
            try:
                await self._ensure(network.segment.segment)
            except DriverError as error:
                log.warning("segment.names-unserved", extra={"why": str(error)})

    async def remove_network(self, network: Network) -> None:
        """Remove the server of a segment that this host has left."""
        if isinstance(network.segment, OvnSegment):
            await self._remove(network.segment.segment, names.server_link(network.segment.segment))

    async def clear(self) -> None:
        """End all servers, and remove their ports and links."""
        for segment in tuple(self._servers.running()):
            await self._end(segment, names.server_link(segment))

    async def find(self) -> Sequence[Finding]:
        """Compare what serves the segments with the networks that are on them."""
        links = await self._links.links()
        wanted = [
            server
            for each in self._state.networks()
            if not each.ended and (server := self._server(each)) is not None
        ]
        found = [
            Finding(
                what=f"segment {each.segment}: its name server was not as it should be",
                about=f"segment {each.segment}: its name server",
                mend=partial(self._ensure, each.segment),
            )
            for each in wanted
            if each.segment not in self._servers.running()
            or (link := links.get(each.link.host)) is None
            or not link.up
            or link.alias != each.link.alias
            or self._unplugged(each)
        ]
        expected = {each.port.name for each in wanted}
        for bridge in self._switch.bridges().values():
            for port in bridge.ports:
                ids = port.external_ids
                ours = ids.get(names.OWNER_KEY) == self._owner
                if ours and ids.get(names.PURPOSE_KEY) == names.NAME_SERVER:
                    segment = ids.get(names.CLIENT_KEY, "").rpartition("/")[0]
                    if port.name not in expected:
                        found.append(
                            Finding(
                                what=f"port {port.name}: name server of segment {segment}, which "
                                "this host has left",
                                mend=partial(self._remove, segment, port.name),
                            )
                        )
        return found

    def _unplugged(self, server: NameServer) -> bool:
        port = self._switch.port(server.port.name)
        return (
            port is None
            or port.bridge != server.port.bridge
            or port.tag != server.port.tag
            or bool(port.error)
            or any(port.external_ids.get(k) != v for k, v in server.port.external_ids.items())
        )

    def _standing(self, segment: str) -> Network | None:
        for each in self._state.networks():
            place = each.segment
            if isinstance(place, OvnSegment) and place.segment == segment and not each.ended:
                return each
        return None

    def _server(self, network: Network) -> NameServer | None:
        return desired.name_server(network, owner=self._owner, tso_of=self._tso_of(network))

    async def _ensure(self, segment: str) -> bool:
        async with self._changing:
            network = self._standing(segment)
            server = self._server(network) if network is not None else None
            if server is None:
                return False
            await self._servers.ensure(server, self)
            await self._switch.ensure_port(server.port)
            return True

    async def _remove(self, segment: str, link: str) -> bool:
        return self._standing(segment) is None and await self._end(segment, link)

    async def _end(self, segment: str, link: str) -> bool:
        async with self._changing:
            unplugged = await self._switch.remove_port(link)
            return await self._servers.remove(segment, link) or unplugged
