"""OVN's northbound database: what the hosts of a fleet have in common."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from netaddr import EUI, IPAddress, IPNetwork

from ipam import LeaseKind, PoolId
from ipam.choice.bitmap import Bitmap
from ovsdriver.domain.records.model import NO_OPTIONS, EndpointId
from ovsdriver.domain.records.options.shaping import Metered


@dataclass(frozen=True, slots=True, kw_only=True)
class NorthboundStatus:
    """The connection to it."""

    connected: bool
    """To a server that leads: what is read is true, and what is written is kept."""
    server: str = ""
    """``ssl:10.77.0.1:6641``, of the server that answers, or answered last: it leads."""
    servers: tuple[str, ...] = ()
    """All that are configured."""
    since: float = 0.0
    """From when on it is so; seconds since the epoch."""
    why: str = ""
    """Why there is none, in words; empty while connected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPool:
    """A pool that a host has of a segment: while there is one, the segment stays."""

    id: PoolId
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSegment:
    """A segment as all hosts have it."""

    name: str
    subnets: tuple[IPNetwork, ...] = ()
    """At most one of each family, IPv4 first; the first host that asks for a family says it."""
    options: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    """As the first network on it said them (``ovs.mtu`` and the like)."""
    described: bool = False
    """A network has said its options; they may be none."""
    pools: tuple[SegmentPool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLease:
    """An address of a segment that is held, and the port of a logical switch that stands for it."""

    segment: str
    address: IPAddress
    kind: LeaseKind
    host: str
    """Whose it is; empty: every host's, as a gateway's is."""
    pool: PoolId | None = None
    """By which its host asked for it; None where it is every host's."""
    serial: int = 0
    """Tells a request from any other one of any host: 63 random bits."""
    wanted: bool = False
    """Asked for by address, not chosen by us."""
    name: str = ""
    """The container's name, where Docker sends it."""
    created: float = 0.0
    """Seconds since the epoch."""
    mac: EUI | None = None
    """Of the port; None for an IPv6 address beside an IPv4 one, whose row no packet meets."""
    port: "SharedPort | None" = None
    """From CreateEndpoint on, on the row of a container's first address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPort:
    """What a container's port on a segment is to be like."""

    segment: str
    addresses: tuple[IPAddress, ...]
    """All that it may send from, IPv4 first; the first names the row."""
    mac: EUI
    endpoint: EndpointId
    host: str
    guard: bool = True
    """It may send from that MAC and those addresses only (``port_security``)."""
    sent: Metered | None = None
    """What it may send; None: any rate."""
    apart: bool = False
    """It reaches no other port of the segment of which that is so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedGateway:
    """A segment's place on a router, which leads to the other segments that are on it."""

    segment: str
    router: str
    """Its name, the same for all segments on it."""
    addresses: tuple[IPNetwork, ...]
    """The router's own on the segment with their prefix lengths: at most one of each family, IPv4
    first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedName:
    """What a container is called on a segment."""

    segment: str
    endpoint: EndpointId
    host: str
    names: tuple[str, ...]
    """Lower case; its own and its aliases."""
    addresses: tuple[IPAddress, ...]


def on_router(northbound: "Northbound", router: str) -> list[tuple[str, Sequence[IPNetwork]]]:
    """Return the segments that say they are on a router, with their subnets, in their order."""
    return [
        (name, each.subnets)
        for name, each in sorted(northbound.segments().items())
        if each.options.get("router") == router
    ]


class Northbound(Protocol):
    """Segments, leases, ports and names; rows of others are not touched, and not shown.

    Reading is from a copy, immediate, and empty while there never was a connection; a connection
    that is lost leaves what was known. A call that writes answers when the leading server has it.
    It can be repeated. ``UnavailableError`` says that it may have happened or not: in time no
    server that leads has answered.
    """

    def status(self) -> NorthboundStatus:
        """Return what is known now, without waiting."""
        ...

    async def connected(self, timeout_s: float) -> None:
        """Wait until the copy is complete, at most ``timeout_s``; UnavailableError after it."""
        ...

    async def catch_up(self) -> None:
        """Wait until the copy shows all that the leading server has when this is called."""
        ...

    def on_change(self, callback: Callable[[Collection[str] | None], None]) -> None:
        """Call ``callback`` on the loop with the names of segments that are different.

        With None after each (re)connect and when the connection is lost.
        """
        ...

    def on_names(self, callback: Callable[[Collection[tuple[str, str]]], None]) -> None:
        """Call ``callback`` on the loop with names that are said, said anew or taken back.

        Each stands after its segment. What happened while there was no connection is not told.
        """
        ...

    def on_end(self, callback: Callable[[Collection[SharedLease]], None]) -> None:
        """Call ``callback`` on the loop with leases that ended, whoever ended them.

        What happened while there was no connection is not told.
        """
        ...

    def segments(self) -> Mapping[str, SharedSegment]:
        """Return every segment by name."""
        ...

    def segment(self, name: str) -> SharedSegment | None:
        """Return one segment."""
        ...

    def leases(self, segment: str) -> Mapping[IPAddress, SharedLease]:
        """Return who holds which address of a segment."""
        ...

    def leases_of(self, pool: PoolId) -> Mapping[IPAddress, SharedLease]:
        """Return what one pool has; costs nothing for what others have."""
        ...

    def held(self, segment: str, family: int) -> Bitmap:
        """Return the numbers of a segment's addresses that are held; it is for reading.

        True until the next ``await``; costs the same however many there are.
        """
        ...

    def lease(self, segment: str, address: IPAddress) -> SharedLease | None:
        """Return who holds an address; costs the same however many there are."""
        ...

    def gateway(self, segment: str) -> SharedGateway | None:
        """Return a segment's place on a router; None also if a part of that is lost."""
        ...

    def names(self, host: str | None = None) -> Sequence[SharedName]:
        """Return every name of ours, or those of one host."""
        ...

    def name(self, endpoint: EndpointId) -> SharedName | None:
        """Return what a container is called; costs the same however many there are."""
        ...

    def called(self, segment: str, name: str) -> Sequence[SharedName]:
        """Return who is called so, in lower case, on a segment; costs the same likewise."""
        ...

    async def hold(self, segment: str, subnet: IPNetwork, pool: SegmentPool) -> SharedSegment:
        """Note that a host has a pool of a segment, which is made if there is none.

        A segment that has no subnet of that family gets ``subnet``; of two that come at once one
        is first. Answers how the segment stands then, with whatever subnet it has.
        """
        ...

    async def describe(self, segment: str, options: Mapping[str, str]) -> SharedSegment:
        """Note the options of the first network on a segment; one that has some keeps them.

        Answers how it stands then. UnavailableError also if there is no such segment.
        """
        ...

    async def let_go(self, segment: str, pool: PoolId) -> bool:
        """Take a pool back, with all its leases; False if it is not there.

        With its last pool the segment goes, and all that is on it; unless one comes meanwhile.
        """
        ...

    async def take(self, lease: SharedLease, *, within_s: float | None = None) -> SharedLease:
        """Hold an address; without a MAC by a row that no packet meets.

        ``within_s``: when the answer must be there, if sooner than of other calls.

        Answers who holds it then: that request, or another one that was first. Nobody else can
        have it meanwhile. UnavailableError also if there is no such segment, or its host has not
        that pool of it; what was written or not is settled by the next call with the same
        ``serial``.
        """
        ...

    async def release(self, segment: str, address: IPAddress, serial: int) -> bool:
        """End a lease; False if that request does not hold the address."""
        ...

    async def set_port(self, port: SharedPort) -> None:
        """Make a container's port as described.

        UnavailableError also if its host does not hold its first address.
        """
        ...

    async def put_gateway(self, gateway: SharedGateway) -> None:
        """Put a segment on a router, which is made if there is none.

        An address of a family that is not there yet is added. It goes with the segment, and the
        router with its last one. UnavailableError also if there is no such segment.
        """
        ...

    async def put_name(self, name: SharedName) -> None:
        """Say what a container is called, in place of what was said of its endpoint."""
        ...

    async def forget_name(self, endpoint: EndpointId) -> bool:
        """Take back what a container is called; False if nothing was said."""
        ...

    async def forget_host(self, host: str) -> Sequence[SharedLease]:
        """Take back all pools, leases and names of a host; return its leases.

        A segment that nobody else has goes with them. UnavailableError also before it is known
        what the host has.
        """
        ...

    async def call(self) -> None:
        """Have every host's controller say that it lives, which the southbound database shows."""
        ...
