"""What a person may ask of segments, and of the hosts that have them in common."""

from collections.abc import Sequence

from ipam.leasing import Leasing
from ipam.model import Pool
from ovsdriver.admin import asks, views
from ovsdriver.admin.asks import Answers
from ovsdriver.admin.fleet import report as reports
from ovsdriver.admin.networks.desk import docker
from ovsdriver.domain.records.segments import segment_of
from ovsdriver.errors import UnavailableError, UnknownObjectError, UnsupportedError
from ovsdriver.ports import Engine, EngineView, SharedSegment, State
from ovsdriver.service.fleet.hosts import Fleet, FleetHosts


class SegmentDesk:
    """Tells what the fleet has in common; refuses with a sentence on a host that is in none."""

    def __init__(
        self, *, state: State, ipam: Leasing, engine: Engine, hosts: FleetHosts | None
    ) -> None:
        self._state = state
        self._ipam = ipam
        self._engine = engine
        self._hosts = hosts

    def answers(self) -> Answers:
        """Return what is answered here."""
        return {
            asks.ListSegments: self.segments,
            asks.ShowSegment: self.segment,
            asks.ListHosts: self.fleet,
            asks.ForgetHost: self.forget,
        }

    async def segments(self, _ask: asks.ListSegments) -> tuple[views.SegmentUse, ...]:
        """Return every segment.

        Raises:
            UnsupportedError: this host is in no fleet.
            UnavailableError: the northbound database was never reached.
        """
        hosts = self._known()
        view = await docker(self._engine)
        found = sorted(hosts.northbound.segments().values(), key=lambda each: each.name)
        return tuple(self._use(each, hosts.count(each.name), view) for each in found)

    async def segment(self, ask: asks.ShowSegment) -> views.SegmentReport:
        """Return one segment, and who has its addresses; errors as ``segments``.

        Raises:
            UnknownObjectError: there is none of that name.
        """
        hosts = self._known()
        view = await docker(self._engine)
        found = hosts.northbound.segment(ask.name)
        if found is None:
            raise UnknownObjectError(
                f"no host has a network on segment {ask.name}; `ovsnet segment ls` lists those "
                "that there are"
            )
        leases = await hosts.held(ask.name)
        called = reports.Called.of(leases, hosts.northbound.names(), view)
        return views.SegmentReport(
            segment=self._use(found, len(leases), view),
            leases=tuple(reports.segment_lease(each, called) for each in leases),
        )

    async def fleet(self, _ask: asks.ListHosts) -> Fleet:
        """Return the hosts; UnsupportedError if this one is in no fleet."""
        return await self._of_fleet().look()

    async def forget(self, ask: asks.ForgetHost) -> views.Forgotten:
        """Give a host's addresses back; errors as ``FleetHosts.forget``, and ``segments``."""
        hosts = self._of_fleet()
        names = hosts.northbound.names()
        done = await hosts.forget(ask.host, force=ask.force)
        called = reports.Called.of(done.leases, names, None)
        leases = sorted(done.leases, key=lambda each: (each.segment, each.address))
        return views.Forgotten(
            name=done.name,
            leases=tuple(reports.segment_lease(each, called) for each in leases),
            registered=done.registered,
        )

    def status(self) -> views.FleetReport | None:
        """Return what ``status`` says; None on a host that is in no fleet."""
        hosts = self._hosts
        if hosts is None:
            return None
        name = nameless = ""
        try:
            name = hosts.host()
        except UnavailableError as error:
            nameless = str(error)
        return reports.fleet(
            hosts.northbound.status(),
            host=name,
            nameless=nameless,
            southbound=hosts.southbound.servers(),
            waiting=hosts.debts.waiting(),
            segments=len(hosts.northbound.segments()),
            networks=self._state.networks(),
            pools=sum(segment_of(each.id) is not None for each in self._ipam.pools()),
        )

    async def holders(self, pool: Pool, view: EngineView | None) -> Sequence[views.LeaseUse]:
        """Return who has addresses of a segment's pool, on all hosts, by address."""
        hosts, segment = self._hosts, segment_of(pool.id)
        if hosts is None or segment is None:
            return ()
        leases = await hosts.held(segment)
        called = reports.Called.of(leases, hosts.northbound.names(), view)
        return [
            reports.lease_use(each, called)
            for each in leases
            if each.address.version == pool.family
        ]

    def _use(self, segment: SharedSegment, held: int, view: EngineView | None) -> views.SegmentUse:
        here = reports.network_on(segment.name, self._state.networks())
        return reports.segment_use(segment, held, here, view)

    def _of_fleet(self) -> FleetHosts:
        if self._hosts is None:
            raise UnsupportedError(
                "this host is in no fleet; name the fleet's servers with ovn_northbound in "
                "/etc/ovsnet/ovsnet.toml"
            )
        return self._hosts

    def _known(self) -> FleetHosts:
        """Return the fleet; a copy of its database that is out of date is better than none."""
        hosts = self._of_fleet()
        status = hosts.northbound.status()
        if not status.connected and not hosts.northbound.segments():
            raise UnavailableError(
                f"OVN's northbound database does not answer ({status.why}); `ovsnet status` says "
                "since when"
            )
        return hosts
