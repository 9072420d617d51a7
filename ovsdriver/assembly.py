"""The only place that builds the services and joins them, over whatever world it is given."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from socket import gethostname

from ipam.model import DEFAULT_SPACE, GLOBAL_SPACE
from ipam.service import Ipam
from ovsdriver.admin.measures.reading import Counters
from ovsdriver.admin.networks.desk import AdminServices
from ovsdriver.config import Settings
from ovsdriver.docker import methods
from ovsdriver.domain.plan.inputs import Defaults
from ovsdriver.metrics import Metrics
from ovsdriver.ports import Journal
from ovsdriver.service.access.asked_past import AskedPast
from ovsdriver.service.access.met import Met
from ovsdriver.service.access.named_sets import NamedSets
from ovsdriver.service.access.names import AccessNames
from ovsdriver.service.access.plans import Plans
from ovsdriver.service.access.rules import AccessRules
from ovsdriver.service.aspects.addresses.kept_addresses import KeptAddresses
from ovsdriver.service.aspects.addresses.probing import SegmentProber
from ovsdriver.service.aspects.aspect import Aspect
from ovsdriver.service.aspects.bridges import OwnBridges
from ovsdriver.service.aspects.container_ways import ContainerWays
from ovsdriver.service.aspects.firewall import FirewallRules
from ovsdriver.service.aspects.flows.flow_rules import FlowRules
from ovsdriver.service.aspects.host_ends import HostEnds
from ovsdriver.service.aspects.mirrors import Mirrors
from ovsdriver.service.aspects.offload import Offload
from ovsdriver.service.aspects.patches import Patches
from ovsdriver.service.aspects.publishing.published import Publisher
from ovsdriver.service.aspects.shaping import Shaper
from ovsdriver.service.aspects.uplink_queues import UplinkQueues
from ovsdriver.service.aspects.uplinks import Uplinks
from ovsdriver.service.attach.endpoints import Endpoints
from ovsdriver.service.attach.plugs import Plugs
from ovsdriver.service.attach.publications import Publications
from ovsdriver.service.attach.reattacher import Reattacher
from ovsdriver.service.attach.replugs import Replugs
from ovsdriver.service.attach.typed_names import TypedNames
from ovsdriver.service.change import changed_options
from ovsdriver.service.change.changed_options import KeptOptions
from ovsdriver.service.change.changes import Changes
from ovsdriver.service.change.endpoint import EndpointChange
from ovsdriver.service.change.network import NetworkChange
from ovsdriver.service.change.timed import TimedChanges
from ovsdriver.service.events.called import Called
from ovsdriver.service.events.carriers import Carriers
from ovsdriver.service.events.connections import Connections
from ovsdriver.service.events.foreign_ports import ForeignPorts
from ovsdriver.service.events.hooks import Hooks
from ovsdriver.service.fleet.addresses import Addresses
from ovsdriver.service.fleet.debts import Debts
from ovsdriver.service.fleet.fleet_name import FleetName
from ovsdriver.service.fleet.holdings import SegmentHoldings
from ovsdriver.service.fleet.hosts import FleetHosts
from ovsdriver.service.fleet.outside import OutsideFleet
from ovsdriver.service.fleet.pools import SegmentPools
from ovsdriver.service.fleet.residents import Residents
from ovsdriver.service.forgotten.abandoned_pools import AbandonedPools
from ovsdriver.service.forgotten.collector import Collector
from ovsdriver.service.forgotten.container_names import ContainerNames
from ovsdriver.service.forgotten.left_segments import LeftSegments
from ovsdriver.service.forgotten.purge import Purge
from ovsdriver.service.forgotten.witnesses import Origins, Witness
from ovsdriver.service.locks import Locks
from ovsdriver.service.networks.networks import Networks
from ovsdriver.service.networks.planner import Planner
from ovsdriver.service.networks.previewer import Previewer
from ovsdriver.service.networks.surroundings import Surroundings
from ovsdriver.service.repair import reconciler as repair
from ovsdriver.service.repair.reconciler import Reconciler
from ovsdriver.service.repair.sandbox_watch import SandboxWatch
from ovsdriver.service.repair.wires import Wires
from ovsdriver.service.segments.names import SegmentNames
from ovsdriver.service.segments.ports import SegmentPorts
from ovsdriver.service.segments.routers import SegmentRouters
from ovsdriver.service.segments.servers import SegmentServers
from ovsdriver.world import Store, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Everything behind the calls, once the store is open."""

    admin: AdminServices
    """For people."""
    services: methods.Services
    """For Docker."""
    background: tuple[Callable[[], Coroutine[None, None, None]], ...]
    """What runs until the end of the process."""
    journal: Journal
    """Takes what there is to tell of the process itself."""
    plugs: Plugs
    replugs: Replugs
    locks: Locks
    shaper: Shaper
    witness: Witness


@asynccontextmanager
async def assemble(
    world: World,
    settings: Settings,
    *,
    settle_s: float | None = None,
    metrics: Metrics | None = None,
) -> AsyncIterator[Product]:
    """Open the store and build what works on it. Published ports are held when this answers.

    Args:
        world: as it is; not closed with the product.
        settings: of the process.
        settle_s: for how long a burst of changes is let pass before a look; None: as ever.
        metrics: counts repairs.

    Raises:
        StoreError, ConflictError, UnavailableError: see ``World.store``.
    """
    owner = settings.instance
    switch, links, nics, engine = world.switch, world.links, world.nics, world.engine
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(world.store())
        state, notes = store.state, store.notes
        witness = Witness(engine)
        called = Called(state=state, events=store.events, engine=engine, witness=witness)
        rule_sets = NamedSets(settings.rules, notes=notes, state=state, journal=store.events)
        prober = SegmentProber(owner=owner, state=state, links=links, journal=store.events)
        ipam = await Ipam.load(
            store.leases,
            defaults=settings.pools,
            exclude=settings.exclude,
            limits=settings.limits,
            surroundings=Surroundings(world.surroundings, state=state),
            clock=world.clock,
            prober=prober,
            naming=ContainerNames(state=state, witness=witness),
            keeps_first=True,
        )
        stack.push_async_callback(ipam.close)
        locks = Locks()
        offload = Offload(state=state, notes=notes, switch=switch, links=links, locks=locks)
        segments = _segments(
            world,
            store,
            owner=owner,
            locks=locks,
            witness=witness,
            prober=prober,
            offload=offload,
        )
        held = segments.pools if segments is not None else OutsideFleet(notes)
        stack.push_async_callback(held.close)
        addresses = Addresses(local=ipam, segments=held)
        firewall = await stack.enter_async_context(world.firewall(notes))
        rules = FirewallRules(
            state=state,
            firewall=firewall,
            outside_bridges=settings.outside_bridges,
            in_fleet=segments is not None,
        )
        publisher = Publisher(
            state=state, rules=rules, ports=world.host_ports, links=links, locks=locks
        )
        plans = Plans(
            state=state, sets=rule_sets, called=called.names, names_at=settings.name_servers
        )
        flows = FlowRules(
            state=state,
            switch=switch,
            flows=world.flows,
            locks=locks,
            access=plans.now,
        )
        stack.push_async_callback(flows.close)
        uplinks = Uplinks(
            owner=owner,
            state=state,
            notes=notes,
            switch=switch,
            links=links,
            nics=nics,
            journal=store.events,
        )
        shaper = Shaper(state=state, notes=notes, shapes=world.shapes)
        mirrors = Mirrors(
            owner=owner, state=state, notes=notes, switch=switch, links=links, nics=nics
        )
        typed_names = TypedNames(docker_version=witness.version)
        kept_addresses = KeptAddresses(
            state=state, ipam=addresses, locks=locks, give_on_request=ipam.give_on_request
        )
        container_ways = ContainerWays(
            owner=owner,
            state=state,
            sandboxes=world.sandboxes,
            locks=locks,
            called=witness.container,
        )
        ends = HostEnds(owner=owner, switch=switch, links=links, uplinks=uplinks, rules=rules)
        access_rules = AccessRules(
            plans=plans,
            firewall=firewall.access,
            names=AccessNames(firewall=firewall.access, servers=world.gateway_names, links=links),
            asked_past=AskedPast(state=state, engine=engine, listed=witness.container),
            on_change=flows.plan_changed,
        )
        rule_sets.on_change(access_rules.apply)
        rule_sets.on_change(flows.follow)
        called.on_names(access_rules.renamed)
        # In this order things are made and mended, and what a network has goes in the other one:
        # bridges, for all else is on them; flows before anything can be sent; uplinks and patches
        # before what asks or copies through them; gateways last, when they can be reached.
        aspects: Sequence[Aspect] = (
            OwnBridges(
                owner=owner, state=state, switch=switch, links=links, uplinks=uplinks, locks=locks
            ),
            rules,
            rule_sets,
            access_rules,
            publisher,
            flows,
            uplinks,
            UplinkQueues(owner=owner, state=state, notes=notes, switch=switch, shapes=world.shapes),
            Patches(owner=owner, state=state, switch=switch),
            offload,
            shaper,
            mirrors,
            kept_addresses,
            ends,
            typed_names,
            container_ways,
            *(segments.aspects if segments is not None else ()),
        )
        planner = Planner(
            owner=owner,
            defaults=_defaults(settings),
            kernel_datapath=world.kernel_datapath,
            state=state,
            ipam=addresses,
            switch=switch,
            links=links,
            aspects=aspects,
            northbound=world.northbound,
        )
        previewer = Previewer(
            owner=owner,
            state=state,
            ipam=addresses,
            switch=switch,
            firewall=firewall,
            planner=planner,
            outside_bridges=settings.outside_bridges,
        )
        networks = Networks(
            planner=planner,
            previewer=previewer,
            state=state,
            ipam=addresses,
            switch=switch,
            links=links,
            aspects=aspects,
            locks=locks,
        )
        plugs = Plugs(
            owner=owner,
            state=state,
            switch=switch,
            links=links,
            aspects=aspects,
            offload=offload,
        )
        stack.push_async_callback(plugs.close)
        endpoints = Endpoints(
            state=state,
            ipam=addresses,
            switch=switch,
            links=links,
            networks=networks,
            locks=locks,
            aspects=aspects,
            plugs=plugs,
            listed=witness.lists,
        )
        replugs = Replugs(
            state=state,
            switch=switch,
            links=links,
            locks=locks,
            aspects=aspects,
            plugs=plugs,
            reattacher=Reattacher(memory=store.memory, sandboxes=world.sandboxes),
            typed_names=typed_names,
        )
        watch = SandboxWatch(state=state, replugs=replugs)
        pause_s = repair.SETTLE_S if settle_s is None else settle_s
        wires = Wires(
            owner=owner,
            state=state,
            switch=switch,
            links=links,
            networks=networks,
            uplinks=uplinks,
            endpoints=endpoints,
            replugs=replugs,
            watch=watch,
            settle_s=pause_s,
        )
        reconciler = Reconciler(
            wires=wires,
            aspects=aspects,
            switch=switch,
            journal=store.events,
            clock=world.clock,
            settle_s=pause_s,
            metrics=metrics,
        )
        collector = Collector(
            witness=witness,
            state=state,
            ipam=addresses,
            links=links,
            networks=networks,
            endpoints=endpoints,
            left_segments=segments.left if segments is not None else None,
        )
        origins = Origins(engine=engine, witness=witness, state=state, networks=networks)
        abandoned_pools = AbandonedPools(
            engine=engine, witness=witness, state=state, ipam=addresses, networks=networks
        )
        lasting = Changes(
            owner=owner,
            state=state,
            networks=NetworkChange(
                owner=owner,
                planner=planner,
                state=state,
                switch=switch,
                uplinks=uplinks,
                ends=ends,
                networks=networks,
                locks=locks,
            ),
            endpoints=EndpointChange(
                state=state, switch=switch, locks=locks, aspects=aspects, plugs=plugs
            ),
            replugs=replugs,
        )
        changes = TimedChanges(state=state, notes=notes, changes=lasting, clock=world.clock)
        kept_options = KeptOptions(
            state=state,
            notes=notes,
            engine=engine,
            changes=changes,
            settle_s=changed_options.SETTLE_S if settle_s is None else settle_s,
        )
        purge = Purge(
            owner=owner,
            state=state,
            notes=notes,
            ipam=addresses,
            switch=switch,
            links=links,
            aspects=aspects,
        )
        # Before a call is served: a container that is started meanwhile must not get a port that
        # one which runs has.
        await publisher.look(mend=True)
        kept_addresses.recall()
        witness.on_end(publisher.daemon_ended)
        witness.on_read(typed_names.tell)
        witness.on_read(container_ways.poke)
        plugs.on_change(watch.soon)
        plugs.on_change(origins.poke)
        plugs.on_change(kept_options.poke)
        switch.on_change(reconciler.poke)
        switch.on_change(lambda plugged: None if plugged else kept_options.poke())
        for aspect in aspects:
            aspect.on_loss(reconciler.poke)
        firewall.on_gateway(reconciler.doubt)
        carriers = Carriers(
            state=state,
            links=links,
            events=store.events,
            busy=endpoints.busy,
            plugged=reconciler.poke,
            settle_s=pause_s,
        )
        firewall.on_carrier(carriers.heard)
        foreign_ports = ForeignPorts(
            state=state, switch=switch, journal=store.events, settle_s=pause_s
        )
        Connections(switch=switch, witness=witness, journal=store.events)
        hooks = Hooks(
            settings.webhooks,
            events=store.events,
            called=called,
            receivers=world.receivers,
            source=f"{gethostname()}/{owner}",
        )
        watch.on_missing(reconciler.poke)
        yield Product(
            admin=AdminServices(
                state=state,
                ipam=addresses,
                own_ipam=ipam,
                networks=networks,
                purge=purge,
                publisher=publisher,
                reconciler=reconciler,
                watch=watch,
                collector=collector,
                firewall=firewall,
                previewer=previewer,
                changes=changes,
                kept=kept_options,
                events=store.events,
                called=called,
                witness=witness,
                counters=Counters(owner=owner, state=state, links=links, sandboxes=world.sandboxes),
                hooks=hooks,
                rule_sets=rule_sets,
                access=plans,
                rule_counts=Met(firewall.access.counts, flows.counts),
                rules_learnt=firewall.access.learnt,
                hosts=segments.hosts if segments is not None else None,
            ),
            services=methods.Services(
                networks=networks,
                endpoints=endpoints,
                publications=Publications(state=state, publisher=publisher, locks=locks),
                ipam=abandoned_pools,
            ),
            background=(
                *(each.run for each in aspects),
                kept_options.run,
                changes.run,
                reconciler.run,
                watch.run,
                witness.run,
                collector.run,
                origins.run,
                abandoned_pools.run,
                store.events.run,
                carriers.run,
                foreign_ports.run,
                *((hooks.run,) if settings.webhooks or store.events.positions() else ()),
                *((segments.debts.run,) if segments is not None else ()),
            ),
            journal=store.events,
            plugs=plugs,
            replugs=replugs,
            locks=locks,
            shaper=shaper,
            witness=witness,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segments:
    """What there is on a host of a fleet, and on no other."""

    pools: SegmentPools
    debts: Debts
    left: LeftSegments
    hosts: FleetHosts | None
    aspects: tuple[Aspect, ...]


def _segments(
    world: World,
    store: Store,
    *,
    owner: str,
    locks: Locks,
    witness: Witness,
    prober: SegmentProber,
    offload: Offload,
) -> _Segments | None:
    northbound, southbound = world.northbound, world.southbound
    servers = world.name_servers
    if northbound is None or servers is None:
        return None
    host = FleetName(switch=world.switch, notes=store.notes)
    debts = Debts(notes=store.notes, northbound=northbound)
    state, switch = store.state, world.switch
    pools = SegmentPools(
        northbound=northbound,
        notes=store.notes,
        debts=debts,
        surroundings=world.surroundings,
        prober=prober,
        host=host,
        clock=world.clock,
        resident=Residents(state=state, links=world.links),
    )
    called = SegmentNames(
        state=state,
        northbound=northbound,
        engine=world.engine,
        listed=witness.container,
        host=host,
    )
    witness.on_read(called.read)
    hosts = (
        FleetHosts(
            northbound=northbound,
            southbound=southbound,
            debts=debts,
            host=host,
            journal=store.events,
            clock=world.clock,
        )
        if southbound is not None
        else None
    )
    return _Segments(
        pools=pools,
        debts=debts,
        left=LeftSegments(northbound=northbound, pools=pools, debts=debts, host=host),
        hosts=hosts,
        aspects=(
            SegmentHoldings(
                state=state, northbound=northbound, pools=pools, debts=debts, host=host
            ),
            SegmentRouters(state=state, northbound=northbound, pools=pools, locks=locks),
            SegmentPorts(
                state=state,
                northbound=northbound,
                switch=switch,
                links=world.links,
                locks=locks,
                host=host,
            ),
            called,
            SegmentServers(
                owner=owner,
                state=state,
                northbound=northbound,
                switch=switch,
                links=world.links,
                servers=servers,
                tso_of=offload.tso_of,
            ),
        ),
    )


def _defaults(settings: Settings) -> Defaults:
    """Return what planning needs of the configuration."""
    return Defaults(
        bridge=settings.bridge,
        datapath=settings.datapath,
        vlans=settings.vlans,
        mtu=settings.mtu,
        ranges={each.name: each.vlans for each in settings.bridges},
        spaces=frozenset(
            each for name in settings.spaces for each in (name, methods.named_spaces(name).shared)
        )
        | {DEFAULT_SPACE, GLOBAL_SPACE},
    )
