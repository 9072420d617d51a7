"""Published ports: ports of the host that are held, rules that translate, records that remember.

A port is had first, for it may have to be chosen; then it is recorded, then the rules follow the
records. It ends the other way round: the record first, so that whatever is left is mended from
the records. What is held and in no record is let go by the next look at everything.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from netaddr import IPNetwork

from ovsdriver.domain import publishing
from ovsdriver.domain.model import (
    Endpoint,
    EndpointId,
    HostPort,
    Network,
    Publication,
    Transport,
)
from ovsdriver.domain.publishing import Wish
from ovsdriver.domain.requests import PortMapping
from ovsdriver.errors import ConflictError, DriverError, UnavailableError, UnsupportedError
from ovsdriver.ports import HostPorts, Links, State
from ovsdriver.service.locks import Locks
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
        self._coming: set[HostPort] = set()
        """Held, and not recorded yet."""
        self._asked: set[EndpointId] = set()
        """Published on the word of a daemon that has not ended since."""

    def held(self) -> frozenset[HostPort]:
        """Return the ports that are held."""
        return frozenset(self._ports.held())

    def daemon_ended(self) -> None:
        """Hear that the daemon is gone, and with it perhaps those that it published for."""
        self._asked.clear()

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
            published = await self._choose(endpoint, wanted, undo)
            if published != endpoint.published:
                undo.push_async_callback(self._put_back, endpoint)
                await self._state.put_endpoint(replace(endpoint, published=published))
            self._coming.difference_update(each.at for each in published)
            await self._rules.ensure()
            # Who has sent there before is remembered with his first packet, which nobody
            # translated. With TCP he was refused, and begins anew by himself.
            fresh = [each for each in published if each not in endpoint.published]
            await self._rules.cut([p for p in fresh if p.protocol is not Transport.TCP])
            for each in published:
                await self._ports.relay(each.at, each.address, each.port)
            undo.pop_all()
        self._asked.add(endpoint.id)
        await self._let_go([each for each in endpoint.published if each not in published])
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
        self._asked.discard(endpoint.id)
        if endpoint.published:
            await self._let_go(endpoint.published)

    async def retake(self) -> Retaken:
        """Hold what the records say, serve it on ``::1``, and let go of what none says.

        Not for containers that have ended: Docker may give their ports to others already.
        """
        mended: list[str] = []
        failed: list[str] = []
        for endpoint in self._state.endpoints():
            if not endpoint.published or endpoint.ended or not await self._alive(endpoint):
                continue
            for each in endpoint.published:
                try:
                    if await self._retake(endpoint.id, each):
                        mended.append(f"host port {_text(each)} was not reserved")
                except DriverError as error:
                    failed.append(
                        f"host port {_text(each)}, published for endpoint {endpoint.id[:12]}: "
                        f"{error}"
                    )
        for port in self._strays():
            await self._ports.release(port)
        return Retaken(mended=tuple(mended), failed=tuple(failed))

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
        served = [each for each in endpoint.addresses if network.gateway_of(each)]
        siblings = self._siblings(endpoint)
        if other_gateway6:
            # So IPv4 goes by this endpoint, and not by one that was asked before.
            for each in siblings:
                await self._drop_ipv4(each)
            siblings = self._siblings(endpoint)
        return publishing.wishes(
            ports,
            served,
            bindings=network.bindings,
            elsewhere=frozenset({6}) if other_gateway6 else _families(siblings, served),
            skipped={
                (each.protocol, each.port, each.host.version)
                for sibling in siblings
                for each in sibling.published
            },
        )

    def _siblings(self, endpoint: Endpoint) -> list[Endpoint]:
        """Return the other endpoints of the same container that publish."""
        return [
            each
            for each in self._state.endpoints()
            if each.published
            and not each.ended
            and each.sandbox == endpoint.sandbox
            and each.id != endpoint.id
        ]

    async def _drop_ipv4(self, sibling: Endpoint) -> None:
        async with self._locks.held(sibling.id):
            current = self._state.endpoint(sibling.id)
            if current is None or current.ended:
                return
            rest = tuple(each for each in current.published if each.host.version != 4)
            if rest != current.published:
                await self._state.put_endpoint(replace(current, published=rest))
                await self._let_go([each for each in current.published if each not in rest])

    async def _choose(
        self, endpoint: Endpoint, wanted: Sequence[Wish], undo: AsyncExitStack
    ) -> tuple[Publication, ...]:
        """Hold a port for each wish; those that are held already stay."""
        published: list[Publication] = []
        unused = list(endpoint.published)
        for wish in wanted:
            port = publishing.kept(wish, unused)
            had = {each.at for each in unused if each.host_port == port} & self.held()
            needed = [
                way.host
                for way in wish.ways
                if HostPort(protocol=wish.protocol, address=way.host, port=port) not in had
            ]
            if needed:
                choices = (port,) if port else wish.choices
                rest = replace(wish, ways=tuple(w for w in wish.ways if w.host in needed))
                port = await self._hold(endpoint.id, rest, choices)
            made = wish.publications(port)
            for each in made:
                if each.at not in had:
                    self._coming.add(each.at)
                    undo.push_async_callback(self._give_up, each.at)
            unused = [each for each in unused if each not in made]
            published.extend(made)
        return tuple(published)

    async def _hold(self, endpoint: EndpointId, wish: Wish, choices: Sequence[int]) -> int:
        hosts = [way.host for way in wish.ways]
        try:
            port = await self._ports.hold(wish.protocol, hosts, choices)
            if port is None and await self._end_dead(wish, endpoint):
                port = await self._ports.hold(wish.protocol, hosts, choices)
        except UnsupportedError as error:
            raise UnsupportedError(f"publishing {wish.text}: {error}") from error
        if port is None:
            raise ConflictError(self._taken(wish))
        made = replace(wish, first=port, last=port)
        # A record that holds no socket any more stands for a container that has ended, or one
        # whose port somebody took while we did not run, and has let go of since.
        if self._holders(made, endpoint) and not (
            await self._end_dead(made, endpoint) and not self._holders(made, endpoint)
        ):
            for host in hosts:
                await self._ports.release(HostPort(protocol=wish.protocol, address=host, port=port))
            raise ConflictError(self._taken(made))
        return port

    def _taken(self, wish: Wish) -> str:
        host = wish.ways[0].host
        where = str(host) if int(host) else "this host"
        holders = self._holders(wish)
        if holders:
            who = f"endpoint {holders[0].id[:12]} has it, see `ovsnet ports`"
        elif wish.first:
            letter = {Transport.TCP: "t", Transport.UDP: "u", Transport.SCTP: "S"}[wish.protocol]
            who = f"see `ss -an{letter}p sport = :{wish.first}`"
        else:
            who = "there is none left"
        return (
            f"publishing {wish.text}: {wish.host_text} of {where} is in use ({who}); choose "
            "another one with -p, or end what uses it"
        )

    async def _end_dead(self, wish: Wish, apart: EndpointId) -> bool:
        """Withdraw what stands in the way for containers that have ended without our hearing.

        After a crash of dockerd or a reboot Docker starts a container again before it says that
        its earlier endpoint is over, if it ever does. A container that is just being started has
        no process yet either; but the daemon that runs now has asked for its ports.
        """
        found = False
        for endpoint in self._holders(wish, apart):
            if endpoint.id in self._asked or await self._used(endpoint):
                continue
            async with self._locks.held(endpoint.id):
                current = self._state.endpoint(endpoint.id)
                if current is None or not current.published or endpoint.id in self._asked:
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
                await self._let_go(current.published)
                found = True
        return found

    async def _alive(self, endpoint: Endpoint) -> bool:
        return endpoint.sandbox is not None and await self._links.sandbox_alive(endpoint.sandbox)

    async def _used(self, endpoint: Endpoint) -> bool:
        """Whether a container has processes, or may have."""
        if endpoint.sandbox is None:
            return False
        try:
            return await self._links.sandbox_used(endpoint.sandbox)
        except UnavailableError as error:
            log.warning("ports.not-known", extra={"endpoint": endpoint.id, "why": str(error)})
            return True

    async def _let_go(self, published: Sequence[Publication]) -> None:
        """Make the rules as the records say, then end connections, then let go of the ports.

        But for those that somebody else has got in the meantime.
        """
        if not published:
            return
        await self._rules.ensure()
        await self._rules.cut(published)
        ours = {each.at for each in published}
        for port in self._strays():
            if port in ours:
                await self._ports.release(port)

    async def _put_back(self, endpoint: Endpoint) -> None:
        try:
            await self._state.put_endpoint(endpoint)
            await self._rules.ensure()
        except DriverError as error:
            log.warning("ports.undo-deferred", extra={"endpoint": endpoint.id, "why": str(error)})

    async def _give_up(self, port: HostPort) -> None:
        self._coming.discard(port)
        await self._ports.release(port)

    async def _retake(self, endpoint_id: EndpointId, each: Publication) -> bool:
        """Hold one port of a record, unless the record has changed; False if it is held."""
        async with self._locks.held(endpoint_id):
            current = self._state.endpoint(endpoint_id)
            if current is None or current.ended or each not in current.published:
                return False
            missing = each.at not in self._ports.held()
            if missing:
                wanted = [each.host]
                if await self._ports.hold(each.protocol, wanted, (each.host_port,)) is None:
                    raise ConflictError("another program of this host has taken it meanwhile")
            await self._ports.relay(each.at, each.address, each.port)
            return missing

    def _strays(self) -> Sequence[HostPort]:
        recorded = {p.at for _, p in self._recorded()}
        return [p for p in self._ports.held() if p not in recorded and p not in self._coming]

    def _recorded(self) -> Iterator[tuple[Endpoint, Publication]]:
        """Iterate over what is published by endpoints and networks that stand."""
        for endpoint in self._state.endpoints():
            if not endpoint.published or endpoint.ended:
                continue
            network = self._state.network(endpoint.network)
            if network is not None and not network.ended:
                for each in endpoint.published:
                    yield endpoint, each

    def _holders(self, wish: Wish, apart: EndpointId | None = None) -> Sequence[Endpoint]:
        """Return the endpoints whose records stand in the way of ``wish``."""
        found = {
            endpoint.id: endpoint
            for endpoint, each in self._recorded()
            if endpoint.id != apart and any(publishing.overlapping(wish, [each.at]))
        }
        return tuple(found.values())


def _families(siblings: Sequence[Endpoint], served: Sequence[IPNetwork]) -> frozenset[int]:
    """Return the families that siblings publish and this endpoint could not."""
    own = {each.version for each in served}
    return frozenset(p.host.version for s in siblings for p in s.published) - own


def _text(each: Publication) -> str:
    host = f"[{each.host}]" if each.host.version == 6 else str(each.host)
    return f"{host}:{each.host_port}/{each.protocol.word}"
