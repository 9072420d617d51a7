"""What a caller asks of the services, and what they answer: parsed, checked, without JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.records.features import Exporter, FailMode, Features
from ovsdriver.domain.records.model import (
    NO_OPTIONS,
    BondMode,
    Datapath,
    EndpointId,
    HostAccess,
    Lacp,
    MirrorTarget,
    Mode,
    NetworkId,
    PortKind,
    VlanMode,
    VlanTag,
)
from ovsdriver.domain.records.shaping import Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """``docker network create -o``; None means: not said."""

    bridge: str | None = None
    vlan: VlanTag | None = None
    shared: bool = False
    space: str | None = None
    mode: Mode | None = None
    mode4: Mode | None = None
    """What was said of IPv4 alone; ``mode`` is that then."""
    mode6: Mode | None = None
    """Of IPv6, where that is another."""
    isolate: bool | None = None
    icc: bool = True
    host: HostAccess | None = None
    gateways: tuple[IPAddress, ...] = ()
    """``ovs.gateway``: at most one of each family."""
    mtu: int | None = None
    port: PortKind = PortKind.VETH
    datapath: Datapath | None = None
    uplink: tuple[str, ...] = ()
    """NICs; empty: none was named."""
    bond: BondMode | None = None
    lacp: Lacp | None = None
    uplink_move: bool = False
    vlan_mode: VlanMode | None = None
    """``access`` or ``dot1q-tunnel``; the others are of single containers."""
    cvlans: tuple[VlanTag, ...] = ()
    trunks: tuple[VlanTag, ...] = ()
    interface_prefix: str | None = None
    masquerade: bool | None = None
    bindings: tuple[IPAddress, ...] = ()
    """Host addresses of ports that are published without one: at most one of each family."""
    guard: bool = False
    dry_run: bool = False
    """Make nothing, and say what would be made."""
    sink: str | None = None
    rstp: bool | None = None
    mcast: bool | None = None
    control_frames: bool | None = None
    fail_mode: FailMode | None = None
    protocols: tuple[str, ...] = ()
    controllers: tuple[str, ...] = ()
    sflow: Exporter | None = None
    netflow: Exporter | None = None
    ipfix: Exporter | None = None
    mirror: MirrorTarget | None = None
    rate: Rate | None = None
    burst: int | None = None
    broadcast: int | None = None
    delay_us: int | None = None
    jitter_us: int | None = None
    loss_ppm: int | None = None
    typed: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    """As the user typed them, for showing."""
    ignored: tuple[str, ...] = ()
    """Keys of ``typed`` that are other people's and mean nothing here."""

    @property
    def features(self) -> Features:
        """Return what of them is about the bridge."""
        return Features(**{each.name: getattr(self, each.name) for each in fields(Features)})


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """``docker run --network name=…,driver-opt=…``; None means: not said."""

    mac: EUI | None = None
    mtu: int | None = None
    port: PortKind | None = None
    interface: str = ""
    vlan: VlanTag | None = None
    vlan_mode: VlanMode | None = None
    trunks: tuple[VlanTag, ...] = ()
    cvlans: tuple[VlanTag, ...] = ()
    ofport: int | None = None
    protected: bool = False
    guard: bool | None = None
    mirror: MirrorTarget | None = None
    sink: str | None = None
    rate: Rate | None = None
    burst: int | None = None
    broadcast: int | None = None
    delay_us: int | None = None
    jitter_us: int | None = None
    loss_ppm: int | None = None
    typed: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    ignored: tuple[str, ...] = ()
    """Keys of ``typed`` that are other people's and mean nothing here."""


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
    on_link: tuple[IPNetwork, ...] = ()
    """Subnets besides its own that are reached on the link, without a gateway."""
    disable_gateway_service: bool = False
    """No docker_gwbridge on this endpoint's account."""
