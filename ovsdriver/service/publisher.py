"""Published ports: ports of the host that are held, rules that translate, records that remember.

A port is had first, for it may have to be chosen; then it is recorded, then the rules follow the
records. It ends the other way round: the record first, so that whatever is left is mended from
the records. What is held and in no record is let go by the next look at everything.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from ovsdriver.domain import publishing
from ovsdriver.domain.model import (
    Endpoint,
    EndpointId,
    HostPort,
    Mode,
    Network,
    Publication,
    Transport,
)
from ovsdriver.domain.publishing import Wish
from ovsdriver.domain.requests import PortMapping
from ovsdriver.errors import ConflictError, DriverError
from ovsdriver.ports import HostPorts, Links, State
from ovsdriver.service.locks import Locks
from ovsdriver.service.port_claims import PortClaims
from ovsdriver.service.rules import Rules

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retaken:
    """What a look at all published ports has found."""

    mended: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Publisher:
    """Publishes and withdraws. The caller of all but ``retake`` holds the endpoint's lock."""

    def __init__(
        self, *, state: State, rules: Rules, ports: HostPorts, links: Links, locks: Locks
    ) -> None:
        self._state = state
        self._rules = rules
        self._ports = ports
        self._links = links
        self._locks = locks
        self._claims = PortClaims(
            state=state, ports=ports, links=links, locks=locks, withdraw=self._let_go
        )

    def held(self) -> frozenset[HostPort]:
        """Return the ports that are held."""
        return frozenset(self._ports.held())

    def daemon_ended(self) -> None:
        """Hear that the daemon is gone, and with it perhaps those that it published for."""
        self._claims.asked.clear()

    async def publish(
        self,
        network: Network,
        endpoint: Endpoint,
        ports: Sequence[PortMapping],
        *,
        other_gateway6: bool = False,
    ) -> None:
        """Publish exactly ``ports`` for an endpoint; ports that were chosen before are kept.

        Args:
            network: the endpoint's, which has a gateway on this host.
            endpoint: the record.
            ports: of the whole container.
            other_gateway6: IPv6 goes by another endpoint of the container.

        Raises:
            ConflictError: a port is taken.
            UnsupportedError: the host or the container has no such address.
            UnavailableError: the kernel or the store did not answer.
        """
        wanted = await self._wishes(network, endpoint, ports, other_gateway6=other_gateway6)
        async with AsyncExitStack() as undo:
            published = await self._claims.choose(endpoint, wanted, undo)
            if published != endpoint.published:
                undo.push_async_callback(self._put_back, endpoint)
                await self._state.put_endpoint(replace(endpoint, published=published))
            self._claims.come(published)
            await self._rules.ensure()
            # Who has sent there before is remembered with his first packet, which nobody
            # translated. With TCP he was refused, and begins anew by himself.
            before = frozenset(endpoint.published)
            fresh = [each for each in published if each not in before]
            await self._rules.cut([p for p in fresh if p.protocol is not Transport.TCP])
            for each in published:
                await self._ports.relay(each.at, each.address, each.port)
            undo.pop_all()
        self._claims.asked.add(endpoint.id)
        now = frozenset(published)
        await self._let_go([each for each in endpoint.published if each not in now])
        log.info(
            "ports.published",
            extra={
                "endpoint": endpoint.id,
                "network": network.id,
                "ports": " ".join(f"{p.host}:{p.host_port}->{p.port}" for p in published[:20]),
                "count": len(published),
            },
        )

    async def withdraw(self, endpoint: Endpoint) -> None:
        """Take back what ``endpoint`` had published, after its record says that it is over.

        Repeatable, and for an endpoint that is forgotten meanwhile as well.
        """
        self._claims.asked.discard(endpoint.id)
        if endpoint.published:
            await self._let_go(endpoint.published)

    async def retake(self) -> Retaken:
        """Hold what the records say, serve it on ``::1``, and let go of what none says.

        Not for containers that have ended: Docker may give their ports to others already.
        """
        mended: list[str] = []
        failed: list[str] = []
        async for endpoint, each in self._unheld():
            try:
                if await self._retake(endpoint.id, each):
                    mended.append(f"host port {_text(each)} was not reserved")
            except DriverError as error:
                failed.append(
                    f"host port {_text(each)}, published for endpoint {endpoint.id[:12]}: {error}"
                )
        for port in self._claims.strays():
            await self._ports.release(port)
        return Retaken(mended=tuple(mended), failed=tuple(failed))

    async def unheld(self) -> Sequence[str]:
        """Return what :meth:`retake` would hold, a phrase each; changes nothing."""
        return [f"host port {_text(each)} is not reserved" async for _, each in self._unheld()]

    async def _unheld(self) -> AsyncIterator[tuple[Endpoint, Publication]]:
        for endpoint in self._state.endpoints():
            missing = [p for p in endpoint.published if p.at not in self._ports.held()]
            if missing and not endpoint.ended and await self._alive(endpoint):
                for each in missing:
                    yield endpoint, each

    async def release_all(self) -> None:
        """Let go of every port: nothing is published any more, and no record says so."""
        for port in tuple(self._ports.held()):
            await self._ports.release(port)

    async def _wishes(
        self,
        network: Network,
        endpoint: Endpoint,
        ports: Sequence[PortMapping],
        *,
        other_gateway6: bool,
    ) -> Sequence[Wish]:
        served = [
            each
            for each in endpoint.addresses
            if network.gateway_of(each) and network.mode_of(each.version) is Mode.NAT
        ]
        own = frozenset(each.version for each in served)
        siblings = [
            await self._limit(
                sibling,
                publishing.left_to_sibling(
                    frozenset(each.host.version for each in sibling.published),
                    own=own,
                    other_gateway6=other_gateway6,
                    current=sibling.id in self._claims.asked,
                ),
            )
            for sibling in self._siblings(endpoint)
        ]
        theirs = [each for sibling in siblings for each in sibling]
        return publishing.wishes(
            ports,
            served,
            bindings=network.bindings,
            elsewhere=frozenset({6} if other_gateway6 else {p.host.version for p in theirs} - own),
            skipped={(each.protocol, each.port, each.host.version) for each in theirs},
        )

    def _siblings(self, endpoint: Endpoint) -> list[Endpoint]:
        """Return the other endpoints of the same container that publish."""
        return [
            each
            for each in self._state.endpoints()
            if each.published
            and not each.ended
            and each.sandbox == endpoint.sandbox is not None
            and each.id != endpoint.id
        ]

    async def _limit(self, sibling: Endpoint, families: frozenset[int]) -> tuple[Publication, ...]:
        """Take from a sibling what it publishes of other families, and return the rest."""
        async with self._locks.held(sibling.id):
            current = self._state.endpoint(sibling.id)
            if current is None or current.ended:
                return ()
            rest = tuple(each for each in current.published if each.host.version in families)
            if rest != current.published:
                await self._state.put_endpoint(replace(current, published=rest))
                await self._let_go([p for p in current.published if p.host.version not in families])
            return rest

    async def _alive(self, endpoint: Endpoint) -> bool:
        return endpoint.sandbox is not None and await self._links.sandbox_alive(endpoint.sandbox)

    async def _let_go(self, published: Sequence[Publication]) -> None:
        """Make the rules as the records say, then end connections, then let go of the ports.

        But for those that somebody else has got in the meantime.
        """
        if not published:
            return
        await self._rules.ensure()
        await self._rules.cut(published)
        ours = {each.at for each in published}
        for port in self._claims.strays():
            if port in ours:
                await self._ports.release(port)

    async def _put_back(self, endpoint: Endpoint) -> None:
        try:
            await self._state.put_endpoint(endpoint)
            await self._rules.ensure()
        except DriverError as error:
            log.warning("ports.undo-deferred", extra={"endpoint": endpoint.id, "why": str(error)})

    async def _retake(self, endpoint_id: EndpointId, each: Publication) -> bool:
        """Hold one port of a record; False if the record has changed meanwhile, or it is held."""
        async with self._locks.held(endpoint_id):
            current = self._state.endpoint(endpoint_id)
            gone = current is None or current.ended or each not in current.published
            if gone or each.at in self._ports.held():
                return False
            if await self._ports.hold(each.protocol, [each.host], (each.host_port,)) is None:
                raise ConflictError("another program of this host has taken it meanwhile")
            try:
                await self._ports.relay(each.at, each.address, each.port)
            except DriverError:
                # Held without its relay it would look as it should.
                await self._ports.release(each.at)
                raise
            return True


def _text(each: Publication) -> str:
    host = f"[{each.host}]" if each.host.version == 6 else str(each.host)
    return f"{host}:{each.host_port}/{each.protocol.word}"
