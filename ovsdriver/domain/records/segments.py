"""What carries a network, and how a container's port is joined to it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from netaddr import EUI, IPAddress, IPNetwork, mac_unix_expanded

from ovsdriver.domain.records.options.port_options import PortOptions, VlanMode, VlanTag

INTEGRATION_BRIDGE = "br-int"
"""Of OVN, where its own settings name no other one."""

SPACE_PREFIX = "segment:"
"""Before a segment's name: an address space, and the begin of its pools' ids."""

NAME_SERVER = IPAddress("169.254.53.53")
"""Where containers of segments ask for names: of their own host, whatever segment they are on."""

NAME_SERVER_MAC = EUI("0a:58:a9:fe:35:35", dialect=mac_unix_expanded)
"""The same on every host, as the address is."""

ENCAPSULATION = 58
"""Bytes that Geneve with OVN's option takes of the underlay's MTU."""


class Datapath(StrEnum):
    """Open vSwitch's ``datapath_type``."""

    SYSTEM = "system"
    NETDEV = "netdev"


class BondMode(StrEnum):
    """How the NICs of one uplink share the traffic (``ovs.bond``)."""

    ACTIVE_BACKUP = "active-backup"
    BALANCE_SLB = "balance-slb"
    BALANCE_TCP = "balance-tcp"


class Lacp(StrEnum):
    """Whether a bond speaks LACP with the switch at its other end (``ovs.lacp``)."""

    OFF = "off"
    PASSIVE = "passive"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlace:
    """A bridge's own port as the host's place on the wire, with what its NIC had."""

    mac: EUI
    mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """The NICs that lead from a bridge to the wire (``ovs.uplink``), the same for all its networks.

    Its state before us is in a note for each NIC, not here: several networks share it.
    """

    nics: tuple[str, ...]
    bond: BondMode | None = None
    """None for a single NIC."""
    lacp: Lacp = Lacp.OFF
    given: bool = False
    """The administrator has made them a port of the bridge: used as it is and never touched."""
    host: HostPlace | None = None
    """The host's addresses and routes are moved from the NIC to the bridge's own port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VlanSegment:
    """One bridge and one VLAN tag on it."""

    bridge: str
    tag: VlanTag
    adopted: bool = False
    """The bridge was there before us: we add and remove our ports and nothing else."""
    datapath: Datapath = Datapath.SYSTEM
    """What the bridge is made with again, if it is ours and was lost."""
    uplink: Uplink | None = None
    """The wire that the segment is on; None: it ends on this host, or others lead it on."""

    @property
    def router(self) -> None:
        """Between it and other segments: nobody's of ours."""

    @property
    def outside(self) -> bool:
        """Whether others may be on it: the bridge is somebody else's, or it is on a wire."""
        return self.adopted or self.uplink is not None

    @property
    def by_ovn(self) -> bool:
        """Whether OVN lays the flows of its bridge: no tag, guard or meter of ours acts there."""
        return False

    @property
    def has_names(self) -> bool:
        """Whether its containers find others by names beyond Docker's own list of this host."""
        return False

    @property
    def vlans(self) -> frozenset[VlanTag]:
        """VLANs of its bridge that are this segment."""
        return frozenset({self.tag})

    @property
    def place(self) -> tuple[str, int]:
        """What no two networks have the same of, but those that share their segment."""
        return self.bridge, self.tag

    @property
    def shown(self) -> Mapping[str, object]:
        """What tells it from others in logs and reports, by words."""
        return {"bridge": self.bridge, "vlan": self.tag}

    @property
    def name(self) -> str:
        """What of its bridge it is, in a sentence: ``VLAN 30``."""
        return f"VLAN {self.tag or 'none'}"

    def settled(self, own: PortOptions, networks: PortOptions) -> PortOptions:
        """Return what holds for a port: what it says itself, else what its network says.

        Trunks alone leave untagged frames in the network's VLAN, so that the address which Docker
        gives the container goes on working.
        """
        trunks = own.trunks or networks.trunks
        following = VlanMode.NATIVE_UNTAGGED if trunks else networks.vlan_mode
        mode = own.vlan_mode or following or VlanMode.ACCESS
        settled = {
            "vlan_mode": mode,
            "vlan": (self.tag if own.vlan is None else own.vlan) if mode.has_tag else None,
            "trunks": trunks if mode.has_trunks else own.trunks,
            "cvlans": (own.cvlans or networks.cvlans) if mode is VlanMode.DOT1Q_TUNNEL else (),
        }
        return PortOptions(**(networks.said() | own.said() | settled))


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """OVN's router between segments, as one of them has it."""

    name: str
    """The same for all segments on it (``ovs.router``)."""
    gateways: tuple[IPNetwork, ...] = ()
    """Its addresses on the segment, with prefix lengths: one for each subnet."""
    routes: tuple[IPNetwork, ...] = ()
    """What containers are told to reach by it, besides segments that are on it (``ovs.routes``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OvnSegment:
    """A logical switch of OVN, which is on all hosts that have a network on it."""

    TYPE: ClassVar = "ovn"

    segment: str
    """Its name, the same on all hosts (``ovs.segment``)."""
    bridge: str = INTEGRATION_BRIDGE
    """OVN's on this host: its controller makes it, and the flows of ports on it."""
    datapath: Datapath = Datapath.SYSTEM
    router: Router | None = None
    """Between it and other segments; None: there is none."""

    @property
    def adopted(self) -> bool:
        """Whether the bridge was there before us."""
        return True

    @property
    def outside(self) -> bool:
        """Whether others may be on it: other hosts' containers are."""
        return True

    @property
    def uplink(self) -> None:
        """The wire that the segment is on: OVN leads it to other hosts."""

    @property
    def tag(self) -> None:
        """The VLAN on the bridge: OVN tells segments apart by ports."""

    @property
    def by_ovn(self) -> bool:
        """Whether OVN lays the flows of its bridge: no tag, guard or meter of ours acts there."""
        return True

    @property
    def has_names(self) -> bool:
        """Whether its containers find others by names beyond Docker's own list of this host."""
        return True

    @property
    def vlans(self) -> frozenset[VlanTag]:
        """VLANs of its bridge that are this segment."""
        return frozenset()

    @property
    def place(self) -> tuple[str, int]:
        """What no two networks have the same of, but those that share their segment."""
        return f"{SPACE_PREFIX}{self.segment}", 0

    @property
    def shown(self) -> Mapping[str, object]:
        """What tells it from others in logs and reports, by words."""
        return {"segment": self.segment}

    @property
    def name(self) -> str:
        """What of its bridge it is, in a sentence: ``segment blue``."""
        return f"segment {self.segment}"

    def settled(self, own: PortOptions, networks: PortOptions) -> PortOptions:
        """Return what holds for a port: what it says itself, else what its network says."""
        # OVN's flows do not look at a port's tag; without one it would be a trunk of all VLANs.
        untagged = {"vlan_mode": VlanMode.ACCESS, "vlan": VlanTag(0)}
        return PortOptions(**(networks.said() | own.said() | untagged))


def space_of(segment: str) -> str:
    """Return the address space that a segment is: all its hosts have it in common."""
    return f"{SPACE_PREFIX}{segment}"


def segment_of(space: str) -> str | None:
    """Return the segment that an address space, or a pool by its id, is of; None: of none."""
    if not space.startswith(SPACE_PREFIX):
        return None
    return space.removeprefix(SPACE_PREFIX).partition("/")[0]


def name_server_route(taken: Collection[IPNetwork]) -> IPNetwork:
    """Return the route to the name server for one more interface of a container.

    A container on several segments has one on each, and no kernel takes the same route twice: each
    is wider than the one before, so the next one holds when an interface goes.
    """
    widths = {each.prefixlen for each in taken}
    width = next(each for each in range(32, 0, -1) if each not in widths)
    return IPNetwork(f"{NAME_SERVER}/{width}").cidr


def server_port(segment: str) -> str:
    """Return the name of the logical port that each host's name server has, ``blue/dns``."""
    return f"{segment}/dns"


def router_address(subnet: IPNetwork) -> IPAddress:
    """Return the address of a segment that Docker takes for a gateway's, kept for a router."""
    return IPAddress(subnet.first + 1, subnet.version)


def lease_port(segment: str, address: IPAddress) -> str:
    """Return the name of the logical port that a lease is, ``blue/10.50.0.5``."""
    return f"{segment}/{address}"
