"""What is connected to what: nodes in fixed tiers, and edges between them, as JSON."""

from dataclasses import dataclass
from enum import StrEnum

from ovsdriver.domain.wires.observed import Traffic


class Tier(StrEnum):
    """How far from a container a node is; pictures have them side by side in this order."""

    OUTSIDE = "outside"
    """The world, other hosts."""
    NIC = "nic"
    """Where packets leave the switch of this host: NICs, the host itself, ports of others."""
    BRIDGE = "bridge"
    NETWORK = "network"
    CONTAINER = "container"


class Kind(StrEnum):
    """What a node is, or what an edge is the picture of."""

    WORLD = "world"
    """Whoever is beyond this host."""
    PEER = "peer"
    """Another host of the fleet."""
    NIC = "nic"
    HOST = "host"
    """This host's own way out, with the gateways of networks."""
    GWBRIDGE = "gwbridge"
    """Docker's own bridge."""
    FOREIGN = "foreign"
    """A port that somebody else put on a bridge, or several."""
    BRIDGE = "bridge"
    ROUTER = "router"
    """OVN's, between segments."""
    NETWORK = "network"
    CONTAINER = "container"
    UPLINK = "uplink"
    GATEWAYS = "gateways"
    """Of all networks of a bridge."""
    TUNNEL = "tunnel"
    PATCH = "patch"
    """Between two bridges of ours."""
    WAY = "way"
    """Nothing of ours that can break: how packets go on."""
    VLAN = "vlan"
    """What a network is on its bridge."""
    ENDPOINT = "endpoint"


class Condition(StrEnum):
    """Whether something is as its record says."""

    UP = "up"
    BROKEN = "broken"
    """See ``why``."""
    WAITING = "waiting"
    """Coming or going: no container has joined, or it is being removed."""
    PULLED = "pulled"
    """Its cable is, as a person wants it (``ovs.link``)."""
    UNKNOWN = "unknown"
    """Open vSwitch does not answer."""
    FOREIGN = "foreign"
    """Not ours, so it is shown and not judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Something that packets pass."""

    id: str
    """Stays the same while the thing is there: ``network:1ab0…``."""
    tier: Tier
    kind: Kind
    name: str
    """For people; several nodes may have the same."""
    condition: Condition = Condition.UP
    why: str = ""
    """What is wrong."""
    notes: tuple[str, ...] = ()
    """What tells it from others, a few words each: subnets, a mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Two nodes that packets pass between, the one that is further outside first."""

    id: str
    kind: Kind
    outer: str
    """Id of a node."""
    inner: str
    """Id of a node."""
    condition: Condition = Condition.UP
    why: str = ""
    label: str = ""
    """``VLAN 30``, an address."""
    links: tuple[str, ...] = ()
    """Devices of this host that it is, where it is some."""
    traffic: Traffic | None = None
    """Of those devices; None: not known."""

    @property
    def told_outside(self) -> bool:
        """Whether its label is at its outer end: at a bridge many would be in one place."""
        return self.kind in (Kind.UPLINK, Kind.GATEWAYS, Kind.TUNNEL, Kind.FOREIGN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Everything that is connected; nodes by tier, then in the order of networks and addresses."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    version: int = 0
    """Another one whenever Open vSwitch has changed."""
