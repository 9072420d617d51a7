"""Which endpoint has which port of the host: getting one, and whom to name if it is taken."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from ovsdriver.domain.records.model import (
    Endpoint,
    EndpointId,
    HostPort,
    PortMapping,
    Publication,
    Transport,
)
from ovsdriver.domain.traffic import publishing
from ovsdriver.domain.traffic.publishing import Places, WantedPort
from ovsdriver.errors import ConflictError, UnavailableError, UnsupportedError
from ovsdriver.ports import HostPorts, Links, State
from ovsdriver.service.locks import Locks

log = logging.getLogger(__name__)


class PortClaims:
    """What the records say and what is held, side by side."""

    def __init__(
        self,
        *,
        state: State,
        ports: HostPorts,
        links: Links,
        locks: Locks,
        withdraw: Callable[[Sequence[Publication]], Awaitable[None]],
    ) -> None:
        """Build it.

        Args:
            state: records.
            ports: of this host.
            links: tells whether anybody is in a sandbox.
            locks: of endpoints.
            withdraw: takes rules, connections and ports back for what is in no record any more.
        """
        self._state = state
        self._ports = ports
        self._links = links
        self._locks = locks
        self._withdraw = withdraw
        self._coming: set[HostPort] = set()
        """Held, and not recorded yet."""
        self.asked: set[EndpointId] = set()
        """Endpoints that a daemon which has not ended since asked to publish for."""

    def recorded(self) -> Iterator[tuple[Endpoint, Publication]]:
        """Iterate over what is published by endpoints and networks that stand."""
        for endpoint in self._state.endpoints():
            if not endpoint.published or endpoint.ended:
                continue
            network = self._state.network(endpoint.network)
            if network is not None and not network.ended:
                for each in endpoint.published:
                    yield endpoint, each

    def strays(self) -> Sequence[HostPort]:
        """Return the ports that are held for nobody."""
        recorded = {each.at for _, each in self.recorded()}
        return [p for p in self._ports.held() if p not in recorded and p not in self._coming]

    def come(self, published: Sequence[Publication]) -> None:
        """Hear that these are recorded now."""
        self._coming.difference_update(each.at for each in published)

    async def choose(
        self,
        endpoint: Endpoint,
        wanted: Sequence[WantedPort],
        undo: AsyncExitStack,
        *,
        refusals: dict[PortMapping, str] | None = None,
    ) -> tuple[Publication, ...]:
        """Hold a port for each wish; those that ``endpoint`` has already stay.

        What is held here anew is let go by ``undo``. With ``refusals``, what cannot be had is
        left out and noted there.

        Raises:
            ConflictError: a port is taken.
            UnsupportedError: the host has no such address, or a port needs a privilege.
            UnavailableError: the kernel or the store did not answer.
        """
        earlier = publishing.Earlier(endpoint.published)
        had = {each.at for each in endpoint.published}
        others = Places(each.at for holder, each in self.recorded() if holder.id != endpoint.id)
        published: list[Publication] = []
        for wish in wanted:
            port = earlier.take(wish)
            needed = tuple(
                way
                for way, each in zip(wish.ways, wish.publications(port), strict=True)
                if each.at not in had or each.at not in self._ports.held()
            )
            if needed:
                rest = replace(wish, ways=needed)
                choices = (port,) if port else wish.choices
                try:
                    port = await self._hold(endpoint.id, rest, choices, undo, others=others)
                except (ConflictError, UnsupportedError) as error:
                    if refusals is None:
                        raise
                    refusals[wish.mapping] = str(error)
                    continue
            published.extend(wish.publications(port))
        return tuple(published)

    async def _hold(
        self,
        endpoint: EndpointId,
        wish: WantedPort,
        choices: Sequence[int],
        undo: AsyncExitStack,
        *,
        others: Places,
    ) -> int:
        hosts = [way.host for way in wish.ways]
        asked, protocol, count = wish.mapping, wish.mapping.protocol, wish.mapping.count
        try:
            port = await self._ports.hold(protocol, hosts, choices, count=count)
            if port is None and await self._end_dead(wish, endpoint):
                port = await self._ports.hold(protocol, hosts, choices, count=count)
        except UnsupportedError as error:
            raise UnsupportedError(f"publishing {asked.text}: {error}") from error
        if port is None:
            raise ConflictError(self._taken(wish))
        made = [each.at for each in wish.publications(port)]
        self._coming.update(made)
        undo.push_async_callback(self._give_up, made)
        if any(map(others.overlap, made)):
            # A record whose socket we do not hold stands for a container that has ended, or for
            # one whose port was somebody else's when we began.
            exact = replace(wish, mapping=replace(asked, host_port=port, host_port_end=port))
            await self._end_dead(exact, endpoint)
            if self._holders(exact, endpoint):
                raise ConflictError(self._taken(exact))
        return port

    async def _give_up(self, ports: Sequence[HostPort]) -> None:
        self._coming.difference_update(ports)
        for each in ports:
            await self._ports.release(each)

    def _holders(self, wish: WantedPort, apart: EndpointId | None = None) -> Sequence[Endpoint]:
        """Return the endpoints whose records stand in the way of ``wish``."""
        found = {
            endpoint.id: endpoint
            for endpoint, each in self.recorded()
            if endpoint.id != apart and any(publishing.overlapping(wish, [each.at]))
        }
        return tuple(found.values())

    def _taken(self, wish: WantedPort) -> str:
        asked, host = wish.mapping, wish.ways[0].host
        where = str(host) if int(host) else "this host"
        holders = self._holders(wish)
        if holders:
            who = f"endpoint {holders[0].id[:12]} has it, see `ovsnet ports`"
        elif wish.first:
            letter = {Transport.TCP: "t", Transport.UDP: "u", Transport.SCTP: "S"}[asked.protocol]
            where_from = f"sport = :{wish.first}"
            if asked.count > 1:
                end = wish.first + asked.count - 1
                where_from = f"'sport >= :{wish.first} and sport <= :{end}'"
            who = f"see `ss -an{letter}p {where_from}`"
        else:
            who = "there is none left"
        return (
            f"publishing {asked.text}: {wish.host_text} of {where} is in use ({who}); choose "
            "another one with -p, or end what uses it"
        )

    async def _end_dead(self, wish: WantedPort, apart: EndpointId) -> bool:
        """Withdraw what stands in the way for containers that have ended without our hearing.

        After a crash of dockerd or a reboot Docker starts a container again before it says that
        its earlier endpoint is over, if it ever does. A container that is just being started has
        no process yet either; but the daemon that runs now has asked for its ports.
        """
        found = False
        for endpoint in self._holders(wish, apart):
            if endpoint.id in self.asked or await self._used(endpoint):
                continue
            async with self._locks.held(endpoint.id):
                current = self._state.endpoint(endpoint.id)
                if current is None or not current.published or endpoint.id in self.asked:
                    continue
                log.warning(
                    "ports.withdrawn",
                    extra={
                        "endpoint": endpoint.id,
                        "network": endpoint.network,
                        "why": "its container has ended, and another one asks for the same port",
                    },
                )
                await self._state.put_endpoint(replace(current, published=()))
                await self._withdraw(current.published)
                found = True
        return found

    async def _used(self, endpoint: Endpoint) -> bool:
        """Whether a container has processes, or may have."""
        if endpoint.sandbox is None:
            return False
        try:
            return await self._links.sandbox_used(endpoint.sandbox)
        except UnavailableError as error:
            log.warning("ports.not-known", extra={"endpoint": endpoint.id, "why": str(error)})
            return True
