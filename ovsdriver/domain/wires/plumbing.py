"""What should be on the switch and among the host's links, derived and never stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.records.model import NO_OPTIONS, EndpointId, NetworkId
from ovsdriver.domain.records.options.features import NOTHING, Features
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.domain.records.segments import BondMode, Datapath, HostPlace, Lacp

HIGHEST_OFPORT = 65279
"""The highest OpenFlow port number that can be asked for: those above are OpenFlow's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """What Open vSwitch wraps the frames in that leave by a port of its own making."""

    kind: str
    """``Interface.type``: ``gre`` or ``erspan``."""
    remote: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge that should be there, or one that is."""

    name: str
    datapath: Datapath
    owned: bool
    """It carries our mark. Ownership is by the mark, never by the name."""
    host: HostPlace | None = None
    """The host is on its own port, in the segment without a tag; else nobody is."""
    features: Features = NOTHING
    external_ids: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of ours that should be there.

    On a VLAN segment it always says which VLANs it carries: the tag, the trunks or both, as
    ``vlan_mode`` has them. Open vSwitch takes an empty tag, or empty trunks, for all VLANs.
    """

    name: str
    bridge: str
    tag: VlanTag | None
    """None on :attr:`VlanMode.TRUNK`, and on a segment that is not a VLAN."""
    vlan_mode: VlanMode = VlanMode.ACCESS
    trunks: tuple[VlanTag, ...] = ()
    """Ascending; listed in the modes that have trunks, and in no others."""
    cvlans: tuple[VlanTag, ...] = ()
    """Of :attr:`VlanMode.DOT1Q_TUNNEL`, ascending: the tags that may come in; none: all may."""
    internal: bool = False
    """An OVS internal port, whose device vswitchd makes; else an existing device is plugged."""
    moves: bool = False
    """The device of an internal port goes into a container, where vswitchd does not see it.

    To open it anew would destroy it: nothing may be changed of its port that makes vswitchd do so.
    """
    ofport: int | None = None
    """OpenFlow port number, 1 to :data:`HIGHEST_OFPORT`; None: any."""
    protected: bool = False
    """It does not talk to other protected ports of its bridge."""
    tree: bool | None = None
    """Whether it takes part in its bridge's spanning tree; None: internal ports, which never do."""
    tunnel: Tunnel | None = None
    """It leads to another host, and has no device."""
    peer: str = ""
    """Name of the patch port that it leads to, on another bridge; it has no device then."""
    mac: EUI | None = None
    """For internal ports in the host's namespace, which vswitchd gives this address."""
    mtu: int | None = None
    """For internal ports: ``mtu_request``; without it vswitchd gives them the bridge's smallest."""
    external_ids: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkPort:
    """A port of ours that joins NICs to a bridge: a trunk of the segments that use them."""

    name: str
    """The NIC's, or for a bond one that is derived from the bridge's."""
    bridge: str
    nics: tuple[str, ...]
    trunks: tuple[VlanTag, ...]
    """Never empty: an empty list would be all VLANs. 0 is the segment without a tag."""
    bond: BondMode | None = None
    lacp: Lacp = Lacp.OFF
    up: bool = True
    """Down, the NICs take the carrier away from their other ends."""
    rate: int = 0
    """bit/s that each NIC sends at most, what is marked first; 0: as it does by itself."""
    host: bool = False
    """The host's addresses are on the bridge's own port, so its segment crosses as well."""
    external_ids: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth:
    """A veth pair that should be there: one end for the bridge, one for the container."""

    host: str
    container: str
    """Its name until Docker moves and renames it."""
    mac: EUI
    """Of the container's end."""
    mtu: int
    tso_of: str = ""
    """The userspace bridge's own tap: if that has no TSO, TX checksum offload of the container's
    end is off. Empty: it is on."""
    alias: str
    """Our mark, in the host end's ``ifalias``."""
    up: bool = True
    """Down, the host's end takes the carrier away from both ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """The device of an internal port that goes into a container: a tap, or a vport of the kernel's.

    Once it was in a container it is not made again here: vswitchd would make another one, in the
    host's namespace.
    """

    name: str
    """The port's, until Docker moves and renames it."""
    mac: EUI
    mtu: int
    alias: str
    """Our mark, in ``ifalias``: a device of this name without it is not the one that we settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An endpoint plugged in: a link and a port."""

    endpoint: EndpointId
    link: Veth | Tap
    port: Port

    @property
    def source(self) -> str:
        """Name of the link that Docker moves."""
        return self.link.container if isinstance(self.link, Veth) else self.link.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The host's own port on a network: an internal port with the gateway addresses."""

    network: NetworkId
    port: Port
    addresses: tuple[IPNetwork, ...]
    """Each gateway with its subnet's prefix length."""
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A port of the host that a segment without a gateway is asked from, and nothing else.

    It has no address, and the host hears nothing on it but the answers.
    """

    network: NetworkId
    port: Port
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NameServer:
    """Where containers of a segment ask this host for names: a namespace behind a port.

    Its end of the link has :data:`~ovsdriver.domain.records.segments.NAME_SERVER` and nothing
    else, so nobody but the containers of that segment on this host can send it anything.
    """

    segment: str
    link: Veth
    port: Port
    clients: tuple[IPNetwork, ...]
    """The segment's IPv4 subnets, on the link."""
