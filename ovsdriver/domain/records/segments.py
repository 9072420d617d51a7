"""What carries a network, and how a container's port is joined to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from netaddr import EUI

from ovsdriver.domain.records.port_options import PortOptions, VlanMode, VlanTag


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
    def outside(self) -> bool:
        """Whether others may be on it: the bridge is somebody else's, or it is on a wire."""
        return self.adopted or self.uplink is not None

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
