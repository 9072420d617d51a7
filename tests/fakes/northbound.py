"""A northbound database in memory. tests/contract/test_northbound.py holds it to OVN's."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from netaddr import IPAddress, IPNetwork

from ipam import PoolId
from ipam.choice.bitmap import Bitmap, pack
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

Leases = dict[IPAddress, SharedLease]


@dataclass
class FakeCentral:
    """What the hosts of a fleet have in common; each has a :class:`FakeNorthbound` of it."""

    segments: dict[str, SharedSegment] = field(default_factory=dict)
    leases: dict[str, Leases] = field(default_factory=dict)
    names: dict[EndpointId, SharedName] = field(default_factory=dict)
    gateways: dict[str, SharedGateway] = field(default_factory=dict)
    hosts: list["FakeNorthbound"] = field(default_factory=list)
    called: int = 0
    """How often the hosts were asked for a sign of life."""

    def changed(self, segment: str) -> None:
        """Tell all hosts."""
        for host in self.hosts:
            host.tell([segment])

    def ended(self, *leases: SharedLease) -> None:
        """Tell all hosts."""
        for host in self.hosts:
            for callback in host.end_callbacks if leases else ():
                callback(leases)

    def said(self, *names: SharedName | None) -> None:
        """Tell all hosts whose names are not what they were."""
        places = {(each.segment, name) for each in names if each for name in each.names}
        for host in self.hosts:
            for callback in host.name_callbacks:
                callback(places)


class FakeNorthbound:
    """Fulfils ``ovsdriver.ports.Northbound``; what tests set stands on top."""

    def __init__(self, central: FakeCentral | None = None) -> None:
        self.central = FakeCentral() if central is None else central
        self.central.hosts.append(self)
        self.calls: list[str] = []
        """Every changing call, as ``take blue 10.50.0.5``, in order."""
        self.lost_answers = 0
        """How many of the next changes are made, and not answered in time."""
        self.connects_s = 0.0
        """How long it takes to connect, whenever that is waited for."""
        self.patience_s: float | None = None
        """How long the last one who took an address would have waited."""
        self.lags = False
        """Whether the copy shows no segment until it catches up."""
        self.rival: Mapping[str, str] | None = None
        """What another host says of a segment just before this one does."""
        self._available = True
        self._callbacks: list[Callable[[Collection[str] | None], None]] = []
        self.name_callbacks: list[Callable[[Collection[tuple[str, str]]], None]] = []
        self.end_callbacks: list[Callable[[Collection[SharedLease]], None]] = []

    @property
    def available(self) -> bool:
        """Whether a server that leads answers; a copy that is cut off goes on being one here."""
        return self._available

    @available.setter
    def available(self, available: bool) -> None:
        self._available = available
        self.tell(None)

    def tell(self, segments: Collection[str] | None) -> None:
        """Tell those who listen on this host."""
        for callback in self._callbacks:
            callback(segments)

    def status(self) -> NorthboundStatus:
        return NorthboundStatus(
            connected=self._available,
            server="ssl:192.0.2.1:6641",
            servers=("ssl:192.0.2.1:6641", "ssl:192.0.2.2:6641"),
            why="" if self._available else "Connection refused",
        )

    async def connected(self, timeout_s: float) -> None:
        await asyncio.sleep(self.connects_s)
        await self._answer()

    async def catch_up(self) -> None:
        await self._answer()
        self.lags = False

    def on_change(self, callback: Callable[[Collection[str] | None], None]) -> None:
        self._callbacks.append(callback)

    def on_names(self, callback: Callable[[Collection[tuple[str, str]]], None]) -> None:
        self.name_callbacks.append(callback)

    def on_end(self, callback: Callable[[Collection[SharedLease]], None]) -> None:
        self.end_callbacks.append(callback)

    def segments(self) -> Mapping[str, SharedSegment]:
        return self.central.segments

    def segment(self, name: str) -> SharedSegment | None:
        return None if self.lags else self.central.segments.get(name)

    def leases(self, segment: str) -> Mapping[IPAddress, SharedLease]:
        return self.central.leases.get(segment, {})

    def leases_of(self, pool: PoolId) -> Mapping[IPAddress, SharedLease]:
        leases = (each for some in self.central.leases.values() for each in some.values())
        return {each.address: each for each in leases if each.pool == pool}

    def held(self, segment: str, family: int) -> Bitmap:
        leases = self.central.leases.get(segment, {})
        there = (each for each in leases if each.version == family)
        return Bitmap(pack(sorted(map(int, there))))

    def lease(self, segment: str, address: IPAddress) -> SharedLease | None:
        return self.central.leases.get(segment, {}).get(address)

    def gateway(self, segment: str) -> SharedGateway | None:
        return self.central.gateways.get(segment)

    def names(self, host: str | None = None) -> Sequence[SharedName]:
        return [each for each in self.central.names.values() if host in (None, each.host)]

    def name(self, endpoint: EndpointId) -> SharedName | None:
        return self.central.names.get(endpoint)

    def called(self, segment: str, name: str) -> Sequence[SharedName]:
        return [
            each
            for each in self.central.names.values()
            if each.segment == segment and name in each.names
        ]

    async def hold(self, segment: str, subnet: IPNetwork, pool: SegmentPool) -> SharedSegment:
        await self._answer("hold", segment, subnet, pool.id)
        there = self.segment(segment) or SharedSegment(name=segment)
        if all(each.version != subnet.version for each in there.subnets):
            subnets = sorted([*there.subnets, subnet.cidr], key=lambda each: each.version)
            there = replace(there, subnets=tuple(subnets))
        if all(each.id != pool.id for each in there.pools):
            pools = sorted([*there.pools, pool], key=lambda each: each.id)
            there = replace(there, pools=tuple(pools))
        self._put(there)
        self._lose()
        return there

    async def describe(self, segment: str, options: Mapping[str, str]) -> SharedSegment:
        await self._answer("describe", segment)
        there = self._needed(segment)
        if not there.described:
            said = options if self.rival is None else self.rival
            there = replace(there, options=dict(said), described=True)
            self._put(there)
        self._lose()
        return there

    async def let_go(self, segment: str, pool: PoolId) -> bool:
        await self._answer("let_go", segment, pool)
        there = self.segment(segment)
        if there is None or all(each.id != pool for each in there.pools):
            return False
        self._take_back(there, lambda each: each.id == pool, lambda each: each.pool == pool)
        self._lose()
        return True

    async def take(self, lease: SharedLease, *, within_s: float | None = None) -> SharedLease:
        self.patience_s = within_s
        await self._answer("take", lease.segment, lease.address)
        held = self.lease(lease.segment, lease.address)
        if held is None:
            pools = self._needed(lease.segment).pools
            if lease.pool and SegmentPool(id=lease.pool, host=lease.host) not in pools:
                raise UnavailableError(f"segment {lease.segment}: this host has no pool of it")
            held = replace(lease, port=None)
            self.central.leases.setdefault(lease.segment, {})[lease.address] = held
            self.central.changed(lease.segment)
        self._lose()
        return held

    async def release(self, segment: str, address: IPAddress, serial: int) -> bool:
        await self._answer("release", segment, address)
        held = self.lease(segment, address)
        if held is None or held.serial != serial:
            return False
        del self.central.leases[segment][address]
        self.central.changed(segment)
        self.central.ended(held)
        self._lose()
        return True

    async def set_port(self, port: SharedPort) -> None:
        address = port.addresses[0]
        await self._answer("set_port", port.segment, address)
        held = self.lease(port.segment, address)
        if held is None or held.host != port.host:
            raise UnavailableError(
                f"address {address} of segment {port.segment} is not this host's"
            )
        self.central.leases[port.segment][address] = replace(held, mac=port.mac, port=port)
        self.central.changed(port.segment)
        self._lose()

    async def put_gateway(self, gateway: SharedGateway) -> None:
        await self._answer("put_gateway", gateway.segment, gateway.router)
        self._needed(gateway.segment)
        there = self.gateway(gateway.segment)
        found = {each.version: each for each in gateway.addresses}
        found |= {each.version: each for each in there.addresses} if there is not None else {}
        addresses = tuple(each for _, each in sorted(found.items()))
        self.central.gateways[gateway.segment] = replace(gateway, addresses=addresses)
        self.central.changed(gateway.segment)
        self._lose()

    async def put_name(self, name: SharedName) -> None:
        await self._answer("put_name", name.segment, *name.names)
        self._needed(name.segment)
        before = self.central.names.get(name.endpoint)
        self.central.names[name.endpoint] = name
        self.central.changed(name.segment)
        self.central.said(before, name)
        self._lose()

    async def forget_name(self, endpoint: EndpointId) -> bool:
        await self._answer("forget_name", endpoint)
        name = self.central.names.pop(endpoint, None)
        if name is None:
            return False
        self.central.changed(name.segment)
        self.central.said(name)
        self._lose()
        return True

    async def forget_host(self, host: str) -> Sequence[SharedLease]:
        await self._answer("forget_host", host)
        if not host:
            return []
        gone = [
            lease
            for leases in self.central.leases.values()
            for lease in leases.values()
            if lease.host == host
        ]
        for endpoint, name in list(self.central.names.items()):
            if name.host == host:
                del self.central.names[endpoint]
                self.central.changed(name.segment)
                self.central.said(name)
        for there in list(self.central.segments.values()):
            self._take_back(there, lambda each: each.host == host, lambda each: each.host == host)
        self._lose()
        return gone

    async def call(self) -> None:
        await self._answer("call")
        self.central.called += 1
        self._lose()

    async def _answer(self, *what: object) -> None:
        await asyncio.sleep(0)
        if what:
            self.calls.append(" ".join(map(str, what)))
        if not self._available:
            raise self._silent()

    def _lose(self) -> None:
        if self.lost_answers:
            self.lost_answers -= 1
            raise self._silent()

    @staticmethod
    def _silent() -> UnavailableError:
        return UnavailableError("OVN's northbound database does not answer: ssl:192.0.2.1:6641")

    def _needed(self, segment: str) -> SharedSegment:
        there = self.segment(segment)
        if there is None:
            raise UnavailableError(f"segment {segment} is gone; create the network again")
        return there

    def _put(self, segment: SharedSegment) -> None:
        if self.central.segments.get(segment.name) != segment:
            self.central.segments[segment.name] = segment
            self.central.changed(segment.name)

    def _take_back(
        self,
        segment: SharedSegment,
        pool_goes: Callable[[SegmentPool], bool],
        lease_goes: Callable[[SharedLease], bool],
    ) -> None:
        central, name = self.central, segment.name
        before = central.leases.get(name, {})
        pools = tuple(each for each in segment.pools if not pool_goes(each))
        if pools:
            stay = {at: each for at, each in before.items() if not lease_goes(each)}
            central.leases[name] = stay
            central.segments[name] = replace(segment, pools=pools)
        else:
            del central.segments[name]
            central.leases.pop(name, None)
            central.gateways.pop(name, None)
            for endpoint, called in list(central.names.items()):
                if called.segment == name:
                    del central.names[endpoint]
                    central.said(called)
        central.changed(name)
        central.ended(*(each for at, each in before.items() if at not in self.leases(name)))


async def nobody_lives_there(_pool: object, _address: object) -> bool:
    """Say that no container runs on an address, as on a host without any."""
    return False
