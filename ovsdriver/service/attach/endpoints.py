"""Create, attach, detach and delete endpoints: a container's place on a network."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TypeVar

from netaddr import EUI, IPAddress, IPNetwork

from ipam import PoolId
from ipam.service import Ipam
from ovsdriver.domain.plan import port_planning, replanning, tunnels
from ovsdriver.domain.records import names, vlans
from ovsdriver.domain.records.model import (
    Endpoint,
    EndpointId,
    Mode,
    Network,
    NetworkId,
    PortMapping,
    Publication,
)
from ovsdriver.domain.records.requests import Joined, NewEndpoint
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires import desired, interface_names
from ovsdriver.domain.wires.plumbing import Attachment, Veth
from ovsdriver.errors import (
    ConflictError,
    DriverError,
    InvalidOptionError,
    UnavailableError,
    UnknownObjectError,
    UnsupportedError,
)
from ovsdriver.ports import Links, Ports, State
from ovsdriver.service.aspects.flows import FlowRules
from ovsdriver.service.aspects.mirrors import Mirrors
from ovsdriver.service.aspects.offload import Offload
from ovsdriver.service.aspects.published import Publisher
from ovsdriver.service.aspects.shaping import Shaper
from ovsdriver.service.aspects.uplinks import Uplinks
from ovsdriver.service.attach.expected_leaves import Departures
from ovsdriver.service.attach.reattacher import Reattacher
from ovsdriver.service.attach.veths_ahead import Preparations
from ovsdriver.service.locks import Locks
from ovsdriver.service.networks.networks import SWITCH_WAIT_S, Change, Networks
from ovsdriver.words.changes import OtherOptions

log = logging.getLogger(__name__)

T = TypeVar("T")

UNPLUG_WAIT_S = 1.0
"""How long the removal of a port waits for Open vSwitch: a restart of its database takes less."""


_NAME_FREE_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.3)
"""Between looks whether vswitchd has deleted a device; it needs some milliseconds."""


class Endpoints:
    """Containers on networks. Every operation may come twice, late, or for what is gone."""

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        ipam: Ipam,
        switch: Ports,
        links: Links,
        networks: Networks,
        uplinks: Uplinks,
        locks: Locks,
        publisher: Publisher,
        flows: FlowRules,
        shaper: Shaper,
        mirrors: Mirrors,
        offload: Offload,
        reattacher: Reattacher,
        listed: Callable[[EndpointId], bool],
        docker_version: Callable[[], str],
    ) -> None:
        """Join the parts.

        Args:
            listed: whether Docker, which must answer at this moment, lists an endpoint.
            docker_version: what Docker said of itself last; empty: nothing yet.
        """
        self._owner = owner
        self._state = state
        self._ipam = ipam
        self._switch = switch
        self._links = links
        self._networks = networks
        self._uplinks = uplinks
        self._locks = locks
        self._publisher = publisher
        self._flows = flows
        self._shaper = shaper
        self._mirrors = mirrors
        self._offload = offload
        self._reattacher = reattacher
        self._listed = listed
        self._docker_version = docker_version
        self._preparations = Preparations(links=links, switch=switch)
        self._departures = Departures(links)
        self._callbacks: list[Callable[[str], None]] = []
        self._named: list[Endpoint] = []
        """With names that Docker may not give: it has not said what it is."""

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call ``callback`` with the sandbox that Docker changes after a call that has ended."""
        self._callbacks.append(callback)

    def tell_unnamed(self) -> None:
        """Say in the log which interfaces Docker does not name, once it has said what it is."""
        version = self._docker_version()
        if not version:
            return
        for endpoint in self._named:
            if not interface_names.given_by(version):
                log.warning(
                    "endpoint.name-not-given",
                    extra={
                        "network": endpoint.network,
                        "endpoint": endpoint.id,
                        "why": interface_names.not_given(endpoint.interface, version),
                    },
                )
        self._named.clear()

    async def close(self) -> None:
        """End what goes on in the background."""
        await self._preparations.close()

    async def create(self, new: NewEndpoint) -> EUI | None:
        """Record an endpoint; returns the MAC we chose, None if Docker sent one.

        The plumbing is begun and not waited for: dockerd holds the network's lock during this
        call, and Join, which needs it, comes later.

        Raises:
            UnknownObjectError: the network, or the lease behind an address, is not ours.
            InvalidOptionError: options contradict each other, the network or ``--mac-address``.
            UnsupportedError: the bridge cannot do what they ask for.
        """
        if self._network(new.network).unused:
            await self._networks.note_use(new.network)
        async with self._locks.held(new.id), AsyncExitStack() as undo:
            network = self._network(new.network)
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
                endpoint, new.options, network, two_tags=self._two_tags()
            )
            await self._check(network, endpoint)
            undo.push_async_callback(self._undone, self._state.forget_endpoint, new.id)
            await self._state.put_endpoint(endpoint)
            # Whoever changes the network looks at the endpoints that are recorded by then.
            port_planning.check(endpoint, self._network(new.network))
            undo.pop_all()
            if not endpoint.internal:
                self._preparations.begin(new.id, partial(self._attachment_ahead, network, endpoint))
        self._tell_vlans(network, endpoint)
        if new.mac is not None or new.options.mac is not None:
            self._tell_equal(endpoint)
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
        """
        async with self._locks.held(endpoint_id), AsyncExitStack() as undo:
            network = self._network(network_id)
            earlier = self._endpoint(network_id, endpoint_id)
            gateways = {each.version: network.gateway_of(each) for each in earlier.addresses}
            gateway4, gateway6 = gateways.get(4), gateways.get(6)
            # Docker asks us to publish where we tell a gateway, and publishes itself where it
            # attaches its own bridge.
            by_docker = network.mode is Mode.GWBRIDGE
            unpublished = (
                () if gateway4 or gateway6 or by_docker else tuple(each.text for each in ports)
            )
            await self._switch.connected(SWITCH_WAIT_S)
            # A Join that comes again must not unplug, when it fails, what an earlier one made.
            fresh = earlier.sandbox is None
            if fresh:
                undo.push_async_callback(self._undone, self._state.put_endpoint, earlier)
            endpoint = replace(earlier, sandbox=sandbox, unpublished=unpublished)
            attachment = self._attachment(network, endpoint)
            if fresh:
                port = attachment.port.name
                undo.push_async_callback(self._undone, self._links.remove_link, port)
                undo.push_async_callback(self._undone, self._switch.remove_port, port)
            # A crash leaves a port of an endpoint in no sandbox, which is removed; or the other way
            # round a sandbox without one, which gets it.
            recording = asyncio.ensure_future(self._state.put_endpoint(endpoint))
            try:
                if isinstance(attachment.link, Veth):
                    self._departures.over(endpoint_id)
                    await self._preparations.plug(endpoint_id, attachment)
                else:
                    await self._plug(attachment, fresh=fresh)
            finally:
                await recording
            await self._flows.ensure(network, endpoint)
            await self._shaper.ensure(network, endpoint)
            await self._mirrors.follow(network, endpoint)
            await self._relist(network, endpoint)
            undo.pop_all()
        self._changed(sandbox)
        await self._take_over(network, endpoint)
        if unpublished:
            log.warning(
                "ports.not-published",
                extra={
                    "network": network_id,
                    "endpoint": endpoint_id,
                    "ports": " ".join(unpublished),
                    "why": f"a network with ovs.mode={network.mode} has no gateway on this host",
                },
            )
        if endpoint.interface:
            self._named.append(endpoint)
            self.tell_unnamed()
        return Joined(
            source=attachment.source,
            prefix=desired.interface_prefix(network, endpoint, self._datapath(network)),
            name=endpoint.interface,
            gateway4=gateway4,
            gateway6=gateway6,
            on_link=tuple(chain.from_iterable(map(network.beside, endpoint.addresses))),
            disable_gateway_service=not by_docker,
        )

    async def _take_over(self, network: Network, endpoint: Endpoint) -> None:
        """Publish by a joined endpoint what Docker asked another of the container for in vain."""
        if not port_planning.publishable(endpoint, network):
            return
        try:
            for each in self._publisher.waiting(endpoint):
                await self._publisher.publish_again(each)
        except DriverError:
            await self._undone(partial(self.leave, network.id), endpoint.id)
            raise

    async def leave(self, network_id: NetworkId, endpoint_id: EndpointId) -> None:
        """Unplug the port. The link of a container that runs stays: dockerd has to move it out."""
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            if endpoint is None or endpoint.network != network_id:
                return
            recording = asyncio.ensure_future(
                self._state.put_endpoint(replace(_revoked(endpoint), sandbox=None))
            )
            departing: asyncio.Future[None] | None = None
            if not endpoint.internal and endpoint.sandbox is not None:
                link = names.port(endpoint)
                departing = asyncio.ensure_future(
                    self._departures.delete(endpoint_id, link, endpoint.sandbox)
                )
            try:
                if endpoint.published or endpoint.wanted:
                    # Revoke may never have come: engine 29 forgets its role when dockerd restarts.
                    await recording
                    await self._publisher.withdraw(endpoint)
            finally:
                await self._unplug(endpoint, recording)
                if departing is not None:
                    await departing
            if endpoint.internal:
                await self._name_free(names.port(endpoint))
        if endpoint.sandbox is not None:
            self._changed(endpoint.sandbox)  # other networks' routes may move
            await self._hand_on(endpoint, endpoint.sandbox)

    async def _hand_on(self, endpoint: Endpoint, sandbox: str) -> None:
        """Have others publish what an unplugged endpoint did in another one's place, if it runs."""
        helped = {each.instead_of for each in endpoint.published} - {None}
        try:
            if helped and await self._links.sandbox_used(sandbox, glance=True):
                for each in helped:
                    if each is not None:
                        await self._publisher.publish_again(each)
        except DriverError as error:
            log.warning("ports.not-published", extra={"endpoint": endpoint.id, "why": str(error)})

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

    async def publish(
        self,
        network_id: NetworkId,
        endpoint_id: EndpointId,
        ports: Sequence[PortMapping],
        *,
        other_gateway6: bool = False,
    ) -> None:
        """Publish ports on this host, those and no others; again keeps what was chosen before.

        What this network cannot publish another one of the container does. If none can, that is
        no error: dockerd, which has taken the gateway from another endpoint by then, does not
        give it back.

        Args:
            network_id: Docker's.
            endpoint_id: Docker's.
            ports: of the whole container, all of whose traffic comes by this endpoint now.
            other_gateway6: but that of IPv6.

        Raises:
            ConflictError: a port of the host is taken, and the container has not started yet.
            UnsupportedError: the host has no such address, and likewise.
        """
        async with self._locks.held(endpoint_id):
            network = self._network(network_id)
            endpoint = self._endpoint(network_id, endpoint_id)
            if not ports and not (endpoint.published or endpoint.wanted or endpoint.unpublished):
                return
            await self._publisher.publish(network, endpoint, ports, other_gateway6=other_gateway6)

    async def revoke(self, network_id: NetworkId, endpoint_id: EndpointId) -> None:
        """Publish nothing any more for an endpoint, known or not."""
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            if endpoint is None or endpoint.network != network_id or endpoint.ended:
                return
            if endpoint.published or endpoint.wanted or endpoint.unpublished:
                for_others = tuple(p for p in endpoint.published if p.instead_of is not None)
                await self._state.put_endpoint(_revoked(endpoint, for_others))
                await self._publisher.withdraw(endpoint)

    async def ensure(self, endpoint: Endpoint) -> None:
        """Plug a recorded endpoint in again if it has a sandbox; a lost link is made again, too.

        The same steps as Join's, for the reconciler. Under the endpoint's lock, and looks at the
        record again first.
        """
        async with self._locks.held(endpoint.id):
            current = self._state.endpoint(endpoint.id)
            network = self._state.network(endpoint.network)
            if current is None or current.sandbox is None or current.ended:
                return
            if network is None or network.ended:
                return
            attachment = self._attachment(network, current)

            async def plug(moved: bool) -> None:
                # a device that is not in the container may be opened anew
                port = replace(attachment.port, moves=attachment.port.moves and moved)
                await self._plug(replace(attachment, port=port), fresh=not moved)
                if isinstance(attachment.link, Veth):
                    # vswitchd, when it closed the old device of that name, may have set the new
                    # one down: it writes back flags that it had seen before (measured with 3.5)
                    await self._links.ensure_veth(attachment.link)
                await self._flows.ensure(network, current)

            if await self._lost(current, attachment):
                if not await self._alive(current):
                    raise UnavailableError(f"its sandbox {current.sandbox} is gone")
                await self._reattacher.put_back(
                    network,
                    current,
                    attachment,
                    prefix=desired.interface_prefix(network, current, self._datapath(network)),
                    named=self._given_name(current),
                    plug=plug,
                )
            await self._replug(network, current)
            if isinstance(attachment.link, Veth):  # its host's end, after the MTU of both
                await self._links.ensure_veth(attachment.link)
        self._changed(current.sandbox)

    async def note(self, endpoint_id: EndpointId) -> bool | None:
        """Look at an endpoint's link in its sandbox, and remember what it is like there.

        Returns whether it leads to the switch; None if there is nothing to be seen (yet).
        """
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            if endpoint is None or endpoint.sandbox is None or endpoint.ended:
                return None
            network = self._state.network(endpoint.network)
            if network is None:
                return None
            known = self._reattacher.interface(endpoint)
            # its names are all that matters here
            attachment = desired.attachment(network, endpoint, owner=self._owner)
            seen = await self._reattacher.note(endpoint, attachment)
            if seen is not None:
                return seen.attached
            return False if known and await self._alive(endpoint) else None

    def interface(self, endpoint: Endpoint) -> str:
        """Return the name of an endpoint's link in its sandbox; empty until it was seen there."""
        return self._reattacher.interface(endpoint)

    def excess(self, endpoint: Endpoint) -> str:
        """Return what of an endpoint's link would not be put back if it were lost, in words."""
        return self._reattacher.excess(endpoint)

    def busy(self, endpoint: EndpointId) -> bool:
        """Whether a call, or a repair, is at work on it."""
        return endpoint in self._locks

    def preparing(self, endpoint: EndpointId) -> bool:
        """Whether its port may be there before it is in a sandbox: Join is still to come."""
        return endpoint in self._preparations

    def restoring(self, endpoint: Endpoint) -> bool:
        """Whether its link was being put back into its container when that was cut short."""
        return self._reattacher.restoring(endpoint)

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
            if current.sandbox is None and current.id not in self._preparations:
                await self._unplug(current)
                return True
            return False

    async def change(self, endpoint_id: EndpointId, wish: OtherOptions) -> Change[Endpoint]:
        """Give an endpoint other options: its record first, then its port.

        Nothing is changed if it is refused.

        Args:
            endpoint_id: Docker's.
            wish: the options that change.

        Raises:
            UnknownObjectError: there is no such endpoint.
            InvalidOptionError, ConflictError, UnsupportedError: see ``replanning.endpoint``; or
                the OpenFlow port number is taken.
            UnavailableError: Open vSwitch or the store did not answer, and nothing was changed.
                What does not answer after the record was changed is in the result.
        """
        async with self._locks.held(endpoint_id):
            await self._switch.connected(SWITCH_WAIT_S)
            before = self._state.endpoint(endpoint_id)
            if before is None or before.ended:
                raise UnknownObjectError(f"endpoint {endpoint_id[:12]} was removed meanwhile")
            network = self._network(before.network)
            after = replanning.endpoint(
                before, wish.of_endpoint(before), network, two_tags=self._two_tags()
            )
            await self._check(network, after)
            if after != before:
                await self._state.put_endpoint(after)
            pending = ""
            try:
                await self._follow(network, before, after)
            except (ConflictError, InvalidOptionError, UnsupportedError):
                await self._state.put_endpoint(before)
                with suppress(DriverError):  # the reconciler goes on from the record
                    await self._follow(network, after, before)
                raise
            except UnavailableError as error:
                pending = str(error)
        self._tell_vlans(network, after)
        return Change(before=before, after=after, pending=pending)

    async def _follow(self, network: Network, before: Endpoint, after: Endpoint) -> None:
        """Make the port of an endpoint as its changed record says, and the uplink for it."""
        if after.sandbox is None:
            return
        await self._replug(network, after)
        self._changed(after.sandbox)
        listed = desired.let_into(network, before) | desired.let_into(network, after)
        if network.segment.uplink is not None and listed:
            await self._uplinks.relist(network.segment.bridge)

    async def _replug(self, network: Network, endpoint: Endpoint) -> None:
        """Make the port of an endpoint in a sandbox as the records say; its link is there."""
        attachment = self._attachment(network, endpoint)
        port = attachment.port
        if isinstance(attachment.link, Veth):
            if endpoint.sandbox is not None:
                await self._links.ensure_mtu(attachment.link, endpoint.sandbox)
            await self._offload.settle(network, endpoint)
        elif self._switch.port(port.name) is None:
            return  # vswitchd would make a device in the host's namespace, of no use to anyone
        await self._switch.ensure_port(port)
        await self._flows.ensure(network, endpoint)
        await self._shaper.ensure(network, endpoint)
        await self._mirrors.follow(network, endpoint)

    async def _plug(self, attachment: Attachment, *, fresh: bool) -> None:
        """Make link and port; the device of an internal port comes with the port."""
        link, port = attachment.link, attachment.port
        if isinstance(link, Veth):
            await self._preparations.pair_and_port(link, port)
            return
        if fresh:
            await self._switch.ensure_port(port)
        elif self._switch.port(port.name) is None:
            raise UnavailableError(
                f"port {port.name} was removed from Open vSwitch, and the container's interface "
                "with it; start the container again"
            )
        # In a Join that comes again Docker may have moved it already.
        if fresh or port.name in await self._links.links():
            await self._links.ensure_tap(link)

    async def _lost(self, endpoint: Endpoint, attachment: Attachment) -> bool:
        """Whether a joined endpoint's device is gone from its container, or leads nowhere."""
        if self._reattacher.restoring(endpoint):
            return True
        name, links = attachment.port.name, await self._links.links()
        there = links.get(name)
        if isinstance(attachment.link, Veth):
            # the other end is here where it was made for a container that had one already
            known = self._reattacher.interface(endpoint)
            return there is None or bool(known and attachment.link.container in links)
        if there is not None:  # with our mark it is the one that Docker has yet to move
            return there.alias != attachment.link.alias
        port = self._switch.port(name)
        if port is None or port.bridge != attachment.port.bridge:
            return True
        seen = await self._reattacher.note(endpoint, attachment)
        return seen is None or not seen.attached

    def _attachment(self, network: Network, endpoint: Endpoint) -> Attachment:
        """Return the plumbing of ``endpoint``."""
        return desired.attachment(
            network, endpoint, owner=self._owner, tso_of=self._offload.tso_of(network)
        )

    def _attachment_ahead(self, network: Network, endpoint: Endpoint) -> Attachment | None:
        """Return the plumbing of ``endpoint`` as long as it has a record."""
        if self._state.endpoint(endpoint.id) is None:
            return None
        return self._attachment(network, endpoint)

    def _changed(self, sandbox: str) -> None:
        for callback in self._callbacks:
            callback(sandbox)

    def _tell_equal(self, endpoint: Endpoint) -> None:
        """Say in the log when another container of the network has the MAC that was typed.

        Not refused, as by Docker's bridge: what a crash has left may have it, and moves take turns.
        """
        mac = names.mac_text(endpoint.mac)
        for each in self._state.endpoints(endpoint.network):
            if each.mac == endpoint.mac and each.id != endpoint.id and not each.ended:
                log.warning(
                    "endpoint.equal-mac",
                    extra={
                        "network": endpoint.network,
                        "endpoint": endpoint.id,
                        "why": f"endpoint {each.id[:12]} has MAC address {mac} as well, so neither "
                        "is reached reliably while both run",
                    },
                )

    def _given_name(self, endpoint: Endpoint) -> str:
        """Return the name that Docker gives the interface; empty: it numbers the prefix."""
        version = self._docker_version()
        return endpoint.interface if version and interface_names.given_by(version) else ""

    def _tell_vlans(self, network: Network, endpoint: Endpoint) -> None:
        """Say in the log when a container is let into other VLANs than its network's."""
        trunks = desired.trunks(network, endpoint)
        if not trunks and endpoint.port.vlan in (None, network.segment.tag):
            return
        carried = desired.carried(network, endpoint)
        own = desired.own_vlan(network, endpoint)
        log.info(
            "endpoint.vlans",
            extra={
                "network": network.id,
                "endpoint": endpoint.id,
                "bridge": network.segment.bridge,
                "vlan_mode": desired.vlan_mode(network, endpoint).value,
                "untagged": own or "none",
                "vlans": vlans.text(carried),
                "other_networks": " ".join(
                    each.id[:12]
                    for each in port_planning.others_carried(
                        endpoint, network, self._state.networks()
                    )
                )
                or "none",
            },
        )

    async def _check(self, network: Network, endpoint: Endpoint) -> None:
        """Refuse what this host cannot do, as far as only trying or looking tells."""
        self._flows.check(network, endpoint)
        await self._shaper.check(desired.shaping(network, endpoint))
        await self._mirrors.check(
            endpoint.port.mirror, network.segment.bridge, self._datapath(network)
        )

    def _two_tags(self) -> bool:
        switch = self._switch.status()
        # while it is away nothing is known of it, and Join waits for it
        return not switch.connected or tunnels.looks_at_two(switch.other_config)

    def _datapath(self, network: Network) -> Datapath:
        observed = self._switch.bridge(network.segment.bridge)
        return observed.datapath if observed else network.segment.datapath

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
        await self._remove(replace(endpoint, releasing=True))

    async def _alive(self, endpoint: Endpoint) -> bool:
        return endpoint.sandbox is not None and await self._links.sandbox_alive(endpoint.sandbox)

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

    async def _unplug(
        self, endpoint: Endpoint, recording: "asyncio.Future[None] | None" = None
    ) -> None:
        """Remove the port. While Open vSwitch is away, dockerd is not held up for long.

        The caller has recorded what is to happen, or is ``recording`` it, so the reconciler does
        it later, or plugs it in again. vswitchd deletes the device of an internal port with it,
        wherever that is; dockerd, which then has nothing to move out of the sandbox, goes on.
        """
        await self._preparations.stop(endpoint.id)
        try:
            await self._switch.connected(UNPLUG_WAIT_S)
            at = self._flows.place(endpoint)
            await self._switch.remove_port(names.port(endpoint))
        finally:
            if recording is not None:
                await recording
        # after the port: it must not send without them
        await self._flows.remove(endpoint, at)
        network = self._state.network(endpoint.network)
        if network is not None:
            await self._mirrors.follow(network, endpoint)
            await self._relist(network, endpoint)

    async def _name_free(self, link: str) -> None:
        """Wait a moment until no device in the host's namespace has the name ``link``.

        A vswitchd that was restarted has made one, which goes with the port that was just removed;
        before that dockerd cannot move the container's dead one out.
        """
        for pause_s in _NAME_FREE_PAUSES_S:
            if link not in await self._links.links():
                return
            await asyncio.sleep(pause_s)

    async def _relist(self, network: Network, endpoint: Endpoint) -> None:
        """Have the uplink carry VLANs that only containers on it list, as long as one does."""
        if network.segment.uplink is not None and desired.let_into(network, endpoint):
            await self._uplinks.relist(network.segment.bridge)

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
        await self._publisher.withdraw(endpoint)
        await self._unplug(endpoint, marking)
        if not self._departures.over(endpoint.id):
            await self._links.remove_link(names.port(endpoint))
        await self._shaper.forget(endpoint.id)
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

    def _network(self, network_id: NetworkId) -> Network:
        network = self._state.network(network_id)
        if network is None or network.ended:
            raise UnknownObjectError(
                f"network {network_id[:12]} is not known to ovsnet on this host; remove it with "
                "docker network rm and create it again"
            )
        return network

    def _endpoint(self, network_id: NetworkId, endpoint_id: EndpointId) -> Endpoint:
        endpoint = self._state.endpoint(endpoint_id)
        if endpoint is None or endpoint.ended or endpoint.network != network_id:
            raise UnknownObjectError(
                f"endpoint {endpoint_id[:12]} is not known on network {network_id[:12]}; "
                "start the container again"
            )
        return endpoint


def _revoked(endpoint: Endpoint, published: tuple[Publication, ...] = ()) -> Endpoint:
    """Return the record of an endpoint that Docker does not ask to publish any more."""
    return replace(endpoint, published=published, unpublished=(), unpublished_why="", wanted=())


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
