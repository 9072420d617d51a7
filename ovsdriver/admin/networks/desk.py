"""What a person may ask of networks and their containers."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from netaddr import IPAddress

from ipam.leasing import Leasing
from ipam.service import Ipam
from ovsdriver.admin import asks, by_name, views
from ovsdriver.admin.asks import Answers
from ovsdriver.admin.graph.news import News
from ovsdriver.admin.graph.report import graph
from ovsdriver.admin.graph.views import Graph
from ovsdriver.admin.measures.reading import Counters
from ovsdriver.admin.networks import report as reports
from ovsdriver.domain.records.model import NetworkId
from ovsdriver.domain.wires.observed import Measured
from ovsdriver.errors import (
    ConflictError,
    InvalidRequestError,
    UnavailableError,
    UnknownObjectError,
)
from ovsdriver.logs import event
from ovsdriver.ports import AccessCount, Engine, EngineView, Events, Firewall, State, SwitchView
from ovsdriver.service.access.named_sets import NamedSets
from ovsdriver.service.access.plans import Plans
from ovsdriver.service.aspects.publishing.published import Publisher
from ovsdriver.service.change.changed_options import KeptOptions
from ovsdriver.service.change.timed import TimedChanges
from ovsdriver.service.events.called import Called
from ovsdriver.service.events.hooks import Hooks
from ovsdriver.service.fleet.hosts import FleetHosts
from ovsdriver.service.forgotten.collector import Collector
from ovsdriver.service.forgotten.purge import Purge
from ovsdriver.service.forgotten.witnesses import Witness
from ovsdriver.service.networks.networks import Networks
from ovsdriver.service.networks.previewer import Previewer, WantedNetwork
from ovsdriver.service.repair.reconciler import Reconciler
from ovsdriver.service.repair.sandbox_watch import SandboxWatch
from ovsdriver.words import options
from ovsdriver.words.changes import OtherOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminServices:
    """What people's requests need, once the store is open."""

    state: State
    ipam: Leasing
    own_ipam: Ipam
    """Of this host alone: reservations are there."""
    networks: Networks
    purge: Purge
    reconciler: Reconciler
    watch: SandboxWatch
    collector: Collector
    firewall: Firewall
    publisher: Publisher
    changes: TimedChanges
    previewer: Previewer
    kept: KeptOptions
    events: Events
    called: Called
    witness: Witness
    counters: Counters
    hooks: Hooks
    rule_sets: NamedSets
    access: Plans
    rule_counts: Callable[[], Awaitable[Sequence[AccessCount]]]
    """What access rules have met."""
    rules_learnt: Callable[[], Awaitable[Mapping[str, Mapping[str, Mapping[IPAddress, int]]]]]
    """As ``AccessFirewall.learnt``."""
    hosts: FleetHosts | None = None
    """Of the fleet; None: this host is in none."""


async def docker(engine: Engine) -> EngineView | None:
    """Return what Docker says now, None if it does not answer; nobody else waits for it."""
    try:
        return await engine.read()
    except UnavailableError:
        return None


class NetworkDesk:
    """Tells, changes, plans, removes and mends."""

    def __init__(
        self,
        services: AdminServices,
        *,
        owner: str,
        switch: SwitchView,
        engine: Engine,
        clock: Callable[[], float],
    ) -> None:
        self._services = services
        self._owner = owner
        self._switch = switch
        self._engine = engine
        self._clock = clock
        self._news = News()
        self._named: EngineView | None = None
        switch.on_change(self._news.note)

    def answers(self) -> Answers:
        """Return what is answered here."""
        return {
            asks.ShowState: self.state,
            asks.ShowGraph: self.graph,
            asks.SetOptions: self.change,
            asks.PlanNetwork: self.plan,
            asks.RemoveNetwork: self.remove,
            asks.Reconcile: self.reconcile,
        }

    def scene(self, view: EngineView | None) -> reports.Scene:
        """Return what reports are made of now; ``view`` is what Docker says."""
        services = self._services
        pools = services.ipam.pools()
        return reports.Scene(
            owner=self._owner,
            state=services.state,
            switch=self._switch,
            pools=pools,
            leases={pool.id: services.ipam.usage(pool.id).held for pool in pools},
            held=services.publisher.held(),
            view=view,
            lost=services.reconciler.lost,
            interfaces=services.watch.interfaces(),
            excesses=services.watch.excesses(),
            now=self._clock(),
        )

    async def state(self, _ask: asks.ShowState) -> views.Report:
        """Return everything there is."""
        return reports.report(self.scene(await docker(self._engine)))

    async def graph(self, ask: asks.ShowGraph) -> Graph:
        """Return what is connected to what, at once or when that may have changed."""
        await self._news.other_than(ask.seen, ask.wait_s)
        version = self._news.version
        hosts = self._services.hosts
        segments = {} if hosts is None else hosts.northbound.segments()
        here = self._switch.status().system_id
        peers = {
            name: sorted({pool.host for pool in each.pools} - {here})
            for name, each in sorted(segments.items())
        }
        measured: Mapping[str, Measured] = {}
        with suppress(UnavailableError):  # the rest is worth seeing without it
            measured = await self._services.counters.read()
        found = graph(
            self.scene(await self._names()),
            peers=peers,
            traffic={link: each.traffic for link, each in measured.items()},
        )
        return replace(found, version=version)

    async def _names(self) -> EngineView | None:
        """Return a reading of Docker that knows all that is there; who looks on asks often."""
        state, known = self._services.state, self._named
        joined = (each.id for each in state.endpoints() if each.sandbox is not None)
        if (
            known is None
            or not known.networks.keys() >= {each.id for each in state.networks()}
            or not known.endpoints.keys() >= set(joined)
        ):
            self._named = await docker(self._engine)
        return self._named

    async def change(self, ask: asks.SetOptions) -> views.Changed:
        """Change options of the network or the container that is meant.

        All of them or none; what is recorded and not in force yet is said.

        Raises:
            UnknownObjectError, ConflictError: see ``by_name.target``.
            DriverError: it was refused, and nothing is changed.
        """
        if not ask.options:
            raise InvalidRequestError("options: missing; say what to change")
        changes, kept = self._services.changes, self._services.kept
        wish = OtherOptions(typed=ask.options)
        view = await docker(self._engine)
        found = by_name.standing(ask.target, self._services.state, view)
        if found.endpoint is not None:
            done = await changes.endpoint(found.endpoint, wish, ask.spell)
            listed = view.endpoints.get(found.endpoint) if view is not None else None
            await kept.note(found.endpoint, listed.container_id if listed is not None else "")
        else:
            done = await changes.network(found.network, wish, ask.spell)
        return reports.changed(found, done, view)

    async def plan(self, ask: asks.PlanNetwork) -> views.PlanReport:
        """Return what a network would make.

        Raises:
            IpamError, DriverError: what ``docker network create`` would be refused with.
        """
        return reports.plan(
            await self._services.previewer.wish(
                WantedNetwork(
                    options=options.network(ask.options, internal=ask.internal),
                    internal=ask.internal,
                    ipv6=ask.ipv6,
                    subnets=ask.subnets,
                    gateways=ask.gateways,
                )
            )
        )

    async def remove(self, ask: asks.RemoveNetwork) -> str:
        """Remove a network that Docker does not know any more, or any with ``force``.

        Its pools go with it: Docker will not release them either.

        Raises:
            UnknownObjectError, ConflictError: see ``by_name``.
            UnavailableError: the store, or Open vSwitch, does not answer.
        """
        services = self._services
        view = await docker(self._engine)
        known: dict[str, str] = {
            each.id: reports.network_name(each.id, view) for each in services.state.networks()
        }
        network = services.state.network(NetworkId(by_name.find(ask.name, known)))
        if network is None:
            raise UnknownObjectError(f"network {ask.name!r} was removed meanwhile")
        refusal = by_name.refusal(network, services.state.endpoints(network.id), view)
        if refusal and not ask.force:
            raise ConflictError(refusal)
        await services.networks.delete(network.id)
        event(log, "admin.network-removed", network=network.id, forced=ask.force)
        return network.id

    async def reconcile(self, ask: asks.Reconcile) -> views.RepairReport:
        """Look at everything now, into every container too, and mend it unless it is a dry run."""
        services = self._services
        await services.watch.look()
        reconciler = services.reconciler
        repairs = await (reconciler.look() if ask.dry_run else reconciler.reconcile())
        doubted = services.collector.doubted()
        return views.RepairReport(**asdict(repairs), doubted=tuple(doubted))
