"""Create, attach, detach and delete endpoints: a container's place on a network."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from netaddr import EUI, IPAddress, IPNetwork

from ipam import PoolId
from ipam.service import Ipam
from ovsdriver.domain import desired, names
from ovsdriver.domain.model import (
    Attachment,
    Datapath,
    Endpoint,
    EndpointId,
    Mode,
    Network,
    NetworkId,
)
from ovsdriver.domain.requests import Joined, NewEndpoint, PortMapping
from ovsdriver.errors import (
    ConflictError,
    DriverError,
    InvalidOptionError,
    UnknownObjectError,
    UnsupportedError,
)
from ovsdriver.ports import Links, State, Switch
from ovsdriver.service.locks import Locks
from ovsdriver.service.networks import SWITCH_WAIT_S

log = logging.getLogger(__name__)


class Endpoints:
    """Containers on networks. Every operation may come twice, late, or for what is gone."""

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        ipam: Ipam,
        switch: Switch,
        links: Links,
        locks: Locks,
        listed: Callable[[EndpointId], bool],
    ) -> None:
        """Join the parts.

        Args:
            listed: whether Docker, which must answer at this moment, lists an endpoint.
        """
        self._owner = owner
        self._state = state
        self._ipam = ipam
        self._switch = switch
        self._links = links
        self._locks = locks
        self._listed = listed

    async def create(self, new: NewEndpoint) -> EUI | None:
        """Record an endpoint; returns the MAC we chose, None if Docker sent one.

        Nothing is made yet: dockerd holds the network's lock during this call, so the plumbing
        is left to Join.

        Raises:
            UnknownObjectError: the network, or the lease behind an address, is not ours.
                InvalidOptionError: ``ovs.mac`` contradicts ``--mac-address``.
        """
        network = self._network(new.network)
        async with self._locks.held(new.id):
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
                mtu=_mtu(new, network),
                options=new.options.typed,
            )
            await self._state.put_endpoint(endpoint)
        return endpoint.mac if new.mac is None else None

    async def join(self, network_id: NetworkId, endpoint_id: EndpointId, sandbox: str) -> Joined:
        """Plug the endpoint in and say what Docker should move into the container.

        Raises:
            UnknownObjectError: there is no such endpoint.
            UnavailableError: Open vSwitch, the kernel or the store did not answer.
        """
        network = self._network(network_id)
        async with self._locks.held(endpoint_id), AsyncExitStack() as undo:
            endpoint = self._endpoint(network_id, endpoint_id)
            await self._switch.connected(SWITCH_WAIT_S)
            undo.push_async_callback(self._undo_join, endpoint)
            endpoint = replace(endpoint, sandbox=sandbox)
            await self._state.put_endpoint(endpoint)
            attachment = await self.attachment(network, endpoint)
            await self._links.ensure_veth(attachment.veth)
            await self._switch.ensure_port(attachment.port)
            undo.pop_all()
        families = {address.version for address in endpoint.addresses}
        return Joined(
            source=attachment.veth.container,
            prefix=network.interface_prefix,
            gateway4=network.gateway(4) if 4 in families else None,
            gateway6=network.gateway(6) if 6 in families else None,
            # In no mode so far does a container reach the world through docker_gwbridge.
            disable_gateway_service=True,
        )

    async def leave(self, network_id: NetworkId, endpoint_id: EndpointId) -> None:
        """Unplug the port; the link stays, since dockerd still has to move it out."""
        async with self._locks.held(endpoint_id):
            endpoint = self._state.endpoint(endpoint_id)
            if endpoint is None or endpoint.network != network_id:
                return
            await self._state.put_endpoint(replace(endpoint, sandbox=None))
            await self._switch.remove_port(names.host_link(endpoint_id))

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
            endpoint = self._state.endpoint_at(network.id, address)
            lease = await self._ipam.lease(pool, address)
            # An endpoint of an earlier lease of the same address is not what is released.
            if endpoint is None or lease is None or lease.serial not in endpoint.leases:
                return
            if self._listed(endpoint.id) and await self._alive(endpoint):
                raise ConflictError(
                    f"{address} is released, but Docker still lists endpoint {endpoint.id[:12]} "
                    "on it and its container lives; the address is kept until one of both ends"
                )
            await self._end(endpoint, f"Docker released {address} without deleting the endpoint")

    async def collect(self, endpoint: Endpoint, why: str) -> None:
        """End an endpoint whose end was proven, and release its addresses; says so in the log."""
        async with self._locks.held(endpoint.id):
            current = self._state.endpoint(endpoint.id)
            network = self._state.network(endpoint.network)
            if current is None or current.ended or network is None or await self._alive(current):
                return
            await self._end(current, why)
        for address in current.addresses:
            pool = next((s.pool for s in network.subnets if address.ip in s.cidr), None)
            if pool is None:
                continue
            for serial in current.leases:
                await self._ipam.release_address(pool, address.ip, serial=serial)

    async def publish(
        self, network_id: NetworkId, endpoint_id: EndpointId, ports: Sequence[PortMapping]
    ) -> None:
        """Refuse published ports, which no mode can do yet; without any there is nothing to do."""
        network = self._network(network_id)
        self._endpoint(network_id, endpoint_id)
        if not ports:
            return
        wanted = ", ".join(f"{p.port}/{p.protocol.name.lower()}" for p in ports[:5])
        if network.mode is Mode.NAT:
            raise UnsupportedError(
                f"publishing {wanted}: ovsnet cannot publish ports yet; leave -p and -P out and "
                "reach the container by its address from this host"
            )
        raise UnsupportedError(
            f"publishing {wanted}: a network with ovs.mode={network.mode} has no gateway on this "
            "host that could publish; leave -p and -P out and use the container's own address"
        )

    async def revoke(self, network_id: NetworkId, endpoint_id: EndpointId) -> None:
        """Unpublish: nothing is published yet, so nothing is to do, for known ids or not."""

    async def ensure(self, endpoint: Endpoint) -> None:
        """Plug a recorded endpoint in again if it has a sandbox and its link is there.

        The same steps as Join's, for the reconciler. Under the endpoint's lock, and looks at the
        record again first.
        """
        async with self._locks.held(endpoint.id):
            current = self._state.endpoint(endpoint.id)
            network = self._state.network(endpoint.network)
            if current is None or network is None or current.sandbox is None or current.ended:
                return
            attachment = await self.attachment(network, current)
            await self._links.ensure_offload(
                current.sandbox, current.mac, tx=attachment.veth.tx_offload
            )
            await self._switch.ensure_port(attachment.port)

    async def finish(self, endpoint: Endpoint) -> None:
        """Remove what a call that was cut short has left of an ended or unplugged endpoint."""
        async with self._locks.held(endpoint.id):
            current = self._state.endpoint(endpoint.id)
            if current is None:
                return
            if current.ended:
                await self._remove(current)
            elif current.sandbox is None:
                await self._switch.remove_port(names.host_link(current.id))

    async def attachment(self, network: Network, endpoint: Endpoint) -> Attachment:
        """Return the plumbing of ``endpoint``, with the checksum offload its bridge needs."""
        return desired.attachment(
            network, endpoint, owner=self._owner, tx_offload=await self._tx_offload(network)
        )

    async def _tx_offload(self, network: Network) -> bool:
        """Whether the container's end may leave checksums to the switch.

        The kernel's datapath finishes them. The userspace one does only with TSO on; without it
        TCP between containers does not move a byte (measured with Open vSwitch 3.5).
        """
        bridge = network.segment.bridge
        observed = self._switch.bridge(bridge)
        datapath = observed.datapath if observed else network.segment.datapath
        return datapath is Datapath.SYSTEM or await self._links.tso(bridge)

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
        await self._remove(endpoint)

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

    async def _undo_join(self, endpoint: Endpoint) -> None:
        try:
            await self._state.put_endpoint(replace(endpoint, sandbox=None))
            await self._switch.remove_port(names.host_link(endpoint.id))
            await self._links.remove_veth(names.host_link(endpoint.id))
        except DriverError as error:
            # The record says "not plugged in", and the reconciler goes on from there.
            log.warning(
                "endpoint.undo-deferred", extra={"endpoint": endpoint.id, "why": str(error)}
            )

    async def _remove(self, endpoint: Endpoint) -> None:
        """Remove an endpoint's plumbing, then its record; the caller holds its lock.

        The mark comes first: from then on a crash at any line is finished by the reconciler.
        """
        if not endpoint.ended:
            await self._state.put_endpoint(replace(endpoint, sandbox=None, ended=True))
        host = names.host_link(endpoint.id)
        await self._switch.remove_port(host)
        await self._links.remove_veth(host)
        await self._state.forget_endpoint(endpoint.id)

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


def _mtu(new: NewEndpoint, network: Network) -> int:
    mtu = new.options.mtu or network.mtu
    if mtu > network.mtu:
        raise InvalidOptionError(
            f"ovs.mtu={mtu}: the network carries at most {network.mtu} bytes; choose no more, or "
            "make the network with a larger ovs.mtu"
        )
    return mtu
