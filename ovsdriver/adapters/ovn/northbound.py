"""OVN's northbound database: what the hosts of a fleet have in common, over ``OvsdbClient``."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from netaddr import IPAddress, IPNetwork

from ipam import PoolId
from ipam.choice.bitmap import Bitmap
from ovsdriver.adapters.ovn import plans, rows
from ovsdriver.adapters.ovn.view import WATCHED, View
from ovsdriver.adapters.ovsdb import (
    ConnectionLostError,
    Operation,
    OvsdbAdapter,
    OvsdbClient,
    Plan,
    RefusedError,
    Replica,
    Row,
    RowChange,
    Servers,
)
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.errors import UnavailableError
from ovsdriver.ports.northbound import (
    NorthboundStatus,
    SegmentPool,
    SharedGateway,
    SharedLease,
    SharedName,
    SharedPort,
    SharedSegment,
)

log = logging.getLogger(__name__)

_DATABASE = "OVN_Northbound"
_PROBE_S = 0.75
"""Twice that, and a leader that hangs is left: within the time of one call."""

_RACES = frozenset({"constraint violation", "duplicate uuid", "timed out", "conflict"})
"""Refusals that say that somebody else was first, before our copy shows it."""
_RACE_PAUSE_S = 0.02


class OvnNorthbound(OvsdbAdapter):
    """Fulfils ``ovsdriver.ports.Northbound``."""

    def __init__(
        self, servers: Servers, *, timeout_s: float = 1.5, clock: Callable[[], float] = time.time
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            servers: members of one cluster, or a database alone.
            timeout_s: limit of every call.
            clock: seconds since the epoch.
        """
        client = OvsdbClient(
            servers, WATCHED, on_change=self._changed, database=_DATABASE, probe_s=_PROBE_S
        )
        super().__init__(client, timeout_s=timeout_s)
        self._servers = servers
        self._clock = clock
        self._view = View()
        self._callbacks: list[Callable[[Collection[str] | None], None]] = []
        self._name_callbacks: list[Callable[[Collection[tuple[str, str]]], None]] = []
        self._end_callbacks: list[Callable[[Collection[SharedLease]], None]] = []
        self._server = ""
        self._since = clock()

    def status(self) -> NorthboundStatus:
        connected = self._client.replica is not None
        return NorthboundStatus(
            connected=connected,
            server=self._server,
            servers=tuple(each.text for each in self._servers.addresses),
            since=self._since,
            why="" if connected else self._client.last_error,
        )

    async def catch_up(self) -> None:
        # a server tells a client what is new before it answers that client
        await self._commit(plans.nothing, subject="")

    def on_change(self, callback: Callable[[Collection[str] | None], None]) -> None:
        self._callbacks.append(callback)

    def on_names(self, callback: Callable[[Collection[tuple[str, str]]], None]) -> None:
        self._name_callbacks.append(callback)

    def on_end(self, callback: Callable[[Collection[SharedLease]], None]) -> None:
        self._end_callbacks.append(callback)

    def segments(self) -> Mapping[str, SharedSegment]:
        return self._view.segments

    def segment(self, name: str) -> SharedSegment | None:
        return self._view.segments.get(name)

    def leases(self, segment: str) -> Mapping[IPAddress, SharedLease]:
        return self._view.leases(segment)

    def lease(self, segment: str, address: IPAddress) -> SharedLease | None:
        return self._view.leases(segment).get(address)

    def leases_of(self, pool: PoolId) -> Mapping[IPAddress, SharedLease]:
        return self._view.leases_of(pool)

    def held(self, segment: str, family: int) -> Bitmap:
        return self._view.held(segment, family)

    def gateway(self, segment: str) -> SharedGateway | None:
        return self._view.gateway(segment)

    def names(self, host: str | None = None) -> Sequence[SharedName]:
        return self._view.names(host)

    def name(self, endpoint: EndpointId) -> SharedName | None:
        return self._view.name(endpoint)

    def called(self, segment: str, name: str) -> Sequence[SharedName]:
        return self._view.called(segment, name)

    async def hold(self, segment: str, subnet: IPNetwork, pool: SegmentPool) -> SharedSegment:
        await self._commit(plans.hold(segment, subnet, pool), subject=segment)
        return self._there(segment)

    async def describe(self, segment: str, options: Mapping[str, str]) -> SharedSegment:
        await self._commit(plans.describe(segment, rows.options_pair(options)), subject=segment)
        return self._there(segment)

    async def let_go(self, segment: str, pool: PoolId) -> bool:
        plan = plans.let_go(segment, pool, self._ports)
        return await self._commit(plan, plans.sweep(segment, self._ports), subject=segment)

    async def take(self, lease: SharedLease, *, within_s: float | None = None) -> SharedLease:
        subject = f"{lease.segment}/{lease.address}"
        await self._commit(plans.take(lease), subject=subject, within_s=within_s)
        held = self.lease(lease.segment, lease.address)
        if held is None:
            raise UnavailableError(
                f"address {lease.address} of segment {lease.segment} was released while it was "
                "given; try again"
            )
        return held

    async def release(self, segment: str, address: IPAddress, serial: int) -> bool:
        plan = plans.release(segment, address, serial)
        return await self._commit(plan, subject=f"{segment}/{address}")

    async def set_port(self, port: SharedPort) -> None:
        subject = f"{port.segment}/{port.addresses[0]}"
        await self._commit(plans.set_port(port), subject=subject)

    async def put_gateway(self, gateway: SharedGateway) -> None:
        await self._commit(plans.put_gateway(gateway), subject=gateway.segment)

    async def put_name(self, name: SharedName) -> None:
        await self._commit(plans.put_name(name), subject=name.endpoint)

    async def forget_name(self, endpoint: EndpointId) -> bool:
        return await self._commit(plans.forget_name(endpoint), subject=endpoint)

    async def forget_host(self, host: str) -> Sequence[SharedLease]:
        await self.connected(self._timeout_s)
        segments, leases = self._view.of_host(host) if host else ((), ())
        for segment in sorted(segments):
            plan = plans.forget_host(segment, host, self._ports)
            await self._commit(plan, plans.sweep(segment, self._ports), subject=segment)
        return leases

    async def call(self) -> None:
        await self._commit(plans.call(), subject="call")

    def _ports(self, segment: str) -> Iterable[Row]:
        return self._view.ports(segment)

    async def _commit(self, *plans: Plan, subject: str, within_s: float | None = None) -> bool:
        """Have plans done, one after the other; return whether the first had anything to do.

        ``within_s`` is a limit beside the usual one.

        Raises:
            UnavailableError: there was no answer in time, or the database does not take it.
        """
        first, *others = plans
        attempt = _Attempt(first)
        refusal: RefusedError | None = None
        try:
            async with asyncio.timeout(min(within_s or self._timeout_s, self._timeout_s)):
                steps: Sequence[Plan] = (attempt, *others)
                for plan in steps:
                    while True:
                        try:
                            await self._client.submit(plan, subject=subject)
                            break
                        except RefusedError as error:
                            if error.tag not in _RACES:
                                raise self._refusal(error) from error
                            refusal = error
                        await asyncio.sleep(_RACE_PAUSE_S)
        except TimeoutError as error:
            if refusal is not None and self._client.replica is not None:
                raise self._refusal(refusal) from error
            raise self._silent() from error
        except ConnectionLostError as error:
            raise UnavailableError("ovsnet is stopping; try again") from error
        return attempt.made

    def _refusal(self, error: RefusedError) -> UnavailableError:
        return UnavailableError(f"OVN's northbound database at {self._server} refuses it: {error}")

    def _there(self, segment: str) -> SharedSegment:
        found = self.segment(segment)
        if found is None:
            raise UnavailableError(
                f"segment {segment} was removed while it was being changed; try again"
            )
        return found

    def _silent(self) -> UnavailableError:
        if self._client.replica is not None:
            return UnavailableError(
                f"OVN's northbound database at {self._server} did not answer within "
                f"{self._timeout_s:g} s; try again"
            )
        servers = ", ".join(each.text for each in self._servers.addresses)
        since = datetime.fromtimestamp(self._since, UTC).strftime("%H:%M:%S")
        return UnavailableError(
            f"OVN's northbound database does not answer since {since} UTC: {servers}; "
            "`ovsnet status` says why"
        )

    def _changed(self, changes: Sequence[RowChange] | None) -> None:
        if changes is not None:
            self._tell(self._view.take(changes))
            if names := rows.names_in(changes):
                for callback in self._name_callbacks:
                    callback(names)
            if ended := rows.leases_that_end(changes):
                for tell in self._end_callbacks:
                    tell(ended)
            return
        replica = self._client.replica
        self._since = self._clock()
        if replica is not None:
            self._server = self._client.server
            if replica is not self._view.replica:
                self._view = View(replica)
        # lost: what was known stays
        self._tell(None)

    def _tell(self, segments: Collection[str] | None) -> None:
        if segments is None or segments:
            for callback in self._callbacks:
                callback(segments)


class _Attempt:
    """A plan that remembers whether it ever had anything to do: asked again after a connection
    that broke, it may find its own work."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.made = False

    def __call__(self, replica: Replica) -> Sequence[Operation]:
        operations = self._plan(replica)
        self.made = self.made or bool(operations)
        return operations
