"""Records of networks and endpoints, as they are stored.

All are frozen. netaddr values in them are constants by agreement: netaddr's own classes can be
assigned to, and ``IPNetwork("10.0.0.5/24") == IPNetwork("10.0.0.0/24")``, so ``.cidr`` is used
where a subnet is meant and ``.ip`` where an address is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NewType

from netaddr import EUI, IPAddress, IPNetwork

from ipam import PoolId
from ovsdriver.domain.records.options.features import NOTHING, Features
from ovsdriver.domain.records.options.port_options import (
    ETHERNET_MTU,
    PLAIN,
    UNSAID,
    Cable,
    PortKind,
    PortOptions,
)
from ovsdriver.domain.records.segments import OvnSegment, VlanSegment, segment_of

NetworkId = NewType("NetworkId", str)
"""Docker's: 64 hex digits, or 25 of ``[0-9a-z]`` for swarm networks. Opaque."""

EndpointId = NewType("EndpointId", str)
"""Docker's: 64 hex digits, a new one at every start of a container. Opaque."""

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
"""The default of fields, through a factory: Python 3.11 takes it for mutable, being unhashable."""


class Mode(StrEnum):
    """How a network meets the world outside of its segment (``ovs.mode``)."""

    NAT = "nat"
    ROUTED = "routed"
    FLAT = "flat"
    ISOLATED = "isolated"
    GWBRIDGE = "gwbridge"

    @property
    def has_gateway(self) -> bool:
        """Whether the host holds the gateway address on a port of its own."""
        return self in (Mode.NAT, Mode.ROUTED)


class HostAccess(StrEnum):
    """What containers reach of the host itself, by way of their gateway (``ovs.host``)."""

    ALL = "all"
    """All its addresses, but the gateways of other networks of ours."""
    GATEWAY = "gateway"
    """Their own gateway's address."""
    NONE = "none"
    """Nothing; their own gateway answers ICMP."""


class Transport(StrEnum):
    """What carries a published port, as a person types it behind the port's slash."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"

    @property
    def number(self) -> int:
        """IANA's, which is in packets and in Docker's port maps."""
        return _NUMBERS[self]


_NUMBERS = {Transport.TCP: 6, Transport.UDP: 17, Transport.SCTP: 132}


Segment = VlanSegment | OvnSegment
"""What carries a network: a union, in which the kinds after the first have a ``TYPE`` (see
``codec``). All answer what :class:`VlanSegment` does, with no ``tag`` where it is no VLAN; what is
of one kind alone is known only to who plans it and who makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One subnet of a network, as Docker named it in CreateNetwork."""

    cidr: IPNetwork
    gateway: IPAddress | None
    """None if there is none on this network: not held by the host, not told to containers."""
    space: str = ""
    """The IPAM's address space."""
    pool: PoolId | None = None
    """Our IPAM's pool, bound to this network for life; None if another IPAM gave it."""
    auxiliary: tuple[IPAddress, ...] = ()
    """``--aux-address``: held in the pool, never an endpoint's."""

    @property
    def family(self) -> int:
        """4 or 6."""
        return int(self.cidr.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """Ports of this host, one or a range, of one address or of all addresses of a family."""

    protocol: Transport
    address: IPAddress
    """``0.0.0.0`` or ``::``: every address of that family, and no other family's."""
    port: int
    count: int = 1
    """So many ports from that one on."""

    @property
    def last(self) -> int:
        """The last of its ports."""
        return self.port + self.count - 1

    @property
    def everywhere(self) -> bool:
        """Whether it is that port of every address."""
        return not int(self.address)

    def overlaps(self, other: "HostPort") -> bool:
        """Whether both cannot be had by two at once."""
        return (
            (self.protocol, self.address.version) == (other.protocol, other.address.version)
            and self.port <= other.last
            and other.port <= self.last
            and (self.everywhere or other.everywhere or self.address == other.address)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """What ``ovs.routes`` says of one subnet."""

    to: IPNetwork
    via: IPAddress | None = None
    """None: the router of the container's network, ``ovs.router`` or its gateway."""


def port_text(first: int, count: int) -> str:
    """Return ``80`` or ``10000-20000``."""
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _place_text(address: IPAddress, first: int, count: int) -> str:
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{port_text(first, count)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """One ``-p``: a container's port and where on the host it is wanted."""

    protocol: Transport
    port: int
    host_address: IPAddress | None = None
    """None: every address of the host."""
    host_port: int = 0
    """0: choose one."""
    host_port_end: int = 0
    """Last of the range to choose from; 0: the same as ``host_port``."""
    count: int = 1
    """Ports from ``port`` on, each at the port of the host that is as far behind ``host_port``;
    with several there is nothing to choose."""

    @property
    def text(self) -> str:
        """Return the container's side as the user writes it behind ``-p HOST:``: ``80/tcp``."""
        return f"{port_text(self.port, self.count)}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Ports of a container, one or a range, that as many ports of this host lead to."""

    protocol: Transport
    host: IPAddress
    """As ``HostPort.address``."""
    host_port: int
    address: IPAddress
    """The container's."""
    port: int
    count: int = 1
    """Of both ports on: the n-th leads to the n-th."""
    instead_of: EndpointId | None = None
    """The endpoint of the container that Docker has asked, and that cannot publish this; None: its
    own. The container's answers would leave by that one, so it sees the gateway as its client."""

    @property
    def at(self) -> HostPort:
        """Where it is published."""
        return HostPort(
            protocol=self.protocol, address=self.host, port=self.host_port, count=self.count
        )

    @property
    def text(self) -> str:
        """Return the container's side, ``80/tcp``."""
        return f"{port_text(self.port, self.count)}/{self.protocol}"

    @property
    def host_text(self) -> str:
        """Return the host's side, ``0.0.0.0:8080/tcp``."""
        return f"{_place_text(self.host, self.host_port, self.count)}/{self.protocol}"

    @property
    def leads_to(self) -> str:
        """Return the container's place, ``10.0.0.5:80`` or ``[fd00::5]:80-90``."""
        return _place_text(self.address, self.port, self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A Docker network of ours. Written before anything is made, and never changed by Docker."""

    id: NetworkId
    segment: Segment
    mode: Mode
    mode6: Mode | None = None
    """Of its IPv6 subnets, where that is another: one is ``nat`` then, the other ``routed``."""
    subnets: tuple[Subnet, ...] = ()
    internal: bool = False
    shared: bool = False
    """May share its segment with another network (``ovs.shared``)."""
    masquerade: bool = True
    """``nat`` only: rewrite the source address of what leaves."""
    isolate: bool = False
    """``routed`` only: other routed networks do not reach it either."""
    icc: bool = True
    """Its containers reach each other; else only the gateway and what is beyond it."""
    host: HostAccess = HostAccess.ALL
    """Of networks on which the host has a port: what its containers reach of it there."""
    probe: bool = False
    """A pool of it wants the segment to be asked before an address is given (``ipam.probe``)."""
    bindings: tuple[IPAddress, ...] = ()
    """Host addresses of published ports that name none, at most one of each family; none: all."""
    gateway_container: str = ""
    """Name of the container that is its gateway, by which the subnets' gateways are found; empty:
    they are addresses that were typed, or the host's. ``flat`` and ``isolated`` only."""
    routes: tuple[StaticRoute, ...] = ()
    """What its containers reach by other ways than their gateway, if they say nothing."""
    host_addresses: tuple[IPNetwork, ...] = ()
    """``flat`` only: what this host has on a port of its own there, by which it is no router."""
    interface_prefix: str = "eth"
    """Name of the interface inside containers, before its number."""
    port: PortOptions = PLAIN
    """Of its containers."""
    features: Features = NOTHING
    """What its bridge is to do besides; the same on all networks of a bridge that say it."""
    uplink_cable: Cable | None = None
    """Down: of its uplink, whoever else is on it; None: up."""
    uplink_rate: int | None = None
    """bit/s that its uplink sends at most, by mark; 0 or None: any. Of several the smallest counts.
    """
    patches: tuple[str, ...] = ()
    """Bridges of ours that its own is joined to; see ``patching``."""
    patch_cable: Cable | None = None
    """Down: of these pairs, whoever else asks for them; None: up."""
    options: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    """What the user typed after ``-o``, for showing."""
    engine: str = ""
    """``/info`` ID of the dockerd that made it, empty if not known (yet)."""
    unused: bool = False
    """It never had an endpoint. False also for one of an ovsnet that did not note that."""
    made: bool = False
    """CreateNetwork got to its end; without it, what there is of the network is removed."""
    ended: bool = False
    """DeleteNetwork came; its plumbing is being removed."""

    @property
    def over_hosts(self) -> str | None:
        """The name of its segment over several hosts, whose addresses it has; None: it has none."""
        return next((name for each in self.subnets if (name := segment_of(each.space))), None)

    @property
    def mtu(self) -> int:
        """Bytes, of its gateway and of those of its containers that have none of their own."""
        return self.port.mtu or ETHERNET_MTU

    def mode_of(self, family: int) -> Mode:
        """Return the mode of its subnets of ``family`` (4 or 6)."""
        return self.mode6 if family == 6 and self.mode6 is not None else self.mode

    @property
    def modes(self) -> frozenset[Mode]:
        """Modes of its subnets: one, or two where the families differ."""
        return frozenset({self.mode, self.mode6 or self.mode})

    @property
    def on_this_host(self) -> tuple[IPNetwork, ...]:
        """What this host has on it: its gateways, or what ``ovs.host_address`` says."""
        if not self.mode.has_gateway:
            return self.host_addresses
        return tuple(
            IPNetwork(f"{subnet.gateway}/{subnet.cidr.prefixlen}")
            for subnet in self.subnets
            if subnet.gateway is not None
        )

    @property
    def has_way(self) -> bool:
        """Whether it has a gateway, whoever that is, or the name of a container to be one."""
        return bool(self.gateway_container) or any(each.gateway for each in self.subnets)

    def gateway_of(self, address: IPNetwork) -> IPAddress | None:
        """Return the gateway of the subnet that ``address`` is of; None if that has none.

        A network may have several subnets of a family, and the other ones' gateways cannot be
        reached from this one.
        """
        return next((s.gateway for s in self.subnets if address.ip in s.cidr), None)

    def is_gateway(self, endpoint: "Endpoint") -> bool:
        """Whether a container of it is its gateway, for one family at least."""
        return not self.mode.has_gateway and any(
            self.gateway_of(each) == each.ip for each in endpoint.addresses
        )

    def beside(self, address: IPNetwork) -> tuple[IPNetwork, ...]:
        """Return the other subnets of the address's family, which are on the same segment."""
        return tuple(
            s.cidr for s in self.subnets if s.family == address.version and address.ip not in s.cidr
        )


def beside(network: Network, endpoint: "Endpoint") -> tuple[IPNetwork, ...]:
    """Return what an endpoint reaches on its link besides its own subnets, without a gateway."""
    others = tuple(each for address in endpoint.addresses for each in network.beside(address))
    return others if endpoint.name_server is None else (*others, endpoint.name_server)


def on_bridge(bridge: str, networks: Iterable[Network]) -> list[Network]:
    """Return the networks that stand on a bridge, without those that are being removed."""
    return [each for each in networks if each.segment.bridge == bridge and not each.ended]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A route of a container's by a router on its network."""

    to: IPNetwork
    via: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A container's place on a network."""

    id: EndpointId
    network: NetworkId
    addresses: tuple[IPNetwork, ...] = ()
    """With prefix lengths: ``10.0.0.5/24``. IPv4 first."""
    leases: tuple[int, ...] = ()
    """Serials of the leases behind the addresses, where our IPAM gave them."""
    mac: EUI
    port: PortOptions = UNSAID
    """What it says itself."""
    sandbox: str | None = None
    """Path of the network namespace, from Join on; None before, and again after Leave."""
    ended: bool = False
    """Its end was proven or asked for; its plumbing is being removed."""
    releasing: bool = False
    """Its leases are to be released with it: Docker did, or never will."""
    unpublished: tuple[PortMapping, ...] = ()
    """What ``-p`` asked for and no network of the container publishes."""
    unpublished_why: str = ""
    """A clause; empty where Docker did not ask us to publish."""
    wanted: tuple[PortMapping, ...] = ()
    """What Docker has asked for, where this endpoint does not publish all of it itself."""
    name_server: IPNetwork | None = None
    """The route to the name server of segments that it was told at Join; None: none."""
    ways: tuple[Way, ...] = ()
    """What it was told at Join of routers that are not its gateway."""
    gateways: tuple[IPAddress, ...] = ()
    """What it was told at Join of gateways that are not the host's."""
    routes: tuple[StaticRoute, ...] = ()
    """What it says itself of :attr:`Network.routes`."""
    own_ways: bool = False
    """We may have put routes into its sandbox, or taken some of what it was told."""
    interface: str = ""
    """The name in the container that the user asked for; empty: the network's prefix, numbered."""
    ofport: int | None = None
    """The OpenFlow port number that the user asked for."""
    protected: bool = False
    """It does not talk to other protected ports of its bridge (``ovs.protected``)."""
    published: tuple[Publication, ...] = ()
    """Ports of the host that lead to it, those that were chosen for it among them."""
    options: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    """What the user typed as driver options of the endpoint, and `ovsnet set` since."""
    asked: Mapping[str, str] | None = None
    """Those of Docker alone, where `ovsnet set` has been at it; see ``kept``."""

    @property
    def internal(self) -> bool:
        """Whether an internal port plugs it in; else a veth pair does."""
        return self.port.kind is PortKind.INTERNAL
