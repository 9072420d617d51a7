"""What the process answers with, for people and for scripts: what ``--json`` prints, too.

Written and read by the codec, member by member. Only records are imported here, since every
command reads these.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from netaddr import EUI, IPAddress, IPNetwork

from ipam.model import Lease, LeaseKind, Pool, PoolId, Reservation, Usage
from ovsdriver.domain.plan.preview import HostLink, Row
from ovsdriver.domain.records.model import Endpoint, HostPort, Network, PortMapping
from ovsdriver.domain.records.options.port_options import PortOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkReport:
    """Whether a network's uplink is as its segment says."""

    port: str
    """Its name on the bridge; empty if it is not there."""
    vlans: tuple[int, ...]
    """What it lets through, 0 being frames without a tag; empty: everything."""
    fault: str
    pulled: bool = False
    """Its cable is, as a network wants it (``ovs.uplink_link``)."""
    rate: int = 0
    """bit/s that each NIC sends at most (``ovs.uplink_rate``); 0: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkReport:
    """A network: its record, and what there is of it."""

    network: Network
    name: str
    """Docker's; empty if it is not known (yet)."""
    state: str
    """``ready``; ``ending``: being removed; ``broken``: its gateway or bridge is not there;
    ``unknown``: Open vSwitch does not answer."""
    in_docker: bool | None
    """None: Docker has not answered yet."""
    gateway_link: str | None
    """The host's device on it, by which it need not be the gateway."""
    probe_link: str | None = None
    """The device that addresses are asked from, where there is no gateway to do so."""
    uplink: UplinkReport | None = None
    joined: tuple[str, ...] = ()
    """The other bridges that its VLAN is on, by patches."""
    pulled: tuple[str, ...] = ()
    """Those that it would be on as well, were no patch pulled (``ovs.patch_link``)."""
    wired: bool = False
    """One of ``joined`` leads its VLAN to a wire."""
    endpoints: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """A container's place on a network: its record, what is in force, and what there is of it."""

    endpoint: Endpoint
    port: PortOptions
    """What is in force of what its network says of ports, and it of its own."""
    bridge: str
    network_name: str
    container: str
    """Its name, as far as Docker told it."""
    state: str
    """``attached``; ``created``: not joined; ``ending``: being removed; ``broken``: see ``fault``;
    ``unknown``: Open vSwitch does not answer."""
    fault: str
    trunked_networks: tuple[str, ...] = ()
    """Ids of the other networks of ours that are among its trunks."""
    copies: str = ""
    """Whether it gets copies of packets by its ``ovs.sink``, or who does; empty: it has none."""
    port_name: str
    """On the bridge, and of the device."""
    ofport: int | None
    """The OpenFlow port number that it has."""
    interface: str = ""
    """Its name in the container; empty until it was seen there."""
    name_not_given: str = ""
    """Why the interface has not the name that was asked for; empty: it has, or none was."""
    excess: str = ""
    """What of the interface would not be put back if it were lost."""
    reserved: tuple[HostPort, ...] = ()
    """Those of the host's ports that lead to it which are kept from other programs."""
    unpublished: tuple[PortMapping, ...] = ()
    """What Docker asked for and no network of the container publishes, as of now."""
    unpublished_why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All networks, by name, and their endpoints, by address."""

    networks: tuple[NetworkReport, ...] = ()
    endpoints: tuple[EndpointReport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchReport:
    """Open vSwitch."""

    connected: bool = False
    version: str = ""
    datapaths: tuple[str, ...] = ()
    """Of the bridges that we made. What vswitchd offers says little: it lists ``system`` always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerReport:
    """Docker's daemon."""

    answered: bool = False
    version: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MendedReport:
    """Something that was put right."""

    at: float
    """Seconds since the epoch."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """A look at everything, the last one unless it was asked for."""

    at: float = 0.0
    """Seconds since the epoch; 0: no look yet."""
    found: tuple[str, ...] = ()
    """Not as recorded; then mended or failed, unless nothing was to be done."""
    mended: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    """Seen, and not ours to mend."""
    lately: tuple[MendedReport, ...] = ()
    """What earlier looks mended, the newest first."""
    doubted: tuple[str, ...] = ()
    """What is removed if Docker goes on not listing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many of each."""

    networks: int = 0
    endpoints: int = 0
    pools: int = 0
    leases: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """What this host has in common with others, and whether it can be asked."""

    host: str
    """This one's name; empty: see ``nameless``."""
    nameless: str
    """Why it has none."""
    northbound: tuple[str, ...]
    """Servers of the northbound database."""
    connected: bool
    """To the one that leads."""
    server: str
    """The one that answers, or answered last."""
    since: float
    """From when on it is so; seconds since the epoch."""
    why: str
    """Why there is no connection; empty if there is one."""
    southbound: tuple[str, ...]
    """Servers of the southbound database, as OVN has been told them."""
    waiting: tuple[str, ...]
    """What is to be released as soon as the database answers, a phrase each."""
    segments: int
    """Of the whole fleet."""
    networks: int
    """On segments, on this host."""
    pools: int
    """Of segments, on this host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedChange:
    """Options of a network or an endpoint that are other ones for a while."""

    kind: str
    """``network`` or ``endpoint``."""
    id: str
    name: str
    """As of :class:`Changed`."""
    options: Mapping[str, str]
    """As typed; empty: the default."""
    holds: bool
    """False: it is taken back now, and comes again."""
    turns: float
    """When that changes, in seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The process as a whole, in a few lines."""

    version: str
    pid: int
    started: float
    """Seconds since the epoch."""
    uptime_s: float
    instance: str = ""
    degraded: str = ""
    """Why only a part of the work is done; empty: all is well."""
    open_vswitch: SwitchReport = SwitchReport()
    docker: DockerReport = DockerReport()
    counts: Counts | None = None
    """None: the store could not be read."""
    uplinks: tuple[str, ...] = ()
    """A phrase for each: its NICs, its bridge, what it carries."""
    timed: tuple[TimedChange, ...] = ()
    """Changes that are taken back by themselves."""
    fleet: FleetReport | None = None
    """None: this host is in no fleet."""
    repairs: RepairReport = RepairReport()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedOption:
    """An option, and what is in force of it; None: nothing, or whatever comes."""

    option: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedContainer:
    """A running container that a change is about."""

    endpoint: str
    """Id of its endpoint."""
    container: str
    """Its name, as far as Docker told it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of a wish for other options."""

    kind: str
    """``network`` or ``endpoint``."""
    id: str
    name: str
    """Of the network, or of the endpoint's container; empty if Docker did not tell it."""
    network: str
    """Id of the network, or of the endpoint's."""
    options: tuple[ChangedOption, ...]
    containers: tuple[AffectedContainer, ...]
    pending: tuple[str, ...]
    """What is recorded and not in force yet, a sentence each; it is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """What a network would make."""

    network: Network
    in_force: Mapping[str, str | None]
    """The value of each option, as a user would type it; None: nothing."""
    rows: tuple[Row, ...]
    links: tuple[HostLink, ...]
    rules: tuple[str, ...]
    flows_each: int
    """Of each container, those of a guard left out."""
    meters_each: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """A pool: its record, how full it is, and whose."""

    pool: Pool
    usage: Usage
    gateway: IPAddress | None
    network: str | None
    """Id of the network that has it: one of ours, or one that Docker says has it for certain."""
    network_name: str
    """Docker's; empty if it is not known."""
    orphan: bool | None
    """No network of ours has it, nor can one that Docker lists.

    None: not known, for Docker does not answer, or not yet, for the pool was made just now.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseUse:
    """A held address: its record, and its holder."""

    lease: Lease
    endpoint: str | None
    """Id of the endpoint that has it: one of ours, or one that Docker lists on its network."""
    container: str
    """That endpoint's container as Docker tells it now; empty if it is not known."""
    auxiliary: bool
    """Kept by its network without an endpoint, whatever the kind that it was asked for as."""
    auxiliary_name: str = ""
    """What the user called it in ``--aux-address``; empty if it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePage:
    """A piece of a pool's leases, by ascending address."""

    leases: tuple[LeaseUse, ...]
    next: IPAddress | None
    """Ask on after this address; None: these were the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedPool:
    """A pool that was given back by hand."""

    pool: Pool
    addresses: int
    """How many were held of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """An address that was given back by hand."""

    lease: Lease
    holder: str
    """Who had it, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """An address that is kept for someone: its record, where it is and who has it."""

    reservation: Reservation
    pool: PoolId | None
    """Of the pool that has the address now."""
    subnet: IPNetwork | None
    """That pool's."""
    network: str | None
    """Id of that pool's network."""
    network_name: str
    """Docker's; empty if it is not known."""
    holder: str
    """Who has the address now, in words; empty: nobody."""
    held_since: float | None
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What became of one wish."""

    outcome: str
    """``added``, ``changed``, or ``same``: it was there already."""
    reservation: Reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedReservation:
    """One reservation that is for another name, or has another note."""

    before: Reservation
    after: Reservation


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a list of reservations changed, or would change."""

    added: tuple[Reservation, ...]
    changed: tuple[ChangedReservation, ...]
    removed: tuple[Reservation, ...]
    same: int
    """How many were there already."""
    dry_run: bool
    """Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentUse:
    """A segment over several hosts, and how full it is."""

    name: str
    subnets: tuple[IPNetwork, ...]
    """IPv4 first."""
    options: Mapping[str, str]
    """That hold on all hosts, as they are typed: ``ovs.mtu``, ``--gateway``."""
    hosts: tuple[str, ...]
    """Those with a network on it."""
    network: str | None
    """Id of this host's network on it; None: there is none."""
    network_name: str
    """Docker's; empty if it is not known."""
    held: int
    """Addresses of all hosts."""
    capacity: int
    """Usable addresses of all its subnets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLease:
    """An address of a segment that is held."""

    segment: str
    address: IPAddress
    kind: LeaseKind
    host: str
    """Whose container has it; empty: every host's, as a gateway's is."""
    container: str
    """Its name; empty if it is not known."""
    endpoint: str | None
    """Id of the container's endpoint, once it has one."""
    mac: EUI | None
    """Of the container's port; None on the row of an IPv6 address beside an IPv4 one."""
    created: float
    """Seconds since the epoch."""
    apart: bool = False
    """The container reaches none of the segment of which that is so; False beside an IPv4 one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentReport:
    """A segment, and who has its addresses."""

    segment: SegmentUse
    leases: tuple[SegmentLease, ...]
    """By address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """A host whose addresses were given back."""

    name: str
    leases: tuple[SegmentLease, ...]
    registered: bool | None
    """OVN still has it: that only a central host may change. None: it could not be asked."""
