"""What a network and its containers may both say of a port."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from netaddr import IPAddress

from ovsdriver.domain.records.options.access import AccessRule
from ovsdriver.domain.records.options.said import Said

VlanTag = NewType("VlanTag", int)
"""1 to 4094, or 0 for "priority-tagged and untagged frames only" (``ovs.vlan=none``).

On a VLAN segment it is never absent but on trunks, which list theirs: an OVS port with neither
carries all VLANs.
"""

ETHERNET_MTU = 1500
"""Bytes. The userspace datapath's taps lose longer frames (measured with Open vSwitch 3.5)."""


UNMARKED = -1
"""``ovs.dscp=none``: a container of a network that marks is let off."""


class PortKind(StrEnum):
    """What plugs a container into the bridge (``ovs.port``)."""

    VETH = "veth"
    INTERNAL = "internal"


class VlanMode(StrEnum):
    """Which frames a port takes and how it gives them out; Open vSwitch's ``vlan_mode``."""

    ACCESS = "access"
    TRUNK = "trunk"
    NATIVE_TAGGED = "native-tagged"
    NATIVE_UNTAGGED = "native-untagged"
    DOT1Q_TUNNEL = "dot1q-tunnel"
    """Frames keep the tags that they come with, below that of the port (QinQ)."""

    @property
    def has_trunks(self) -> bool:
        """Whether such a port carries VLANs with their tags."""
        return self not in (VlanMode.ACCESS, VlanMode.DOT1Q_TUNNEL)

    @property
    def has_tag(self) -> bool:
        """Whether it has a VLAN of its own, which untagged frames belong to."""
        return self is not VlanMode.TRUNK


class MirrorKind(StrEnum):
    """Where copies of packets are led (``ovs.mirror``)."""

    SINK = "sink"
    """To a container that asks for them, by a word."""
    NIC = "nic"
    GRE = "gre"
    ERSPAN = "erspan"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorTarget:
    """Where copies of packets are led; one of the following."""

    kind: MirrorKind
    sink: str = ""
    """``ovs.sink`` of the container that gets them."""
    nic: str = ""
    remote: IPAddress | None = None
    """The host that gets them in GRE or ERSPAN packets."""


class Cable(StrEnum):
    """The cable between a container and its switch (``ovs.link``)."""

    UP = "up"
    DOWN = "down"
    """Both ends see no carrier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Limits in bit/s; None: none."""

    towards: int | None
    """Towards the container."""
    away: int | None
    """From the container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOptions(Said):
    """What a network says of its containers' ports, or an endpoint of its own.

    What an endpoint does not say follows its network; see ``desired.port_options``.
    """

    mtu: int | None = None
    """Bytes, as ``ip link`` counts them: without the Ethernet header."""
    kind: PortKind | None = None
    """Settled in the record of an endpoint; None there: veth."""
    vlan: VlanTag | None = None
    """The VLAN of its untagged frames; a network's is its segment's."""
    vlan_mode: VlanMode | None = None
    trunks: tuple[VlanTag, ...] = ()
    """VLANs that it sees tagged, ascending."""
    cvlans: tuple[VlanTag, ...] = ()
    """Of :attr:`VlanMode.DOT1Q_TUNNEL`, ascending: containers' own tags that may travel below the
    port's; none listed: all. Frames without one may always."""
    guard: bool | None = None
    """Containers send with the MAC and the addresses that they were given, and no others."""
    mirror: MirrorTarget | None = None
    """Where copies are led: of what an endpoint sends and gets, of everything in a network's
    VLAN."""
    sink: str | None = None
    """It gets copies that are led to this word, and nothing else."""
    rate: Rate | None = None
    """Of each container; None, as of the following: no limit."""
    burst: int | None = None
    """Bytes that may go at once above the rate."""
    broadcast: int | None = None
    """Packets/s that a container may send to more than one station; 0: no limit."""
    dscp: int | None = None
    """What a container sends is marked so, 0 to 63; :data:`UNMARKED`, None: stays as it is."""
    delay_us: int | None = None
    jitter_us: int | None = None
    loss_ppm: int | None = None
    """Packets lost of a million, each way; likewise the following."""
    corrupt_ppm: int | None = None
    """With a wrong bit."""
    duplicate_ppm: int | None = None
    """That come twice."""
    reorder_ppm: int | None = None
    """That overtake those before them."""
    cable: Cable | None = None
    """None: up."""
    allow: tuple[AccessRule, ...] = ()
    """What may be begun; nothing else of a side that any is about."""
    deny: tuple[AccessRule, ...] = ()
    """What may not be begun, whatever is allowed."""
    rules: tuple[str, ...] = ()
    """Names of sets whose rules hold besides."""

    @property
    def judged(self) -> bool:
        """Whether access rules hold for the port; it is guarded then."""
        return bool(self.allow or self.deny or self.rules)

    @property
    def tunnels(self) -> bool:
        """Whether containers' own tags travel below the port's (QinQ)."""
        return self.vlan_mode is VlanMode.DOT1Q_TUNNEL


UNSAID = PortOptions()

PLAIN = PortOptions(mtu=ETHERNET_MTU, kind=PortKind.VETH, vlan_mode=VlanMode.ACCESS, guard=False)
"""What holds on a network where the user says nothing."""
