"""Published ports: ports of the host that are held, rules that translate, records that remember.

A port is had first, for it may have to be chosen; then it is recorded, then the rules follow the
records. It ends the other way round: the record first, so that whatever is left is mended from
the records. What is held and in no record is let go by the next look at everything.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

from ovsdriver.domain.plan import port_planning
from ovsdriver.domain.records.model import (
    Endpoint,
    EndpointId,
    HostPort,
    Network,
    PortMapping,
    Publication,
    Transport,
)
from ovsdriver.domain.traffic import publishing
from ovsdriver.domain.traffic.publishing import WantedPort
from ovsdriver.errors import ConflictError, DriverError, UnsupportedError
from ovsdriver.ports import HostPorts, Links, State
from ovsdriver.service.aspects.aspect import Aspect, Finding, never
from ovsdriver.service.aspects.firewall import FirewallRules
from ovsdriver.service.aspects.publishing.port_claims import PortClaims
from ovsdriver.service.locks import Locks

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What one endpoint publishes."""

    endpoint: EndpointId
    wishes: Sequence[WantedPort]
    instead_of: EndpointId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What Docker asked an endpoint to publish, divided among those that can."""

    endpoint: EndpointId
    wanted: tuple[PortMapping, ...]
    """As of the record."""
    shares: Sequence[_Share]
    left_out: Sequence[PortMapping]
    why: str


class Publisher(Aspect):
    """Publishes and withdraws. The caller holds the endpoint's lock, but for findings."""

    name = "published ports"
    before_ports = True  # others want the same ports of the host, whatever the switch does
    needs_switch = False

    def __init__(
        self, *, state: State, rules: FirewallRules, ports: HostPorts, links: Links, locks: Locks
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
        """Publish exactly ``ports`` for a container; ports that were chosen before are kept.

        By the endpoint that Docker asks as far as that can; else by another one of the container.
        What none can is noted in the record and said in the log, and a port that is taken as well
        if the container runs: dockerd would be left with half of a connection to the network, and
        the container without the gateway that it had (moby, libnetwork/endpoint.go).

        Args:
            network: the endpoint's.
            endpoint: the record.
            ports: of the whole container.
            other_gateway6: IPv6 goes by another endpoint of the container.

        Raises:
            ConflictError: a port is taken, and the container has not started yet.
            UnsupportedError: the host has no such address, and likewise.
            UnavailableError: the kernel or the store did not answer.
        """
        async with AsyncExitStack() as locks:
            siblings = [s async for s in self._siblings(endpoint, locks)]
            work = await self._divide(
                network, endpoint, ports, siblings, other_gateway6=other_gateway6
            )
            try:
                await self._do(work, tolerant=False)
            except (ConflictError, UnsupportedError):
                if not await self._runs(endpoint):
                    raise
                await self._do(work, tolerant=True)

    async def publish_again(self, endpoint_id: EndpointId) -> None:
        """Publish anew what an endpoint leaves to others of its container, which have changed.

        Raises:
            As ``publish``.
        """
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            network = self._state.network(endpoint.network) if endpoint is not None else None
            if endpoint is None or network is None or not endpoint.wanted:
                return
            other_gateway6 = any(
                each.host.version == 6 and each.instead_of is None
                for sibling in self._joined(endpoint)
                for each in sibling.published
            )
            await self.publish(network, endpoint, endpoint.wanted, other_gateway6=other_gateway6)

    async def joined(self, network: Network, endpoint: Endpoint) -> None:
        """Publish by a joined endpoint what Docker asked another of the container for in vain."""
        if endpoint.unpublished:
            log.warning(
                "ports.not-published",
                extra={
                    "network": network.id,
                    "endpoint": endpoint.id,
                    "ports": " ".join(each.text for each in endpoint.unpublished),
                    "why": f"a network with ovs.mode={network.mode} has no gateway on this host",
                },
            )
        if port_planning.publishable(endpoint, network):
            for each in self._joined(endpoint):
                if each.wanted:
                    await self.publish_again(each.id)

    async def left(self, endpoint: Endpoint) -> None:
        """Have others publish what an unplugged endpoint did in another one's place, if it runs."""
        helped = {each.instead_of for each in endpoint.published} - {None}
        try:
            if not helped or endpoint.sandbox is None:
                return
            if await self._links.sandbox_used(endpoint.sandbox, glance=True):
                for each in helped:
                    if each is not None:
                        await self.publish_again(each)
        except DriverError as error:
            log.warning("ports.not-published", extra={"endpoint": endpoint.id, "why": str(error)})

    async def unplugging(self, endpoint: Endpoint, recorded: "asyncio.Future[None] | None") -> None:
        """Withdraw what is published; Docker's Revoke may never come.

        Engine 29 forgets its role when dockerd restarts.
        """
        if recorded is not None and (endpoint.published or endpoint.wanted):
            await recorded
        await self.withdraw(endpoint)

    async def withdraw(self, endpoint: Endpoint) -> None:
        """Take back what ``endpoint`` had published, after its record says that it is over.

        And what others did in its place. Repeatable, and for an endpoint that is forgotten
        meanwhile as well.
        """
        self._claims.asked.discard(endpoint.id)
        current = self._state.endpoint(endpoint.id)
        network = self._state.network(endpoint.network)
        stands = current is not None and not current.ended and network and not network.ended
        standing = frozenset(current.published if current is not None and stands else ())
        gone = [each for each in endpoint.published if each not in standing]
        for helper in self._joined(endpoint) if endpoint.wanted else ():
            async with self._locks.held(helper.id):
                lost = frozenset(p for p in helper.published if p.instead_of == endpoint.id)
                gone += await self._limit(helper.id, lost)
        await self._let_go(gone)

    async def find(self) -> Sequence[Finding]:
        """Find ports of records that are not held, or not served on ``::1``, and others that are.

        Not for containers that have ended: Docker may give their ports to others already.
        """
        return [
            *[
                Finding(
                    what=f"host port {each.host_text} is not reserved",
                    mended=f"host port {each.host_text} was not reserved",
                    about=f"host port {each.host_text}, published for endpoint {endpoint.id[:12]}",
                    mend=partial(self._retake, endpoint.id, each),
                )
                async for endpoint, each in self._unheld()
            ],
            Finding(what="ports of no record", amiss=never, mend=self._release_strays),
        ]

    async def _release_strays(self) -> None:
        for port in self._claims.strays():
            await self._ports.release(port)

    async def _unheld(self) -> AsyncIterator[tuple[Endpoint, Publication]]:
        for endpoint in self._state.endpoints():
            missing = [p for p in endpoint.published if p.at not in self._ports.held()]
            if missing and not endpoint.ended and await self._alive(endpoint):
                for each in missing:
                    yield endpoint, each

    async def clear(self) -> None:
        """Let go of every port."""
        for port in tuple(self._ports.held()):
            await self._ports.release(port)

    async def _siblings(self, endpoint: Endpoint, locks: AsyncExitStack) -> AsyncIterator[Endpoint]:
        """Lock the other endpoints of the same container, and give their records."""
        for each in sorted(self._joined(endpoint), key=lambda each: (each.network, each.id)):
            await locks.enter_async_context(self._locks.held(each.id))
            current = self._state.endpoint(each.id)
            if current is not None and current.sandbox == endpoint.sandbox and not current.ended:
                yield current

    def _joined(self, endpoint: Endpoint) -> Sequence[Endpoint]:
        return [
            each
            for each in self._state.endpoints()
            if each.sandbox == endpoint.sandbox is not None
            and not each.ended
            and each.id != endpoint.id
        ]

    async def _divide(
        self,
        network: Network,
        endpoint: Endpoint,
        ports: Sequence[PortMapping],
        siblings: Sequence[Endpoint],
        *,
        other_gateway6: bool,
    ) -> "_Work":
        """Say who publishes what; what siblings have for other families than theirs is taken."""
        told = frozenset(a.version for a in endpoint.addresses if network.gateway_of(a))
        theirs: list[Publication] = []
        for sibling in siblings:
            others = [p for p in sibling.published if p.instead_of != endpoint.id]
            kept = publishing.left_to_sibling(
                frozenset(p.host.version for p in others),
                told=told,
                other_gateway6=other_gateway6,
                current=sibling.id in self._claims.asked,
            )
            lost = frozenset(p for p in others if p.host.version not in kept)
            await self._let_go(await self._limit(sibling.id, lost))
            theirs += [p for p in others if p not in lost]
        their_families = frozenset(each.host.version for each in theirs)
        own = port_planning.publishable(endpoint, network)
        own_families = frozenset(each.version for each in own)
        shares = [
            _Share(
                endpoint=endpoint.id,
                wishes=publishing.wishes(
                    ports,
                    own,
                    bindings=network.bindings,
                    elsewhere={6} if other_gateway6 else their_families - own_families,
                    skipped={(each.protocol, each.port, each.host.version) for each in theirs},
                ),
            )
        ]
        missing = {4} if other_gateway6 else {4, 6}
        missing -= own_families | their_families
        helped: set[int] = set()
        # Who helps already goes on, so that nobody's port moves.
        siblings = sorted(siblings, key=lambda each: not _helps(each, endpoint.id))
        for sibling in siblings if ports else ():
            beside = self._state.network(sibling.network)
            if beside is None or beside.ended:
                continue
            found = [
                each
                for each in port_planning.publishable(sibling, beside)
                if each.version in missing - helped
            ]
            helped.update(each.version for each in found)
            wanted = publishing.wishes(
                ports, found, bindings=beside.bindings, instead_of=endpoint.id
            )
            shares.append(_Share(endpoint=sibling.id, wishes=wanted, instead_of=endpoint.id))
        everybody = own_families | their_families | helped | ({6} if other_gateway6 else set())
        return _Work(
            endpoint=endpoint.id,
            wanted=tuple(ports) if missing else (),
            shares=shares,
            left_out=publishing.left_out(ports, everybody, bindings=network.bindings),
            why=port_planning.why_unpublished(endpoint, network),
        )

    async def _do(self, work: "_Work", *, tolerant: bool) -> None:
        """Publish each share, all or none; ``tolerant``: all that can be had."""
        refusals = dict.fromkeys(work.left_out, work.why)
        before: list[Publication] = []
        after: list[Publication] = []
        changes: list[tuple[Endpoint, Endpoint]] = []
        async with AsyncExitStack() as undo:
            for share in work.shares:
                record = self._state.endpoint(share.endpoint)
                if record is None:
                    continue
                chosen = await self._claims.choose(
                    record, share.wishes, undo, refusals=refusals if tolerant else None
                )
                rest = [p for p in record.published if p.instead_of != share.instead_of]
                changes.append((record, replace(record, published=(*rest, *chosen))))
                before += [p for p in record.published if p.instead_of == share.instead_of]
                after += chosen
            noted = partial(
                replace,
                wanted=work.wanted,
                unpublished=tuple(refusals),
                unpublished_why="; ".join(dict.fromkeys(refusals.values())),
            )
            for record, change in changes:
                now = noted(change) if change.id == work.endpoint else change
                if now != record:
                    undo.push_async_callback(self._put_back, record)
                    await self._state.put_endpoint(now)
            self._claims.come(after)
            await self._rules.apply()
            # Who has sent there before is remembered with his first packet, which nobody
            # translated. With TCP he was refused, and begins anew by himself.
            had = frozenset(before)
            fresh = [each for each in after if each not in had]
            await self._rules.cut([p for p in fresh if p.protocol is not Transport.TCP])
            for each in after:
                await self._ports.relay(each.at, each.address, each.port)
            undo.pop_all()
        self._claims.asked.add(work.endpoint)
        self._claims.asked.update(each.id for _, each in changes if each.published)
        await self._let_go([each for each in before if each not in frozenset(after)])
        self._tell(work, after, refusals)

    def _tell(
        self, work: "_Work", published: Sequence[Publication], refusals: Mapping[PortMapping, str]
    ) -> None:
        endpoint = self._state.endpoint(work.endpoint)
        about = {
            "endpoint": work.endpoint,
            "network": endpoint.network if endpoint is not None else "",
        }
        if published or not refusals:
            log.info(
                "ports.published",
                extra={
                    **about,
                    "ports": " ".join(
                        f"{p.host_text}->{p.address}:{p.text}" for p in published[:20]
                    ),
                    "count": len(published),
                },
            )
        if refusals:
            log.warning(
                "ports.not-published",
                extra={
                    **about,
                    "ports": " ".join(each.text for each in list(refusals)[:20]),
                    "count": len(refusals),
                    "why": "; ".join(dict.fromkeys(refusals.values())),
                },
            )

    async def _limit(
        self, endpoint_id: EndpointId, lost: Collection[Publication]
    ) -> Sequence[Publication]:
        """Take from the record of a locked endpoint what is lost, and return what it had of it."""
        current = self._state.endpoint(endpoint_id)
        if current is None or current.ended:
            return []
        rest = tuple(each for each in current.published if each not in lost)
        if rest == current.published:
            return []
        if not rest:
            self._claims.asked.discard(endpoint_id)
        await self._state.put_endpoint(replace(current, published=rest))
        return [each for each in current.published if each in lost]

    async def _runs(self, endpoint: Endpoint) -> bool:
        """Whether the container has started; only then something is lost if Docker is refused."""
        return endpoint.sandbox is not None and await self._links.sandbox_used(
            endpoint.sandbox, started=True
        )

    async def _alive(self, endpoint: Endpoint) -> bool:
        return endpoint.sandbox is not None and await self._links.sandbox_alive(endpoint.sandbox)

    async def _let_go(self, published: Sequence[Publication]) -> None:
        """Make the rules as the records say, then end connections, then let go of the ports.

        But for those that somebody else has got in the meantime.
        """
        if not published:
            return
        await self._rules.apply()
        await self._rules.cut(published)
        ours = {each.at for each in published}
        for port in self._claims.strays():
            if port in ours:
                await self._ports.release(port)

    async def _put_back(self, endpoint: Endpoint) -> None:
        try:
            await self._state.put_endpoint(endpoint)
            await self._rules.apply()
        except DriverError as error:
            log.warning("ports.undo-deferred", extra={"endpoint": endpoint.id, "why": str(error)})

    async def _retake(self, endpoint_id: EndpointId, each: Publication) -> bool:
        """Hold one port of a record; False if the record has changed meanwhile, or it is held."""
        async with self._locks.held(endpoint_id):
            current = self._state.endpoint(endpoint_id)
            gone = current is None or current.ended or each not in current.published
            if gone or each.at in self._ports.held():
                return False
            at = await self._ports.hold(
                each.protocol, [each.host], (each.host_port,), count=each.count
            )
            if at is None:
                raise ConflictError("another program has taken it meanwhile; end that program")
            try:
                await self._ports.relay(each.at, each.address, each.port)
            except DriverError:
                # Held without its relay it would look as it should.
                await self._ports.release(each.at)
                raise
            return True


def _helps(each: Endpoint, other: EndpointId) -> bool:
    return any(p.instead_of == other for p in each.published)
