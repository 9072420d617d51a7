"""OpenFlow rules of ours for single ports, or all of a bridge, beside flows of other people.

They judge what a port sends in stages, and what passes all of them goes on to the bridge's other
flows as if we were not there: each stage marks a packet with a bit of a register when it lets it
pass, hands it back to table 0, and looks only at packets without its bit.

One stage, that of access rules, asks conntrack in between, in tables that are behind table 0: what
it decides about is a connection, whose packets of both directions then fare alike.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import ClassVar, Self

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.records.options.access import Side


class Stage(IntEnum):
    """What looks at a packet, in this order; the value is the stage's bit in the register."""

    TAGS = 28
    GUARD = 31
    BROADCAST = 30
    RATE = 29
    ACCESS = 27
    MARK = 26


@dataclass(frozen=True, slots=True)
class Vlan:
    """A frame's outer tag: the bits of ``mask`` are as in ``value``."""

    value: int
    mask: int

    UNTAGGED: ClassVar["Vlan"]
    """No tag, or one of VLAN 0."""
    PRIORITY: ClassVar["Vlan"]
    """A tag of VLAN 0, which says a priority and nothing else."""
    TAGGED: ClassVar["Vlan"]
    """Any tag."""

    @property
    def exact(self) -> bool:
        """Whether it is one VLAN."""
        return self.mask == _PRESENT | _NUMBER

    @classmethod
    def of(cls, tag: int) -> Self:
        """Return a tag of one VLAN."""
        return cls(_PRESENT | tag, _PRESENT | _NUMBER)


_PRESENT, _NUMBER = 0x1000, 0xFFF
Vlan.UNTAGGED = Vlan(0, _NUMBER)
Vlan.PRIORITY = Vlan.of(0)
Vlan.TAGGED = Vlan(_PRESENT, _PRESENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a packet has to be like; None: anything."""

    eth_src: EUI | None = None
    eth_dst: EUI | None = None
    to_group: bool = False
    """It is for more than one station: broadcast or multicast."""
    eth_type: int | None = None
    """Behind the tags that Open vSwitch looks at."""
    vlan: Vlan | None = None
    ip_protocol: int | None = None
    """Of the last header that is understood; 0: they are cut off, or cannot be read."""
    fragment: bool = False
    """It is one, the first or a later. Open vSwitch shows no ports and types in any of them."""
    ipv4_src: IPAddress | None = None
    ipv6_src: IPAddress | None = None
    ipv4_dst: IPAddress | None = None
    ipv6_dst: IPAddress | None = None
    udp_src: int | None = None
    udp_dst: int | None = None
    icmpv4_type: int | None = None
    icmpv6_type: int | None = None
    arp_op: int | None = None
    arp_spa: IPAddress | None = None
    arp_tpa: IPAddress | None = None
    arp_sha: EUI | None = None
    nd_target: IPAddress | None = None
    nd_sll: EUI | None = None
    """All zeros: the option is absent."""
    nd_tll: EUI | None = None
    """As ``nd_sll``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One rule for what a port sends."""

    stage: Stage
    rank: int
    """0 to 15; of the flows of one stage that match, the one with the highest decides."""
    match: Match = Match()
    passes: bool = True
    """The packet goes on to the next stage; else it is dropped."""
    metered: bool = False
    """Packets above the rate of the port's meter of this stage are dropped first."""
    retags: bool = False
    """The outer tag becomes one of 802.1Q, of the same VLAN and priority."""
    dscp: int | None = None
    """What passes gets this mark (0 to 63, RFC 2474), and keeps its bits of congestion (ECN)."""
    zone: int = 0
    """If not 0: it is in a network where access rules hold, and its connection is judged in this
    zone of conntrack if one of its ends has any. Only for IP."""
    governed: bool = False
    """With ``zone``: its sender has."""
    port: int | None = None
    """Who sends it, if the flow is kept under another number; 65534: the bridge itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Governed:
    """A container's end with access rules, as all of its network sees it."""

    zone: int
    """Of its network, in conntrack."""
    mac: EUI
    addresses: tuple[IPAddress, ...]
    """Ascending."""
    policy: str
    """Twelve hexadecimal digits."""
    forwards: bool = False
    """It gets frames that are for others; of who does not, those are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a policy says of some connections; None: of any."""

    policy: str
    side: Side
    rank: int
    """0 to 2; of the rulings that match, one of the highest rank decides."""
    passes: bool
    family: int | None = None
    """4 or 6."""
    peer: IPNetwork | None = None
    """The other end: whom the container reaches, or who reaches it."""
    protocol: int | None = None
    port: int = 0
    """At the end that is reached: its bits of ``port_mask`` are these."""
    port_mask: int = 0
    rule: str = ""
    """As a person types it; empty: what holds where no rule does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A rate that one stage of a port keeps to."""

    stage: Stage
    rate: int
    """kbit/s, or packets/s."""
    burst: int
    """kbit, or packets."""
    packets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFlows:
    """All that we have to say about one port, or one policy; nothing: no flow and no meter."""

    flows: frozenset[Flow] = frozenset()
    meters: frozenset[Meter] = frozenset()
    governed: frozenset[Governed] = frozenset()
    rulings: frozenset[Ruling] = frozenset()
    judging: bool = False
    """The tables that judge connections are there, for all of the bridge."""

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return any(getattr(self, field.name) for field in fields(self))
