"""Create and delete networks, and make the switch and the host as their records say."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ipam import AddressRequest, LeaseKind
from ipam.service import Ipam
from ovsdriver.domain import desired, names, planning, replanning, tunnels, uplinks
from ovsdriver.domain.model import Datapath, Gateway, Network, NetworkId, Port, Segment
from ovsdriver.domain.names import OWNER_KEY, mac_text
from ovsdriver.domain.observed import ObservedBridge, ObservedLink
from ovsdriver.domain.requests import NetworkOptions, NewNetwork
from ovsdriver.domain.shaping import combined
from ovsdriver.errors import (
    ConflictError,
    DriverError,
    InvalidOptionError,
    UnavailableError,
    UnknownObjectError,
    UnsupportedError,
)
from ovsdriver.ports import Links, Route, State, Switch
from ovsdriver.service.locks import Locks
from ovsdriver.service.mirrors import Mirrors
from ovsdriver.service.publisher import Publisher
from ovsdriver.service.rules import Rules
from ovsdriver.service.shaper import Shaper
from ovsdriver.service.uplinks import Uplinks

log = logging.getLogger(__name__)

SWITCH_WAIT_S = 5.0
"""How long a call waits for Open vSwitch to (re)appear before it says so."""

_SWITCH_KINDS = frozenset({"tun", "openvswitch"})
"""Kinds of links that a bridge of Open vSwitch leaves behind when its database is lost."""

PROBE_S = 1.0
"""How long the gateway addresses are asked for on a segment that others may use."""


T = TypeVar("T")

Wish = Callable[[Network], tuple[NetworkOptions, replanning.Touched]]
"""From a network's record to all options that it shall have, and which of them are other ones."""


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
        defaults: planning.Defaults,
        kernel_datapath: Callable[[], bool],
        state: State,
        ipam: Ipam,
        switch: Switch,
        links: Links,
        uplinks: Uplinks,
        rules: Rules,
        publisher: Publisher,
        shaper: Shaper,
        mirrors: Mirrors,
        locks: Locks,
    ) -> None:
        self._owner = owner
        self._defaults = defaults
        self._kernel_datapath = kernel_datapath
        self._state = state
        self._ipam = ipam
        self._switch = switch
        self._links = links
        self._uplinks = uplinks
        self._rules = rules
        self._publisher = publisher
        self._shaper = shaper
        self._mirrors = mirrors
        self._locks = locks
        self._planning = asyncio.Lock()

    def gateway_skips(self, options: NetworkOptions, internal: bool) -> bool:
        """Whether a network with these options needs no gateway address from its IPAM.

        Asked by engine 28 and newer, before any address is requested; a gateway that the user
        typed is requested all the same.
        """
        if internal or options.mode is not None:
            return internal or not options.mode or not options.mode.has_gateway
        if options.uplink:
            return True
        name = self._bridge_name(options)
        bridge = self._switch.bridge(name)
        companions = [each for each in self._state.networks() if each.segment.bridge == name]
        return uplinks.uplinked(companions) is not None or (bridge is not None and not bridge.owned)

    def _bridge_name(self, options: NetworkOptions) -> str:
        return planning.bridge_name(
            options, self._defaults, self._state.networks(), self._switch.bridges()
        )

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
                network = await self._plan(new)
                undo.push_async_callback(self._undo, network)
                await self._state.put_network(network)
            await self._reserve_routers(network)
            await self._ensure(network)
            await self._state.put_network(replace(network, made=True))
            undo.pop_all()
        log.info(
            "network.created",
            extra={
                "network": network.id,
                "bridge": network.segment.bridge,
                "vlan": network.segment.tag,
                "mode": network.mode.value,
            },
        )

    async def delete(self, network_id: NetworkId) -> bool:
        """Remove a network with all of its endpoints; False if it is not known."""
        async with self._locks.held(network_id):
            network = self._state.network(network_id)
            if network is None:
                return False
            await self._remove(network)
        log.info("network.deleted", extra={"network": network_id})
        return True

    async def change(self, network_id: NetworkId, wish: Wish) -> Change[Network]:
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
                after = await self._replan(before, *wish(before))
                await self._refuse_answered(before, after)
                if after != before:
                    await self._state.put_networks(self._with_wire(after))
            try:
                # Endpoints that were being made have seen the old record or the new one.
                self._refuse_unfit(before, after)
                await self._bring(after)
            except (ConflictError, InvalidOptionError, UnsupportedError):
                await self._state.put_networks(self._with_wire(before))
                await self._bring(before)
                raise
            except UnavailableError as error:
                return Change(before=before, after=after, pending=str(error))
            return Change(before=before, after=after)

    def _standing(self, network_id: NetworkId) -> Network:
        network = self._state.network(network_id)
        if network is None or network.ended or not network.made:
            raise UnknownObjectError(f"network {network_id[:12]} was removed meanwhile")
        return network

    def _concerned(self, network_id: NetworkId, wish: Wish) -> Sequence[NetworkId]:
        """Return the networks whose records a wish is about, in the order of their locks."""
        network = self._standing(network_id)
        _, touched = wish(network)
        if not touched.fields & {"bond", "lacp"}:
            return (network_id,)
        return sorted({network_id, *(each.id for each in self._on_wire(network))})

    def _on_wire(self, network: Network) -> Sequence[Network]:
        """Return the networks that have the same uplink."""
        return [
            each
            for each in self._state.networks()
            if each.segment.bridge == network.segment.bridge
            and each.segment.uplink is not None
            and network.segment.uplink is not None
            and not each.ended
        ]

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
            desired.attachment(network, each, owner=self._owner, tx_offload=True).port
            for each in self._state.endpoints(network.id)
            if each.sandbox is not None and not each.ended
        ]
        await self._switch.change_ports(
            [*ports, *([host.port] if host is not None else [])],
            self._uplinks.wanted(network.segment.bridge),
        )
        await self._ensure(network)

    async def _refuse_answered(self, before: Network, after: Network) -> None:
        """Refuse a VLAN on which somebody has the gateway's address, where others may be.

        Asked from a port for the moment, and while an uplink already lets that VLAN through.
        """
        gateway = desired.gateway(after, owner=self._owner)
        segment = after.segment
        shared = segment.adopted or segment.uplink is not None
        if gateway is None or not shared or segment.tag == before.segment.tag:
            return
        scout = desired.scout(after, owner=self._owner)
        wire = self._uplinks.wanted(segment.bridge)
        async with AsyncExitStack() as undo:
            if wire is not None:
                undo.push_async_callback(self._switch.change_ports, (), wire)
                wider = tuple(sorted({*wire.trunks, segment.tag}))
                await self._switch.change_ports((), replace(wire, trunks=wider))
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

    async def note_engine(self, network_id: NetworkId, engine: str) -> None:
        """Note which daemon a network is of: only its word counts when it is gone from Docker."""
        async with self._locks.held(network_id):
            current = self._state.network(network_id)
            if current is not None and current.made and not current.ended and not current.engine:
                await self._state.put_network(replace(current, engine=engine))

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
        """Make the host's rules as all records say; False if they already were."""
        return await self._rules.ensure()

    async def finish(self, network: Network) -> None:
        """Remove a network whose making or deletion was cut short, or that was abandoned."""
        async with self._locks.held(network.id):
            current = self._state.network(network.id)
            if current is not None and (
                current.ended or not current.made or self.abandoned(current)
            ):
                await self._remove(current)

    async def _replan(
        self, current: Network, options: NetworkOptions, changes: replanning.Touched
    ) -> Network:
        name = current.segment.bridge
        observed = self._switch.bridges().get(name)
        nics = current.segment.uplink.nics if current.segment.uplink is not None else ()
        links = await self._links.links()
        routes = await self._links.routes() if nics else ()
        plan = replanning.network(
            current,
            options,
            changes,
            planning.Surroundings(
                networks=[each for each in self._state.networks() if each.id != current.id],
                pools=(),
                bridge=known_bridge(observed, self._owner, nics) if observed else None,
                routes=(),
                datapaths=self._datapaths(),
                endpoints=self._state.endpoints(),
                wire_mtu=_wire_mtu(observed, links) if observed else None,
                two_tags=self._two_tags(),
                nics=self._known_nics(nics, links, routes),
            ),
            self._defaults,
        )
        await self._check(plan)
        self._refuse_unfit(current, plan)
        if observed is not None and plan.segment.tag != current.segment.tag:
            self._warn(plan, observed)
        return plan

    def _refuse_unfit(self, current: Network, planned: Network) -> None:
        replanning.refuse_unfit(current, planned, self._state.endpoints(current.id))

    def _two_tags(self) -> bool:
        return tunnels.looks_at_two(self._switch.status().other_config)

    async def _plan(self, new: NewNetwork) -> Network:
        name = self._bridge_name(new.options)
        observed = self._switch.bridges().get(name)
        companions = [each for each in self._state.networks() if each.segment.bridge == name]
        shared = uplinks.uplinked(companions)
        nics = new.options.uplink or (shared.nics if shared is not None else ())
        mode = new.options.mode
        needs_routes = nics or (not new.internal and (mode is None or mode.has_gateway))
        routes = await self._links.routes() if needs_routes else ()
        needs_links = nics or observed is None or not observed.owned
        links = await self._links.links() if needs_links else {}
        plan = planning.plan(
            new,
            planning.Surroundings(
                networks=self._state.networks(),
                pools=self._waiting_pools(new),
                bridge=known_bridge(observed, self._owner, nics) if observed else None,
                routes=[planning.HostRoute(destination=r.destination, link=r.link) for r in routes],
                datapaths=self._datapaths(),
                endpoints=self._state.endpoints(),
                wire_mtu=_wire_mtu(observed, links) if observed else None,
                ordinary_link=name in links and links[name].kind not in _SWITCH_KINDS,
                two_tags=self._two_tags(),
                nics=self._known_nics(nics, links, routes),
            ),
            self._defaults,
            bridge=name,
        )
        await self._check(plan)
        if observed is not None:
            self._warn(plan, observed)
        return plan

    async def _check(self, plan: Network) -> None:
        """Refuse what this host cannot do, as far as only trying or looking tells."""
        await self._shaper.check(combined(plan, planning.NO_WISH))
        await self._mirrors.check(plan.mirror, plan.segment.bridge, plan.segment.datapath)

    def _known_nics(
        self, nics: Sequence[str], links: Mapping[str, ObservedLink], routes: Sequence[Route]
    ) -> Mapping[str, uplinks.KnownNic]:
        through = [(each.destination, each.link) for each in routes]
        bridges = self._switch.bridges()
        found = {
            nic: uplinks.known_nic(nic, links, through, bridges, owner=self._owner) for nic in nics
        }
        return {nic: known for nic, known in found.items() if known is not None}

    def _datapaths(self) -> Sequence[str]:
        offered = self._switch.status().datapath_types
        if Datapath.SYSTEM in offered and not self._kernel_datapath():
            return tuple(each for each in offered if each != Datapath.SYSTEM)
        return offered

    def _waiting_pools(self, new: NewNetwork) -> Sequence[planning.KnownPool]:
        wanted = {subnet.cidr.cidr for subnet in new.subnets}
        found = []
        for pool in self._ipam.pools():
            if pool.subnet in wanted and self._state.network_of_pool(pool.id) is None:
                gateway = self._ipam.gateway(pool.id)
                found.append(
                    planning.KnownPool(
                        id=pool.id,
                        space=pool.space,
                        subnet=pool.subnet,
                        gateway=gateway.address if gateway else None,
                        gateway_typed=gateway is not None and gateway.wanted,
                        probe=pool.probe,
                    )
                )
        return found

    def _warn(self, network: Network, observed: ObservedBridge) -> None:
        segment = network.segment
        if not segment.adopted:
            return
        if observed.controllers or observed.fail_mode == "secure":
            log.warning(
                "bridge.has-controller",
                extra={
                    "bridge": segment.bridge,
                    "why": "VLAN tags act only through the NORMAL action; "
                    "flows of its controller decide what reaches our ports",
                },
            )
        if segment.tag in known_bridge(observed, self._owner).tags:
            log.info(
                "segment.joined",
                extra={"network": network.id, "bridge": segment.bridge, "vlan": segment.tag},
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
        if network.segment.uplink is not None:
            await self._uplinks.settle(network.segment.bridge, trial=not network.made)
        else:
            # a container's list may have named this VLAN when no network had it
            await self._uplinks.relist(network.segment.bridge)
        if network.mirror is not None or self._mirrors.known(network.segment.bridge):
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
        segment = network.segment
        if (segment.adopted or segment.uplink is not None) and not network.made:
            await self._refuse_taken(gateway)
        await self._links.ensure_gateway(gateway)
        # Again, for the forwarding switches of the device that exists now.
        await self.ensure_firewall()

    async def _ensure_bridge(self, segment: Segment) -> None:
        bridge = desired.bridge(segment, self._state.networks(), owner=self._owner)
        if bridge is not None:
            await self._switch.ensure_bridge(bridge)

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
        if self._mirrors.known(network.segment.bridge):
            await self._mirrors.settle(network.segment.bridge)
        await self._remove_bridge(network)
        await self._state.forget_network(network.id)
        if gateway is not None:
            await self.ensure_firewall()

    async def _remove_bridge(self, network: Network) -> None:
        """Remove our bridge with its last network; a plan in progress may not count on it."""
        segment: Segment = network.segment
        async with self._planning:
            if segment.uplink is not None:
                await self._uplinks.release(segment.bridge)
            others = any(
                each.segment.bridge == segment.bridge and each.id != network.id
                for each in self._state.networks()
                if not each.ended
            )
            if not segment.adopted and not others:
                await self._switch.remove_bridge(segment.bridge)
            elif others and segment.uplink is not None and segment.uplink.host is not None:
                # of those that stay, none may need the host on the bridge any more
                await self._ensure_bridge(segment)


def _wire_mtu(bridge: ObservedBridge, links: Mapping[str, ObservedLink]) -> int | None:
    """Return the smallest MTU among an adopted bridge's ports: what all on it can receive."""
    found = [links[port.name].mtu for port in bridge.ports if port.name in links]
    return min((mtu for mtu in found if mtu), default=None) if not bridge.owned else None


def known_bridge(
    observed: ObservedBridge, owner: str, nics: Sequence[str] = ()
) -> planning.KnownBridge:
    """Return what planning needs to know of a bridge; ``nics`` are those of the uplink."""
    return planning.KnownBridge(
        name=observed.name,
        owned=observed.owned,
        datapath=observed.datapath,
        tags=planning.foreign_tags(
            (port.tag, port.trunks)
            for port in observed.ports
            if port.external_ids.get(OWNER_KEY) != owner and not set(port.interfaces) & set(nics)
        ),
        integration=observed.integration,
        controllers=observed.controllers,
    )
