"""What a person may ask of the running process, over the admin socket."""

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass

from ipam.service import Ipam
from ovsdriver import __version__
from ovsdriver.admin import by_name
from ovsdriver.admin import report as reports
from ovsdriver.admin.desk_changes import ChangeConsole
from ovsdriver.admin.desk_ipam import IpamConsole
from ovsdriver.admin.desk_reservations import ReservationConsole
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.errors import ConflictError, DriverError, UnavailableError, UnknownObjectError
from ovsdriver.metrics import Metrics
from ovsdriver.ports import Engine, EngineView, Firewall, State, SwitchView
from ovsdriver.service.aspects.published import Publisher
from ovsdriver.service.change.changed_options import KeptOptions
from ovsdriver.service.change.changes import Changes
from ovsdriver.service.forgotten.collector import Collector
from ovsdriver.service.forgotten.purge import Purge, Purged
from ovsdriver.service.networks.networks import SWITCH_WAIT_S, Networks
from ovsdriver.service.networks.previewer import PlanConsole, Previewer
from ovsdriver.service.repair.reconciler import Reconciler
from ovsdriver.service.repair.sandbox_watch import SandboxWatch
from ovsdriver.words import in_force

PURGING = (
    "everything that ovsnet made on this host is being removed (`ovsnet purge`); try again when "
    "that has ended"
)
"""What Docker's calls are told meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """Everything that is there once the store is open."""

    state: State
    ipam: Ipam
    networks: Networks
    purge: Purge
    reconciler: Reconciler
    watch: SandboxWatch
    collector: Collector
    firewall: Firewall
    publisher: Publisher
    changes: Changes
    previewer: Previewer
    kept: KeptOptions


class Console:
    """Answers while starting and while degraded too, with as much as there is."""

    def __init__(
        self,
        *,
        owner: str,
        switch: SwitchView,
        engine: Engine,
        metrics: Metrics,
        degraded: Callable[[], str],
        closed: Callable[[str], AbstractAsyncContextManager[None]],
        purge_unread: Callable[[], Awaitable[Purged]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Build it.

        Args:
            owner: the instance's name.
            switch: Open vSwitch.
            engine: Docker.
            metrics: of the process.
            degraded: says why only a part of the work is done.
            closed: refuses Docker's calls with a sentence, from when no call is being served.
            purge_unread: removes what is marked while there are no records.
            clock: seconds since the epoch.
        """
        self._owner = owner
        self._switch = switch
        self._engine = engine
        self._metrics = metrics
        self._degraded = degraded
        self._closed = closed
        self._purge_unread = purge_unread
        self._clock = clock
        self._started = clock()
        self._works: Works | None = None
        self.addresses = IpamConsole(engine=engine, degraded=degraded, clock=clock)
        self.reservations = ReservationConsole(addresses=self.addresses, degraded=degraded)
        self.changes = ChangeConsole(engine=engine, degraded=degraded)
        self.plans = PlanConsole(degraded=degraded)
        self._faults: list[str] = []

    def warn(self, sentence: str) -> None:
        """Show a fault of this process among the warnings from now on."""
        self._faults.append(sentence)

    def ready(self, works: Works) -> None:
        """Answer about records from now on."""
        self._works = works
        self.addresses.ready(state=works.state, ipam=works.ipam)
        self.reservations.ready(ipam=works.ipam)
        self.changes.ready(state=works.state, changes=works.changes, kept=works.kept)
        self.plans.ready(works.previewer)

    def degraded(self) -> str:
        """Return why only a part of the work is done; empty if all is well."""
        return self._degraded()

    def metrics(self) -> bytes:
        """Return Prometheus' text format."""
        return self._metrics.render()

    async def status(self) -> reports.Status:
        """Return the process as a whole."""
        view = await self._view()
        now = self._clock()
        scene = self._scene(view)
        repairs = reports.RepairReport()
        findings: Sequence[str] = ()
        if self._works is not None:
            reconciler = self._works.reconciler
            lately = (reports.MendedReport(at=m.at, what=m.what) for m in reconciler.lately)
            repairs = reports.RepairReport(
                **asdict(reconciler.last),
                lately=tuple(lately),
                doubted=tuple(self._works.collector.doubted()),
            )
            findings = await _findings(self._works.firewall)
        return reports.Status(
            version=__version__,
            pid=os.getpid(),
            started=self._started,
            uptime_s=now - self._started,
            instance=self._owner,
            degraded=self._degraded(),
            open_vswitch=reports.switch(self._switch),
            docker=reports.docker(view),
            counts=reports.counts(scene) if scene else None,
            uplinks=reports.uplinks(scene) if scene else (),
            repairs=repairs,
            warnings=(*self._faults, *(reports.warnings(scene) if scene else ()), *findings),
        )

    async def report(self) -> reports.Report:
        """Return everything there is.

        Raises:
            UnavailableError: the store is not open.
        """
        scene = self._scene(await self._view())
        if scene is None:
            raise UnavailableError(self._degraded() or "ovsnet is still starting; try again")
        return reports.report(scene)

    def in_force(self, object_id: str) -> Mapping[str, str | None]:
        """Return the value of every option of a network or an endpoint, by its whole id.

        Raises:
            UnknownObjectError: there is none such.
            UnavailableError: the store is not open.
        """
        state = self._require().state
        endpoint = state.endpoint(EndpointId(object_id))
        network = state.network(NetworkId(object_id) if endpoint is None else endpoint.network)
        if network is None:
            raise UnknownObjectError(f"{object_id[:12]} is not known here any more")
        if endpoint is None:
            return in_force.of_network(network)
        return in_force.of_endpoint(network, endpoint)

    async def remove_network(self, name: str, *, force: bool) -> str:
        """Remove a network that Docker does not know any more, or any with ``force``.

        Its pools go with it: Docker will not release them either.

        Raises:
            UnknownObjectError, ConflictError: see ``service.lookup``.
            UnavailableError: the store, or Open vSwitch, does not answer.
        """
        works = self._require()
        view = await self._view()
        known: dict[str, str] = {each.id: _name(view, each.id) for each in works.state.networks()}
        network = works.state.network(NetworkId(by_name.find(name, known)))
        if network is None:
            raise UnknownObjectError(f"network {name!r} was removed meanwhile")
        refusal = by_name.refusal(network, works.state.endpoints(network.id), view)
        if refusal and not force:
            raise ConflictError(refusal)
        await works.networks.delete(network.id)
        return network.id

    async def reconcile(self, *, dry_run: bool) -> reports.RepairReport:
        """Look at everything now, into every container too, and mend it unless ``dry_run``.

        Raises:
            UnavailableError: the store is not open.
        """
        works = self._require()
        await works.watch.look()
        reconciler = works.reconciler
        repairs = await (reconciler.look() if dry_run else reconciler.reconcile())
        doubted = works.collector.doubted()
        return reports.RepairReport(**asdict(repairs), doubted=tuple(doubted))

    async def purge(self) -> Purged:
        """Remove everything with our mark, while nobody makes anything.

        Raises:
            UnavailableError: the process is still starting.
            ConfigurationError: it does not know for certain which mark is its own.
        """
        async with self._closed(PURGING):
            works = self._works
            if works is None:
                return await self._purge_unread()
            async with works.changes.paused(), works.reconciler.paused():
                return await works.purge.run(switch_wait_s=SWITCH_WAIT_S)

    def _require(self) -> Works:
        if self._works is None:
            raise UnavailableError(self._degraded() or "ovsnet is still starting; try again")
        return self._works

    async def _view(self) -> EngineView | None:
        """Return what Docker says now; nobody but the person at the console waits for it."""
        try:
            return await self._engine.read()
        except UnavailableError:
            return None

    def _scene(self, view: EngineView | None) -> reports.Scene | None:
        works = self._works
        if works is None:
            return None
        pools = works.ipam.pools()
        return reports.Scene(
            owner=self._owner,
            state=works.state,
            switch=self._switch,
            pools=pools,
            leases={pool.id: works.ipam.usage(pool.id).held for pool in pools},
            held=works.publisher.held(),
            view=view,
            lost=works.reconciler.lost,
            interfaces=works.watch.interfaces(),
            excesses=works.watch.excesses(),
            now=self._clock(),
        )


def _name(view: EngineView | None, network: NetworkId) -> str:
    return "" if view is None else view.networks.get(network, "")


async def _findings(firewall: Firewall) -> Sequence[str]:
    try:
        return await firewall.findings()
    except DriverError as error:
        return (f"other people's firewall rules could not be looked at: {error}",)
