"""Create, attach, detach and delete endpoints: a container's place on a network."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar

from netaddr import EUI, IPAddress, IPNetwork

from ipam import PoolId
from ipam.leasing import Leasing
from ovsdriver.causes import because
from ovsdriver.domain.plan import planning, port_planning
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import (
    Endpoint,
    EndpointId,
    Mode,
    Network,
    NetworkId,
    PortMapping,
    Way,
    beside,
)
from ovsdriver.domain.records.requests import Joined, NewEndpoint
from ovsdriver.domain.records.segments import name_server_route
from ovsdriver.domain.wires import ways
from ovsdriver.errors import (
    ConflictError,
    DriverError,
    InvalidOptionError,
    UnknownObjectError,
)
from ovsdriver.ports import Links, Ports, State
from ovsdriver.service.aspects.aspect import Aspect
from ovsdriver.service.attach.ended_pairs import EndedPairs
from ovsdriver.service.attach.lookup import standing_endpoint, standing_network, two_tags
from ovsdriver.service.attach.plugs import Plugs
from ovsdriver.service.attach.publications import revoked
from ovsdriver.service.attach.surprises import tell_equal, tell_vlans
from ovsdriver.service.locks import Locks
from ovsdriver.service.networks.networks import SWITCH_WAIT_S, Networks

log = logging.getLogger(__name__)

T = TypeVar("T")


class Endpoints:
    """Containers on networks. Every operation may come twice, late, or for what is gone."""

    def __init__(
        self,
        *,
        state: State,
        ipam: Leasing,
        switch: Ports,
        links: Links,
        networks: Networks,
        locks: Locks,
        aspects: Sequence[Aspect],
        plugs: Plugs,
        listed: Callable[[EndpointId], bool],
    ) -> None:
        """``listed``: whether Docker, which must answer at this moment, lists an endpoint."""
        self._state = state
        self._ipam = ipam
        self._switch = switch
        self._links = links
        self._networks = networks
        self._locks = locks
        self._aspects = aspects
        self._plugs = plugs
        self._listed = listed
        self._ended_pairs = EndedPairs(links)

    async def create(self, new: NewEndpoint) -> EUI | None:
        """Record an endpoint; returns the MAC we chose, None if Docker sent one.

        The plumbing is begun and not waited for: dockerd holds the network's lock during this
        call, and Join, which needs it, comes later.

        Raises:
            UnknownObjectError: the network, or the lease behind an address, is not ours.
            InvalidOptionError: options contradict each other, the network or ``--mac-address``.
            UnsupportedError: the bridge cannot do what they ask for.
        """
        if standing_network(self._state, new.network).unused:
            await self._networks.note_use(new.network)
        async with self._locks.held(new.id), AsyncExitStack() as undo:
            network = standing_network(self._state, new.network)
            known = self._state.endpoint(new.id)
            if known is not None and not known.ended:
                return known.mac if new.mac is None else None
            if known is not None:
                await self._remove(known)
            for address in new.addresses:
                await self._end_stale(network, address.ip)
            endpoint = Endpoint(
                id=new.id,
                network=network.id,
                addresses=new.addresses,
                leases=await self._leases(network, new.addresses),
                mac=_mac(new, network),
            )
            endpoint = port_planning.with_options(
                endpoint, new.options, network, two_tags=two_tags(self._switch)
            )
            for each in self._aspects:
                await each.check(network, endpoint)
            undo.push_async_callback(self._undone, self._state.forget_endpoint, new.id)
            await self._state.put_endpoint(endpoint)
            # Whoever changes the network looks at the endpoints that are recorded by then.
            if (now := standing_network(self._state, new.network)) is not network:
                port_planning.check(endpoint, now)
            for each in self._aspects:
                await each.recorded(network, endpoint)
            undo.pop_all()
            if not endpoint.internal:
                self._plugs.begin(network, endpoint)
        tell_vlans(network, endpoint, self._state.networks())
        if new.mac is not None or new.options.mac is not None:
            tell_equal(endpoint, self._state.endpoints(endpoint.network))
        return endpoint.mac if new.mac is None else None

    async def join(
        self,
        network_id: NetworkId,
        endpoint_id: EndpointId,
        sandbox: str,
        ports: Sequence[PortMapping] = (),
    ) -> Joined:
        """Plug the endpoint in and say what Docker should move into the container.

        Args:
            network_id: Docker's.
            endpoint_id: Docker's.
            sandbox: path of the container's network namespace.
            ports: what ``-p`` asked for; where no gateway is told, Docker will not ask us to
                publish it, so it is noted here.

        Raises:
            UnknownObjectError: there is no such endpoint.
            UnavailableError: Open vSwitch, the kernel or the store did not answer.
            ConflictError: Docker would fail, as the container has a route to that network.
        """
        async with self._locks.held(endpoint_id), AsyncExitStack() as undo:
            network = standing_network(self._state, network_id)
            earlier = standing_endpoint(self._state, network_id, endpoint_id)
            self._refuse_two_ways(earlier, sandbox)
            for each in self._aspects:
                await each.joining(earlier, sandbox)
            gateways = {
                each.version: gateway
                for each in earlier.addresses
                if (gateway := network.gateway_of(each)) not in (None, each.ip)
            }
            gateway4, gateway6 = gateways.get(4), gateways.get(6)
            # Docker asks us to publish where we tell a gateway, and publishes itself where it
            # attaches its own bridge.
            by_docker = network.mode is Mode.GWBRIDGE
            unpublished = () if gateway4 or gateway6 or by_docker else tuple(ports)
            await self._switch.connected(SWITCH_WAIT_S)
            # A Join that comes again must not unplug, when it fails, what an earlier one made.
            fresh = earlier.sandbox is None
            if fresh:
                undo.push_async_callback(self._undone, self._state.put_endpoint, earlier)
            endpoint = replace(
                earlier,
                sandbox=sandbox,
                unpublished=unpublished,
                name_server=self._name_server(network, earlier, sandbox),
                ways=self._ways(network, earlier, sandbox),
                gateways=ways.wanted(network, earlier).gateways,
            )
            attachment = self._plugs.attachment(network, endpoint)
            if fresh:
                port = attachment.port.name
                undo.push_async_callback(self._undone, self._links.remove_link, port)
                undo.push_async_callback(self._undone, self._plugs.withdraw, port)
            # A crash leaves a port of an endpoint in no sandbox, which is removed; or the other way
            # round a sandbox without one, which gets it.
            recording = asyncio.ensure_future(self._state.put_endpoint(endpoint))
            try:
                self._ended_pairs.forget(endpoint_id)
                await self._plugs.plug(endpoint_id, attachment, fresh=fresh)
            finally:
                await recording
            await self._plugs.ensure(network, endpoint)
            undo.pop_all()
        self._plugs.changed(sandbox)
        try:
            for each in self._aspects:
                await each.joined(network, endpoint)
        except DriverError:
            await self._undone(partial(self.leave, network.id), endpoint.id)
            raise
        return Joined(
            source=attachment.source,
            prefix=self._plugs.prefix(network, endpoint),
            name=endpoint.interface,
            gateway4=gateway4,
            gateway6=gateway6,
            on_link=beside(network, endpoint),
            ways=endpoint.ways,
            disable_gateway_service=not by_docker,
        )

    async def leave(self, network_id: NetworkId, endpoint_id: EndpointId) -> None:
        """Unplug the port. The link of a container that runs stays: dockerd has to move it out."""
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            if endpoint is None or endpoint.network != network_id:
                return
            recording = asyncio.ensure_future(
                self._state.put_endpoint(replace(revoked(endpoint), sandbox=None))
            )
            departing: asyncio.Future[None] | None = None
            if not endpoint.internal and endpoint.sandbox is not None:
                link = names.port(endpoint)
                departing = asyncio.ensure_future(
                    self._ended_pairs.delete(endpoint_id, link, endpoint.sandbox)
                )
            try:
                for each in self._aspects:
                    await each.unplugging(endpoint, recording)
            finally:
                await self._plugs.unplug(endpoint, recording)
                if departing is not None:
                    await departing
            if endpoint.internal:
                await self._plugs.name_free(names.port(endpoint))
        if endpoint.sandbox is not None:
            self._plugs.changed(endpoint.sandbox)  # other networks' routes may move
            for each in self._aspects:
                await each.left(endpoint)

    async def delete(self, network_id: NetworkId, endpoint_id: EndpointId) -> None:
        """Remove the port if Leave did not, the link and the record."""
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            if endpoint is not None and endpoint.network == network_id:
                await self._remove(endpoint)

    async def release(self, pool: PoolId, address: IPAddress) -> None:
        """End the endpoint that still stands on an address that is being released.

        After a crash dockerd may send ReleaseAddress and nothing else (it skips Leave and
        DeleteEndpoint for drivers it has not loaded yet: moby, libnetwork/endpoint.go).

        Raises:
            ConflictError: the endpoint lives and Docker lists it; its address is not free.
        """
        network = self._state.network_of_pool(pool)
        if network is None:
            return
        endpoint = self._state.endpoint_at(network.id, address)
        if endpoint is None:
            return
        async with self._locks.held(endpoint.id):
            current = self._state.endpoint(endpoint.id)
            if not self._ipam.readable(pool):
                # Docker is not held up for who holds it; who is dead stands on nothing.
                if current is not None and not current.ended and not await self._alive(current):
                    await self._end(current, f"Docker released {address}, and it still stood")
                return
            lease = await self._ipam.lease(pool, address)
            # An endpoint of an earlier lease of the same address is not what is released.
            if current is None or lease is None or lease.serial not in current.leases:
                return
            endpoint = current
            if self._listed(endpoint.id) and await self._alive(endpoint):
                raise ConflictError(
                    f"{address} is released, but Docker still lists endpoint {endpoint.id[:12]} on "
                    "it and its container lives; the address is kept until the container stops or "
                    "Docker removes the endpoint"
                )
            await self._end(endpoint, f"Docker released {address}, and it still stood")

    async def collect(self, endpoint: Endpoint, why: str) -> None:
        """End an endpoint whose end was proven, and release its addresses; says so in the log."""
        async with self._locks.held(endpoint.id):
            current = self._state.endpoint(endpoint.id)
            if current is None or current.ended or await self._alive(current):
                return
            await self._end(current, why)

    def busy(self, endpoint: EndpointId) -> bool:
        """Whether a call, or a repair, is at work on it."""
        return endpoint in self._locks

    async def finish(self, endpoint: Endpoint) -> bool:
        """Remove what a call that was cut short has left of an ended or unplugged endpoint.

        False if it left nothing: it was still at work and has got to its end.
        """
        async with self._locks.held(endpoint.id):
            current = self._state.endpoint(endpoint.id)
            if current is None:
                return False
            if current.ended:
                await self._remove(current)
                return True
            if current.sandbox is None and not self._plugs.preparing(current.id):
                await self._plugs.unplug(current)
                return True
            return False

    async def _end_stale(self, network: Network, address: IPAddress) -> None:
        """End an endpoint whose address its IPAM has given anew: the IPAM holds it for dead.

        A live sandbox handle proves nothing here: dockerd leaves the mount for up to a minute
        after the container's end (moby, libnetwork/osl), and after a crash for longer.
        """
        stale = self._state.endpoint_at(network.id, address)
        if stale is None:
            return
        async with self._locks.held(stale.id):
            await self._end(stale, f"{address} was given to another endpoint")

    async def _end(self, endpoint: Endpoint, why: str) -> None:
        log.warning(
            "endpoint.ended",
            extra={"endpoint": endpoint.id, "network": endpoint.network, "why": why},
        )
        with because(why=why):
            await self._remove(replace(endpoint, releasing=True))

    async def _alive(self, endpoint: Endpoint) -> bool:
        return endpoint.sandbox is not None and await self._links.sandbox_alive(endpoint.sandbox)

    def _name_server(self, network: Network, endpoint: Endpoint, sandbox: str) -> IPNetwork | None:
        """Return the route to the name server that an endpoint is told; again the same."""
        if not network.segment.has_names or all(each.version == 6 for each in endpoint.addresses):
            return None
        if endpoint.name_server is not None and endpoint.sandbox == sandbox:
            return endpoint.name_server
        others = (each for each in self._state.endpoints_in(sandbox) if each.id != endpoint.id)
        return name_server_route([each.name_server for each in others if each.name_server])

    def _ways(self, network: Network, endpoint: Endpoint, sandbox: str) -> tuple[Way, ...]:
        """Return the routes by routers that an endpoint is told; again the same.

        Docker fails where the container has one to the same subnet, by another endpoint.
        """
        if endpoint.sandbox == sandbox:
            return endpoint.ways
        families = {each.version for each in endpoint.addresses}
        there = set(beside(network, endpoint)) | {each.cidr for each in endpoint.addresses}
        for other in self._state.endpoints_in(sandbox):
            if other.id != endpoint.id:
                there |= {way.to for way in other.ways} | {each.cidr for each in other.addresses}
        found = {way.to: way for each in self._aspects for way in each.ways(network, endpoint)}
        return tuple(
            way for way in found.values() if way.to not in there and way.to.version in families
        )

    def _refuse_two_ways(self, endpoint: Endpoint, sandbox: str) -> None:
        for other in self._state.endpoints_in(sandbox):
            network = self._state.network(other.network)
            # those that are not OVN's make way
            by_ovn = network is not None and network.segment.by_ovn
            for way in other.ways if by_ovn and other.id != endpoint.id else ():
                if any(planning.overlap(way.to, each) for each in endpoint.addresses):
                    raise ConflictError(
                        f"the container reaches {way.to} by router {way.via} already, and Docker "
                        "does not take a second way; leave this network out, or disconnect the "
                        "other segment first"
                    )

    async def _leases(self, network: Network, addresses: Sequence[IPNetwork]) -> tuple[int, ...]:
        serials = []
        for address in addresses:
            subnet = next((s for s in network.subnets if address.ip in s.cidr), None)
            if subnet is None or subnet.pool is None:
                continue
            lease = await self._ipam.lease(subnet.pool, address.ip)
            if lease is None:
                raise UnknownObjectError(
                    f"{address.ip} is not leased from pool {subnet.cidr} any more; "
                    "start the container again to get an address"
                )
            serials.append(lease.serial)
        return tuple(serials)

    async def _undone(self, step: Callable[[T], Awaitable[object]], what: T) -> None:
        """Take one step back; what fails is left to the reconciler, and the next step is taken."""
        try:
            await step(what)
        except DriverError as error:
            log.warning("endpoint.undo-deferred", extra={"why": str(error)})

    async def _remove(self, endpoint: Endpoint) -> None:
        """Remove an endpoint's plumbing and, if it is ``releasing``, its leases; then its record.

        The mark comes first: from then on a crash at any line is finished by the reconciler. An
        endpoint that nothing uses any more may lose its plumbing while it is being marked: without
        the mark it ends when its address is released. The caller holds the endpoint's lock.
        """
        ending = replace(endpoint, sandbox=None, ended=True)
        marking: asyncio.Future[None] | None = None
        if ending != self._state.endpoint(endpoint.id):
            marking = asyncio.ensure_future(self._state.put_endpoint(ending))
            if endpoint.sandbox is not None or endpoint.published or endpoint.releasing:
                await marking
        for each in self._aspects:
            await each.unplugging(endpoint, marking)
        await self._plugs.unplug(endpoint, marking)
        if not self._ended_pairs.forget(endpoint.id):
            await self._links.remove_link(names.port(endpoint))
        for each in self._aspects:
            await each.forget(endpoint)
        if endpoint.releasing:
            await self._release_leases(endpoint)
        self._state.drop_endpoint(endpoint.id)

    async def _release_leases(self, endpoint: Endpoint) -> None:
        network = self._state.network(endpoint.network)
        for address in endpoint.addresses if network is not None else ():
            for subnet in network.subnets if network is not None else ():
                if subnet.pool is None or address.ip not in subnet.cidr:
                    continue
                for serial in endpoint.leases:
                    await self._ipam.release_address(subnet.pool, address.ip, serial=serial)


def _mac(new: NewEndpoint, network: Network) -> EUI:
    if new.mac is not None and new.options.mac not in (None, new.mac):
        raise InvalidOptionError(
            f"--mac-address {names.mac_text(new.mac)} and ovs.mac differ; say it once"
        )
    wanted = new.mac or new.options.mac
    if wanted is not None:
        return wanted
    if new.addresses:
        return names.mac_for(new.addresses[0], network.segment)
    return names.mac_for_endpoint(new.id)
