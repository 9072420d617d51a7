"""What a new network has to fit into, as it was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netaddr import IPAddress, IPNetwork

from ipam import PoolId
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires import uplinks


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPool:
    """A pool of our own IPAM that no network has yet."""

    id: PoolId
    space: str
    subnet: IPNetwork
    gateway: IPAddress | None
    gateway_typed: bool
    """The user asked for that gateway; else the IPAM chose one because Docker wanted one."""
    probe: bool = False
    """Its segment is to be asked before an address is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBridge:
    """What the switch has under the wanted name."""

    name: str
    owned: bool
    datapath: Datapath
    tags: frozenset[int] = frozenset()
    """Tags and trunks of its ports that are not ours, but for those of the uplink: an offer."""
    integration: bool = False
    """It belongs to OVN."""
    controllers: int = 0
    rstp: bool = False
    """It speaks RSTP, whoever wants it to."""
    stp: bool = False
    """It speaks STP, which nobody can ask us for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRoute:
    """A route of the host that a network with a gateway must not overlap."""

    destination: IPNetwork
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInputs:
    """A snapshot of what a new network has to fit into."""

    networks: Sequence[Network]
    pools: Sequence[KnownPool]
    bridge: KnownBridge | None
    routes: Sequence[HostRoute]
    datapaths: Sequence[str]
    """Datapaths that the running vswitchd and this kernel can do."""
    wire_mtu: int | None = None
    """Bytes: the smallest of the adopted bridge's other ports; None: not known."""
    endpoints: Sequence[Endpoint] = ()
    """Of all networks: what their ports carry is not chosen for a new network."""
    ordinary_link: bool = False
    """The host has a link of the bridge's name that is no bridge of Open vSwitch."""
    two_tags: bool = True
    """Open vSwitch looks at two VLAN tags of a frame (``vlan-limit``)."""
    nics: Mapping[str, uplinks.KnownNic] = field(default_factory=dict)
    """The NICs of the uplink, those that there are."""
    current: Network | None = None
    """The network itself, if it stands already: none of ``networks``. See ``replanning``."""
    other_gateways: bool = False
    """Of that network, what ``ovs.gateway`` says changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """The part of the configuration that planning needs."""

    bridge: str
    datapath: Datapath | None
    vlans: tuple[int, int]
    mtu: int
    spaces: frozenset[str] = frozenset()
    """The default spaces that our IPAM names to Docker."""
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """First and last tag for automatic choice, by bridge; in the place of ``vlans``."""
