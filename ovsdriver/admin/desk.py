"""Where everything that a person may ask of the running process is answered."""

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import TypeVar, cast

from ovsdriver import __version__
from ovsdriver.admin import asks, views
from ovsdriver.admin.access.desk import AccessDesk
from ovsdriver.admin.addresses.desk import IpamDesk
from ovsdriver.admin.addresses.reservation_desk import ReservationDesk
from ovsdriver.admin.asks import Answers, Ask
from ovsdriver.admin.events.desk import EventDesk
from ovsdriver.admin.fleet.desk import SegmentDesk
from ovsdriver.admin.measures import exposition
from ovsdriver.admin.measures.desk import TrafficDesk
from ovsdriver.admin.networks import report as reports
from ovsdriver.admin.networks.desk import AdminServices, NetworkDesk, docker
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.metrics import Metrics
from ovsdriver.ports import Engine, EngineView, Firewall, SwitchView
from ovsdriver.service.forgotten.purge import Purged
from ovsdriver.service.networks.networks import SWITCH_WAIT_S

T = TypeVar("T")

PURGING = (
    "everything that ovsnet made on this host is being removed (`ovsnet purge`); try again when "
    "that has ended"
)
"""What Docker's calls are told meanwhile."""


class Desk:
    """Answers while starting and while degraded too, as far as what is needed is there."""

    def __init__(
        self,
        *,
        owner: str,
        switch: SwitchView,
        engine: Engine,
        metrics: Metrics,
        by_container: bool = True,
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
            by_container: traffic is told to Prometheus for each, else for each network.
            degraded: says why only a part of the work is done; empty if all is well.
            closed: refuses Docker's calls with a sentence, from when no call is being served.
            purge_unread: removes what is marked while there are no records.
            clock: seconds since the epoch.
        """
        self._owner = owner
        self._switch = switch
        self._engine = engine
        self._metrics = metrics
        self._by_container = by_container
        self.degraded = degraded
        self._closed = closed
        self._purge_unread = purge_unread
        self._clock = clock
        self._started = clock()
        self._faults: list[str] = []
        self._services: AdminServices | None = None
        self._networks: NetworkDesk | None = None
        self._segments: SegmentDesk | None = None
        self.events: EventDesk | None = None
        """None: the store is not open."""
        self._traffic: TrafficDesk | None = None
        self._answers: Answers = {
            asks.ShowStatus: self.status,
            asks.Purge: self.purge,
        }

    def warn(self, sentence: str) -> None:
        """Show a fault of this process among the warnings from now on."""
        self._faults.append(sentence)

    def ready(self, services: AdminServices) -> None:
        """Answer everything from now on."""
        self._services = services
        self._networks = NetworkDesk(
            services, owner=self._owner, switch=self._switch, engine=self._engine, clock=self._clock
        )
        self._segments = segments = SegmentDesk(
            state=services.state, ipam=services.ipam, engine=self._engine, hosts=services.hosts
        )
        addresses = IpamDesk(
            state=services.state,
            ipam=services.ipam,
            engine=self._engine,
            segments=segments,
            clock=self._clock,
        )
        reservations = ReservationDesk(
            addresses=addresses, ipam=services.own_ipam, clock=self._clock
        )
        self.events = EventDesk(
            events=services.events,
            state=services.state,
            called=services.called,
            clock=self._clock,
        )
        self._traffic = TrafficDesk(
            owner=self._owner,
            state=services.state,
            switch=self._switch,
            ipam=services.ipam,
            counters=services.counters,
            witness=services.witness,
            reconciler=services.reconciler,
            by_container=self._by_container,
        )
        access = AccessDesk(services, engine=self._engine)
        events, traffic = self.events, self._traffic
        for desk in (self._networks, segments, addresses, reservations, events, traffic, access):
            self._answers = {**self._answers, **desk.answers()}

    def answers(self) -> Answers:
        """Return what is answered by now."""
        return self._answers

    async def answer(self, ask: Ask[T]) -> T:
        """Answer a request.

        Raises:
            UnavailableError: it needs the store, which is not open.
            DriverError, IpamError: it is refused, or failed.
        """
        method = self._answers.get(type(ask))
        if method is None:
            raise UnavailableError(self.degraded() or "ovsnet is still starting; try again")
        return cast(T, await method(ask))

    async def metrics(self) -> bytes:
        """Return everything in Prometheus' text format: while degraded, what there is."""
        services = self._services
        stands = exposition.process(
            degraded=bool(self.degraded()),
            open_vswitch=self._switch.status().connected,
            docker=None if services is None else services.witness.answers(),
        )
        passed = "" if self._traffic is None else await self._traffic.metrics()
        return self._metrics.render() + (stands + passed).encode()

    async def status(self, _ask: asks.ShowStatus) -> views.Status:
        """Return the process as a whole."""
        view = await docker(self._engine)
        now = self._clock()
        scene = None if self._networks is None else self._networks.scene(view)
        repairs = views.RepairReport()
        findings: Sequence[str] = ()
        if self._services is not None:
            reconciler = self._services.reconciler
            lately = (views.MendedReport(at=m.at, what=m.what) for m in reconciler.lately)
            repairs = views.RepairReport(
                **asdict(reconciler.last),
                lately=tuple(lately),
                doubted=tuple(self._services.collector.doubted()),
            )
            findings = [
                *await _findings(self._services.firewall),
                *self._services.hooks.warnings(),
            ]
        return views.Status(
            version=__version__,
            pid=os.getpid(),
            started=self._started,
            uptime_s=now - self._started,
            instance=self._owner,
            degraded=self.degraded(),
            open_vswitch=reports.switch(self._switch),
            docker=reports.docker(view),
            counts=reports.counts(scene) if scene else None,
            uplinks=reports.uplinks(scene) if scene else (),
            timed=self._timed(view, now),
            fleet=None if self._segments is None else self._segments.status(),
            repairs=repairs,
            warnings=(*self._faults, *(reports.warnings(scene) if scene else ()), *findings),
        )

    def _timed(self, view: EngineView | None, now: float) -> tuple[views.TimedChange, ...]:
        if self._services is None:
            return ()
        return reports.timed(self._services.changes.running(), view, now=now)

    async def purge(self, _ask: asks.Purge) -> Purged:
        """Remove everything with our mark, while nobody makes anything.

        Raises:
            UnavailableError: the process is still starting.
            ConfigurationError: it does not know for certain which mark is its own.
        """
        async with self._closed(PURGING):
            services = self._services
            if services is None:
                return await self._purge_unread()
            async with services.changes.paused(), services.reconciler.paused():
                return await services.purge.run(switch_wait_s=SWITCH_WAIT_S)


async def _findings(firewall: Firewall) -> Sequence[str]:
    try:
        return await firewall.findings()
    except DriverError as error:
        return (f"other people's firewall rules could not be looked at: {error}",)
