"""What a caller asks of the services, and what they answer: parsed, checked, without JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.records.model import (
    NO_OPTIONS,
    EndpointId,
    HostAccess,
    Mode,
    NetworkId,
    StaticRoute,
    Way,
)
from ovsdriver.domain.records.options.features import NOTHING, Features
from ovsdriver.domain.records.options.port_options import UNSAID, Cable, PortOptions
from ovsdriver.domain.records.segments import BondMode, Datapath, Lacp


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedGateway:
    """``ovs.gateway``: addresses, or who has them."""

    addresses: tuple[IPAddress, ...] = ()
    """At most one of each family."""
    container: str = ""
    """Its name."""

    def __bool__(self) -> bool:
        return bool(self.addresses or self.container)


NO_GATEWAY = TypedGateway()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """``docker network create -o``; None means: not said."""

    bridge: str | None = None
    segment: str | None = None
    """Over several hosts: an :class:`~ovsdriver.domain.records.segments.OvnSegment`."""
    router: str | None = None
    """Between segments: its name."""
    routes: tuple[StaticRoute, ...] = ()
    """What containers reach by it besides the segments that are on it, or by other ways."""
    shared: bool = False
    space: str | None = None
    mode: Mode | None = None
    mode4: Mode | None = None
    """What was said of IPv4 alone; ``mode`` is that then."""
    mode6: Mode | None = None
    """Of IPv6, where that is another."""
    isolate: bool | None = None
    icc: bool | None = None
    host: HostAccess | None = None
    gateways: TypedGateway = NO_GATEWAY
    host_addresses: tuple[IPNetwork, ...] = ()
    """Of this host, at most one of each family."""
    datapath: Datapath | None = None
    uplink: tuple[str, ...] = ()
    """NICs; empty: none was named."""
    bond: BondMode | None = None
    lacp: Lacp | None = None
    uplink_move: bool = False
    uplink_cable: Cable | None = None
    uplink_rate: int | None = None
    interface_prefix: str | None = None
    masquerade: bool | None = None
    bindings: tuple[IPAddress, ...] = ()
    """Host addresses of ports that are published without one: at most one of each family."""
    port: PortOptions = UNSAID
    """Of its containers; of VLAN modes only ``access`` and ``dot1q-tunnel``."""
    features: Features = NOTHING
    patches: tuple[str, ...] = ()
    """Bridges; empty: none was named."""
    patch_cable: Cable | None = None
    dry_run: bool = False
    """Make nothing, and say what would be made."""
    typed: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    """As the user typed them, for showing."""
    ignored: tuple[str, ...] = ()
    """Keys of ``typed`` that are other people's and mean nothing here."""
    off_segment: str = field(default="", compare=False)
    """Why a network over several hosts refuses one of them, a sentence; empty: it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """``docker run --network name=…,driver-opt=…``; None means: not said."""

    mac: EUI | None = None
    port: PortOptions = UNSAID
    interface: str = ""
    routes: tuple[StaticRoute, ...] = ()
    ofport: int | None = None
    protected: bool = False
    typed: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    ignored: tuple[str, ...] = ()
    """Keys of ``typed`` that are other people's and mean nothing here."""
    off_segment: str = field(default="", compare=False)
    """Why a network over several hosts refuses one of them, a sentence; empty: it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedSubnet:
    """One element of CreateNetwork's ``IPv4Data`` or ``IPv6Data``."""

    space: str
    cidr: IPNetwork
    gateway: IPAddress | None = None
    auxiliary: tuple[IPAddress, ...] = ()
    """``--aux-address``: held in the IPAM for others than containers, for the network's life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNetwork:
    """CreateNetwork."""

    id: NetworkId
    subnets: tuple[OfferedSubnet, ...] = ()
    internal: bool = False
    options: NetworkOptions = field(default_factory=NetworkOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpoint:
    """CreateEndpoint."""

    network: NetworkId
    id: EndpointId
    addresses: tuple[IPNetwork, ...] = ()
    """With prefix lengths, IPv4 first; empty with the ``null`` IPAM."""
    mac: EUI | None = None
    options: EndpointOptions = field(default_factory=EndpointOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What Docker is told to move into the container, and its way out."""

    source: str
    """Name of the link in dockerd's namespace."""
    prefix: str
    name: str = ""
    """Of the interface in the container; empty: the prefix and a number."""
    gateway4: IPAddress | None = None
    gateway6: IPAddress | None = None
    ways: tuple[Way, ...] = ()
    """By routers other than its gateways."""
    on_link: tuple[IPNetwork, ...] = ()
    """Subnets besides its own that are reached on the link, without a gateway."""
    disable_gateway_service: bool = False
    """No docker_gwbridge on this endpoint's account."""
