"""What passed which link, as JSON."""

from dataclasses import dataclass

from netaddr import EUI, IPNetwork

from ovsdriver.domain.wires.observed import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointTraffic:
    """A container's place on a network."""

    endpoint: str
    network: str
    """Its id."""
    network_name: str
    """Docker's; empty if it is not known."""
    container: str
    """Likewise."""
    link: str
    """The port, and its device unless that is in the container."""
    mac: EUI
    addresses: tuple[IPNetwork, ...]
    up: bool
    traffic: Traffic | None
    """None: the link is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTraffic:
    """A network's gateway, as its containers see it: what went to it is sent."""

    network: str
    network_name: str
    link: str
    mac: EUI | None
    addresses: tuple[IPNetwork, ...]
    traffic: Traffic | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkTraffic:
    """A NIC that leads out of a bridge."""

    bridge: str
    nic: str
    up: bool
    traffic: Traffic | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReport:
    """Everything that passed, since each link was made."""

    at: float
    """Seconds of a clock that nobody sets; only differences mean something."""
    endpoints: tuple[EndpointTraffic, ...] = ()
    """By network, then by container."""
    gateways: tuple[GatewayTraffic, ...] = ()
    uplinks: tuple[UplinkTraffic, ...] = ()
