"""Create and delete networks, and make the switch and the host as their records say."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ipam import AddressRequest, LeaseKind
from ipam.service import Ipam
from ovsdriver.domain.plan import replanning
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Network, NetworkId, Segment, on_bridge
from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.records.requests import NetworkOptions, NewNetwork
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.diff import deserted
from ovsdriver.domain.wires.plumbing import Gateway, Port
from ovsdriver.errors import (
    ConflictError,
    DriverError,
    InvalidOptionError,
    UnavailableError,
    UnknownObjectError,
    UnsupportedError,
)
from ovsdriver.ports import Bridges, Links, State
from ovsdriver.service.aspects.firewall import Rules
from ovsdriver.service.aspects.flows import FlowRules
from ovsdriver.service.aspects.mirrors import Mirrors
from ovsdriver.service.aspects.published import Publisher
from ovsdriver.service.aspects.uplinks import Uplinks
from ovsdriver.service.locks import Locks
from ovsdriver.service.networks.planner import Planner
from ovsdriver.service.networks.previewer import Previewer
from ovsdriver.words.changes import OtherOptions

log = logging.getLogger(__name__)

SWITCH_WAIT_S = 5.0
"""How long a call waits for Open vSwitch to (re)appear before it says so."""

PROBE_S = 1.0
"""How long the gateway addresses are asked for on a segment that others may use."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[T]):
    """A record that was changed."""

    before: T
    after: T
    pending: str = ""
    """What did not answer, so that not all is in force yet; the reconciler goes on from there."""


class Networks:
    """Docker's networks, each on its segment."""

    def __init__(
        self,
        *,
        owner: str,
        planner: Planner,
        previewer: Previewer,
        state: State,
        ipam: Ipam,
        switch: Bridges,
        links: Links,
        uplinks: Uplinks,
        rules: Rules,
        publisher: Publisher,
        flows: FlowRules,
        mirrors: Mirrors,
        locks: Locks,
    ) -> None:
        self._owner = owner
        self._planner = planner
        self._previewer = previewer
        self._state = state
        self._ipam = ipam
        self._switch = switch
        self._links = links
        self._uplinks = uplinks
        self._rules = rules
        self._publisher = publisher
        self._flows = flows
        self._mirrors = mirrors
        self._locks = locks
        self._planning = asyncio.Lock()
        self._on_made: list[Callable[[], None]] = []

    def on_made(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when a network was made."""
        self._on_made.append(callback)

    def gateway_skips(self, options: NetworkOptions, internal: bool) -> bool:
        """Whether a network with these options needs no gateway address from its IPAM."""
        return self._planner.gateway_skips(options, internal)

    async def create(self, new: NewNetwork) -> None:
        """Record the network and make its bridge, gateway and rules; nothing stays if one fails.

        Repeatable: a network that is recorded already is made to be there.

        Raises:
            InvalidOptionError, ConflictError, UnsupportedError: see ``planning.plan``.
            UnavailableError: Open vSwitch, the kernel or the store did not answer.
        """
        async with self._locks.held(new.id), AsyncExitStack() as undo:
            await self._switch.connected(SWITCH_WAIT_S)
            known = self._state.network(new.id)
            if known is not None and known.made and not known.ended:
                await self._ensure(known)
                return
            if known is not None:
                await self._remove(known)
            # One plan at a time: two networks must not choose the same tag.
            async with self._planning:
                network = replace(await self._planner.plan(new), unused=True)
                if new.options.dry_run:
                    preview = self._previewer.of(network, new.options.ignored)
                    raise UnsupportedError(preview.sentence)
                undo.push_async_callback(self._undo, network)
                await self._state.put_network(network)
            await self._free_gateways(network)
            await self._reserve_routers(network)
            await self._ensure(network)
            await self._state.put_network(replace(network, made=True))
            undo.pop_all()
        for callback in self._on_made:
            callback()
        log.info(
            "network.created",
            extra={
                "network": network.id,
                **network.segment.shown,
                "mode": network.mode.value,
            },
        )

    async def delete(self, network_id: NetworkId) -> bool:
        """Remove a network with all of its endpoints and pools; False if it is not known.

        Docker releases the pools before, and does not hear if that failed. They go first: what is
        left of a network without them is removed without being asked.
        """
        async with self._locks.held(network_id):
            network = self._state.network(network_id)
            if network is None:
                return False
            for subnet in network.subnets:
                if subnet.pool is not None:
                    await self._ipam.release_pool(subnet.pool)
            await self._remove(network)
        log.info("network.deleted", extra={"network": network_id})
        return True

    async def change(self, network_id: NetworkId, wish: OtherOptions) -> Change[Network]:
        """Give a network other options: its record first, then bridge, gateway and rules.

        The ports of its containers are left to the caller. Nothing is changed if it is refused.

        Raises:
            UnknownObjectError: there is no such network.
            InvalidOptionError, ConflictError, UnsupportedError: see ``replanning.network``.
            UnavailableError: Open vSwitch, the kernel or the store did not answer, and nothing was
                changed. What does not answer after the record was changed is in the result.
        """
        async with AsyncExitStack() as held:
            for each in self._concerned(network_id, wish):
                await held.enter_async_context(self._locks.held(each))
            await self._switch.connected(SWITCH_WAIT_S)
            before = self._standing(network_id)
            async with self._planning:
                after = await self._planner.replan(before, *wish.of_network(before))
                await self._refuse_answered(before, after)
                if after != before:
                    await self._state.put_networks(self._with_wire(after))
            try:
                # Endpoints that were being made have seen the old record or the new one.
                replanning.refuse_unfit(before, after, self._state.endpoints(network_id))
                await self._bring(after)
            except (ConflictError, InvalidOptionError, UnsupportedError):
                await self._state.put_networks(self._with_wire(before))
                await self._bring_back(before)
                raise
            except UnavailableError as error:
                return Change(before=before, after=after, pending=str(error))
            return Change(before=before, after=after)

    def _standing(self, network_id: NetworkId) -> Network:
        network = self._state.network(network_id)
        if network is None or network.ended or not network.made:
            raise UnknownObjectError(f"network {network_id[:12]} was removed meanwhile")
        return network

    def _concerned(self, network_id: NetworkId, wish: OtherOptions) -> Sequence[NetworkId]:
        """Return the networks whose records a wish is about, in the order of their locks."""
        network = self._standing(network_id)
        _, touched = wish.of_network(network)
        if not touched.fields & {"bond", "lacp"}:
            return (network_id,)
        return sorted({network_id, *(each.id for each in self._on_wire(network))})

    def _on_wire(self, network: Network) -> Sequence[Network]:
        """Return the networks that have the same uplink."""
        if network.segment.uplink is None:
            return []
        here = on_bridge(network.segment.bridge, self._state.networks())
        return [each for each in here if each.segment.uplink is not None]

    def _with_wire(self, network: Network) -> Sequence[Network]:
        """Return a network and those whose record of their common uplink changes with it."""
        uplink = network.segment.uplink
        others = [
            replace(each, segment=replace(each.segment, uplink=uplink))
            for each in self._on_wire(network)
            if each.id != network.id and each.segment.uplink != uplink
        ]
        return (network, *others)

    async def _bring(self, network: Network) -> None:
        """Make all of a network as its changed record says, its containers' ports at once."""
        host = desired.gateway(network, owner=self._owner) or desired.probe(
            network, owner=self._owner
        )
        ports = [
            desired.attachment(network, each, owner=self._owner).port
            for each in self._state.endpoints(network.id)
            if each.sandbox is not None and not each.ended
        ]
        wire = self._uplinks.wanted(network.segment.bridge)
        if host is not None:
            ports.append(host.port)
        await self._switch.change_ports([*ports, *([wire] if wire is not None else [])])
        await self._ensure(network)

    async def _bring_back(self, network: Network) -> None:
        try:
            await self._bring(network)
        except DriverError as error:
            # Its record is as it was, and the reconciler goes on from there.
            log.warning("network.undo-deferred", extra={"network": network.id, "why": str(error)})

    async def _refuse_answered(self, before: Network, after: Network) -> None:
        """Refuse a VLAN on which somebody has the gateway's address, where others may be.

        Asked from a port for the moment, and while an uplink already lets that VLAN through.
        """
        gateway = desired.gateway(after, owner=self._owner)
        segment = after.segment
        if gateway is None or not segment.outside or segment.tag == before.segment.tag:
            return
        scout = desired.scout(after, owner=self._owner)
        wire = self._uplinks.wanted(segment.bridge)
        async with AsyncExitStack() as undo:
            if wire is not None:
                undo.push_async_callback(self._switch.change_ports, [wire])
                wider = tuple(sorted({*wire.trunks, *segment.vlans}))
                await self._switch.change_ports([replace(wire, trunks=wider)])
            undo.push_async_callback(self._switch.remove_port, scout.port.name)
            await self._switch.ensure_port(scout.port)
            await self._links.ensure_probe(scout)
            await self._refuse_neighbours(scout.port, gateway)

    async def repair(self, network: Network) -> None:
        """Make bridge, rules and gateway as the record says, if it still stands."""
        async with self._locks.held(network.id):
            current = self._state.network(network.id)
            if current is not None and current.made and not current.ended:
                await self._ensure(current)

    async def note_engine(self, engine: str, listed: AbstractSet[NetworkId]) -> None:
        """Note which daemon has networks: only its word counts when one is gone from Docker."""
        for network in self._state.networks():
            if network.engine or network.id not in listed:
                continue
            async with self._locks.held(network.id):
                current = self._state.network(network.id)
                if current and current.made and not current.ended and not current.engine:
                    await self._state.put_network(replace(current, engine=engine))

    async def note_use(self, network_id: NetworkId) -> None:
        """Note that a network has an endpoint: from now on it is not removed for want of one."""
        async with self._locks.held(network_id):
            current = self._state.network(network_id)
            if current is not None and current.unused and not current.ended:
                await self._state.put_network(replace(current, unused=False))

    def abandoned(self, network: Network) -> bool:
        """Whether Docker has let go of a network without our hearing of it.

        It releases the pools last but for DeleteNetwork itself, also where a CreateNetwork whose
        answer it did not get is rolled back; and never while the network has endpoints.
        """
        pools = [subnet.pool for subnet in network.subnets if subnet.pool is not None]
        return (
            bool(pools)
            and not any(self._ipam.pool(pool) for pool in pools)
            and not self._state.endpoints(network.id)
        )

    async def displaced(self) -> Mapping[str, str]:
        """Return the bridges whose host is not where it was moved to, each with what is wrong."""
        return await self._uplinks.displaced()

    async def ensure_firewall(self) -> bool:
        """Make the host's rules as all records say; True if they were not as they were made."""
        return await self._rules.ensure()

    def busy(self, network: NetworkId) -> bool:
        """Whether a call, or a repair, is at work on it."""
        return network in self._locks

    async def finish(self, network: Network) -> bool:
        """Remove a network whose making or deletion was cut short, or that was abandoned.

        False if it is none of these: a call that was at work on it has got to its end.
        """
        async with self._locks.held(network.id):
            current = self._state.network(network.id)
            if current is not None and (
                current.ended or not current.made or self.abandoned(current)
            ):
                await self._remove(current)
                return True
        return False

    async def _free_gateways(self, network: Network) -> None:
        """Release the addresses that engines up to 27 take for gateways on every network.

        Where nobody has one, a container may ask for it, as with those that do not take it.
        """
        for subnet in network.subnets:
            gateway = self._ipam.gateway(subnet.pool) if subnet.pool is not None else None
            if gateway is not None and not gateway.wanted and not network.mode.has_gateway:
                await self._ipam.release_address(
                    gateway.pool, gateway.address, serial=gateway.serial
                )

    async def _reserve_routers(self, network: Network) -> None:
        """Hold the address of a router that is not us (``ovs.gateway``), so that nobody gets it."""
        for subnet in network.subnets:
            if network.mode.has_gateway or subnet.pool is None or subnet.gateway is None:
                continue
            if await self._ipam.lease(subnet.pool, subnet.gateway) is None:
                await self._ipam.request_address(
                    AddressRequest(pool=subnet.pool, address=subnet.gateway, kind=LeaseKind.AUX)
                )

    async def _ensure(self, network: Network) -> None:
        await self._ensure_bridge(network.segment)
        await self._flows.ensure_bridge(network.segment.bridge)
        if network.segment.uplink is not None:
            await self._uplinks.settle(network.segment.bridge, trial=not network.made)
        else:
            # a container's list may have named this VLAN when no network had it
            await self._uplinks.relist(network.segment.bridge)
        if network.port.mirror is not None or self._mirrors.known(network.segment.bridge):
            await self._mirrors.settle(network.segment.bridge)
        probe = desired.probe(network, owner=self._owner)
        if probe is not None:
            await self._switch.ensure_port(probe.port)
            await self._links.ensure_probe(probe)
        elif self._switch.port(names.probe_link(network.id)) is not None:
            await self._switch.remove_port(names.probe_link(network.id))
        gateway = desired.gateway(network, owner=self._owner)
        if gateway is None:
            return
        # The rules name the gateway's device, so they can stand before it does: at no moment
        # does a gateway forward without them.
        await self.ensure_firewall()
        await self._switch.ensure_port(gateway.port)
        if network.segment.outside and not network.made:
            await self._refuse_taken(gateway)
        await self._links.ensure_gateway(gateway)
        # Again, for the switches of the device that exists now, which may not be the one of before.
        await self._rules.ensure(renewed=gateway.port.name)

    async def _ensure_bridge(self, segment: Segment) -> None:
        bridge = desired.bridge(segment, self._state.networks(), owner=self._owner)
        if bridge is not None:
            await self._switch.ensure_bridge(bridge)
            await self._links.mark_bridge(bridge.name)

    async def _refuse_taken(self, gateway: Gateway) -> None:
        await self._links.ensure_gateway(
            Gateway(network=gateway.network, port=gateway.port, addresses=(), mtu=gateway.mtu)
        )
        await self._refuse_neighbours(gateway.port, gateway)

    async def _refuse_neighbours(self, asking: Port, gateway: Gateway) -> None:
        addresses = [address.ip for address in gateway.addresses]
        found = await self._links.neighbours(asking.name, addresses, within_s=PROBE_S)
        for address, holder in found.items():
            raise ConflictError(
                f"gateway {address} is in use on bridge {asking.bridge}, VLAN "
                f"{asking.tag or 'none'}, by {mac_text(holder)}; choose another "
                "--gateway, or -o ovs.mode=flat to use that one"
            )

    async def _undo(self, network: Network) -> None:
        try:
            if self._state.network(network.id) is None:
                # The record may be on its way to the disk; what is written later wins.
                await self._state.forget_network(network.id)
            else:
                await self._remove(network)
        except DriverError as error:
            # The record stays, marked as ended, and the reconciler goes on from there.
            log.warning("network.undo-deferred", extra={"network": network.id, "why": str(error)})

    async def _remove(self, network: Network) -> None:
        """Remove what belongs to a network, then its record; the caller holds its lock.

        Endpoints are taken by their locks: a Join that got past the record before it was ended
        is waited for, and one that comes later finds the network ended.
        """
        await self._state.put_network(replace(network, ended=True))
        for endpoint in self._state.endpoints(network.id):
            async with self._locks.held(endpoint.id):
                port = names.port(endpoint)
                await self._switch.remove_port(port)
                await self._links.remove_link(port)
                await self._publisher.withdraw(endpoint)
        gateway = desired.gateway(network, owner=self._owner)
        for of_host in (gateway, desired.probe(network, owner=self._owner)):
            if of_host is not None:
                await self._switch.remove_port(of_host.port.name)
                # vswitchd's devices outlast it: one that is killed now would leave this one
                await self._links.remove_link(of_host.port.name)
        if self._mirrors.known(network.segment.bridge):
            await self._mirrors.settle(network.segment.bridge)
        await self._remove_bridge(network)
        # An ended network has no rules; with the record goes what is left to do.
        forgetting = self._state.forget_network(network.id)
        if gateway is None:
            await forgetting
        else:
            await asyncio.gather(forgetting, self.ensure_firewall())

    async def _remove_bridge(self, network: Network) -> None:
        """Remove our bridge with its last network; a plan in progress may not count on it."""
        segment: Segment = network.segment
        async with self._planning:
            if segment.uplink is not None:
                await self._uplinks.release(segment.bridge)
            here = on_bridge(segment.bridge, self._state.networks())
            others = any(each.id != network.id for each in here)
            if not segment.adopted and not others:
                await self._switch.remove_bridge(segment.bridge)
                for each in await self.deserted():
                    await self._links.remove_link(each)
            elif others and (
                network.features.said()
                or (segment.uplink is not None and segment.uplink.host is not None)
            ):
                # those that stay may need less of the bridge than it did
                await self._ensure_bridge(segment)

    async def deserted(self) -> Sequence[str]:
        """Return the devices of bridges that were removed while vswitchd was away.

        Raises:
            UnavailableError: the kernel did not answer.
        """
        links = await self._links.links()
        # of a database that does not answer nobody knows which bridges it has
        if not self._switch.status().connected:
            return ()
        return deserted(self._switch.bridges(), links, owner=self._owner)

    async def clear_device(self, name: str) -> bool:
        """Delete a deserted device; False if it is none any more. Errors as of :meth:`deserted`."""
        async with self._planning:
            return name in await self.deserted() and await self._links.remove_link(name)
