"""What a plan of a network needs of the host as it is now, read and handed to who decides."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ipam import Pool
from ipam.leasing import Leasing
from ovsdriver.domain.plan import planning, replanning, segment_planning
from ovsdriver.domain.plan.bridges import tunnels, vlan_planning
from ovsdriver.domain.plan.inputs import Defaults, HostRoute, KnownBridge, KnownPool, PlanInputs
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Network
from ovsdriver.domain.records.names import OWNER_KEY
from ovsdriver.domain.records.requests import NetworkOptions, NewNetwork
from ovsdriver.domain.records.segments import Datapath, OvnSegment
from ovsdriver.domain.wires import patching, uplinks
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedLink
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Links, Northbound, Route, State, SwitchView
from ovsdriver.ports.northbound import on_router
from ovsdriver.service.aspects.aspect import Aspect

log = logging.getLogger(__name__)

_SWITCH_KINDS = frozenset({"tun", "openvswitch"})
"""Kinds of links that a bridge of Open vSwitch leaves behind when its database is lost."""


class Planner:
    """Plans networks. The caller holds the lock ``PLANNING`` until what was planned is recorded."""

    def __init__(
        self,
        *,
        owner: str,
        defaults: Defaults,
        kernel_datapath: Callable[[], bool],
        state: State,
        ipam: Leasing,
        switch: SwitchView,
        links: Links,
        aspects: Sequence[Aspect],
        northbound: Northbound | None = None,
    ) -> None:
        """``northbound``: None on a host that is in no fleet."""
        self._northbound = northbound
        self._owner = owner
        self._defaults = defaults
        self._kernel_datapath = kernel_datapath
        self._state = state
        self._ipam = ipam
        self._switch = switch
        self._links = links
        self._aspects = aspects

    def gateway_skips(self, options: NetworkOptions, internal: bool) -> bool:
        """Whether a network with these options needs no gateway address from its IPAM.

        Asked by engine 28 and newer, before any address is requested; a gateway that the user
        typed is requested all the same.
        """
        if options.segment is not None:
            return True
        if internal or options.mode is not None:
            return internal or not options.mode or not options.mode.has_gateway
        if options.uplink:
            return True
        name = self._bridge_name(options)
        bridge = self._switch.bridge(name)
        shared = uplinks.uplinked(name, self._state.networks())
        return shared is not None or (bridge is not None and not bridge.owned)

    def _bridge_name(self, options: NetworkOptions) -> str:
        return vlan_planning.bridge_name(
            options, self._defaults, self._state.networks(), self._switch.bridges()
        )

    async def plan(self, new: NewNetwork, *, pools: Sequence[KnownPool] | None = None) -> Network:
        """Return the record of a network to make; errors as ``planning.plan``.

        ``pools`` are taken for those that wait for it, where there are none yet.
        """
        known = self._waiting_pools(new) if pools is None else pools
        segment_name = segment_planning.segment_meant(new, known)
        if segment_name is not None:
            return await self._plan_over_hosts(new, segment_name, known)
        segment_planning.refuse_router(new.options)
        return await self._plan_on_vlan(new, known)

    async def _plan_on_vlan(self, new: NewNetwork, pools: Sequence[KnownPool]) -> Network:
        name = self._bridge_name(new.options)
        observed = self._switch.bridges().get(name)
        shared = uplinks.uplinked(name, self._state.networks())
        nics = new.options.uplink or (shared.nics if shared is not None else ())
        mode = new.options.mode
        may_have_gateway = not new.internal and (mode is None or mode.has_gateway)
        subnets = [each.cidr for each in new.subnets] if may_have_gateway else []
        subnets += new.options.host_addresses
        needs_links = nics or observed is None or not observed.owned
        links = await self._links.links() if needs_links else {}
        around = replace(
            await self._around(observed, links, nics),
            pools=pools,
            routes=self._lasting(await self._links.routes(subnets)) if subnets else (),
            ordinary_link=name in links and links[name].kind not in _SWITCH_KINDS,
        )
        segment = vlan_planning.choose(new, around, self._defaults, name)
        plan = planning.plan(new, segment, around, self._defaults)
        await self._check(plan)
        self._tell(plan)
        return plan

    async def _plan_over_hosts(
        self, new: NewNetwork, name: str, pools: Sequence[KnownPool]
    ) -> Network:
        """Plan what spans hosts; what the first network on a segment says, holds for all."""
        if self._northbound is None:
            segment_planning.refuse_without_fleet(name)
        segment_planning.refuse_second(new.id, name, self._state.networks())
        shared = self._northbound.segment(name)
        said = shared.options if shared is not None and shared.described else None
        plan = await self._plan_as_said(new, name, said, pools)
        if not new.options.dry_run:
            options = segment_planning.common(plan)
            stands = await self._northbound.describe(name, options)
            if stands.options not in (said, options):
                # Another host was first. What it said is planned with once: it may be more than is
                # known.
                plan = await self._plan_as_said(new, name, stands.options, pools)
        if plan.segment.router is not None:
            # now that it is written: of two segments that are made at once, one sees the other
            beside = on_router(self._northbound, plan.segment.router.name)
            segment_planning.refuse_meeting(plan, beside)
        return plan

    async def _plan_as_said(
        self,
        new: NewNetwork,
        name: str,
        said: Mapping[str, str] | None,
        pools: Sequence[KnownPool],
    ) -> Network:
        wanted = segment_planning.settled(new, name, said, pools)
        if segment_planning.on_wire(wanted.options):
            plan = await self._plan_on_vlan(wanted, pools)
        else:
            plan = await self._plan_by_ovn(wanted, name, pools)
        segment_planning.refuse_unfit_plan(plan, name)
        return plan

    async def _plan_by_ovn(self, new: NewNetwork, name: str, pools: Sequence[KnownPool]) -> Network:
        bridge = self._switch.bridge(self._switch.status().integration)
        if bridge is None:
            raise UnavailableError(
                f"segment {name}: OVN has made no bridge on this host; does ovn-controller run? "
                "Try: systemctl status ovn-controller"
            )
        router = segment_planning.router(new)
        new, pools = segment_planning.of_router(new, pools)
        segment = OvnSegment(
            segment=name, bridge=bridge.name, datapath=bridge.datapath, router=router
        )
        around = replace(await self._around(None, {}, ()), pools=pools)
        plan = planning.plan(new, segment, around, self._defaults)
        await self._check(plan)
        return plan

    def _lasting(self, routes: Sequence[Route]) -> Sequence[HostRoute]:
        """Leave out the routes of gateways whose networks are gone.

        vswitchd removes the device of a port that was removed in its own time, after DeleteNetwork
        was answered, and Docker's next call may be the same network again.
        """
        ports = {port.name for each in self._switch.bridges().values() for port in each.ports}
        return [
            HostRoute(destination=each.destination, link=each.link)
            for each in routes
            if each.link in ports or not names.is_gateway_link(each.link)
        ]

    def warnings(self, network: Network) -> Sequence[str]:
        """Return what is to be said of a network that is not of this host alone, in sentences."""
        segment = network.segment
        found = list(segment_planning.warnings(network))
        found += [
            f"{each}; the patch is made when there is one"
            for each in patching.waiting([network], self._state.networks())
        ]
        observed = self._switch.bridges().get(segment.bridge)
        if observed is None or not segment.adopted or segment.by_ovn:
            return found
        if observed.controllers or observed.fail_mode == "secure":
            found.append(
                f"bridge {segment.bridge}: flows of its controller decide what reaches the "
                "network's ports; VLAN tags act only through the NORMAL action"
            )
        if segment.vlans & _known_bridge(observed, self._owner).tags:
            found.append(
                f"bridge {segment.bridge}: ports that ovsnet did not make use {segment.name}; the "
                "network joins them"
            )
        return found

    async def replan(
        self, current: Network, options: NetworkOptions, touched: replanning.Touched
    ) -> Network:
        """Return the record of a network that stands, with other options.

        Raises:
            InvalidOptionError, ConflictError, UnsupportedError: as ``replanning.network``, and
                ``replanning.refuse_unfit`` for what is connected.
        """
        observed = self._switch.bridges().get(current.segment.bridge)
        nics = current.segment.uplink.nics if current.segment.uplink is not None else ()
        around = replace(
            await self._around(observed, await self._links.links(), nics),
            networks=[each for each in self._state.networks() if each.id != current.id],
            routes=self._lasting(await self._links.routes(options.host_addresses))
            if "host_addresses" in touched.fields and options.host_addresses
            else (),
            pools=[
                self._known_pool(pool)
                for each in current.subnets
                if each.pool is not None and (pool := self._ipam.pool(each.pool)) is not None
            ],
        )
        plan = replanning.network(current, options, touched, around, self._defaults)
        await self._check(plan)
        replanning.refuse_unfit(current, plan, self._state.endpoints(current.id))
        if plan.segment.tag != current.segment.tag:
            self._tell(plan)
        return plan

    async def _check(self, plan: Network) -> None:
        for each in self._aspects:
            await each.check_network(plan)

    async def _around(
        self,
        observed: ObservedBridge | None,
        links: Mapping[str, ObservedLink],
        nics: Sequence[str],
    ) -> PlanInputs:
        """Return what every plan needs; the rest is for new networks alone."""
        return PlanInputs(
            networks=self._state.networks(),
            pools=(),
            bridge=_known_bridge(observed, self._owner, nics) if observed else None,
            routes=(),
            datapaths=self._datapaths(),
            endpoints=self._state.endpoints(),
            wire_mtu=_wire_mtu(observed, links) if observed else None,
            two_tags=tunnels.looks_at_two(self._switch.status().other_config),
            nics=await self._known_nics(nics, links),
        )

    async def _known_nics(
        self, nics: Sequence[str], links: Mapping[str, ObservedLink]
    ) -> Mapping[str, uplinks.KnownNic]:
        bridges = self._switch.bridges()
        found = {}
        for nic in nics:
            through = [each.destination for each in await self._links.routes_by(nic)]
            ties = await self._links.ties(nic)
            found[nic] = uplinks.known_nic(
                nic, links, through, bridges, owner=self._owner, ties=ties
            )
        return {nic: known for nic, known in found.items() if known is not None}

    def _datapaths(self) -> Sequence[str]:
        offered = self._switch.status().datapath_types
        if Datapath.SYSTEM in offered and not self._kernel_datapath():
            return tuple(each for each in offered if each != Datapath.SYSTEM)
        return offered

    def _waiting_pools(self, new: NewNetwork) -> Sequence[KnownPool]:
        wanted = {subnet.cidr.cidr for subnet in new.subnets}
        found = []
        for pool in self._ipam.pools():
            if pool.subnet in wanted and self._state.network_of_pool(pool.id) is None:
                found.append(self._known_pool(pool))
        return found

    def _known_pool(self, pool: Pool) -> KnownPool:
        gateway = self._ipam.gateway(pool.id)
        return KnownPool(
            id=pool.id,
            space=pool.space,
            subnet=pool.subnet,
            gateway=gateway.address if gateway else None,
            gateway_typed=gateway is not None and gateway.wanted,
            probe=pool.probe,
        )

    def _tell(self, network: Network) -> None:
        for each in self.warnings(network):
            log.warning("network.warning", extra={"network": network.id, "why": each})


def _wire_mtu(bridge: ObservedBridge, links: Mapping[str, ObservedLink]) -> int | None:
    """Return the smallest MTU among an adopted bridge's ports: what all on it can receive."""
    found = [links[port.name].mtu for port in bridge.ports if port.name in links]
    return min((mtu for mtu in found if mtu), default=None) if not bridge.owned else None


def _known_bridge(observed: ObservedBridge, owner: str, nics: Sequence[str] = ()) -> KnownBridge:
    """Return what planning needs to know of a bridge; ``nics`` are those of the uplink."""
    return KnownBridge(
        name=observed.name,
        owned=observed.owned,
        datapath=observed.datapath,
        tags=vlan_planning.foreign_tags(
            (port.tag, port.trunks)
            for port in observed.ports
            if port.external_ids.get(OWNER_KEY) != owner and not set(port.interfaces) & set(nics)
        ),
        integration=observed.integration,
        controllers=observed.controllers,
        rstp=observed.rstp,
        stp=observed.stp,
    )
