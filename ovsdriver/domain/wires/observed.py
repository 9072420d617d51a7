"""What the switch and the kernel have, ours or not, as the adapters saw it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from netaddr import EUI, IPNetwork

from ovsdriver.domain.records.model import NO_OPTIONS
from ovsdriver.domain.records.options.features import NOTHING, Features
from ovsdriver.domain.records.segments import Datapath


class RouteKind(StrEnum):
    """What becomes of packets for a route's destination, in ``ip``'s words."""

    UNICAST = "unicast"
    LOCAL = "local"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    THROW = "throw"
    """Looked up in the next table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTies:
    """What of the host refers to a link by other means than addresses and routes."""

    nexthops: tuple[int, ...] = ()
    """Ids of nexthop objects through it."""
    rules: tuple[int, ...] = ()
    """Priorities of the policy rules that name it."""
    qdisc: str = ""
    """Kind of a queueing discipline that somebody gave it and that cannot be given again."""


NO_TIES = LinkTies()


class Traffic(NamedTuple):
    """What passed since the link was made.

    Of an endpoint and a gateway as containers see it: away from the container is sent. Of a NIC as
    the host does.
    """

    received_bytes: int = 0
    received_packets: int = 0
    received_dropped: int = 0
    sent_bytes: int = 0
    sent_packets: int = 0
    sent_dropped: int = 0

    @property
    def turned(self) -> "Traffic":
        """What the other end of a pair says of the same."""
        return Traffic(
            received_bytes=self.sent_bytes,
            received_packets=self.sent_packets,
            received_dropped=self.sent_dropped,
            sent_bytes=self.received_bytes,
            sent_packets=self.received_packets,
            sent_dropped=self.received_dropped,
        )


class Measured(NamedTuple):
    """A link's counters, and whether anything can pass it."""

    traffic: Traffic
    up: bool
    """It is set up, and something that is up is at its other end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedPort:
    """A port as the switch has it, ours or not."""

    name: str
    bridge: str
    tag: int | None
    """None: an empty tag, a trunk of ``trunks`` or of all VLANs."""
    trunks: tuple[int, ...] = ()
    ofport: int | None = None
    """None: vswitchd has not taken it yet; -1: it could not."""
    ifindex: int | None = None
    """0 or None: the device is gone, even where ``ofport`` still stands."""
    error: str = ""
    external_ids: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    internal: bool = False
    vlan_mode: str = ""
    protected: bool = False
    tree: bool | None = None
    """Whether it would take part in a spanning tree; None: in STP or RSTP only."""
    interfaces: tuple[str, ...] = ()
    """More than one: it is a bond."""
    cvlans: tuple[int, ...] = ()
    bond_mode: str = ""
    lacp: str = ""
    peer: str = ""
    """Of a patch port: the name of the one that it leads to."""

    @property
    def untagged_in(self) -> int | None:
        """The VLAN that frames without a tag are in (0: in none that has a number); None: in none.

        Of a port as for QinQ, all frames that come in.
        """
        if self.vlan_mode != "trunk" and self.tag is not None:
            return self.tag
        return 0 if not self.trunks or 0 in self.trunks else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedMirror:
    """A mirror of ours as the switch has it."""

    name: str
    output: str = ""
    """Name of a port; empty: that is gone."""
    vlans: tuple[int, ...] = ()
    everything: bool = False
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    external_ids: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedBridge:
    """A bridge as the switch has it, ours or not."""

    name: str
    datapath: Datapath
    owned: bool
    fail_mode: str = ""
    controllers: int = 0
    integration: bool = False
    """It is OVN's integration bridge (``external_ids:ovn-bridge`` of the root row names it)."""
    external_ids: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    ports: tuple[ObservedPort, ...] = ()
    """Without the bridge's own local port."""
    features: Features = NOTHING
    """Those that we have set."""
    mirrors: tuple[ObservedMirror, ...] = ()
    """Those with our mark."""
    rstp: bool = False
    """It speaks RSTP, whoever wants it to."""
    stp: bool = False
    """It speaks STP, which nobody can ask us for."""
    local_tag: int | None = None
    """Of its own local port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedLink:
    """A link of the host's namespace."""

    name: str
    index: int
    kind: str = ""
    """``veth``, ``bridge``, ``tun``, ``openvswitch``, … or empty for hardware."""
    mtu: int = 0
    mac: EUI | None = None
    up: bool = False
    alias: str = ""
    peer_index: int | None = None
    """For a veth: index of the other end, wherever it is."""
    addresses: tuple[IPNetwork, ...] = ()
    master_index: int | None = None
    """Of the bridge or bond that it is a port of; Open vSwitch's datapath is one, too."""
    carrier: bool = False
